package main

import (
	"context"
	"flag"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var encryptCommand = &command{
	Name:  "encrypt",
	Args:  "ROOM",
	Short: "switch encryption on in a room",
	Long: `Switches end-to-end encryption on in a room that has none. It cannot be
switched off again. Messages that were sent before stay in clear on the server.

Example: quinta encrypt garden
`,
	Least: 1, Most: 1,
	Prepare: func(*flag.FlagSet) run {
		return func(ctx context.Context, a *app, args []string) error {
			return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
				e, ok := client.As[client.Encrypter](s)
				if !ok {
					return cannot(ac, "switching encryption on")
				}
				if err := e.Encrypt(ctx, room); err != nil {
					return err
				}
				return a.roomResult(ctx, s, ac, "encrypted", room)
			})
		}
	},
}
