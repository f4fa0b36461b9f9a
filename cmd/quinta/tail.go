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
	name:  "tail",
	args:  "[ROOM ...] [--count N]",
	short: "print messages as they come",
	long: `Prints messages as they come, of all rooms or of those named, until it is
interrupted. A message that cannot be read says why, and is printed again when
its key comes.

Example: quinta tail --json | jq -r 'select(.type == "message") | .text'

  --count N   end after N messages
`,
	flags: func(fs *flag.FlagSet, o *options) { fs.IntVar(&o.count, "count", 0, "") },
	run: func(ctx context.Context, a *app, args []string) error {
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
				if ctx.Err() != nil && a.opt.count > 0 {
					return
				}
				if len(rooms) > 0 && e.Message.Room != "" && !slices.Contains(rooms, e.Message.Room) {
					return
				}
				a.tell(ac.User, e)
				if e.Kind == e2ee.EventMessage {
					if n++; n == a.opt.count {
						stop()
					}
				}
			})
		})
	},
}
