package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

var userListCommand = command{
	Name:  "user list",
	Short: "list the accounts",
	Long: `
User list prints one account per line: the user ID, the time it was created,
and "closed" if it was removed.

    quintad user list

    --json
        print one JSON object per line
`,
	Prepare: func(fs *flag.FlagSet) action {
		asJSON := fs.Bool("json", false, "print JSON")
		return func(ctx context.Context, p *program, c *config.Config, _ []string) error {
			for after := ""; ; {
				people, err := do(ctx, p, c, listUsers, after)
				if err != nil {
					return err
				}
				for _, u := range people {
					if err := u.print(p, *asJSON); err != nil {
						return err
					}
					after = u.Name
				}
				if len(people) < page {
					return nil
				}
			}
		}
	},
}

func (u person) print(p *program, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(u)
	}
	state := ""
	if u.Closed {
		state = " closed"
	}
	_, err := fmt.Fprintf(p.stdout, "%s %s%s\n", u.UserID, time.UnixMilli(u.Created).UTC().Format(time.RFC3339), state)
	return err
}
