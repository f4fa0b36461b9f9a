package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/cmd/internal/durable"
)

var accountsCommand = &command{
	Name:  "accounts",
	Args:  "[default ID]",
	Short: "list the accounts on this computer, or set the default",
	Long: `Lists the accounts on this computer. With 'default ID', makes that account the
default for commands without --account.

Example: quinta accounts default @alice:example.org
`,
	Subs:    []string{"default"},
	Most:    2,
	Prepare: cli.Plain(runAccounts),
}

func runAccounts(ctx context.Context, a *app, args []string) error {
	if len(args) > 0 {
		if args[0] != "default" || len(args) != 2 {
			return misused("accounts takes no arguments, or 'default ID'")
		}
		return a.setDefault(args[1])
	}
	list, err := a.accounts()
	if err != nil {
		return err
	}
	def, err := os.ReadFile(a.defaultPath())
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, ac := range list {
		is := strings.TrimSpace(string(def)) == string(ac.User)
		if a.opt.json {
			a.emit(accountLine{newHead("account"), ac.Network, ac.User, ac.Device, ac.Server, is, ac.Policies})
			continue
		}
		mark := ""
		if is {
			mark = " (default)"
		}
		if len(ac.Policies) > 0 {
			mark = " under " + oneLine(strings.Join(ac.Policies, ", ")) + mark
		}
		a.say("%s %s device %s at %s%s", ac.Network, oneLine(string(ac.User)), oneLine(string(ac.Device)), oneLine(ac.Server), mark)
	}
	if len(list) == 0 {
		a.note("there is no account on this computer yet; try: " + exampleOf("login", "https://example.org"))
	}
	return nil
}

// setDefault stores which account commands use by default.
func (a *app) setDefault(id string) error {
	a.opt.account = id
	if _, err := a.chosen(); err != nil {
		return err
	}
	return durable.WriteFile(a.defaultPath(), []byte(id+"\n"))
}

// defaultPath is the file that names the default account.
func (a *app) defaultPath() string { return filepath.Join(a.opt.home, "default") }
