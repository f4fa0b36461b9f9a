package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/client"
)

// leastPrefix is how much of a fingerprint must be typed at least.
const leastPrefix = 8

var revokeCommand = &command{
	name:  "revoke",
	args:  "KEY [--reason WORD] [--force]",
	short: "end a key of a lost or stolen device for good",
	long: `Revokes a key of any device of the account, where the network has an authority
that vouches for keys. Others see it at once and write to the key no more. There
is no way back; the device needs a new login. KEY is a fingerprint or its
beginning; 'quinta certificates' shows them.

Example: quinta revoke 3f0c91aa --reason key-compromise

  --reason WORD   unspecified, key-compromise, superseded or cessation;
                  key-compromise counts also for what was sealed before
  --force         do not ask whether it is meant
`,
	flags: func(fs *flag.FlagSet, o *options) {
		fs.StringVar(&o.reason, "reason", client.RevokeUnspecified, "")
		fs.BoolVar(&o.force, "force", false, "")
	},
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 1, 1); err != nil {
			return err
		}
		if !slices.Contains(client.RevokeReasons, a.opt.reason) {
			return misused("--reason is one of: %s", strings.Join(client.RevokeReasons, ", "))
		}
		return a.certified(ctx, func(ctx context.Context, s client.CertificateHolder, ac *account) error {
			return a.revoke(ctx, s, ac, args[0])
		})
	},
}

// revoke revokes the key that a person means, and shows what became of it.
func (a *app) revoke(ctx context.Context, s client.CertificateHolder, ac *account, want string) error {
	k, err := keyMeant(ctx, s, want)
	if err != nil {
		return err
	}
	if !a.opt.force {
		yes, err := a.confirm(fmt.Sprintf("revoke the key to %s of device %s for good?", oneLine(k.Use), oneLine(string(k.Device))))
		if err != nil || !yes {
			return errors.Join(err, failed(exitFailed, "answer yes, or give --force", errors.New("nothing was revoked")))
		}
	}
	if err := s.Revoke(ctx, k.ID, a.opt.reason); err != nil {
		return err
	}
	if k, err = keyMeant(ctx, s, k.ID); err != nil {
		return err
	}
	a.showKey("revoked", ac, k)
	return nil
}

// keyMeant finds a key of the account by the beginning of its fingerprint.
func keyMeant(ctx context.Context, s client.CertificateHolder, want string) (client.KeyInfo, error) {
	list, err := s.Keys(ctx)
	if err != nil {
		return client.KeyInfo{}, err
	}
	want = strings.ToLower(want)
	var found []client.KeyInfo
	for _, k := range list {
		if len(want) >= leastPrefix && strings.HasPrefix(k.ID, want) {
			found = append(found, k)
		}
	}
	switch {
	case len(want) < leastPrefix:
		return client.KeyInfo{}, misused("give %d letters of the fingerprint at least", leastPrefix)
	case len(found) == 0:
		return client.KeyInfo{}, failed(exitNotFound, "'quinta certificates' shows the keys", errors.New("this account has no such key"))
	case len(found) > 1:
		return client.KeyInfo{}, misused("%d keys begin so: give more of the fingerprint", len(found))
	}
	return found[0], nil
}
