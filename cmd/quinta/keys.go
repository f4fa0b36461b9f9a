package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/durable"
	"github.com/quinta-chat/quinta/e2ee"
)

var keysCommand = &command{
	name:  "keys",
	args:  "export FILE | import FILE | backup [create|unlock] | identity [create] | rotate ROOM",
	short: "keep and move keys, and the account's identity",
	long: `Writes the keys of all messages that this device can read into a file, sealed
under a passphrase, or reads such a file, of this program or of another one.
The passphrase is asked for, or taken from QUINTA_EXPORT_PASSPHRASE.

  backup           say whether the server has a backup of the keys, sealed
  backup create    make one. Its recovery key is printed once: keep it. It opens
                   the private keys of the identity as well. A backup that this
                   device uses stays, and gets a new recovery key
  backup unlock    read what is kept with the recovery key or passphrase, which
                   is asked for, or taken from QUINTA_RECOVERY_KEY; use the
                   backup from now on, and sign this device
  identity         say whether the account has cross-signing keys, and what this
                   device has of them
  identity create  make them and sign this device. The password may be needed:
                   it is asked for, or taken from QUINTA_PASSWORD
  rotate ROOM      change the key of a room before the next message

Example: quinta keys export keys.txt

  --password-fd N      read the password from a file descriptor
  --recovery-fd N      the same for the recovery key or passphrase of the backup
  --passphrase         of 'backup create': a passphrase opens it as well, which
                       is asked for, or taken from QUINTA_BACKUP_PASSPHRASE
  --reset              give up what this device cannot open: the backup that is
                       there, or the identity. Contacts are told that it changed
`,
	subs: []string{"export", "import", "backup", "identity", "rotate"},
	flags: func(fs *flag.FlagSet, o *options) {
		fs.BoolVar(&o.reset, "reset", false, "")
		fs.BoolVar(&o.passphrase, "passphrase", false, "")
		fs.IntVar(&o.passwordFD, "password-fd", -1, "")
		fs.IntVar(&o.recoveryFD, "recovery-fd", -1, "")
	},
	run: runKeys,
}

// keysLine is the result in JSON.
type keysLine struct {
	head
	Keys int `json:"keys"`
}

func runKeys(ctx context.Context, a *app, args []string) error {
	if len(args) > 0 && args[0] == "backup" {
		return runBackup(ctx, a, args[1:])
	}
	if len(args) > 0 && args[0] == "identity" {
		return runIdentity(ctx, a, args[1:])
	}
	if len(args) == 2 && args[0] == "rotate" {
		return runRotate(ctx, a, args[1])
	}
	if len(args) != 2 || (args[0] != "export" && args[0] != "import") {
		return misused("keys takes 'export FILE', 'import FILE', 'backup', 'identity' or 'rotate ROOM'")
	}
	return with(ctx, a, "keys to take along", func(ctx context.Context, s client.KeyPorter, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		if args[0] == "export" {
			return a.exportKeys(ctx, s, args[1])
		}
		return a.importKeys(ctx, s, args[1])
	})
}

func (a *app) exportKeys(ctx context.Context, s client.KeyPorter, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return failed(exitFailed, "name another file", fmt.Errorf("%s exists", path))
	}
	p, err := a.ask("a passphrase for the file", a.opt.passphraseFD, "QUINTA_EXPORT_PASSPHRASE", true)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	n, err := s.ExportKeys(ctx, &b, p)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, b.Bytes()); err != nil {
		return err
	}
	if a.opt.json {
		a.emit(keysLine{newHead("exported"), n})
	}
	a.say("%d keys written to %s", n, path)
	return nil
}

func (a *app) importKeys(ctx context.Context, s client.KeyPorter, path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p, err := a.ask("the passphrase of the file", a.opt.passphraseFD, "QUINTA_EXPORT_PASSPHRASE", false)
	if err != nil {
		return err
	}
	n, err := s.ImportKeys(ctx, f, p, a.progress("keys"))
	if err != nil {
		return err
	}
	if a.opt.json {
		a.emit(keysLine{newHead("imported"), n})
	}
	a.say("%d keys read from %s", n, path)
	return nil
}
