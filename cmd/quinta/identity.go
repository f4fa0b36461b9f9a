package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// identityLine is the state of the account's identity in JSON.
type identityLine struct {
	head
	Account     quinta.UserID `json:"account"`
	Exists      bool          `json:"exists"`
	Trusted     bool          `json:"trusted"`
	Changed     bool          `json:"changed,omitempty"`
	SignsThis   bool          `json:"signs_this_device"`
	Complete    bool          `json:"private_keys"`
	Fingerprint string        `json:"fingerprint,omitempty"`
}

// identity is "quinta keys identity".
func (f *keysFlags) identity(ctx context.Context, a *app, args []string) error {
	if len(args) > 1 || len(args) == 1 && args[0] != "create" || len(args) == 0 && f.reset {
		return misused("keys identity takes no arguments, or 'create' and perhaps --reset")
	}
	return with(ctx, a, "identities", func(ctx context.Context, s client.IdentityKeeper, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		if len(args) == 1 {
			if err := f.createIdentity(ctx, a, s, ac); err != nil {
				return err
			}
		}
		id, err := s.Identity(ctx)
		if err != nil {
			return err
		}
		a.identityResult(ac, id)
		return nil
	})
}

// createIdentity makes an identity, or replaces the existing one.
func (f *keysFlags) createIdentity(ctx context.Context, a *app, s client.IdentityKeeper, ac *account) error {
	id, err := s.Identity(ctx)
	if err != nil {
		return err
	}
	if id.Exists && !f.reset {
		return failed(exitFailed, "verify this device with 'quinta verify "+oneLine(string(ac.User))+"', or unlock the identity with 'quinta keys backup unlock'; if both are impossible, replace it with 'quinta keys identity create --reset'",
			quinta.E(quinta.KindExists, "creating an identity", "the account already has one"))
	}
	if id.Exists {
		a.note("warning: the account gets a new identity: everyone who verified the old one is told that it changed, and your other devices must be verified again")
	}
	p, err := a.ask("password of "+oneLine(string(ac.User)), f.passwordFD, "QUINTA_PASSWORD", false)
	if err != nil {
		return err
	}
	if id.Exists {
		err = s.ResetIdentity(ctx, p)
	} else {
		err = s.CreateIdentity(ctx, p)
	}
	if err != nil {
		return err
	}
	a.note("the private keys of the identity are on this device only; back them up with 'quinta keys backup create'")
	return nil
}

func (a *app) identityResult(ac *account, id client.IdentityInfo) {
	if a.opt.json {
		a.emit(identityLine{newHead("identity"), ac.User, id.Exists, id.Trusted, id.Changed, id.SignsThis, id.Complete, id.Fingerprint})
		return
	}
	switch {
	case !id.Exists:
		a.say("the account has no identity; create one with 'quinta keys identity create'")
		return
	case id.Changed:
		a.say("the account's identity has changed: %s", id.Fingerprint)
	default:
		a.say("the account's identity: %s", id.Fingerprint)
	}
	if id.SignsThis {
		a.say("it has signed this device")
	} else {
		a.say("it has not signed this device; verify this device from another one, or use 'quinta keys backup unlock'")
	}
	if id.SignsThis && !id.Complete {
		a.say("some of its private keys are missing here, so this device cannot sign others")
	}
}

// settleIdentity makes others trust a new device: an account without an identity
// gets one. If something is left for the user to do, it says what.
func (a *app) settleIdentity(ctx context.Context, n client.Network, st client.Store, password client.Secret) error {
	s, err := n.Open(ctx, unclosed{st}, a.env)
	if err != nil {
		return err
	}
	user := oneLine(string(s.Self().User))
	switch id, err := client.EnsureIdentity(ctx, s, password); {
	case err != nil:
		a.note("warning: the account has no identity to sign its devices: %v; create one with 'quinta keys identity create'", err)
	case id.Exists && !id.SignsThis:
		a.note("this device is not signed by the account's identity, so others may refuse to send it keys; verify it with 'quinta verify %s', or use the recovery key with 'quinta keys backup unlock'", user)
	}
	return s.Close()
}

// An unclosed store stays open when the session that uses it is closed.
type unclosed struct{ client.Store }

// Close leaves the store open.
func (unclosed) Close() error { return nil }
