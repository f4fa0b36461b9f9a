package main

import (
	"bufio"
	"context"
	"errors"
	"flag"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var otrCommand = &command{
	Name:  "otr",
	Args:  "USER | --wait",
	Short: "talk to a user off the record",
	Long: `Holds one conversation off the record: its keys exist only in the memory of
both sides while it lasts, and neither device stores any of it. The server
removes the ciphertexts when it ends. The other user must be online and accept
within 10 seconds. Each line of standard input is sent; the other user's lines
are printed. The conversation ends when the other user ends it, when the
command is interrupted, or when the input of the user who sent the invitation
ends.

At the beginning, a safety number is shown. Compare it with the other user, in
person or by telephone: without that, someone in between could read along.

Example: quinta otr bob

  --wait   wait for an invitation, and accept the first one
`,
	Most: 1,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(otrFlags)
		fs.BoolVar(&f.wait, "wait", false, "")
		return f.run
	},
}

type otrFlags struct{ wait bool }

// offLine is a line of a conversation off the record, in JSON.
type offLine struct {
	head
	Account quinta.UserID  `json:"account"`
	With    quinta.UserID  `json:"with"`
	Kind    client.OffKind `json:"kind"`
	Text    string         `json:"text"`
}

func (f *otrFlags) run(ctx context.Context, a *app, args []string) error {
	if f.wait != (len(args) == 0) {
		return misused("give a USER, or --wait")
	}
	return with(ctx, a, "conversations off the record", func(ctx context.Context, s client.OffTheRecord, ac *account) error {
		var talk *client.OffRecord
		var err error
		if f.wait {
			talk, err = s.AwaitOffRecord(ctx, func(from quinta.UserID) bool {
				a.note("%s invites you off the record", oneLine(string(from)))
				return true
			})
		} else {
			talk, err = s.InviteOffRecord(ctx, quinta.UserID(args[0]))
		}
		if err != nil {
			return err
		}
		return a.offRecord(ctx, ac, talk, !f.wait)
	})
}

// offRecord holds the conversation until either side ends it; if leads is set, until the
// end of the input at the latest.
func (a *app) offRecord(ctx context.Context, ac *account, talk *client.OffRecord, leads bool) error {
	said, broken := make(chan string), make(chan error, 1)
	go func() {
		defer close(said)
		in := bufio.NewScanner(a.in)
		defer func() { broken <- in.Err() }()
		for in.Scan() {
			select {
			case said <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return talk.End(context.WithoutCancel(ctx))
		case text, more := <-said:
			if !more {
				if err := <-broken; err != nil || leads {
					return errors.Join(err, talk.End(context.WithoutCancel(ctx)))
				}
				said = nil
				continue
			}
			if text == "" {
				continue
			}
			if err := talk.Say(ctx, text); err != nil {
				return errors.Join(err, talk.End(context.WithoutCancel(ctx)))
			}
		case l, more := <-talk.Lines:
			if !more {
				return nil
			}
			a.showOff(ac, talk.With, l)
		}
	}
}

// showOff shows one line of a conversation off the record.
func (a *app) showOff(ac *account, with quinta.UserID, l client.OffLine) {
	if a.opt.json {
		a.emit(offLine{newHead("otr"), ac.User, with, l.Kind, l.Text})
		return
	}
	switch l.Kind {
	case client.OffSafety:
		a.note("off the record with %s; safety number: %s", oneLine(string(with)), l.Text)
	case client.OffSaid:
		a.say("%s: %s", oneLine(string(with)), oneLine(l.Text))
	case client.OffRead:
	default:
		a.note("%s", oneLine(l.Text))
	}
}
