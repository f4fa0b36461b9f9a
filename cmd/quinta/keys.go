package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var keysCommand = &command{
	name:  "keys",
	args:  "export FILE | import FILE | backup [create|unlock]",
	short: "take the keys of messages to another device",
	long: `Writes the keys of all messages that this device can read into a file, sealed
under a passphrase, or reads such a file, of this program or of another one.
The passphrase is asked for, or taken from QUINTA_EXPORT_PASSPHRASE.

  backup          say whether the server has a backup of the keys, sealed
  backup create   make one; its recovery key is printed once: keep it
  backup unlock   read the backup with its recovery key, which is asked for, or
                  taken from QUINTA_RECOVERY_KEY, and use it from now on

Example: quinta keys export keys.txt
`,
	subs: []string{"export", "import", "backup"},
	run:  runKeys,
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
	if len(args) != 2 || (args[0] != "export" && args[0] != "import") {
		return misused("keys takes 'export FILE', 'import FILE' or 'backup'")
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
	if err := writeFile(path, b.Bytes()); err != nil {
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
