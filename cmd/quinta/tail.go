package main

import (
	"context"
	"flag"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

var tailCommand = &command{
	Name:  "tail",
	Args:  "[ROOM ...] [--count N]",
	Short: "print messages as they arrive",
	Long: `Prints messages as they arrive, in all rooms or in those named, until it is
interrupted. If a message cannot be read, tail says why, and prints it again
once its key has arrived.

Example: quinta tail --json | jq -r 'select(.type == "message") | .text'

  --count N   stop after N messages
`,
	Most: -1,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(tailFlags)
		fs.IntVar(&f.count, "count", 0, "")
		return f.run
	},
}

type tailFlags struct{ count int }

func (f *tailFlags) run(ctx context.Context, a *app, args []string) error {
	return with(ctx, a, "rooms", func(ctx context.Context, s client.Talker, ac *account) error {
		var rooms []quinta.RoomID
		for _, want := range args {
			id, err := resolve(ctx, s, want)
			if err != nil {
				return err
			}
			rooms = append(rooms, id)
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		n := 0
		return s.Run(ctx, func(e e2ee.Event) {
			if ctx.Err() != nil && f.count > 0 {
				return
			}
			if len(rooms) > 0 && e.Message.Room != "" && !slices.Contains(rooms, e.Message.Room) {
				return
			}
			a.tell(ac.User, e)
			if e.Kind == e2ee.EventMessage {
				if n++; n == f.count {
					stop()
				}
			}
		})
	})
}
