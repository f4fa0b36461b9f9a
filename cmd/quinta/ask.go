package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// askedLine is how many messages were asked for, in JSON.
type askedLine struct {
	head
	Account  quinta.UserID `json:"account"`
	Messages int           `json:"messages"`
}

var askCommand = &command{
	name:  "ask",
	short: "ask senders to seal again what cannot be read here",
	long: `Tells the senders of all messages that cannot be read here, because their keys
are lost, that no device of the account could. The device of a sender who has
verified this device then seals them again by itself. Where there is a backup,
unlock it first.

Example: quinta ask
`,
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		return with(ctx, a, "way to ask senders again", func(ctx context.Context, s client.Asker, ac *account) error {
			ctx, cancel := a.limited(ctx)
			defer cancel()
			if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
				return err
			}
			n, err := s.AskAgain(ctx)
			if err != nil {
				return err
			}
			if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
				return err
			}
			if a.opt.json {
				a.emit(askedLine{newHead("asked"), ac.User, n})
			}
			a.say("asked for %s", plural(n, "message", "messages"))
			return nil
		})
	},
}
