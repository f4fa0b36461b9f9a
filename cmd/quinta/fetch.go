package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
)

var fetchCommand = &command{
	name:  "fetch",
	args:  "ROOM ID [--out FILE]",
	short: "fetch the file of a message",
	long: `Fetches and opens the file that came with a message. The file appears when
the whole of it is there and authentic.

Example: quinta fetch garden '$abc' --out photo.jpg

  --out FILE   where to; else the name that the sender gave, in this folder.
               A file that exists is not overwritten.
`,
	flags: func(fs *flag.FlagSet, o *options) { fs.StringVar(&o.out, "out", "", "") },
	run: func(ctx context.Context, a *app, args []string) error {
		return a.inRoom(ctx, args, 2, 2, func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID, rest []string) error {
			f, ok := client.As[client.Fetcher](s)
			r, ok2 := client.As[client.Reader](s)
			if !ok || !ok2 {
				return cannot(ac, "files")
			}
			it, err := find1(ctx, r, room, quinta.MessageID(rest[0]))
			if err != nil {
				return err
			}
			if it.Reason != "" {
				return failed(exitCannotRead, quinta.ReasonText[it.Reason].Remedy, errors.New(quinta.ReasonText[it.Reason].Sentence))
			}
			if it.Message.File == nil {
				return failed(exitNotFound, "", errors.New("the message has no file"))
			}
			return a.fetch(ctx, f, it.Message.File)
		})
	},
}

// find1 finds one message in what is on the device.
func find1(ctx context.Context, r client.Reader, room quinta.RoomID, id quinta.MessageID) (timeline.Item, error) {
	items, err := r.Read(ctx, room, timeline.Query{Limit: 1 << 20})
	if err != nil {
		return timeline.Item{}, err
	}
	for _, it := range items {
		if it.Message.ID == id {
			return it, nil
		}
	}
	return timeline.Item{}, failed(exitNotFound, "'quinta read' prints the messages; --json shows their ids", errors.New("there is no such message on this device"))
}

// fetch writes a file whole or not at all.
func (a *app) fetch(ctx context.Context, s client.Fetcher, f *quinta.File) (err error) {
	path := a.opt.out
	if path == "" {
		path = safeName(f.Name)
	}
	if _, err := os.Lstat(path); err == nil {
		return failed(exitFailed, "name another with --out", errors.New(path+" exists"))
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".quinta-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	var w io.Writer = tmp
	if show := a.progress(oneLine(f.Name)); show != nil {
		w = &writeCounter{w: tmp, show: show, all: int(max(0, f.Size))}
	}
	err = s.Fetch(ctx, f, w)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	if err := os.Remove(tmp.Name()); err != nil {
		return err
	}
	if a.opt.json {
		a.emit(struct {
			head
			Path string `json:"path"`
		}{newHead("fetched"), path})
	}
	a.say("%s", path)
	return nil
}

// safeName makes a sender's file name one of this folder.
func safeName(name string) string {
	name = filepath.Base(filepath.Clean("/" + strings.ReplaceAll(name, "\\", "/")))
	name = strings.TrimLeft(oneLine(name), ".-")
	if name == "" || name == "/" {
		return "file"
	}
	if len(name) > 200 {
		name = name[len(name)-200:]
	}
	return name
}

type writeCounter struct {
	w    io.Writer
	n    int
	all  int
	show func(done, all int)
}

func (c *writeCounter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	c.show(c.n, c.all)
	return n, err
}
