package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var userAddCommand = command{
	Name:  "user add",
	Short: "add an account",
	Least: 1, Most: 1,
	Long: `
User add creates an account and prints its user ID, and the password if one
was generated. The server may be running.

    quintad user add alice
    quintad user add alice --generate
` + passwordUsage,
	Prepare: func(fs *flag.FlagSet) action {
		var s passwordSource
		s.flags(fs)
		return func(ctx context.Context, p *program, c *config.Config, args []string) error {
			return withPassword(ctx, p, c, &s, addUser, credential{Name: args[0]})
		}
	},
}

// withPassword gets a password, carries out op and prints what the operator
// needs to know.
func withPassword(ctx context.Context, p *program, c *config.Config, s *passwordSource, op operation[credential, changed], q credential) error {
	password, made, err := s.read(p)
	if err != nil {
		return err
	}
	q.Password = password
	got, err := do(ctx, p, c, op, q)
	if err != nil {
		return err
	}
	for _, w := range got.Without {
		p.say("hint", fmt.Sprintf("this account cannot use the network %s: %s", w.Network, w.Why))
	}
	_, err = fmt.Fprintln(p.stdout, got.UserID)
	if err == nil && made {
		_, err = fmt.Fprintln(p.stdout, password)
	}
	return err
}
