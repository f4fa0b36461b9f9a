package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// backupLine is the state of the key backup in JSON. It has the recovery key only
// when that has just been created.
type backupLine struct {
	head
	Account  quinta.UserID `json:"account"`
	Exists   bool          `json:"exists"`
	Unlocked bool          `json:"unlocked"`
	Keys     int           `json:"keys"`
	Recovery string        `json:"recovery_key,omitempty"`
}

// backup is "quinta keys backup".
func (f *keysFlags) backup(ctx context.Context, a *app, args []string) error {
	if len(args) > 1 || len(args) == 1 && args[0] != "create" && args[0] != "unlock" {
		return misused("keys backup takes no arguments, 'create' or 'unlock'")
	}
	return with(ctx, a, "key backups", func(ctx context.Context, s client.BackupKeeper, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		l := backupLine{head: newHead("backup"), Account: ac.User}
		switch {
		case len(args) == 0:
		case args[0] == "create":
			k, err := f.create(ctx, a, s)
			if quinta.KindOf(err) == quinta.KindExists {
				return failed(exitFailed, "unlock it with 'quinta keys backup unlock', or discard it with 'quinta keys backup create --reset'", err)
			}
			if err != nil {
				return err
			}
			l.Recovery = k.Reveal()
			a.say("the recovery key (write it down: it will not be shown again):\n%s", l.Recovery)
		default:
			k, err := a.ask("the recovery key or passphrase", f.recoveryFD, "QUINTA_RECOVERY_KEY", false)
			if err != nil {
				return err
			}
			n, err := s.UnlockBackup(ctx, k, a.progress("keys"))
			if quinta.KindOf(err) == quinta.KindUnauthenticated {
				return failed(exitNotTrusted, "check the words or letters: the whole key is needed", err)
			}
			if err != nil {
				return err
			}
			a.say("%s new", plural(n, "key is", "keys are"))
		}
		info, err := s.Backup(ctx)
		if err != nil {
			return err
		}
		l.Exists, l.Unlocked, l.Keys = info.Exists, info.Unlocked, info.Keys
		if a.opt.json {
			a.emit(l)
		}
		switch {
		case !info.Exists:
			a.say("there is no backup; create one with 'quinta keys backup create'")
		case !info.Unlocked:
			a.say("there is a backup of %s, but this device cannot open it; unlock it with 'quinta keys backup unlock'", plural(info.Keys, "key", "keys"))
		default:
			a.say("there is a backup of %s, and this device uses it", plural(info.Keys, "key", "keys"))
		}
		return nil
	})
}

// create makes a backup as the flags say.
func (f *keysFlags) create(ctx context.Context, a *app, s client.BackupKeeper) (client.Secret, error) {
	r, ok := client.As[client.RecoveryKeeper](s)
	if !ok {
		if f.reset || f.passphrase {
			return client.Secret{}, misused("on this network, a backup has a recovery key but no passphrase, and cannot be reset")
		}
		return s.CreateBackup(ctx)
	}
	in := client.NewBackup{Reset: f.reset}
	if f.passphrase {
		p, err := a.ask("a passphrase for the backup", f.recoveryFD, "QUINTA_BACKUP_PASSPHRASE", true)
		if err != nil {
			return client.Secret{}, err
		}
		in.Passphrase = p
	}
	if in.Reset {
		a.note("warning: everything that only the old recovery key opens will be lost")
	}
	return r.CreateBackupBy(ctx, in)
}
