package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/all/clients"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// demoTime is how long a demo may take.
const demoTime = 2 * time.Minute

var demoCommand = command{
	Name:  "demo",
	Short: "show two people talking, and what the server sees",
	Long: `
Demo starts a server inside this process, and two people who talk through it.
For each message it shows what was written, what the server stored, and what
was read. It keeps nothing, and reads no settings.

    quintad demo

    --json
        print one JSON object per message
`,
	Prepare: func(fs *flag.FlagSet) action {
		asJSON := fs.Bool("json", false, "")
		return func(ctx context.Context, p *program, _ *config.Config, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, demoTime)
			defer cancel()
			d := &demo{out: p.stdout, json: *asJSON, env: e2ee.Env{Now: time.Now, Rand: rand.Reader}}
			return d.run(ctx)
		}
	},
}

// demoTalk is what the two say.
var demoTalk = []struct{ who, text string }{
	{"alice", "Are we alone here?"},
	{"bob", "The server carries this, and cannot read it."},
	{"alice", "Then meet me at the quinta. 🌳"},
}

// demoLine is one message of the demo in JSON.
type demoLine struct {
	V      int           `json:"v"`
	Type   string        `json:"type"`
	Sender quinta.UserID `json:"sender"`
	Wrote  string        `json:"wrote"`
	Stored string        `json:"stored"`
	Read   string        `json:"read"`
}

// A demo is one run of the command.
type demo struct {
	out  io.Writer
	json bool
	env  e2ee.Env
}

// say prints a line for people, unless the output is JSON.
func (d *demo) say(format string, args ...any) {
	if !d.json {
		fmt.Fprintf(d.out, format+"\n", args...)
	}
}

func (d *demo) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "quinta-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	core, url, stop, err := d.server(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	d.say("A server runs at %s while this demo lasts.", url)

	cast := map[string]*player{}
	for _, name := range []string{"alice", "bob"} {
		p, err := d.player(ctx, url, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer p.close()
		cast[name] = p
	}
	alice, bob := cast["alice"], cast["bob"]
	id, err := alice.s.Create(ctx, client.NewRoom{Name: "demo", Invite: []quinta.UserID{bob.s.Self().User}})
	if err != nil {
		return err
	}
	if _, err := bob.s.Join(ctx, string(id)); err != nil {
		return err
	}
	for _, line := range demoTalk {
		from, to := cast[line.who], bob
		if from == bob {
			to = alice
		}
		if _, err := from.s.Send(ctx, id, client.Text(line.text)); err != nil {
			return err
		}
		m, err := to.next(ctx)
		if err != nil {
			return err
		}
		stored, err := storedForm(ctx, core, id, m.ID)
		if err != nil {
			return err
		}
		if d.json {
			if err := json.NewEncoder(d.out).Encode(demoLine{1, "demo", m.Sender, line.text, stored, m.Text}); err != nil {
				return err
			}
		}
		d.say("\n%-20s %s\n%-20s %.120s...\n%-20s %s", m.Sender+" wrote:", line.text, "the server stored:", stored, to.s.Self().User+" read:", m.Text)
	}
	d.say("\nTry it yourself: run \"quintad serve\", and in another terminal \"quintad user add alice\"; then read \"quinta help login\"")
	return nil
}

// demoServer starts a server for the demo.
func (d *demo) server(ctx context.Context, dir string) (*server.Core, string, func() error, error) {
	core, err := server.Open(ctx, server.Config{
		Name: "demo", DB: db.Config{Path: filepath.Join(dir, "quinta.db")}, Registration: server.RegistrationOpen,
		Now: d.env.Now, Rand: d.env.Rand, Log: slog.New(slog.DiscardHandler),
	}, servers.All())
	if err != nil {
		return nil, "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", nil, errors.Join(err, core.Close())
	}
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- core.Serve(sctx, l, core.Handler(http.NotFoundHandler()), nil) }()
	stop := func() error {
		cancel()
		return errors.Join(<-done, core.Close())
	}
	return core, "http://" + l.Addr().String(), stop, nil
}

// A player is one user of the demo.
type player struct {
	s     client.Talker
	got   chan quinta.Message
	ended chan error
	stop  context.CancelFunc
}

func (d *demo) player(ctx context.Context, url, name string) (*player, error) {
	for _, n := range clients.All() {
		r, ok := n.(client.Registrar)
		if !ok {
			continue
		}
		st := memory.New()
		if _, err := r.Register(ctx, st, d.env, client.Credentials{Server: url, User: name, Password: client.NewSecret("demo " + name), DeviceName: "demo"}); err != nil {
			return nil, err
		}
		s, err := n.Open(ctx, st, d.env)
		if err != nil {
			return nil, err
		}
		t, ok := client.As[client.Talker](s)
		if !ok {
			return nil, errors.Join(errors.New("the network has no rooms"), s.Close())
		}
		rctx, stop := context.WithCancel(ctx)
		p := &player{s: t, got: make(chan quinta.Message, 10), ended: make(chan error, 1), stop: stop}
		go func() {
			p.ended <- s.Run(rctx, func(e e2ee.Event) {
				if e.Kind == e2ee.EventMessage && e.Message.Kind == quinta.MessageText && e.Message.Sender != s.Self().User {
					p.got <- e.Message
				}
			})
		}()
		return p, nil
	}
	return nil, errors.New("no network lets clients create accounts")
}

// next waits for a message.
func (p *player) next(ctx context.Context) (quinta.Message, error) {
	select {
	case m := <-p.got:
		return m, nil
	case err := <-p.ended:
		return quinta.Message{}, errors.Join(errors.New("the session ended"), err)
	case <-ctx.Done():
		return quinta.Message{}, ctx.Err()
	}
}

func (p *player) close() {
	p.stop()
	p.s.Close()
}

// storedForm returns what the server keeps of a message.
func storedForm(ctx context.Context, core *server.Core, id quinta.RoomID, msg quinta.MessageID) (string, error) {
	var out string
	err := core.View(ctx, func(tx *db.Tx) error {
		e, err := room.ByID(tx, id, msg)
		if err == nil && e == nil {
			err = errors.New("the server does not have the message")
		}
		if err == nil {
			out = string(e.Content)
		}
		return err
	})
	return out, err
}
