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
	Name:  "keys",
	Args:  "export FILE | import FILE | backup [create|unlock] | identity [create] | rotate ROOM",
	Short: "export, back up and rotate keys, and manage your identity",
	Long: `Exports the keys to all messages that this device can read into a file,
encrypted under a passphrase, or imports such a file, whichever program wrote
it. The passphrase is asked for, or taken from QUINTA_EXPORT_PASSPHRASE.

  backup           show whether the server has an encrypted backup of your keys
  backup create    create one, and print its recovery key once: keep it safe.
                   It also opens the private keys of your identity. If this
                   device already uses a backup, that backup is kept and gets a
                   new recovery key
  backup unlock    open the backup with the recovery key or passphrase, which is
                   asked for, or taken from QUINTA_RECOVERY_KEY; import its
                   keys, keep it up to date from now on, and sign this device
  identity         show your identity (cross-signing keys), and whether it has
                   signed this device
  identity create  create one and sign this device. If the server wants your
                   password, it is asked for, or taken from QUINTA_PASSWORD
  rotate ROOM      use a new key for a room, starting with the next message

Example: quinta keys export keys.txt

  --password-fd N      read the password from a file descriptor
  --recovery-fd N      the same for the recovery key or passphrase of the backup
  --passphrase         with 'backup create': choose a passphrase that opens the
                       backup as well; it is asked for, or taken from
                       QUINTA_BACKUP_PASSPHRASE
  --reset              discard what this device cannot open: the existing backup
                       or identity. Your contacts see that it has changed
`,
	Subs: []string{"export", "import", "backup", "identity", "rotate"},
	Most: -1,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(keysFlags)
		fs.BoolVar(&f.reset, "reset", false, "")
		fs.BoolVar(&f.passphrase, "passphrase", false, "")
		fs.IntVar(&f.passwordFD, "password-fd", -1, "")
		fs.IntVar(&f.recoveryFD, "recovery-fd", -1, "")
		return f.run
	},
}

type keysFlags struct {
	reset, passphrase      bool
	passwordFD, recoveryFD int
}

// keysLine is the result in JSON.
type keysLine struct {
	head
	Keys int `json:"keys"`
}

func (f *keysFlags) run(ctx context.Context, a *app, args []string) error {
	switch {
	case len(args) > 0 && args[0] == "backup":
		return f.backup(ctx, a, args[1:])
	case len(args) > 0 && args[0] == "identity":
		return f.identity(ctx, a, args[1:])
	case len(args) == 2 && args[0] == "rotate":
		return a.rotate(ctx, args[1])
	case len(args) != 2 || args[0] != "export" && args[0] != "import":
		return misused("keys takes 'export FILE', 'import FILE', 'backup', 'identity' or 'rotate ROOM'")
	}
	return with(ctx, a, "exporting keys", func(ctx context.Context, s client.KeyPorter, ac *account) error {
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
		return failed(exitFailed, "choose another file", fmt.Errorf("%s exists already", path))
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
	a.say("exported %s to %s", plural(n, "key", "keys"), path)
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
	a.say("imported %s from %s", plural(n, "key", "keys"), path)
	return nil
}
