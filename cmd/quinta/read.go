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
	name:  "read",
	args:  "ROOM [--flag ...]",
	short: "print what was said in a room",
	long: `Catches up with the server and prints the last messages of a room, with
edits, reactions and what was taken back applied. The exit code is 6 if one of
them cannot be read.

Example: quinta read garden --limit 20

  --limit N       how many at the most (default 50)
  --after TIME    only later ones; TIME is 2026-01-31 or 2026-01-31T12:00:00Z
  --before TIME   only earlier ones
`,
	flags: func(fs *flag.FlagSet, o *options) {
		fs.IntVar(&o.limit, "limit", 50, "")
		fs.StringVar(&o.after, "after", "", "")
		fs.StringVar(&o.before, "before", "", "")
	},
	run: runRead,
}

func runRead(ctx context.Context, a *app, args []string) error {
	if err := need(args, 1, 1); err != nil {
		return err
	}
	q := timeline.Query{Limit: a.opt.limit}
	if a.opt.limit < 1 {
		return misused("--limit is at least 1")
	}
	var err error
	if q.After, err = parseTime("--after", a.opt.after); err != nil {
		return err
	}
	if q.Before, err = parseTime("--before", a.opt.before); err != nil {
		return err
	}
	unreadable := false
	if err := a.inRoom(ctx, args, 1, 1, func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID, _ []string) error {
		r, ok := client.As[client.Reader](s)
		if !ok {
			return cannot(ac, "timeline on the device")
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
				break // what is older is no message, or out of the times
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
		return failed(exitCannotRead, "", errors.New("some messages cannot be read; each says why"))
	}
	return nil
}

// parseTime reads a day or a time; empty means none.
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
