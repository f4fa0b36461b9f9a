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

// maxText bounds a message that is read from standard input, in bytes.
const maxText = 1 << 20

var sendCommand = &command{
	Name:  "send",
	Args:  "ROOM [TEXT | -] [--flag ...]",
	Short: "send a message or a file",
	Long: `Sends TEXT, or with - the text from standard input, or a file. The command
returns once the server has the message. If the connection fails after the
message was encrypted, it stays in the outbox, and the next command sends it.

Example: df -h | quinta send alerts -

  --file FILE   send a file, encrypted; TEXT becomes its caption
  --reply ID    reply to a message
  --edit ID     replace the text of one of your messages
  --react       send TEXT, such as an emoji, as a reaction to the message that
                --reply names
  --notice      mark the message as written by a program
  --clear       allow the message to leave in clear if the room is not encrypted
`,
	Least: 1, Most: 2,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(sendFlags)
		fs.StringVar(&f.file, "file", "", "")
		fs.StringVar(&f.reply, "reply", "", "")
		fs.StringVar(&f.edit, "edit", "", "")
		fs.BoolVar(&f.react, "react", false, "")
		fs.BoolVar(&f.notice, "notice", false, "")
		fs.BoolVar(&f.clear, "clear", false, "")
		return f.run
	},
}

type sendFlags struct {
	file, reply, edit    string
	react, notice, clear bool
}

func (f *sendFlags) run(ctx context.Context, a *app, args []string) (err error) {
	d, done, err := f.draft(a, args[1:])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
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
			return fmt.Errorf("the message stays in the outbox: %w: %s", e2ee.ErrIdentityChanged, changed.User)
		case sent == nil:
			return failed(exitFailed, "it is in the outbox, and the next command sends it", errors.New("the message has not been sent yet"))
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

// draft makes the message that the arguments and flags describe. done closes the
// file of the message.
func (f *sendFlags) draft(a *app, args []string) (d client.Draft, done func() error, err error) {
	done = func() error { return nil }
	d.Kind, d.Clear = quinta.MessageText, f.clear
	if f.notice {
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
	case f.edit != "" && f.reply != "":
		return d, done, misused("--edit and --reply cannot be combined")
	case f.react && (f.reply == "" || f.file != "" || d.Text == ""):
		return d, done, misused("--react needs a TEXT and --reply")
	case f.react:
		d.Kind, d.Relation = quinta.MessageReaction, quinta.Relation{Kind: quinta.RelationReaction, To: quinta.MessageID(f.reply), Key: d.Text}
		d.Text = ""
	case f.edit != "":
		d.Relation = quinta.Relation{Kind: quinta.RelationReplace, To: quinta.MessageID(f.edit)}
	case f.reply != "":
		d.Relation = quinta.Relation{Kind: quinta.RelationReply, To: quinta.MessageID(f.reply)}
	}
	if f.file == "" {
		if len(args) == 0 {
			return d, done, misused("there is nothing to send: give a TEXT, - or --file")
		}
		return d, done, nil
	}
	file, err := os.Open(f.file)
	if err != nil {
		return d, done, err
	}
	st, err := file.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return d, done, errors.Join(misused("%s is not a regular file", f.file), err, file.Close())
	}
	name := filepath.Base(f.file)
	d.Kind = quinta.MessageFile
	d.File = &client.Upload{Name: name, MediaType: mediaType(name), Size: st.Size(), From: a.counted(file, name, st.Size())}
	return d, file.Close, nil
}

// mediaType guesses the type of a file from its name.
func mediaType(name string) string {
	t, _, _ := strings.Cut(mime.TypeByExtension(filepath.Ext(name)), ";")
	if t == "" {
		return "application/octet-stream"
	}
	return t
}

// readText reads one message from standard input, without the final newline.
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
