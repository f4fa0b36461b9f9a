// Package bot makes it easy to write a program that reads and writes in
// end-to-end encrypted rooms, on any network.
//
// [Run] logs in at the first start, resumes the same device at every later
// one, accepts invitations, and calls a function for each message. The
// device's state is kept in one encrypted file, with its key in a file beside
// it: anyone who gets both can read the messages.
//
// What is not here: everything beyond reading and answering. [Message.Session]
// gives the session itself, and [Open] opens one without any of this.
package bot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Config says who the bot is and where it keeps its state.
type Config struct {
	// Server is the address of the server, used at the first start.
	Server string
	// User and Password are those of the bot's account, used at the first
	// start.
	User, Password string
	// Ask, if not nil, answers what the server asks at the first start, such as
	// a code that it sent, or the password if Password is empty; see
	// [client.Credentials].
	Ask func(ctx context.Context, q client.Question) (client.Secret, error)
	// Policies names the policies of the network under which the bot runs; see
	// [client.Governed]. They may differ from start to start. A name that the
	// network does not have is an error.
	Policies []string
	// Dir is the folder for the bot's state, which is created if it does not
	// exist. Keep it: without it, the bot is a new device at every start.
	Dir string
	// DeviceName is what others see; "bot" if it is empty.
	DeviceName string
	// Invited decides whether to accept an invitation; nil accepts all.
	Invited func(r client.RoomInfo) bool
	// Clear allows answers in clear in rooms that are not encrypted; without
	// it, messages in such rooms are not given to the bot.
	Clear bool
	// Log, if not nil, gets one line about each problem on the way.
	Log func(line string)
}

// The names of the files in Config.Dir.
const (
	storeFile = "store"
	keyFile   = "store.key"
)

// A Message is a message to the bot.
type Message struct {
	quinta.Message
	// Session is the bot's own.
	Session client.Session

	ctx   context.Context
	clear bool
}

// Reply answers with a text, as programs do. When it returns, the answer is in
// the outbox and survives a crash.
func (m Message) Reply(text string) error {
	d := client.Notice(text)
	d.Relation = quinta.Relation{Kind: quinta.RelationReply, To: m.ID}
	d.Clear = m.clear
	_, err := m.Session.Send(m.ctx, m.Room, d)
	return err
}

// Run runs a bot on a network until ctx ends or the bot is signed out. It
// calls on for each text that someone else writes, one after the other; an
// error of on is logged and the bot continues.
//
// Messages that cannot be read yet are delivered once they can be. Messages
// that were written while the bot was not running are delivered at its next
// start, but not those written before its first start.
func Run(ctx context.Context, n client.Network, cfg Config, on func(m Message) error) error {
	s, err := Open(ctx, n, cfg)
	if err != nil {
		return err
	}
	b := &bot{ctx: ctx, s: s, cfg: cfg, on: on}
	if err := b.takeUpInvitations(); err != nil {
		b.log("invitations: " + err.Error())
	}
	return errors.Join(s.Run(ctx, b.event), s.Close())
}

// Open opens the session in cfg.Dir, or logs in if there is none.
func Open(ctx context.Context, n client.Network, cfg Config) (client.Session, error) {
	if cfg.Dir == "" {
		return nil, quinta.E(quinta.KindInvalid, "opening the bot", "no folder was given")
	}
	n, err := client.Under(n, cfg.Policies...)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the bot's folder: %w", err)
	}
	key, err := sqlite.KeyFile(filepath.Join(cfg.Dir, keyFile), rand.Reader)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	st, err := sqlite.Open(filepath.Join(cfg.Dir, storeFile), key)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, n, cfg, st)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

func open(ctx context.Context, n client.Network, cfg Config, st client.Store) (client.Session, error) {
	env := e2ee.Env{Now: time.Now, Rand: rand.Reader}
	s, err := n.Open(ctx, st, env)
	if quinta.KindOf(err) != quinta.KindUnauthenticated {
		return s, err
	}
	name := cfg.DeviceName
	if name == "" {
		name = "bot"
	}
	password := client.NewSecret(cfg.Password)
	in := client.Credentials{Server: cfg.Server, User: cfg.User, Password: password, DeviceName: name}
	if cfg.Ask != nil {
		in.Ask = func(ctx context.Context, q client.Question) (client.Secret, error) {
			answer, err := cfg.Ask(ctx, q)
			if q.Kind == client.AskPassword {
				password = answer
			}
			return answer, err
		}
	}
	if _, err := n.Login(ctx, st, env, in); err != nil {
		return nil, err
	}
	if s, err = n.Open(ctx, st, env); err != nil {
		return nil, err
	}
	// The bot works without an identity, too; others then have to compare it.
	if _, err := client.EnsureIdentity(ctx, s, password); err != nil && cfg.Log != nil {
		cfg.Log("no identity: " + err.Error())
	}
	return s, nil
}

// bot is a bot that runs.
type bot struct {
	ctx context.Context
	s   client.Session
	cfg Config
	on  func(m Message) error
}

func (b *bot) log(line string) {
	if b.cfg.Log != nil {
		b.cfg.Log(line)
	}
}

// event takes one event of the session.
func (b *bot) event(e e2ee.Event) {
	switch e.Kind {
	case e2ee.EventTrouble, e2ee.EventFailed:
		b.log(e.Detail)
	case e2ee.EventRoom:
		if err := b.takeUpInvitations(); err != nil {
			b.log("invitations: " + err.Error())
		}
	case e2ee.EventMessage:
		m := e.Message
		if m.Sender == b.s.Self().User || m.Kind != quinta.MessageText || m.Relation.Kind == quinta.RelationReplace ||
			m.Weakness == quinta.WeakPlain || !m.Encrypted && !b.cfg.Clear {
			return
		}
		if err := b.on(Message{Message: m, Session: b.s, ctx: b.ctx, clear: b.cfg.Clear}); err != nil {
			b.log("answering: " + err.Error())
		}
	}
}

// takeUpInvitations joins the rooms to which the bot is invited.
func (b *bot) takeUpInvitations() error {
	t, ok := client.As[client.Talker](b.s)
	if !ok {
		return nil
	}
	rooms, err := t.Rooms(b.ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, r := range rooms {
		if r.Membership != "invite" || b.cfg.Invited != nil && !b.cfg.Invited(r) {
			continue
		}
		if _, err := t.Join(b.ctx, string(r.ID)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
