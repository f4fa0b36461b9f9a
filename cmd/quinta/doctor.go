package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta/client"
)

// findingLine is one finding in JSON.
type findingLine struct {
	head
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

var doctorCommand = &command{
	name:  "doctor",
	short: "look for what is wrong with this account and device",
	long: `Looks at the account, the device and its keys, the clock and the server, and
says what is wrong and what to do. The exit code is 1 if anything is.
`,
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
		bad := 0
		if err := with(ctx, a, "doctor", func(ctx context.Context, s client.Doctor, ac *account) error {
			ctx, cancel := a.limited(ctx)
			defer cancel()
			found, err := s.Examine(ctx)
			for _, f := range found {
				if !f.OK {
					bad++
				}
				if a.opt.json {
					a.emit(findingLine{newHead("finding"), f.Name, f.OK, f.Text, f.Remedy})
					continue
				}
				mark := "ok  "
				if !f.OK {
					mark = "BAD "
				}
				a.say("%s%s: %s", mark, f.Name, oneLine(f.Text))
				if !f.OK && f.Remedy != "" {
					a.say("    -> %s", f.Remedy)
				}
			}
			return err
		}); err != nil {
			return err
		}
		if bad > 0 {
			return failed(exitFailed, "", errors.New(plural(bad, "thing is", "things are")+" not well"))
		}
		return nil
	},
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
