package main

import (
	"context"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

var restoredCommand = &command{
	Name:  "restored",
	Short: "tell quinta that this device was restored from a backup",
	Long: `Run this once, before any other command, after the home folder was restored
from a backup or copied from another computer. The keys in an old copy may have
been used since it was made, so quinta stops encrypting with them; messages that
the device could read stay readable. Never run one device in two places: log in
again on one of them.

Example: quinta restored --account @alice:example.org
`,
	Prepare: cli.Plain(runRestored),
}

func runRestored(ctx context.Context, a *app, args []string) error {
	return with(ctx, a, "restored stores", func(ctx context.Context, s client.Restorer, ac *account) error {
		if err := s.Restored(ctx); err != nil {
			return err
		}
		if a.opt.json {
			a.emit(eventLine{head: newHead("restored"), Account: ac.User})
		}
		a.say("the device continues from this copy, with new keys")
		return nil
	})
}
