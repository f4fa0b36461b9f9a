package rocketchatclient

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

var _ client.RecoveryKeeper = (*Session)(nil)

// keys returns the state of the key pair, after the server has answered clearly.
func (s *Session) keys(ctx context.Context) (rocketchat.KeyInfo, error) {
	var info rocketchat.KeyInfo
	err := s.runner.Wait(ctx, "asking for the keys of the account", func(tx e2ee.Tx) (bool, error) {
		var err error
		info, err = s.machine.Keys(tx)
		return info.Phase != rocketchat.PhaseUnknown && info.Phase != rocketchat.PhaseStoring, err
	})
	return info, err
}

// Backup implements client.BackupKeeper. On this network the key pair itself is on
// the server, sealed under the E2E password: that is the backup.
func (s *Session) Backup(ctx context.Context) (client.BackupInfo, error) {
	info, err := s.keys(ctx)
	if err != nil {
		return client.BackupInfo{}, err
	}
	b := client.BackupInfo{Exists: info.Fingerprint != "", Unlocked: info.Phase == rocketchat.PhaseOpen}
	if b.Exists {
		b.Keys = 1
	}
	return b, nil
}

// CreateBackup implements client.BackupKeeper. It returns the E2E password: the one
// that was made at the login and that no one has seen yet, or else a new one.
func (s *Session) CreateBackup(ctx context.Context) (client.Secret, error) {
	return s.CreateBackupBy(ctx, client.NewBackup{})
}

// CreateBackupBy implements client.RecoveryKeeper. A passphrase becomes the E2E
// password; the key pair stays, and the blob that the server keeps has the newest
// format. Reset makes a new key pair: messages sealed for the old one can be read
// only if other members offer their room keys again.
func (s *Session) CreateBackupBy(ctx context.Context, in client.NewBackup) (client.Secret, error) {
	const op = "creating an E2E password"
	info, err := s.keys(ctx)
	if err != nil {
		return client.Secret{}, err
	}
	password := in.Passphrase.Reveal()
	if password != "" {
		if err := rocketchat.CheckPassword(password); err != nil {
			return client.Secret{}, errorOf(op, err)
		}
	}
	if info.Phase == rocketchat.PhaseLocked && !in.Reset {
		return client.Secret{}, quinta.E(quinta.KindExists, op, "the account has E2E keys that this device cannot open: unlock them with the E2E password, or reset them")
	}
	if in.Reset {
		// The server forgets the old pair and what is wrapped for it, so that the
		// user waits for the keys of their rooms again.
		err := s.link.post(ctx, op, "e2e.emptyKeychain", object{}, nil)
		if quinta.KindOf(err) == quinta.KindNotFound && err != nil {
			return client.Secret{}, quinta.E(quinta.KindForbidden, op, "this workspace resets E2E keys in its own app only")
		}
		if err != nil {
			return client.Secret{}, err
		}
	}
	if err := s.change(ctx, op, func(tx e2ee.Tx) error {
		if in.Reset {
			if password == "" {
				if password, err = rocketchat.GeneratePassword(s.env.Rand); err != nil {
					return err
				}
			}
			return s.machine.CreateKeys(tx, password, true)
		}
		if password == "" && info.Untaken {
			var err error
			password, err = s.machine.Password(tx)
			return err
		}
		if password == "" {
			if password, err = rocketchat.GeneratePassword(s.env.Rand); err != nil {
				return err
			}
		}
		return s.machine.ChangePassword(tx, password)
	}); err != nil {
		return client.Secret{}, err
	}
	// It counts only once the server has given back what it stores.
	if err := s.runner.Wait(ctx, "storing the keys of the account", func(tx e2ee.Tx) (bool, error) {
		return s.machine.Stored(tx, password)
	}); err != nil {
		return client.Secret{}, err
	}
	return client.NewSecret(password), s.change(ctx, op, func(tx e2ee.Tx) error { return s.machine.TookPassword(tx) })
}

// UnlockBackup implements client.BackupKeeper: the E2E password opens the key pair.
// Messages that waited for it come as events.
func (s *Session) UnlockBackup(ctx context.Context, recovery client.Secret, _ func(done, all int)) (int, error) {
	const op = "unlocking the E2E keys"
	info, err := s.keys(ctx)
	if err != nil {
		return 0, err
	}
	err = s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.Unlock(tx, recovery.Reveal()) })
	if err != nil {
		return 0, errorOf(op, err)
	}
	if info.Phase == rocketchat.PhaseOpen {
		return 0, nil
	}
	return 1, nil
}
