package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

var leaveCommand = &command{
	Name:  "leave",
	Args:  "ROOM",
	Short: "leave a room, or decline an invitation",
	Long:  "Leaves a room, or declines an invitation to it.\n\nExample: quinta leave garden\n",
	Least: 1, Most: 1,
	Prepare: cli.Plain(runLeave),
}

func runLeave(ctx context.Context, a *app, args []string) error {
	return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		if err := s.Leave(ctx, room); err != nil {
			return err
		}
		return a.roomResult(ctx, s, ac, "left", room)
	})
}
