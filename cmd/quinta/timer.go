package main

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/e2ee"
)

// timerLine is the timer of a room, in JSON.
type timerLine struct {
	head
	Account quinta.UserID `json:"account"`
	Room    quinta.RoomID `json:"room"`
	Seconds int64         `json:"seconds"`
}

var timerCommand = &command{
	Name:  "timer",
	Args:  "ROOM TIME|off",
	Short: "let the messages of a secret chat disappear after they are read",
	Long: `Sets the timer of a secret chat for the messages that follow, on both sides:
each disappears the given time after it was read, and a file after it was
opened. The time is whole seconds up to a week, such as 30s, 5m or 24h.

Example: quinta timer 1234567 30s
`,
	Least: 2, Most: 2,
	Prepare: cli.Plain(runTimer),
}

func runTimer(ctx context.Context, a *app, args []string) error {
	var d time.Duration
	if args[1] != "off" {
		var err error
		if d, err = time.ParseDuration(args[1]); err != nil || d <= 0 {
			return quinta.E(quinta.KindInvalid, "timer", "the time must be like 30s, 5m or 24h, or off")
		}
	}
	return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		t, ok := client.As[client.TimerSetter](s)
		if !ok {
			return quinta.E(quinta.KindInvalid, "timer", "the rooms of this network have no timer")
		}
		if err := t.SetTimer(ctx, room, d); err != nil {
			return err
		}
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		if a.opt.json {
			a.emit(timerLine{newHead("timer"), ac.User, room, int64(d / time.Second)})
		}
		a.say("timer: %s", args[1])
		return nil
	})
}
