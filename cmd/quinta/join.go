package main

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

var joinCommand = &command{
	Name:  "join",
	Args:  "ROOM",
	Short: "join a room",
	Long: `Joins a room by its id or public address, or accepts an invitation to it.

Example: quinta join '#garden:example.org'
`,
	Least: 1, Most: 1,
	Prepare: cli.Plain(runJoin),
}

func runJoin(ctx context.Context, a *app, args []string) error {
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		want := args[0]
		if id, err := resolve(ctx, s, want); err == nil {
			want = string(id)
		} else if _, ambiguous := errors.AsType[*cli.Misuse](err); ambiguous {
			return err
		}
		room, err := s.Join(ctx, want)
		if err != nil {
			return err
		}
		return a.roomResult(ctx, s, ac, "joined", room)
	})
}
