package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
)

// jsonVersion is the version of the objects that --json prints. It increases when
// a member changes its meaning or is removed; new members may be added at any
// time.
const jsonVersion = 1

// head is the beginning of every object.
type head struct {
	V    int    `json:"v"`
	Type string `json:"type"`
}

func newHead(typ string) head { return head{jsonVersion, typ} }

// emit prints one object on a line.
func (a *app) emit(v any) {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		fmt.Fprintf(a.err, "quinta: error: writing the result: %v\n", err)
	}
}

// say prints a line for people, unless the output is JSON.
func (a *app) say(format string, args ...any) {
	if !a.opt.json {
		fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// note prints a line that is not a result.
func (a *app) note(format string, args ...any) { fmt.Fprintf(a.err, "quinta: "+format+"\n", args...) }

// printable makes text from others safe for a terminal: control characters, and
// those that change the direction of writing, become visible.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n', r == '\t':
			b.WriteRune(r)
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == unicode.ReplacementChar:
			fmt.Fprintf(&b, "<U+%04X>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// oneLine is printable text without line breaks.
func oneLine(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(s))
}

// terminal reports whether w is a terminal.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress shows how far something is, on a line that overwrites itself. Without
// a terminal it is nil.
func (a *app) progress(what string) func(done, all int) {
	if !terminal(a.err) || a.opt.json {
		return nil
	}
	return func(done, all int) {
		if all > 0 {
			fmt.Fprintf(a.err, "\r%s: %d of %d", what, done, all)
		} else {
			fmt.Fprintf(a.err, "\r%s: %d", what, done)
		}
		if done == all {
			fmt.Fprintln(a.err)
		}
	}
}

// counted returns a reader that shows how much of r has been read.
func (a *app) counted(r io.Reader, name string, size int64) io.Reader {
	show := a.progress(name)
	if show == nil {
		return r
	}
	return &counter{r: r, show: show, all: size}
}

type counter struct {
	r         io.Reader
	n, all    int64
	show      func(done, all int)
	lastShown time.Time
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil || time.Since(c.lastShown) > 100*time.Millisecond {
		c.lastShown = time.Now()
		c.show(int(c.n), int(c.all))
	}
	return n, err
}

// A messageLine is a message in JSON.
type messageLine struct {
	head
	Account   quinta.UserID      `json:"account"`
	Room      quinta.RoomID      `json:"room"`
	ID        quinta.MessageID   `json:"id"`
	Sender    quinta.UserID      `json:"sender"`
	Device    quinta.DeviceID    `json:"device,omitempty"`
	Time      string             `json:"time"`
	Kind      quinta.MessageKind `json:"kind,omitempty"`
	Text      string             `json:"text,omitempty"`
	File      *quinta.File       `json:"file,omitempty"`
	Relation  *quinta.Relation   `json:"relation,omitempty"`
	EventType string             `json:"event_type,omitempty"`
	Content   json.RawMessage    `json:"content,omitempty"`
	Encrypted bool               `json:"encrypted"`
	Trust     string             `json:"trust"`
	Weakness  quinta.Weakness    `json:"weakness,omitempty"`
	Reason    quinta.Reason      `json:"reason,omitempty"`
	Detail    string             `json:"detail,omitempty"`
	Remedy    string             `json:"remedy,omitempty"`
	Edited    string             `json:"edited,omitempty"`
	Redacted  bool               `json:"redacted,omitempty"`
	Reactions []reactionLine     `json:"reactions,omitempty"`
}

type reactionLine struct {
	Key    string        `json:"key"`
	Sender quinta.UserID `json:"sender"`
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func lineOf(account quinta.UserID, m quinta.Message, reason quinta.Reason, detail string) messageLine {
	l := messageLine{
		head: newHead("message"), Account: account, Room: m.Room, ID: m.ID, Sender: m.Sender, Device: m.Device, Time: stamp(m.Time),
		Kind: m.Kind, Text: m.Text, File: m.File, EventType: m.Type, Encrypted: m.Encrypted, Trust: m.Trust.String(), Weakness: m.Weakness,
		Reason: reason, Detail: detail,
	}
	if m.Relation.Kind != "" {
		l.Relation = &m.Relation
	}
	if json.Valid(m.Body) {
		l.Content = m.Body
	}
	if reason != "" {
		l.Type, l.Remedy = "unreadable", quinta.ReasonText[reason].Remedy
	}
	return l
}

func lineOfItem(account quinta.UserID, it timeline.Item) messageLine {
	l := lineOf(account, it.Message, it.Reason, it.Detail)
	l.Edited, l.Redacted = stamp(it.Edited), it.Redacted
	for _, r := range it.Reactions {
		l.Reactions = append(l.Reactions, reactionLine{r.Key, r.Sender})
	}
	return l
}

// show prints one message.
func (a *app) show(l messageLine, at time.Time, withRoom bool) {
	if a.opt.json {
		a.emit(l)
		return
	}
	var b strings.Builder
	b.WriteString(at.Local().Format("2006-01-02 15:04:05"))
	if withRoom {
		b.WriteString(" " + oneLine(string(l.Room)))
	}
	b.WriteString(" " + oneLine(string(l.Sender)) + marks(l) + ": ")
	switch {
	case l.Redacted:
		b.WriteString("(deleted)")
	case l.Reason != "":
		t := quinta.ReasonText[l.Reason]
		fmt.Fprintf(&b, "[cannot be read: %s; %s]", t.Sentence, t.Remedy)
	default:
		b.WriteString(body(l))
	}
	for _, r := range l.Reactions {
		fmt.Fprintf(&b, " {%s %s}", oneLine(r.Key), oneLine(string(r.Sender)))
	}
	fmt.Fprintln(a.out, b.String())
}

// marks are the warnings after the name of a sender.
func marks(l messageLine) string {
	var m []string
	if !l.Encrypted && l.Reason == "" {
		m = append(m, "in clear")
	}
	if l.Weakness != "" {
		m = append(m, "weak: "+string(l.Weakness))
	}
	if l.Trust == quinta.TrustRejected.String() {
		m = append(m, "rejected device")
	}
	if len(m) == 0 {
		return ""
	}
	return " (" + strings.Join(m, ", ") + ")"
}

func body(l messageLine) string {
	text := strings.ReplaceAll(printable(l.Text), "\n", "\n    ")
	if l.Edited != "" {
		text += " (edited)"
	}
	switch l.Kind {
	case quinta.MessageFile:
		if l.File != nil {
			return strings.TrimSpace(fmt.Sprintf("[file %s] %s", oneLine(l.File.Name), text))
		}
	case quinta.MessageEmote:
		return "* " + text
	case quinta.MessageReaction:
		if l.Relation != nil {
			return "reacts with " + oneLine(l.Relation.Key)
		}
	case quinta.MessageRedaction:
		return "(deletes a message)"
	case quinta.MessageOther:
		return "[" + oneLine(l.EventType) + "]"
	}
	return text
}

// An eventLine is an event that is not a message, in JSON.
type eventLine struct {
	head
	Account quinta.UserID    `json:"account"`
	Room    quinta.RoomID    `json:"room,omitempty"`
	User    quinta.UserID    `json:"user,omitempty"`
	Device  quinta.DeviceID  `json:"device,omitempty"`
	ID      quinta.MessageID `json:"id,omitempty"`
	Txn     quinta.TxnID     `json:"txn,omitempty"`
	Detail  string           `json:"detail,omitempty"`
}

// tell prints one event of a running session.
func (a *app) tell(account quinta.UserID, e e2ee.Event) {
	switch e.Kind {
	case e2ee.EventMessage, e2ee.EventUndecryptable:
		a.show(lineOf(account, e.Message, e.Reason, e.Detail), e.Message.Time, true)
		return
	}
	l := eventLine{newHead(e.Kind.String()), account, e.Message.Room, e.User, e.Device, e.Message.ID, e.Message.Txn, e.Detail}
	if a.opt.json {
		a.emit(l)
		return
	}
	switch e.Kind {
	case e2ee.EventKeyChanged:
		a.note("warning: the identity of %s has changed: verify it again with 'quinta verify %s' before you send anything secret", oneLine(string(e.User)), oneLine(string(e.User)))
	case e2ee.EventFailed:
		a.note("a message was not sent: %s", oneLine(e.Detail))
	case e2ee.EventTrouble:
		a.note("%s", oneLine(e.Detail))
	case e2ee.EventUnread:
		a.note("%s could not read your message %s", oneLine(string(e.User)), oneLine(string(e.Message.ID)))
	case e2ee.EventSecret:
		a.note("device %s shared a secret with this device: %s", oneLine(string(e.Device)), oneLine(e.Detail))
	}
}
