package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/e2ee"
)

var approveCommand = &command{
	Name:  "approve",
	Args:  "DEVICE [KEY ...]",
	Short: "approve another device's new keys, or give it keys to read with",
	Long: `With KEYs, lets another of your devices have these new keys certified, after its
old ones expired or were revoked. 'quinta doctor' on that device shows their
fingerprints; compare them before you approve.
Without a KEY, sends that device the keys to messages that none of your devices
has read yet. Verify it first.

Example: quinta approve JDK6EIEYAF37 3f0c91aa...
`,
	Least: 1, Most: -1,
	Prepare: cli.Plain(runApprove),
}

func runApprove(ctx context.Context, a *app, args []string) error {
	return with(ctx, a, "approving devices", func(ctx context.Context, s client.Approver, ac *account) error {
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
}
