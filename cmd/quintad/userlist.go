package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server/db"
)

var userListCommand = command{
	Name:  "user list",
	Short: "list the accounts",
	Long: `
User list prints one account per line: the user ID, the time it was created,
and "closed" if it was removed.

    quintad user list
    quintad user list --usage

    --usage
        also print how many bytes the server keeps for each account: files
        (media), sealed key backups (backup), data and keys (data), sent
        messages that their recipients have not fetched yet (queue), and
        messages in rooms and conversations (messages). The settings
        quota-media, quota-backup, quota-data, quota-queue and quota-messages
        limit them

    --json
        print one JSON object per line
`,
	Prepare: func(fs *flag.FlagSet) action {
		usage := fs.Bool("usage", false, "print how much is kept")
		asJSON := fs.Bool("json", false, "print JSON")
		return func(ctx context.Context, p *program, c *config.Config, _ []string) error {
			for after := ""; ; {
				people, err := do(ctx, p, c, listUsers, listing{After: after, Usage: *usage})
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
	kept := ""
	if u.Usage != nil {
		for _, class := range db.Classes() {
			kept += fmt.Sprintf(" %s=%d", class, u.Usage[class])
		}
	}
	_, err := fmt.Fprintf(p.stdout, "%s %s%s%s\n", u.UserID, time.UnixMilli(u.Created).UTC().Format(time.RFC3339), kept, state)
	return err
}
