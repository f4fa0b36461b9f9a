package main

import (
	"context"
	"flag"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var kickCommand = &command{
	Name:  "kick",
	Args:  "ROOM USER [--reason TEXT]",
	Short: "remove a user from a room",
	Long: `Removes a user from a room, or withdraws an invitation. The key of the room
changes before the next message.

Example: quinta kick garden @mallory:example.org

  --reason TEXT   the reason, which everyone in the room can read. It is not
                  encrypted
`,
	Least: 2, Most: 2,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(kickFlags)
		fs.StringVar(&f.reason, "reason", "", "")
		return f.run
	},
}

type kickFlags struct{ reason string }

func (f *kickFlags) run(ctx context.Context, a *app, args []string) error {
	return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		m, ok := client.As[client.Moderator](s)
		if !ok {
			return cannot(ac, "removing users")
		}
		if err := m.Kick(ctx, room, quinta.UserID(args[1]), f.reason); err != nil {
			return err
		}
		return a.roomResult(ctx, s, ac, "kicked", room)
	})
}
