package main

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var registerCommand = &command{
	name:  "register",
	args:  "NETWORK SERVER USER [--flag ...]",
	short: "make an account and log in",
	long: `Makes an account on a server that admits it, and logs in. Where the network
has them, the account gets its cross-signing keys, and this device is signed.

Example: quinta register matrix http://127.0.0.1:8008 alice

` + loginFlagText + `An invitation, where the server asks for one, is taken from
QUINTA_REGISTRATION_TOKEN.
`,
	flags: loginFlags,
	run: func(ctx context.Context, a *app, args []string) error {
		return a.enter(ctx, args, func(ctx context.Context, n client.Network, st client.Store, in client.Credentials) (quinta.Device, error) {
			r, ok := n.(client.Registrar)
			if !ok {
				return quinta.Device{}, errors.New("accounts of this network are not made by clients")
			}
			d, err := r.Register(ctx, st, a.env, in)
			if err != nil {
				return d, err
			}
			return d, a.settleIdentity(ctx, n, st, in.Password)
		})
	},
}
