package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var _ client.Backer = (*Session)(nil)

const (
	backupAlgorithm = "m.megolm_backup.v1.curve25519-aes-sha2"
	secretBackup    = "m.megolm_backup.v1"
	// saveAtOnce is how many keys go to the backup in one request.
	saveAtOnce = 100
	keyBackup  = "link/backup"
)

// A version is a backup as the server describes it.
type version struct {
	Version   string          `json:"version"`
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
	Count     int             `json:"count"`
}

// backup returns the server's current backup, or nil if there is none.
func (s *Session) backup(ctx context.Context) (*version, error) {
	const op = "looking for the key backup"
	var v version
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

// Backup implements client.Backer.
func (s *Session) Backup(ctx context.Context) (client.BackupInfo, error) {
	v, err := s.backup(ctx)
	if err != nil || v == nil {
		return client.BackupInfo{}, err
	}
	k, err := s.backupKey(ctx, v)
	if errors.Is(err, errNotOurs) {
		err = nil
	}
	return client.BackupInfo{Exists: true, Keys: v.Count, Unlocked: !k.IsZero()}, err
}

var errNotOurs = errors.New("the key backup is not the one whose key is here")

// backupKey returns the private key of a backup if this device has it. That
// the key was typed in or made here is what makes the backup the right one.
func (s *Session) backupKey(ctx context.Context, v *version) (k key.BackupPrivate, err error) {
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		k, err = s.machine.BackupKey(tx)
		return err
	}); err != nil || k.IsZero() {
		return k, err
	}
	auth, err := keybackup.ParseAuthData(v.AuthData)
	if err == nil && v.Algorithm == backupAlgorithm {
		err = auth.Matches(k)
	}
	if err != nil || v.Algorithm != backupAlgorithm {
		return key.BackupPrivate{}, errNotOurs
	}
	return k, nil
}

// CreateBackup implements client.Backer. A backup that is there is not
// touched: the new one takes its place.
func (s *Session) CreateBackup(ctx context.Context) (client.Secret, error) {
	const op = "making a key backup"
	k, err := key.GenerateAgreement[key.Backup](s.env.Rand)
	if err != nil {
		return client.Secret{}, fmt.Errorf("%s: %w", op, err)
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
		return client.Secret{}, err
	}
	if !master.IsZero() {
		if signed, err = canonicaljson.Sign(signed, string(s.account.User), "ed25519:"+master.Public().String(), master.Sign); err != nil {
			return client.Secret{}, fmt.Errorf("%s: %w", op, err)
		}
	}
	var made version
	in := map[string]any{"algorithm": backupAlgorithm, "auth_data": json.RawMessage(signed)}
	if err := s.link.ask(ctx, op, http.MethodPost, path("room_keys", "version"), in, &made); err != nil {
		return client.Secret{}, err
	}
	if err := s.useBackup(ctx, k, made.Version); err != nil {
		return client.Secret{}, err
	}
	recovery := client.NewSecret(keybackup.RecoveryKey(k))
	return recovery, s.save(ctx)
}

// useBackup keeps the key of a backup; all keys go into it from now on.
func (s *Session) useBackup(ctx context.Context, k key.BackupPrivate, version string) error {
	return s.st.Update(ctx, func(tx e2ee.Tx) error {
		if err := s.machine.SetBackupKey(tx, k); err != nil {
			return err
		}
		if err := tx.Put(keyBackup, []byte(version)); err != nil {
			return err
		}
		return s.machine.SaveAgain(tx)
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

// backedRooms is the body of room_keys/keys.
type backedRooms struct {
	Rooms map[quinta.RoomID]backedSessions `json:"rooms"`
}

type backedSessions struct {
	Sessions map[string]keybackup.Entry `json:"sessions"`
}

func (s *Session) savePart(ctx context.Context, version string, to key.BackupPublic, part []matrix.Backup) error {
	const op = "saving keys"
	body := backedRooms{Rooms: map[quinta.RoomID]backedSessions{}}
	for _, b := range part {
		e, err := keybackup.Seal(s.env.Rand, to, b.Session, b.Verified)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		room := quinta.RoomID(b.Session.RoomID)
		if body.Rooms[room].Sessions == nil {
			body.Rooms[room] = backedSessions{map[string]keybackup.Entry{}}
		}
		body.Rooms[room].Sessions[b.Session.SessionID] = e
	}
	if err := s.link.ask(ctx, op, http.MethodPut, path("room_keys", "keys")+"?version="+url.QueryEscape(version), body, nil); err != nil {
		return err
	}
	return s.st.Update(ctx, func(tx e2ee.Tx) error { return s.machine.Saved(tx, part) })
}

// UnlockBackup implements client.Backer. recovery is the key of the backup
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
			return 0, nil
		}
		return 0, quinta.E(quinta.KindNotFound, op, "the account has no key backup")
	}
	auth, err := keybackup.ParseAuthData(v.AuthData)
	if err != nil || v.Algorithm != backupAlgorithm {
		return 0, quinta.E(quinta.KindInvalid, op, "the backup has a form that is not supported")
	}
	var k key.BackupPrivate
	if opened {
		e, err := storage.secret(ctx, secretBackup)
		if err == nil {
			k, err = secretstorage.OpenBackup(storage.key, e, auth.PublicKey)
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
	return n, s.useBackup(ctx, k, v.Version)
}

// restore takes in all keys of a backup. Entries that are not what they say
// are left out.
func (s *Session) restore(ctx context.Context, version string, k key.BackupPrivate, progress func(done, all int)) (int, error) {
	const op = "reading the key backup"
	a, err := s.link.call(ctx, op, request{method: http.MethodGet, path: path("room_keys", "keys") + "?version=" + url.QueryEscape(version), max: maxExport, within: syncWithin})
	if err != nil {
		return 0, err
	}
	var all struct {
		Rooms map[quinta.RoomID]struct {
			Sessions map[string]json.RawMessage `json:"sessions"`
		} `json:"rooms"`
	}
	if err := a.decode(op, &all); err != nil {
		return 0, err
	}
	var sessions []keyexport.Session
	for room, r := range all.Rooms {
		for id, raw := range r.Sessions {
			var e keybackup.Entry
			if json.Unmarshal(raw, &e) != nil {
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

// A storage is secret storage that was opened.
type storage struct {
	s   *Session
	id  string
	key key.SecretStorageKey
}

// accountData reads account data of a type into v, and reports whether there
// is any.
func (s *Session) accountData(ctx context.Context, typ string, v any) (bool, error) {
	err := s.link.ask(ctx, "reading "+typ, http.MethodGet, path("user", string(s.account.User), "account_data", typ), nil, v)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return false, nil
	}
	return err == nil, err
}

// openStorage opens secret storage with a recovery key or a passphrase, and
// reports whether it could.
func (s *Session) openStorage(ctx context.Context, recovery client.Secret) (storage, bool, error) {
	var def struct {
		Key string `json:"key"`
	}
	if found, err := s.accountData(ctx, "m.secret_storage.default_key", &def); err != nil || !found || !validID(def.Key) {
		return storage{}, false, err
	}
	var raw json.RawMessage
	if found, err := s.accountData(ctx, "m.secret_storage.key."+def.Key, &raw); err != nil || !found {
		return storage{}, false, err
	}
	desc, err := secretstorage.ParseDescription(raw)
	if err != nil {
		return storage{}, false, nil // of a form that nobody here can open
	}
	var keys []key.SecretStorageKey
	if k, err := secretstorage.ParseKey(recovery.Reveal()); err == nil {
		keys = append(keys, k)
	}
	if desc.Passphrase != nil {
		if k, err := desc.Passphrase.Key(recovery.Reveal()); err == nil {
			keys = append(keys, k)
		}
	}
	i := slices.IndexFunc(keys, func(k key.SecretStorageKey) bool { return desc.MAC != "" && desc.Check(k) == nil })
	if i < 0 {
		return storage{}, false, nil
	}
	return storage{s, def.Key, keys[i]}, true, nil
}

// secret returns what is stored under a name.
func (st storage) secret(ctx context.Context, name string) (secretstorage.Encrypted, error) {
	var raw json.RawMessage
	found, err := st.s.accountData(ctx, name, &raw)
	if err != nil {
		return secretstorage.Encrypted{}, err
	}
	if !found {
		return secretstorage.Encrypted{}, secretstorage.ErrNotStored
	}
	return secretstorage.ParseSecret(raw, st.id)
}

// takeIdentity takes the cross-signing keys out of secret storage.
func (s *Session) takeIdentity(ctx context.Context, st storage) error {
	if err := s.refresh(ctx, s.account.User); err != nil {
		return err
	}
	var c matrix.CrossSigning
	for name, set := range map[string]func([]byte) error{
		"m.cross_signing.master":       parseInto(&c.Master),
		"m.cross_signing.self_signing": parseInto(&c.SelfSigning),
		"m.cross_signing.user_signing": parseInto(&c.UserSigning),
	} {
		e, err := st.secret(ctx, name)
		if errors.Is(err, secretstorage.ErrNotStored) {
			continue
		}
		if err != nil {
			return err
		}
		text, err := secretstorage.Open(st.key, name, e)
		if err != nil {
			return &quinta.Error{Kind: quinta.KindInvalid, Op: "opening secret storage", Err: err}
		}
		err = set(text)
		clear(text)
		if err != nil {
			return &quinta.Error{Kind: quinta.KindInvalid, Op: "opening secret storage", Err: err}
		}
	}
	// Keys that are not those which the server lists are refused.
	return trustError("opening secret storage", s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return s.machine.ImportCrossSigning(tx, c)
	}))
}

func parseInto[R key.SigningRole](k *key.SigningPrivate[R]) func([]byte) error {
	return func(text []byte) (err error) {
		*k, err = key.ParseSigningPrivate[R](string(text))
		return err
	}
}

const (
	// tendEvery is how often a session that runs looks after the backup.
	tendEvery = 20 * time.Second
	// askAtOnce bounds the keys that are asked for in one go, and askAgain is
	// how long the answer that there is none counts.
	askAtOnce = 50
	askAgain  = 30 * time.Minute
)

// tend keeps the backup complete, and looks in it for what messages wait for,
// while the session runs.
func (s *Session) tend(ctx context.Context) {
	asked := map[string]time.Time{}
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		if err := s.tendOnce(ctx, asked); err != nil && ctx.Err() == nil {
			s.troubled(err, tendEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Session) tendOnce(ctx context.Context, asked map[string]time.Time) error {
	var uses bool
	var unsaved []matrix.Backup
	var waiting map[quinta.RoomID][]string
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		b, err := tx.Get(keyBackup)
		if uses = b != nil; err != nil || !uses {
			return err
		}
		if unsaved, err = s.machine.Unsaved(tx, 1); err != nil {
			return err
		}
		waiting, err = s.machine.Waiting(tx)
		return err
	}); err != nil || !uses {
		return err
	}
	if len(unsaved) > 0 {
		if err := s.save(ctx); err != nil {
			return err
		}
	}
	now := s.env.Now()
	for place, at := range asked {
		if now.Sub(at) > askAgain {
			delete(asked, place)
		}
	}
	n := 0
	for room, ids := range waiting {
		for _, id := range ids {
			place := string(room) + "\x00" + id
			if _, done := asked[place]; done || n == askAtOnce {
				continue
			}
			n++
			asked[place] = now
			if err := s.fetchKey(ctx, room, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchKey looks for one session in the backup.
func (s *Session) fetchKey(ctx context.Context, room quinta.RoomID, id string) error {
	v, err := s.backup(ctx)
	if err != nil || v == nil {
		return err
	}
	k, err := s.backupKey(ctx, v)
	if err != nil || k.IsZero() {
		return err
	}
	var e keybackup.Entry
	at := path("room_keys", "keys", string(room), id) + "?version=" + url.QueryEscape(v.Version)
	err = s.link.ask(ctx, "looking for a key in the backup", http.MethodGet, at, nil, &e)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	sess, err := keybackup.Open(k, room, id, e.SessionData)
	if err != nil {
		return nil // an entry that is not what it says is as good as none
	}
	sess.RoomID, sess.SessionID = string(room), id
	_, err = s.takeIn(ctx, []keyexport.Session{sess}, nil)
	return err
}
