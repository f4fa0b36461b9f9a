package main

import (
	"context"
	"errors"
	"flag"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var registerCommand = &command{
	Name:  "register",
	Args:  "NETWORK SERVER USER [--flag ...]",
	Short: "create an account and log in",
	Long: `Creates an account, on a server that allows it, and logs in. On a network where
accounts have an identity (cross-signing keys), creates it and signs this
device.

Example: ` + exampleOf("register", "http://127.0.0.1:8008") + `

` + loginFlagText + `If the server asks for an invitation, it is taken from
QUINTA_REGISTRATION_TOKEN.
`,
	Least: 3, Most: 3,
	Prepare: func(fs *flag.FlagSet) run {
		f := newLoginFlags(fs)
		return func(ctx context.Context, a *app, args []string) error {
			return a.enter(ctx, f, args, func(ctx context.Context, n client.Network, st client.Store, in client.Credentials, password *client.Secret) (quinta.Device, error) {
				r, ok := n.(client.Registrar)
				if !ok {
					return quinta.Device{}, errors.New("clients cannot create accounts on this network")
				}
				d, err := r.Register(ctx, st, a.env, in)
				if err != nil {
					return d, err
				}
				return d, a.settleIdentity(ctx, n, st, *password)
			})
		}
	},
}
