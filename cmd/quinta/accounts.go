package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/quinta-chat/quinta/cmd/internal/durable"
)

var accountsCommand = &command{
	name:  "accounts",
	args:  "[default ID]",
	short: "list the accounts on this device, or choose one",
	long: `Lists the accounts. With 'default ID', makes one the default for all
commands that do not say --account.

Example: quinta accounts default @alice:example.org
`,
	subs: []string{"default"},
	run: func(ctx context.Context, a *app, args []string) error {
		if len(args) > 0 {
			if args[0] != "default" || len(args) != 2 {
				return misused("accounts takes nothing, or 'default ID'")
			}
			a.opt.account = args[1]
			if _, err := a.chosen(); err != nil {
				return err
			}
			return durable.WriteFile(filepath.Join(a.opt.home, "default"), []byte(args[1]+"\n"))
		}
		list, err := a.accounts()
		if err != nil {
			return err
		}
		def, err := os.ReadFile(filepath.Join(a.opt.home, "default"))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, ac := range list {
			is := strings.TrimSpace(string(def)) == string(ac.User)
			if a.opt.json {
				a.emit(accountLine{newHead("account"), ac.Network, ac.User, ac.Device, ac.Server, is})
				continue
			}
			mark := ""
			if is {
				mark = " (default)"
			}
			a.say("%s %s device %s at %s%s", ac.Network, oneLine(string(ac.User)), oneLine(string(ac.Device)), oneLine(ac.Server), mark)
		}
		if len(list) == 0 {
			a.note("no account yet; try: quinta login matrix https://example.org alice")
		}
		return nil
	},
}
