package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var certificatesCommand = &command{
	name:  "certificates",
	short: "list the account's keys that an authority vouches for",
	long: `Lists the keys of all devices of the account, where the network has an authority
that vouches for keys: for what each is, in which state, and until when.

Example: quinta certificates --json | jq -r 'select(.state == "active") | .key'
`,
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		return a.certified(ctx, func(ctx context.Context, s client.CertificateHolder, ac *account) error {
			list, err := s.Keys(ctx)
			for _, k := range list {
				a.showKey("key", ac, k)
			}
			return err
		})
	},
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
