package main

import (
	"context"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// vouched is what networks without an authority do not have.
const vouched = "keys that an authority vouches for"

var renewCommand = &command{
	name:  "renew",
	short: "renew the keys of this device before they expire",
	long: `Puts new keys in the place of this device's, where the network has an
authority that vouches for keys until a certain time. 'quinta tail' and bots
renew by themselves; a device that was away for long is renewed with this.
It is safe to repeat. What waited for another device to approve it is asked for
again. 'quinta certificates' shows the keys and their times.

Example: quinta renew
`,
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		return a.certified(ctx, func(ctx context.Context, s client.CertificateHolder, ac *account) error {
			if p, ok := client.As[client.Approver](s); ok {
				if err := p.Retry(ctx); err != nil {
					return err
				}
				if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
					return err
				}
			}
			list, err := s.Renew(ctx)
			for _, k := range list {
				a.showKey("renewed", ac, k)
			}
			return err
		})
	},
}

// certified opens a session with keys of an authority, catches up with the
// server, and runs fn.
func (a *app) certified(ctx context.Context, fn func(ctx context.Context, s client.CertificateHolder, ac *account) error) error {
	return with(ctx, a, vouched, func(ctx context.Context, s client.CertificateHolder, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		return fn(ctx, s, ac)
	})
}
