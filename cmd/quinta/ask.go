package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/e2ee"
)

// askedLine is how many messages were requested, in JSON.
type askedLine struct {
	head
	Account  quinta.UserID `json:"account"`
	Messages int           `json:"messages"`
}

var askCommand = &command{
	Name:  "ask",
	Short: "ask senders to re-encrypt messages this device cannot read",
	Long: `Asks the senders of all messages that cannot be read here, because their keys
are lost, to encrypt them again. If a sender has verified this device, the
sender's device does so automatically. If you have a backup, unlock it first.

Example: quinta ask
`,
	Prepare: cli.Plain(runAsk),
}

func runAsk(ctx context.Context, a *app, args []string) error {
	return with(ctx, a, "asking senders again", func(ctx context.Context, s client.Asker, ac *account) error {
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
}
