package main

import (
	"context"

	"github.com/quinta-chat/quinta"
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
It is safe to repeat. 'quinta keys list' shows the keys and their times.

Example: quinta renew
`,
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		return a.certified(ctx, func(ctx context.Context, s client.Certified, ac *account) error {
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
func (a *app) certified(ctx context.Context, fn func(ctx context.Context, s client.Certified, ac *account) error) error {
	return with(ctx, a, vouched, func(ctx context.Context, s client.Certified, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		return fn(ctx, s, ac)
	})
}

// keyLine is a key that an authority vouches for, in JSON.
type keyLine struct {
	head
	Account   quinta.UserID   `json:"account"`
	Key       string          `json:"key"`
	Device    quinta.DeviceID `json:"device"`
	Use       string          `json:"use"`
	Profile   string          `json:"profile"`
	State     string          `json:"state"`
	NotBefore string          `json:"not_before"`
	Expires   string          `json:"expires"`
	Changed   string          `json:"changed,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Self      bool            `json:"self,omitempty"`
}

// showKey prints one key.
func (a *app) showKey(typ string, ac *account, k client.KeyInfo) {
	if a.opt.json {
		a.emit(keyLine{newHead(typ), ac.User, k.ID, k.Device, k.Use, k.Profile, k.State, stamp(k.NotBefore), stamp(k.Expires), stamp(k.Changed), k.Reason, k.Self})
		return
	}
	state := k.State
	if k.Reason != "" {
		state += ", " + k.Reason
	}
	self := ""
	if k.Self {
		self = ", this device"
	}
	a.say("%s (%s, until %s)\n    to %s, device %s%s", oneLine(k.ID), oneLine(state), k.Expires.Local().Format("2006-01-02 15:04"), oneLine(k.Use), oneLine(string(k.Device)), self)
}

// listKeys is "quinta keys list".
func (a *app) listKeys(ctx context.Context) error {
	return a.certified(ctx, func(ctx context.Context, s client.Certified, ac *account) error {
		list, err := s.Keys(ctx)
		for _, k := range list {
			a.showKey("key", ac, k)
		}
		return err
	})
}
