package main

import (
	"context"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
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
	Name:  "devices",
	Args:  "[USER] | rename ID NAME | signout ID | accept|reject|reset USER ID | acknowledge USER",
	Short: "list, rename, sign out, accept or reject devices",
	Long: `Lists your devices, or those of a user, with their fingerprints and how far they
are trusted.

  rename ID NAME    rename one of your devices
  signout ID        sign one of your devices out; your password is asked for, or
                    taken from QUINTA_PASSWORD
  accept USER ID    trust a device whose fingerprint you have compared
  reject USER ID    distrust a device: it gets no keys, and what it sends is
                    marked
  reset USER ID     withdraw your judgement of a device
  acknowledge USER  accept the changed identity of a user without comparing it

Example: quinta devices accept @bob:example.org JLAFKJWSCS
`,
	Subs:    []string{"rename", "signout", "accept", "reject", "reset", "acknowledge"},
	Most:    3,
	Prepare: cli.Plain(runDevices),
}

// verdicts are the judgements that a person can give.
var verdicts = map[string]quinta.Trust{"accept": quinta.TrustVerified, "reject": quinta.TrustRejected, "reset": quinta.TrustUnknown}

// deviceArgs are how many words each action has.
var deviceArgs = map[string]int{"rename": 3, "signout": 2, "accept": 3, "reject": 3, "reset": 3, "acknowledge": 2}

func runDevices(ctx context.Context, a *app, args []string) error {
	user := quinta.UserID("")
	action := ""
	if len(args) > 0 {
		action = args[0]
		n, known := deviceArgs[action]
		if !known {
			n, user, action = 1, quinta.UserID(action), ""
		}
		if err := cli.CountArgs(args, n, n); err != nil {
			return err
		}
	}
	return with(ctx, a, "lists of devices", func(ctx context.Context, s client.DeviceJudge, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		switch action {
		case "":
			return a.listDevices(ctx, s, ac, user)
		case "rename":
			return s.Rename(ctx, quinta.DeviceID(args[1]), args[2])
		case "signout":
			p, err := a.ask("password of "+oneLine(string(ac.User)), -1, "QUINTA_PASSWORD", false)
			if err != nil {
				return err
			}
			return s.SignOut(ctx, quinta.DeviceID(args[1]), p)
		case "acknowledge":
			return s.Acknowledge(ctx, quinta.UserID(args[1]))
		}
		if err := s.Judge(ctx, quinta.UserID(args[1]), quinta.DeviceID(args[2]), verdicts[action]); err != nil {
			return err
		}
		return s.Flush(ctx, func(e2ee.Event) {})
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
		return failed(exitNotFound, "", fmt.Errorf("%s has no device with keys, or is unknown here", printable(string(user))))
	}
	return nil
}
