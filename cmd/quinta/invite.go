package main

import (
	"context"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

var inviteCommand = &command{
	Name:  "invite",
	Args:  "ROOM USER ...",
	Short: "invite users to a room",
	Long:  "Invites users to a room.\n\nExample: quinta invite garden @carol:example.org\n",
	Least: 2, Most: -1,
	Prepare: cli.Plain(runInvite),
}

func runInvite(ctx context.Context, a *app, args []string) error {
	return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		for _, u := range args[1:] {
			if err := s.Invite(ctx, room, quinta.UserID(u)); err != nil {
				return fmt.Errorf("inviting %s: %w", printable(u), err)
			}
		}
		return a.roomResult(ctx, s, ac, "invited", room)
	})
}
