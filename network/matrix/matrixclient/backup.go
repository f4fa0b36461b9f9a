package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var _ client.RecoveryKeeper = (*Session)(nil)

const (
	backupAlgorithm = "m.megolm_backup.v1.curve25519-aes-sha2"
	secretBackup    = "m.megolm_backup.v1"
	// saveAtOnce is how many keys go to the backup in one request.
	saveAtOnce = 100
	keyBackup  = "link/backup"
)

// backup returns the server's current backup, or nil if there is none.
func (s *Session) backup(ctx context.Context) (*wire.BackupVersion, error) {
	const op = "looking for the key backup"
	var v wire.BackupVersion
	err := s.link.ask(ctx, op, http.MethodGet, path("room_keys", "version"), nil, &v)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if v.Version == "" || len(v.Version) > wire.MaxID {
		return nil, quinta.E(quinta.KindMalformed, op, "the server's answer names no version")
	}
	return &v, nil
}

// Backup implements client.BackupKeeper.
func (s *Session) Backup(ctx context.Context) (client.BackupInfo, error) {
	v, err := s.backup(ctx)
	if err != nil || v == nil {
		return client.BackupInfo{}, err
	}
	k, err := s.backupKey(ctx, v)
	if errors.Is(err, errNotOurs) {
		err = nil
	}
	return client.BackupInfo{Exists: true, Keys: int(v.Count), Unlocked: !k.IsZero()}, err
}

var errNotOurs = errors.New("the key backup is not the one that this device has the key of")

// backupKey returns the private key of a backup if this device has it. That
// the key was typed in or made here is what makes the backup the right one.
func (s *Session) backupKey(ctx context.Context, v *wire.BackupVersion) (k key.BackupPrivate, err error) {
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		k, err = s.machine.BackupKey(tx)
		return err
	}); err != nil || k.IsZero() {
		return k, err
	}
	if matchesBackup(v, k) != nil {
		return key.BackupPrivate{}, errNotOurs
	}
	return k, nil
}

// matchesBackup returns nil if k is the private key of a backup.
func matchesBackup(v *wire.BackupVersion, k key.BackupPrivate) error {
	if v.Algorithm != backupAlgorithm {
		return errNotOurs
	}
	auth, err := keybackup.ParseAuthData(v.Auth)
	if err != nil {
		return err
	}
	return auth.Matches(k)
}

// CreateBackup implements client.BackupKeeper.
func (s *Session) CreateBackup(ctx context.Context) (client.Secret, error) {
	return s.CreateBackupBy(ctx, client.NewBackup{})
}

// CreateBackupBy implements client.RecoveryKeeper. One recovery key opens
// everything: it opens secret storage, which holds the key of the backup and
// the private keys of the identity.
func (s *Session) CreateBackupBy(ctx context.Context, in client.NewBackup) (client.Secret, error) {
	v, err := s.backup(ctx)
	if err != nil {
		return client.Secret{}, err
	}
	if err := s.mayReplaceStorage(ctx, v, in.Reset); err != nil {
		return client.Secret{}, err
	}
	k, err := s.ownBackup(ctx, v, in.Reset)
	if err != nil {
		return client.Secret{}, err
	}
	recovery, err := s.createStorage(ctx, k, in.Passphrase)
	if err != nil {
		return client.Secret{}, err
	}
	return recovery, s.save(ctx)
}

// mayReplaceStorage refuses a new recovery key under which less would be kept
// than under the present one.
func (s *Session) mayReplaceStorage(ctx context.Context, v *wire.BackupVersion, reset bool) error {
	const op = "making a key backup"
	if reset {
		return nil
	}
	if v != nil {
		if k, err := s.backupKey(ctx, v); errors.Is(err, errNotOurs) || err == nil && k.IsZero() {
			return quinta.E(quinta.KindExists, op, "there is a key backup that this device cannot open: unlock it, or give it up with a reset")
		} else if err != nil {
			return err
		}
	}
	id, err := s.Identity(ctx)
	if err != nil || !id.Exists || id.Complete {
		return err
	}
	var def struct {
		Key string `json:"key"`
	}
	if found, err := s.accountData(ctx, typeDefaultKey, &def); err != nil || !found || def.Key == "" {
		return err
	}
	return quinta.E(quinta.KindExists, op, "secret storage has the keys of the identity, but this device does not: unlock it or verify this device first, or give the keys up with a reset")
}

// keyNewBackup is where the key of a backup is kept that the server may not
// have yet.
const keyNewBackup = "link/newbackup"

// ownBackup returns the key of the backup that this device uses, and makes one
// if there is none or fresh is set. The key is kept before the server learns
// of it, so that there is never a backup whose key is lost.
func (s *Session) ownBackup(ctx context.Context, v *wire.BackupVersion, fresh bool) (key.BackupPrivate, error) {
	const op = "making a key backup"
	if v != nil && !fresh {
		k, err := s.backupKey(ctx, v)
		if err != nil || k.IsZero() {
			return k, err
		}
		var used string
		err = s.look(ctx, func(tx e2ee.Tx) error {
			b, err := tx.Get(keyBackup)
			used = string(b)
			return err
		})
		if err == nil && used != v.Version {
			err = s.useBackup(ctx, k, v.Version)
		}
		return k, err
	}
	k, err := s.newBackupKey(ctx)
	if err != nil {
		return k, err
	}
	auth := keybackup.NewAuthData(k.Public())
	var master key.MasterPrivate
	var signed []byte
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		cross, err := s.machine.CrossSigning(tx)
		if err != nil {
			return err
		}
		master = cross.Master
		signed, err = s.machine.Sign(tx, auth)
		return err
	}); err != nil {
		return k, err
	}
	if !master.IsZero() {
		if signed, err = canonicaljson.Sign(signed, string(s.account.User), "ed25519:"+master.Public().String(), master.Sign); err != nil {
			return k, fmt.Errorf("%s: %w", op, err)
		}
	}
	var made wire.BackupMade
	in := wire.Backup{Algorithm: backupAlgorithm, Auth: signed}
	if v != nil && matchesBackup(v, k) == nil {
		made.Version = v.Version // made before an interruption
	} else if err := s.link.ask(ctx, op, http.MethodPost, path("room_keys", "version"), in, &made); err != nil {
		return k, err
	}
	return k, s.useBackup(ctx, k, made.Version)
}

// newBackupKey makes a key for a backup and keeps it, or returns the one that
// was made before an interruption.
func (s *Session) newBackupKey(ctx context.Context) (k key.BackupPrivate, err error) {
	err = s.st.Update(ctx, func(tx e2ee.Tx) error {
		b, err := tx.Get(keyNewBackup)
		if err != nil {
			return err
		}
		if b != nil {
			k, err = key.NewAgreementPrivate[key.Backup](b)
			return err
		}
		if k, err = key.GenerateAgreement[key.Backup](s.env.Rand); err != nil {
			return err
		}
		return tx.Put(keyNewBackup, k.Secret())
	})
	return k, err
}

// useBackup keeps the key of a backup; all keys go into it from now on.
func (s *Session) useBackup(ctx context.Context, k key.BackupPrivate, version string) error {
	return s.do(ctx, true, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		if err := s.machine.SetBackupKey(tx, k); err != nil {
			return nil, err
		}
		if err := tx.Put(keyBackup, []byte(version)); err != nil {
			return nil, err
		}
		if err := tx.Delete(keyNewBackup); err != nil {
			return nil, err
		}
		if err := s.machine.SaveAgain(tx); err != nil {
			return nil, err
		}
		return s.machine.SetBackupLocked(tx, false)
	})
}

// save puts the keys that the backup lacks into it. If the backup is not the
// one whose key is here nothing is sent.
func (s *Session) save(ctx context.Context) error {
	const op = "saving keys"
	var version string
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		b, err := tx.Get(keyBackup)
		version = string(b)
		return err
	}); err != nil || version == "" {
		return err
	}
	v, err := s.backup(ctx)
	if err != nil {
		return err
	}
	if v == nil || v.Version != version {
		return quinta.E(quinta.KindConflict, op, "the key backup was replaced or removed by another device: unlock it again")
	}
	k, err := s.backupKey(ctx, v)
	if err != nil || k.IsZero() {
		return err
	}
	for {
		var part []matrix.Backup
		if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
			part, err = s.machine.Unsaved(tx, saveAtOnce)
			return err
		}); err != nil || len(part) == 0 {
			return err
		}
		if err := s.savePart(ctx, version, k.Public(), part); err != nil {
			return err
		}
	}
}

func (s *Session) savePart(ctx context.Context, version string, to key.BackupPublic, part []matrix.Backup) error {
	const op = "saving keys"
	body := wire.RoomKeys[keybackup.Entry]{Rooms: map[quinta.RoomID]wire.SessionKeys[keybackup.Entry]{}}
	for _, b := range part {
		e, err := keybackup.Seal(s.env.Rand, to, b.Session, b.Verified)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		room := quinta.RoomID(b.Session.RoomID)
		if body.Rooms[room].Sessions == nil {
			body.Rooms[room] = wire.SessionKeys[keybackup.Entry]{Sessions: map[string]keybackup.Entry{}}
		}
		body.Rooms[room].Sessions[b.Session.SessionID] = e
	}
	if err := s.link.ask(ctx, op, http.MethodPut, path("room_keys", "keys")+"?version="+url.QueryEscape(version), body, nil); err != nil {
		return err
	}
	return s.st.Update(ctx, func(tx e2ee.Tx) error { return s.machine.Saved(tx, part) })
}

// UnlockBackup implements client.BackupKeeper. recovery is the key of the backup
// itself, or the recovery key or passphrase of secret storage; then the
// cross-signing keys that are stored there are taken as well, and this device
// becomes one that others trust.
func (s *Session) UnlockBackup(ctx context.Context, recovery client.Secret, progress func(done, all int)) (int, error) {
	const op = "unlocking the key backup"
	v, err := s.backup(ctx)
	if err != nil {
		return 0, err
	}
	storage, opened, err := s.openStorage(ctx, recovery)
	if err != nil {
		return 0, err
	}
	if opened {
		if err := s.takeIdentity(ctx, storage); err != nil {
			return 0, err
		}
	}
	if v == nil {
		if opened {
			return 0, s.settle(ctx, op)
		}
		return 0, quinta.E(quinta.KindNotFound, op, "the account has no key backup")
	}
	auth, err := keybackup.ParseAuthData(v.Auth)
	if err != nil || v.Algorithm != backupAlgorithm {
		return 0, quinta.E(quinta.KindInvalid, op, "the backup has a form that is not supported")
	}
	var k key.BackupPrivate
	if opened {
		e, err := storage.secret(ctx, secretBackup)
		if err == nil {
			k, err = secretstorage.OpenBackup(storage.key, e, auth.PublicKey)
		}
		if errors.Is(err, secretstorage.ErrNotStored) {
			return 0, quinta.E(quinta.KindNotFound, op, "the recovery key opens secret storage, but the key of the backup is not in it")
		}
		if err != nil {
			return 0, &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
		}
	} else {
		k, err = keybackup.ParseRecoveryKey(recovery.Reveal())
		if err == nil {
			err = auth.Matches(k)
		}
		if err != nil {
			return 0, quinta.E(quinta.KindUnauthenticated, op, "this is not the recovery key of the backup")
		}
	}
	n, err := s.restore(ctx, v.Version, k, progress)
	if err != nil {
		return n, err
	}
	if err := s.useBackup(ctx, k, v.Version); err != nil {
		return n, err
	}
	return n, s.settle(ctx, op)
}

// restore takes in all keys of a backup. Entries that are not what they say
// are left out.
func (s *Session) restore(ctx context.Context, version string, k key.BackupPrivate, progress func(done, all int)) (int, error) {
	const op = "reading the key backup"
	a, err := s.link.call(ctx, op, request{method: http.MethodGet, path: path("room_keys", "keys") + "?version=" + url.QueryEscape(version), max: maxExport, within: syncWithin})
	if err != nil {
		return 0, err
	}
	var all wire.RoomKeys[json.RawMessage]
	if err := a.decode(op, &all); err != nil {
		return 0, err
	}
	var sessions []keyexport.Session
	for room, r := range all.Rooms {
		for id, raw := range r.Sessions {
			var e keybackup.Entry
			if exactjson.Unmarshal(raw, &e) != nil {
				continue
			}
			if sess, err := keybackup.Open(k, room, id, e.SessionData); err == nil {
				sess.RoomID, sess.SessionID = string(room), id
				sessions = append(sessions, sess)
			}
		}
	}
	return s.takeIn(ctx, sessions, progress)
}
