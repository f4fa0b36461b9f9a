package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// rotate is "quinta keys rotate".
func (a *app) rotate(ctx context.Context, name string) error {
	return a.inRoom(ctx, name, func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		r, ok := client.As[client.KeyRotator](s)
		if !ok {
			return cannot(ac, "rotating keys")
		}
		if err := r.RotateKey(ctx, room); err != nil {
			return err
		}
		if a.opt.json {
			a.emit(eventLine{head: newHead("rotated"), Account: ac.User, Room: room})
		}
		a.say("the next message will use a new key")
		return s.Flush(ctx, func(e2ee.Event) {})
	})
}
