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
	name:  "logout",
	args:  "[--force]",
	short: "end this device and forget its keys",
	long: `Signs the device out and removes its store. Messages that only this device
can read are lost with it: 'quinta keys export' saves their keys.

  --force   remove the store even if the server does not answer
`,
	flags: func(fs *flag.FlagSet, o *options) { fs.BoolVar(&o.force, "force", false, "") },
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		var dir string
		err := with(ctx, a, "way to log out", func(ctx context.Context, s client.Leaver, ac *account) error {
			dir = ac.dir
			ctx, cancel := a.limited(ctx)
			defer cancel()
			return s.Logout(ctx)
		})
		gone := quinta.KindOf(err) == quinta.KindUnauthenticated
		if err != nil && !gone && !a.opt.force {
			return err
		}
		if dir == "" {
			return errors.Join(err, errors.New("the store was not opened, so nothing was removed"))
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if a.opt.json {
			a.emit(newHead("logout"))
		}
		a.say("logged out")
		return nil
	},
}
