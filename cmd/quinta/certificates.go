package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

var certificatesCommand = &command{
	Name:  "certificates",
	Short: "list your certified keys",
	Long: `Lists the keys of all your devices, on networks where an authority certifies
keys: the use and the state of each key, and when it expires.

Example: quinta certificates --json | jq -r 'select(.state == "active") | .key'
`,
	Prepare: cli.Plain(runCertificates),
}

func runCertificates(ctx context.Context, a *app, args []string) error {
	return a.certified(ctx, func(ctx context.Context, s client.CertificateHolder, ac *account) error {
		list, err := s.Keys(ctx)
		for _, k := range list {
			a.showKey("key", ac, k)
		}
		return err
	})
}

// keyLine is a certified key in JSON.
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
