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

// runIdentity is "quinta keys identity".
func runIdentity(ctx context.Context, a *app, args []string) error {
	if len(args) > 1 || len(args) == 1 && args[0] != "create" || len(args) == 0 && a.opt.reset {
		return misused("keys identity takes nothing or 'create'")
	}
	return with(ctx, a, "identity of the account", func(ctx context.Context, s client.IdentityKeeper, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		if len(args) == 1 {
			if err := a.createIdentity(ctx, s, ac); err != nil {
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

// createIdentity makes an identity, or a new one in its place.
func (a *app) createIdentity(ctx context.Context, s client.IdentityKeeper, ac *account) error {
	id, err := s.Identity(ctx)
	if err != nil {
		return err
	}
	if id.Exists && !a.opt.reset {
		return failed(exitFailed, "verify this device (quinta verify "+oneLine(string(ac.User))+"), unlock secret storage (quinta keys backup unlock), or, if all is lost, give it up: quinta keys identity create --reset",
			quinta.E(quinta.KindExists, "making an identity", "the account has one already"))
	}
	if id.Exists {
		a.note("warning: the account gets a new identity: whoever verified it is told that it changed, and every other device of the account has to be verified again")
	}
	p, err := a.ask("password of "+oneLine(string(ac.User)), a.opt.passwordFD, "QUINTA_PASSWORD", false)
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
	a.note("its private keys are on this device only; keep them on the server under a recovery key: quinta keys backup create")
	return nil
}

func (a *app) identityResult(ac *account, id client.IdentityInfo) {
	if a.opt.json {
		a.emit(identityLine{newHead("identity"), ac.User, id.Exists, id.Trusted, id.Changed, id.SignsThis, id.Complete, id.Fingerprint})
		return
	}
	switch {
	case !id.Exists:
		a.say("the account has no identity: quinta keys identity create")
		return
	case id.Changed:
		a.say("the account's identity changed: %s", id.Fingerprint)
	default:
		a.say("the account's identity: %s", id.Fingerprint)
	}
	a.say("%s", map[bool]string{true: "it signed this device", false: "it did not sign this device: verify it from another device, or quinta keys backup unlock"}[id.SignsThis])
	if id.SignsThis && !id.Complete {
		a.say("its private keys are not all here: this device cannot sign others")
	}
}

// settleIdentity sees to it that a new device is one that others trust: an
// account that has no identity gets one, and what is left to do is said.
func (a *app) settleIdentity(ctx context.Context, n client.Network, st client.Store, password client.Secret) error {
	s, err := n.Open(ctx, unclosed{st}, a.env)
	if err != nil {
		return err
	}
	user := oneLine(string(s.Self().User))
	switch id, err := client.EnsureIdentity(ctx, s, password); {
	case err != nil:
		a.note("warning: the account has no identity that signs its devices: %v; make one with 'quinta keys identity create'", err)
	case id.Exists && !id.SignsThis:
		a.note("this device is not signed by the account's identity, and others may send it no keys: verify it (quinta verify %s), or unlock with the recovery key (quinta keys backup unlock)", user)
	}
	return s.Close()
}

// An unclosed store outlives the session that is opened over it.
type unclosed struct{ client.Store }

// Close leaves the store open.
func (unclosed) Close() error { return nil }
