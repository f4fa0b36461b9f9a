package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
)

var readCommand = &command{
	Name:  "read",
	Args:  "ROOM [--flag ...]",
	Short: "print the latest messages of a room",
	Long: `Fetches new messages and prints the latest ones of a room, with their edits and
reactions. The exit code is 6 if one of them cannot be read.

Example: quinta read garden --limit 20

  --limit N       print at most N messages (default 50)
  --after TIME    only messages after TIME, such as 2026-01-31 or
                  2026-01-31T12:00:00Z
  --before TIME   only messages before TIME
`,
	Least: 1, Most: 1,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(readFlags)
		fs.IntVar(&f.limit, "limit", 50, "")
		fs.StringVar(&f.after, "after", "", "")
		fs.StringVar(&f.before, "before", "", "")
		return f.run
	},
}

type readFlags struct {
	limit         int
	after, before string
}

func (f *readFlags) run(ctx context.Context, a *app, args []string) error {
	q := timeline.Query{Limit: f.limit}
	if f.limit < 1 {
		return misused("--limit must be at least 1")
	}
	var err error
	if q.After, err = parseTime("--after", f.after); err != nil {
		return err
	}
	if q.Before, err = parseTime("--before", f.before); err != nil {
		return err
	}
	unreadable := false
	if err := a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		r, ok := client.As[client.Reader](s)
		if !ok {
			return cannot(ac, "reading earlier messages")
		}
		items, err := r.Read(ctx, room, q)
		for more := err == nil; more && len(items) < q.Limit; {
			if more, err = r.History(ctx, room, q.Limit-len(items)); err != nil {
				return err
			}
			before := len(items)
			if items, err = r.Read(ctx, room, q); err != nil {
				return err
			}
			if len(items) == before {
				break // what is older is not a message, or outside the times
			}
		}
		if err != nil {
			return err
		}
		for _, it := range items {
			unreadable = unreadable || it.Reason != ""
			a.show(lineOfItem(ac.User, it), it.Message.Time, false)
		}
		if len(items) > 0 {
			return r.MarkRead(ctx, room, items[len(items)-1].Message.ID)
		}
		return nil
	}); err != nil {
		return err
	}
	if unreadable {
		return failed(exitCannotRead, "", errors.New("some messages cannot be read; the reason is shown with each"))
	}
	return nil
}

// parseTime parses a day or a time; an empty text is no time.
func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, misused("%s: %q is not a time like 2026-01-31 or 2026-01-31T12:00:00Z", flag, printable(s))
}
