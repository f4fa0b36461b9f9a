package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
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
	Name:  "doctor",
	Short: "check this account and device for problems",
	Long: `Checks the account, the device and its keys, the clock and the server, and says
what is wrong and what to do about it. On a network with policies, also says
which of them apply. The exit code is 1 if anything is wrong.

Example: quinta doctor
`,
	Prepare: cli.Plain(runDoctor),
}

func runDoctor(ctx context.Context, a *app, args []string) error {
	bad := 0
	if err := with(ctx, a, "a checkup", func(ctx context.Context, s client.Doctor, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		found, err := s.Examine(ctx)
		if f, has := policyFinding(ac); has {
			found = append(found, f)
		}
		for _, f := range found {
			if !f.OK {
				bad++
			}
			a.showFinding(f)
		}
		return err
	}); err != nil {
		return err
	}
	if bad > 0 {
		return failed(exitFailed, "", errors.New(plural(bad, "problem was", "problems were")+" found"))
	}
	return nil
}

func (a *app) showFinding(f client.Finding) {
	if a.opt.json {
		a.emit(findingLine{newHead("finding"), f.Name, f.OK, f.Text, f.Remedy})
		return
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

// plural is a number with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
