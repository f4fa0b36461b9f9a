package main

import (
	"context"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// deviceLine is a device in JSON.
type deviceLine struct {
	head
	Account     quinta.UserID   `json:"account"`
	User        quinta.UserID   `json:"user"`
	Device      quinta.DeviceID `json:"device"`
	Name        string          `json:"name,omitempty"`
	Trust       string          `json:"trust"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	Own         bool            `json:"own,omitempty"`
	Self        bool            `json:"self,omitempty"`
	Seen        string          `json:"seen,omitempty"`
}

var devicesCommand = &command{
	name:  "devices",
	args:  "[USER] | rename ID NAME | signout ID | accept|reject|reset USER ID | acknowledge USER",
	short: "list, rename, sign out, accept or reject devices",
	long: `Lists the devices of the account, or of a user, with their fingerprints and how
far they are trusted.

  rename ID NAME    name one of the own devices
  signout ID        end one of the own devices; the password is asked for,
                    or taken from QUINTA_PASSWORD
  accept USER ID    the fingerprint was compared and is right
  reject USER ID    the device gets no keys, and nothing from it is trusted
  reset USER ID     take a judgement back
  acknowledge USER  take the changed identity of a user as the one that counts
                    from now on, without having compared it

Example: quinta devices accept @bob:example.org JLAFKJWSCS
`,
	subs: []string{"rename", "signout", "accept", "reject", "reset", "acknowledge"},
	run:  runDevices,
}

// verdicts are the judgements that a person can give.
var verdicts = map[string]quinta.Trust{"accept": quinta.TrustVerified, "reject": quinta.TrustRejected, "reset": quinta.TrustUnknown}

func runDevices(ctx context.Context, a *app, args []string) error {
	return with(ctx, a, "list of devices", func(ctx context.Context, s client.DeviceJudge, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		if len(args) == 0 {
			return a.listDevices(ctx, s, ac, "")
		}
		t, judge := verdicts[args[0]]
		switch {
		case args[0] == "rename":
			if err := need(args, 3, 3); err != nil {
				return err
			}
			return s.Rename(ctx, quinta.DeviceID(args[1]), args[2])
		case args[0] == "signout":
			if err := need(args, 2, 2); err != nil {
				return err
			}
			p, err := a.ask("password of "+string(ac.User), a.opt.passwordFD, "QUINTA_PASSWORD", false)
			if err != nil {
				return err
			}
			return s.SignOut(ctx, quinta.DeviceID(args[1]), p)
		case args[0] == "acknowledge":
			if err := need(args, 2, 2); err != nil {
				return err
			}
			return s.Acknowledge(ctx, quinta.UserID(args[1]))
		case judge:
			if err := need(args, 3, 3); err != nil {
				return err
			}
			if err := s.Judge(ctx, quinta.UserID(args[1]), quinta.DeviceID(args[2]), t); err != nil {
				return err
			}
			return s.Flush(ctx, func(e2ee.Event) {})
		}
		if err := need(args, 1, 1); err != nil {
			return err
		}
		return a.listDevices(ctx, s, ac, quinta.UserID(args[0]))
	})
}

func (a *app) listDevices(ctx context.Context, s client.DeviceJudge, ac *account, user quinta.UserID) error {
	list, err := s.Devices(ctx, user)
	if err != nil {
		return err
	}
	for _, d := range list {
		if a.opt.json {
			a.emit(deviceLine{newHead("device"), ac.User, d.User, d.ID, d.Name, d.Trust.String(), d.Fingerprint, d.Own, d.Self, stamp(d.Seen)})
			continue
		}
		self := ""
		if d.Self {
			self = ", this device"
		}
		a.say("%s %s (%s%s)\n    %s", oneLine(string(d.ID)), oneLine(d.Name), d.Trust, self, d.Fingerprint)
	}
	if len(list) == 0 && user != "" {
		return failed(exitNotFound, "", fmt.Errorf("%s has no device with keys, or is not known here", printable(string(user))))
	}
	return nil
}
