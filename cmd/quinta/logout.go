package main

import (
	"context"
	"errors"
	"flag"
	"os"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var logoutCommand = &command{
	Name:  "logout",
	Args:  "[--force]",
	Short: "sign this device out and delete its keys",
	Long: `Signs this device out and deletes its store. Messages that only this device can
read are lost: save their keys with 'quinta keys export' or 'quinta keys backup
create' first.

Example: quinta logout

  --force   delete the store even if the server does not answer
`,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(logoutFlags)
		fs.BoolVar(&f.force, "force", false, "")
		return f.run
	},
}

type logoutFlags struct{ force bool }

func (f *logoutFlags) run(ctx context.Context, a *app, args []string) error {
	var dir string
	err := with(ctx, a, "logging out", func(ctx context.Context, s client.Leaver, ac *account) error {
		dir = ac.dir
		ctx, cancel := a.limited(ctx)
		defer cancel()
		return s.Logout(ctx)
	})
	gone := quinta.KindOf(err) == quinta.KindUnauthenticated
	if err != nil && !gone && !f.force {
		return err
	}
	if dir == "" {
		return errors.Join(err, errors.New("the store could not be opened, so nothing was deleted"))
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if a.opt.json {
		a.emit(newHead("logout"))
	}
	a.say("logged out")
	return nil
}
