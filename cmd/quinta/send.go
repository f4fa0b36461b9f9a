package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// maxText bounds what is read from standard input as one message, in bytes.
const maxText = 1 << 20

var sendCommand = &command{
	name:  "send",
	args:  "ROOM [TEXT | -] [--flag ...]",
	short: "send a message or a file",
	long: `Sends a text, or with - what stands on standard input, or a file. It returns
when the server has the message; what was sealed and could not be delivered
stays in the outbox and leaves with the next command.

Example: df -h | quinta send alerts -

  --file FILE   send a file, encrypted; TEXT goes with it
  --reply ID    as an answer to a message
  --edit ID     as a new text for an own message
  --react       TEXT is a reaction, such as an emoji, to the message of --reply
  --notice      mark it as written by a program
  --clear       allow it to leave in clear if the room is not encrypted
`,
	flags: func(fs *flag.FlagSet, o *options) {
		fs.StringVar(&o.file, "file", "", "")
		fs.StringVar(&o.reply, "reply", "", "")
		fs.StringVar(&o.edit, "edit", "", "")
		fs.BoolVar(&o.react, "react", false, "")
		fs.BoolVar(&o.notice, "notice", false, "")
		fs.BoolVar(&o.clear, "clear", false, "")
	},
	run: runSend,
}

func runSend(ctx context.Context, a *app, args []string) (err error) {
	if err := need(args, 1, 2); err != nil {
		return err
	}
	d, done, err := a.draft(args[1:])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return a.inRoom(ctx, args, 1, 2, func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID, _ []string) error {
		txn, err := s.Send(ctx, room, d)
		if err != nil {
			return err
		}
		var sent, changed *e2ee.Event
		if err := s.Flush(ctx, func(e e2ee.Event) {
			switch {
			case e.Message.Txn == txn && (e.Kind == e2ee.EventSent || e.Kind == e2ee.EventFailed):
				sent = &e
			case e.Kind == e2ee.EventKeyChanged:
				changed = &e
			}
		}); err != nil {
			return err
		}
		switch {
		case sent == nil && changed != nil:
			return fmt.Errorf("the message is kept in the outbox: %w: %s", e2ee.ErrIdentityChanged, changed.User)
		case sent == nil:
			return failed(exitFailed, "it is in the outbox and leaves with the next command", errors.New("the message has not left yet"))
		case sent.Kind == e2ee.EventFailed:
			return fmt.Errorf("the message was not sent: %s", sent.Detail)
		}
		if a.opt.json {
			a.emit(eventLine{head: newHead("sent"), Account: ac.User, Room: room, ID: sent.Message.ID, Txn: txn})
		}
		a.say("%s", sent.Message.ID)
		return nil
	})
}

// draft makes the message of the arguments. done closes what it opened.
func (a *app) draft(args []string) (d client.Draft, done func() error, err error) {
	done = func() error { return nil }
	d.Kind, d.Clear = quinta.MessageText, a.opt.clear
	if a.opt.notice {
		d.Kind = quinta.MessageNotice
	}
	if len(args) == 1 {
		d.Text = args[0]
		if args[0] == "-" {
			if d.Text, err = a.readText(); err != nil {
				return d, done, err
			}
		}
	}
	switch {
	case a.opt.edit != "" && a.opt.reply != "":
		return d, done, misused("--edit and --reply do not go together")
	case a.opt.react && (a.opt.reply == "" || a.opt.file != "" || d.Text == ""):
		return d, done, misused("--react needs a TEXT, and the message in --reply")
	case a.opt.react:
		d.Kind, d.Relation = quinta.MessageReaction, quinta.Relation{Kind: quinta.RelationReaction, To: quinta.MessageID(a.opt.reply), Key: d.Text}
		d.Text = ""
	case a.opt.edit != "":
		d.Relation = quinta.Relation{Kind: quinta.RelationReplace, To: quinta.MessageID(a.opt.edit)}
	case a.opt.reply != "":
		d.Relation = quinta.Relation{Kind: quinta.RelationReply, To: quinta.MessageID(a.opt.reply)}
	}
	if a.opt.file == "" {
		if len(args) == 0 {
			return d, done, misused("what is to be sent? give a TEXT, - or --file")
		}
		return d, done, nil
	}
	f, err := os.Open(a.opt.file)
	if err != nil {
		return d, done, err
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return d, done, errors.Join(misused("%s is not a file", a.opt.file), err, f.Close())
	}
	name := filepath.Base(a.opt.file)
	d.Kind = quinta.MessageFile
	d.File = &client.Upload{Name: name, MediaType: mediaType(name), Size: st.Size(), From: a.counted(f, name, st.Size())}
	return d, f.Close, nil
}

// mediaType guesses a file's type by its name.
func mediaType(name string) string {
	t, _, _ := strings.Cut(mime.TypeByExtension(filepath.Ext(name)), ";")
	if t == "" {
		return "application/octet-stream"
	}
	return t
}

// readText reads one message from standard input, without its last line end.
func (a *app) readText() (string, error) {
	b, err := io.ReadAll(io.LimitReader(a.in, maxText+1))
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	switch {
	case len(b) > maxText:
		return "", misused("standard input is longer than %d bytes: send it with --file", maxText)
	case !utf8.Valid(b):
		return "", misused("standard input is not text: send it with --file")
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}
