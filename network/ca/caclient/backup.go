package caclient

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/network/ca/wire"
)

var _ client.BackupKeeper = (*Session)(nil)

// maxTag bounds the version of a backup that the server gives, in bytes.
const maxTag = 200

// backup returns the server's sealed backup, or nil if there is none.
func (s *Session) backup(ctx context.Context, op string) (*ca.Backup, error) {
	var b wire.Backup
	err := s.link.ask(ctx, op, get(wire.PathBackup), nil, &b)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(b.Sealed) > wire.MaxBackup || len(b.Tag) > maxTag {
		return nil, quinta.E(quinta.KindTooLarge, op, "the server's backup is too large")
	}
	return &ca.Backup{Sealed: b.Sealed, Tag: b.Tag}, nil
}

// Backup implements client.BackupKeeper.
func (s *Session) Backup(ctx context.Context) (client.BackupInfo, error) {
	const op = "looking for the key backup"
	b, err := s.backup(ctx, op)
	if err != nil {
		return client.BackupInfo{}, err
	}
	var info ca.BackupInfo
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { info, err = s.machine.BackupState(tx); return err }); err != nil {
		return client.BackupInfo{}, errorOf(op, err)
	}
	out := client.BackupInfo{Exists: b != nil, Unlocked: b != nil && info.Enabled}
	if out.Unlocked {
		out.Keys = info.Keys
	}
	return out, nil
}

// CreateBackup implements client.BackupKeeper. The recovery key is 24 words.
// An existing backup is replaced by the new one.
func (s *Session) CreateBackup(ctx context.Context) (client.Secret, error) {
	const op = "making a key backup"
	var k [32]byte
	defer clear(k[:])
	if _, err := io.ReadFull(s.env.Rand, k[:]); err != nil {
		return client.Secret{}, fmt.Errorf("%s: %w", op, err)
	}
	old, err := s.backup(ctx, op)
	if err != nil {
		return client.Secret{}, err
	}
	if old != nil {
		if err := s.link.ask(ctx, op, del(wire.PathBackup), wire.Empty{}, nil); err != nil && quinta.KindOf(err) != quinta.KindNotFound {
			return client.Secret{}, err
		}
	}
	if err := s.carry(ctx, op, &errand{kind: ca.ReqPutBackup}, func(tx e2ee.Tx) error { return s.machine.EnableBackup(tx, seal.FromRecovery(k)) }, nil); err != nil {
		return client.Secret{}, err
	}
	return client.NewSecret(seal.RecoveryText(k)), nil
}

// secretFor makes what opens a sealed backup of what a person typed: the words
// of a recovery key, or a passphrase.
func secretFor(op string, sealed []byte, typed client.Secret) (*seal.BackupSecret, error) {
	byPassphrase, err := seal.BackupByPassphrase(sealed)
	if err != nil {
		return nil, errorOf(op, err)
	}
	if byPassphrase {
		secret, err := seal.FromPassphrase(typed.Reveal())
		if err != nil {
			return nil, quinta.E(quinta.KindUnauthenticated, op, "this is not the passphrase of the backup")
		}
		return secret, nil
	}
	k, err := seal.ParseRecovery(typed.Reveal())
	if err != nil {
		return nil, &quinta.Error{Kind: quinta.KindUnauthenticated, Op: op, Err: err}
	}
	return seal.FromRecovery(k), nil
}

// UnlockBackup implements client.BackupKeeper.
func (s *Session) UnlockBackup(ctx context.Context, recovery client.Secret, progress func(done, all int)) (int, error) {
	const op = "unlocking the key backup"
	b, err := s.backup(ctx, op)
	if err != nil {
		return 0, err
	}
	if b == nil {
		return 0, quinta.E(quinta.KindNotFound, op, "the account has no key backup")
	}
	secret, err := secretFor(op, b.Sealed, recovery)
	if err != nil {
		return 0, err
	}
	n := 0
	err = s.do(ctx, false, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		n, events, err = s.machine.Restore(tx, *b, secret)
		return events, err
	})
	if errors.Is(err, seal.ErrTampered) {
		return 0, quinta.E(quinta.KindUnauthenticated, op, "this is not the recovery key of the backup, or the backup was changed")
	}
	if err == nil && progress != nil {
		progress(n, n)
	}
	return n, errorOf(op, err)
}
