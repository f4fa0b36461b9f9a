package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// backupLine is the state of the key backup in JSON. The recovery key stands
// in it only when it was just made.
type backupLine struct {
	head
	Account  quinta.UserID `json:"account"`
	Exists   bool          `json:"exists"`
	Unlocked bool          `json:"unlocked"`
	Keys     int           `json:"keys"`
	Recovery string        `json:"recovery_key,omitempty"`
}

// runBackup is "quinta keys backup".
func runBackup(ctx context.Context, a *app, args []string) error {
	if len(args) > 1 || len(args) == 1 && args[0] != "create" && args[0] != "unlock" {
		return misused("keys backup takes nothing, 'create' or 'unlock'")
	}
	return with(ctx, a, "key backup", func(ctx context.Context, s client.BackupKeeper, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		l := backupLine{head: newHead("backup"), Account: ac.User}
		switch {
		case len(args) == 0:
		case args[0] == "create":
			k, err := a.createBackup(ctx, s)
			if quinta.KindOf(err) == quinta.KindExists {
				return failed(exitFailed, "quinta keys backup unlock, or quinta keys backup create --reset", err)
			}
			if err != nil {
				return err
			}
			l.Recovery = k.Reveal()
			a.say("the recovery key; write it down, it is not shown again:\n%s", l.Recovery)
		default:
			k, err := a.ask("the recovery key or passphrase", a.opt.recoveryFD, "QUINTA_RECOVERY_KEY", false)
			if err != nil {
				return err
			}
			n, err := s.UnlockBackup(ctx, k, a.progress("keys"))
			if quinta.KindOf(err) == quinta.KindUnauthenticated {
				return failed(exitNotTrusted, "look at the words or letters again: the whole key is needed", err)
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
			a.say("there is no backup: quinta keys backup create")
		case !info.Unlocked:
			a.say("there is a backup of %s, and this device cannot open it: quinta keys backup unlock", plural(info.Keys, "key", "keys"))
		default:
			a.say("there is a backup of %s, and this device uses it", plural(info.Keys, "key", "keys"))
		}
		return nil
	})
}

// createBackup makes a backup as the flags say.
func (a *app) createBackup(ctx context.Context, s client.BackupKeeper) (client.Secret, error) {
	r, ok := client.As[client.RecoveryKeeper](s)
	if !ok {
		if a.opt.reset || a.opt.passphrase {
			return client.Secret{}, misused("backups of this network have one recovery key, and no passphrase")
		}
		return s.CreateBackup(ctx)
	}
	in := client.NewBackup{Reset: a.opt.reset}
	if a.opt.passphrase {
		p, err := a.ask("a passphrase for the backup", a.opt.recoveryFD, "QUINTA_BACKUP_PASSPHRASE", true)
		if err != nil {
			return client.Secret{}, err
		}
		in.Passphrase = p
	}
	if in.Reset {
		a.note("warning: what only the old recovery key opens is given up")
	}
	return r.CreateBackupBy(ctx, in)
}
