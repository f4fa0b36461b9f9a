package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var approveCommand = &command{
	name:  "approve",
	args:  "DEVICE [KEY ...]",
	short: "let another device of the account have new keys, or keys to read",
	long: `With KEYs: lets another device of the account enrol these keys in the place of
its own, which have expired or were revoked. The other device shows their
fingerprints in 'quinta doctor'; compare them.
Without: sends the keys that open what nobody has read yet to another device,
which was verified before.

Example: quinta approve JDK6EIEYAF37 3f0c91aa...
`,
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 1, -1); err != nil {
			return err
		}
		return with(ctx, a, "devices that approve each other", func(ctx context.Context, s client.Approver, ac *account) error {
			ctx, cancel := a.limited(ctx)
			defer cancel()
			if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
				return err
			}
			give := s.Give
			if len(args) > 1 {
				give = func(ctx context.Context, id quinta.DeviceID) error { return s.Approve(ctx, id, args[1:]...) }
			}
			if err := give(ctx, quinta.DeviceID(args[0])); err != nil {
				return err
			}
			if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
				return err
			}
			if a.opt.json {
				a.emit(eventLine{head: newHead("approved"), Account: ac.User, Device: quinta.DeviceID(args[0])})
			}
			a.say("approved")
			return nil
		})
	},
}
