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
	Name:  "fetch",
	Args:  "ROOM ID [--out FILE]",
	Short: "download the file of a message",
	Long: `Downloads and decrypts the file that was sent with a message. The file appears
only once it is complete and known to be authentic.

Example: quinta fetch garden '$abc' --out photo.jpg

  --out FILE   where to write it; by default, to the name that the sender gave
               it, in the current folder. An existing file is not overwritten
`,
	Least: 2, Most: 2,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(fetchFlags)
		fs.StringVar(&f.out, "out", "", "")
		return f.run
	},
}

type fetchFlags struct{ out string }

func (f *fetchFlags) run(ctx context.Context, a *app, args []string) error {
	return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		fetcher, ok := client.As[client.Fetcher](s)
		reader, ok2 := client.As[client.Reader](s)
		if !ok || !ok2 {
			return cannot(ac, "files")
		}
		it, err := messageOf(ctx, reader, room, quinta.MessageID(args[1]))
		if err != nil {
			return err
		}
		if it.Reason != "" {
			return failed(exitCannotRead, quinta.ReasonText[it.Reason].Remedy, errors.New(quinta.ReasonText[it.Reason].Sentence))
		}
		if it.Message.File == nil {
			return failed(exitNotFound, "", errors.New("the message has no file"))
		}
		return a.fetch(ctx, fetcher, it.Message.File, f.out)
	})
}

// messageOf finds one message among those on the device.
func messageOf(ctx context.Context, r client.Reader, room quinta.RoomID, id quinta.MessageID) (timeline.Item, error) {
	items, err := r.Read(ctx, room, timeline.Query{Limit: 1 << 20})
	if err != nil {
		return timeline.Item{}, err
	}
	for _, it := range items {
		if it.Message.ID == id {
			return it, nil
		}
	}
	return timeline.Item{}, failed(exitNotFound, "'quinta read --json' shows the ids of messages", errors.New("there is no such message on this device"))
}

// fetch writes the complete file or nothing.
func (a *app) fetch(ctx context.Context, s client.Fetcher, f *quinta.File, path string) (err error) {
	if path == "" {
		path = safeName(f.Name)
	}
	if _, err := os.Lstat(path); err == nil {
		return failed(exitFailed, "choose another name with --out", errors.New(path+" exists already"))
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

// safeName turns the file name that a sender chose into a name in the current
// folder.
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
