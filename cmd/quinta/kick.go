package main

import (
	"context"
	"flag"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var kickCommand = &command{
	name:  "kick",
	args:  "ROOM USER [--reason TEXT]",
	short: "put a user out of a room",
	long: `Puts a user out of a room, or takes an invitation back. The key of the room
changes before the next message.

Example: quinta kick garden @mallory:example.org

  --reason TEXT   why, for all in the room to read; it is not encrypted
`,
	flags: func(fs *flag.FlagSet, o *options) { fs.StringVar(&o.reason, "reason", "", "") },
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 2, 2); err != nil {
			return err
		}
		return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
			m, ok := client.As[client.Moderator](s)
			if !ok {
				return failed(exitFailed, "", quinta.E(quinta.KindInvalid, "putting a user out", "this network has no such thing"))
			}
			room, err := resolve(ctx, s, args[0])
			if err != nil {
				return err
			}
			if err := m.Kick(ctx, room, quinta.UserID(args[1]), a.opt.reason); err != nil {
				return err
			}
			return a.roomResult(ctx, s, ac, "kicked", room)
		})
	},
}

// runRotate is "quinta keys rotate".
func runRotate(ctx context.Context, a *app, name string) error {
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		r, ok := client.As[client.KeyRotator](s)
		if !ok {
			return failed(exitFailed, "", quinta.E(quinta.KindInvalid, "changing a key", "this network has no such thing"))
		}
		room, err := resolve(ctx, s, name)
		if err != nil {
			return err
		}
		if err := r.RotateKey(ctx, room); err != nil {
			return err
		}
		if a.opt.json {
			a.emit(eventLine{head: newHead("rotated"), Account: ac.User, Room: room})
		}
		a.say("the next message begins with a new key")
		return s.Flush(ctx, func(e2ee.Event) {})
	})
}
