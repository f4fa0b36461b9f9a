package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// comparedLine is what is to be compared, in JSON.
type comparedLine struct {
	head
	Account quinta.UserID   `json:"account"`
	User    quinta.UserID   `json:"user"`
	Device  quinta.DeviceID `json:"device,omitempty"`
	Emoji   []string        `json:"emoji,omitempty"`
	Decimal []int           `json:"decimal,omitempty"`
	Words   []string        `json:"words,omitempty"`
}

var verifyCommand = &command{
	name:  "verify",
	args:  "USER [DEVICE] | --wait",
	short: "compare with somebody that nobody listens in",
	long: `Verifies a user, or another device of the own account: both see the same short
strings, compare them over another channel (by voice, side by side), and say
whether they are equal. The answer is read from standard input: yes or no.

Example: quinta verify @bob:example.org

  --wait   wait for a request of somebody else instead
`,
	flags: func(fs *flag.FlagSet, o *options) { fs.BoolVar(&o.wait, "wait", false, "") },
	run:   runVerify,
}

func runVerify(ctx context.Context, a *app, args []string) error {
	if a.opt.wait != (len(args) == 0) || len(args) > 2 {
		return misused("give a USER and perhaps a DEVICE, or --wait")
	}
	return with(ctx, a, "verification", func(ctx context.Context, s client.Verifier, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		rctx, stop := context.WithCancel(ctx)
		ran := make(chan error, 1)
		go func() { ran <- s.Run(rctx, func(e2ee.Event) {}) }()
		err := a.verify(ctx, s, ac, args)
		stop()
		if err = errors.Join(err, <-ran); err != nil {
			return failed(exitNotTrusted, "", err)
		}
		if a.opt.json {
			a.emit(eventLine{head: newHead("verified"), Account: ac.User})
		}
		a.say("verified")
		return nil
	})
}

func (a *app) verify(ctx context.Context, s client.Verifier, ac *account, args []string) error {
	compare := func(_ context.Context, str client.ShortStrings) (bool, error) { return a.compare(ac, str) }
	if a.opt.wait {
		return s.AwaitVerify(ctx, func(from quinta.Device) bool {
			a.note("%s, device %s, asks to verify", oneLine(string(from.User)), oneLine(string(from.ID)))
			return true
		}, compare)
	}
	var id quinta.DeviceID
	if len(args) == 2 {
		id = quinta.DeviceID(args[1])
	}
	a.note("asked; the other side must accept")
	return s.Verify(ctx, quinta.UserID(args[0]), id, compare)
}

// compare shows the strings and asks whether they are equal.
func (a *app) compare(ac *account, s client.ShortStrings) (bool, error) {
	var emoji []string
	for _, e := range s.Emoji {
		emoji = append(emoji, e.Symbol+" "+e.Name)
	}
	if a.opt.json {
		a.emit(comparedLine{newHead("compare"), ac.User, s.With.User, s.With.ID, emoji, s.Decimal, s.Words})
	}
	var lines []string
	if len(emoji) > 0 {
		lines = append(lines, strings.Join(emoji, "  "))
	}
	if len(s.Decimal) > 0 {
		lines = append(lines, strings.Trim(fmt.Sprint(s.Decimal), "[]"))
	}
	if len(s.Words) > 0 {
		lines = append(lines, strings.Join(s.Words, " "))
	}
	a.say("%s", strings.Join(lines, "\n"))
	return a.confirm("does the other side show the same?")
}
