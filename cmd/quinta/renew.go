package main

import (
	"context"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/e2ee"
)

var renewCommand = &command{
	Name:  "renew",
	Short: "renew this device's certified keys",
	Long: `Replaces this device's keys with new ones, on networks where an authority
certifies keys for a limited time. 'quinta tail' and bots renew keys on their
own; use this command for a device that was offline for a long time, or once
another device has approved its new keys. It is safe to repeat.
'quinta certificates' shows the keys and when they expire.

Example: quinta renew
`,
	Prepare: cli.Plain(runRenew),
}

func runRenew(ctx context.Context, a *app, args []string) error {
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
}

// certified opens a session with certified keys, catches up with the server,
// and runs fn.
func (a *app) certified(ctx context.Context, fn func(ctx context.Context, s client.CertificateHolder, ac *account) error) error {
	return with(ctx, a, "certified keys", func(ctx context.Context, s client.CertificateHolder, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		return fn(ctx, s, ac)
	})
}
