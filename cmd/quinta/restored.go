package main

import (
	"context"

	"github.com/quinta-chat/quinta/client"
)

var restoredCommand = &command{
	name:  "restored",
	short: "say that this device was put back to an old copy",
	long: `To be used once after the home folder came back from a backup, or was copied
from that of a device that goes on: before anything else is done with it. What
the copy could seal with may have been used since, so none of it is used again.
What the device could read it still reads. A device that runs in two places
must not be: log one of them out, and in as a new device.

Example: quinta restored --account @alice:example.org
`,
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		return with(ctx, a, "way to go on from an old copy", func(ctx context.Context, s client.Restorer, ac *account) error {
			if err := s.Restored(ctx); err != nil {
				return err
			}
			if a.opt.json {
				a.emit(eventLine{head: newHead("restored"), Account: ac.User})
			}
			a.say("the device goes on from this copy with new keys")
			return nil
		})
	},
}
