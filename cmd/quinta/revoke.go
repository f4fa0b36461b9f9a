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

// leastPrefix is how many letters of a fingerprint must be typed.
const leastPrefix = 8

var revokeCommand = &command{
	Name:  "revoke",
	Args:  "KEY [--reason WORD] [--force]",
	Short: "revoke the certified key of a lost or stolen device",
	Long: `Revokes a key of any of your devices, on networks where an authority certifies
keys. From then on no one encrypts for the key. A revoked key cannot be
restored: the device needs new keys, which another device approves, or a new
login. KEY is a fingerprint or its first letters; 'quinta certificates' lists
them.

Example: quinta revoke 3f0c91aa --reason key-compromise

  --reason WORD   unspecified, key-compromise, superseded or cessation;
                  key-compromise also applies to earlier messages
  --force         do not ask for confirmation
`,
	Least: 1, Most: 1,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(revokeFlags)
		fs.StringVar(&f.reason, "reason", client.RevokeUnspecified, "")
		fs.BoolVar(&f.force, "force", false, "")
		return f.run
	},
}

type revokeFlags struct {
	reason string
	force  bool
}

func (f *revokeFlags) run(ctx context.Context, a *app, args []string) error {
	if !slices.Contains(client.RevokeReasons, f.reason) {
		return misused("--reason is one of: %s", strings.Join(client.RevokeReasons, ", "))
	}
	return a.certified(ctx, func(ctx context.Context, s client.CertificateHolder, ac *account) error {
		return a.revoke(ctx, s, ac, args[0], f)
	})
}

// revoke revokes the key that a person means, and shows its new state.
func (a *app) revoke(ctx context.Context, s client.CertificateHolder, ac *account, want string, f *revokeFlags) error {
	k, err := keyMeant(ctx, s, want)
	if err != nil {
		return err
	}
	if !f.force {
		yes, err := a.confirm(fmt.Sprintf("revoke the key to %s of device %s? This cannot be undone", oneLine(k.Use), oneLine(string(k.Device))))
		if err != nil || !yes {
			return errors.Join(err, failed(exitFailed, "answer yes, or use --force", errors.New("nothing was revoked")))
		}
	}
	if err := s.Revoke(ctx, k.ID, f.reason); err != nil {
		return err
	}
	if k, err = keyMeant(ctx, s, k.ID); err != nil {
		return err
	}
	a.showKey("revoked", ac, k)
	return nil
}

// keyMeant finds a key of the account by the first letters of its fingerprint.
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
		return client.KeyInfo{}, misused("give at least %d letters of the fingerprint", leastPrefix)
	case len(found) == 0:
		return client.KeyInfo{}, failed(exitNotFound, "'quinta certificates' lists the keys", errors.New("this account has no such key"))
	case len(found) > 1:
		return client.KeyInfo{}, misused("%d keys begin with these letters: give more letters of the fingerprint", len(found))
	}
	return found[0], nil
}
