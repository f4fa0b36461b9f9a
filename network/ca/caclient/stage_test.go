package caclient_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/caclient"
)

// patience bounds every wait of these tests.
const patience = 2 * time.Minute

// password of everyone in these tests.
var password = client.NewSecret("correct horse battery staple")

// A clock moves only when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) later(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A person is one device of one user in a story.
type person struct {
	t    *testing.T
	s    *caclient.Session
	st   client.Store
	env  e2ee.Env
	net  caclient.Network
	stop func()

	mu     sync.Mutex
	events []e2ee.Event
	came   chan struct{}
}

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// meets makes an account and a device on the server at url.
func meets(t *testing.T, url, name string) *person {
	t.Helper()
	return enters(t, url, name, caclient.Network{}, memory.New(), env, true)
}

// another logs in a further device of an account.
func another(t *testing.T, url, name string) *person {
	t.Helper()
	return enters(t, url, name, caclient.Network{}, memory.New(), env, false)
}

func enters(t *testing.T, url, name string, n caclient.Network, st client.Store, env e2ee.Env, register bool) *person {
	t.Helper()
	in := client.Credentials{Server: url, User: name, Password: password, DeviceName: name + "'s device"}
	login := n.Login
	if register {
		login = n.Register
	}
	if _, err := login(t.Context(), st, env, in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return resumes(t, n, st, env)
}

// resumes opens the session that a store holds.
func resumes(t *testing.T, n caclient.Network, st client.Store, env e2ee.Env) *person {
	t.Helper()
	s, err := n.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, s: s.(*caclient.Session), st: st, env: env, net: n, came: make(chan struct{})}
}

// disk returns a store in a file of the test.
func disk(t *testing.T) client.Store {
	t.Helper()
	_, st := diskIn(t)
	return st
}

// diskIn returns a store and the folder that it is in.
func diskIn(t *testing.T) (dir string, st client.Store) {
	t.Helper()
	dir = t.TempDir()
	key, err := sqlite.KeyFile(filepath.Join(dir, "store.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := sqlite.Open(filepath.Join(dir, "store"), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return dir, opened
}

// readDir returns the files of a folder.
func readDir(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range list {
		if out[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// kinds are the kinds of store.
var kinds = map[string]func(*testing.T) client.Store{
	"memory": func(*testing.T) client.Store { return memory.New() },
	"disk":   disk,
}

// each runs fn with every kind of store.
func each(t *testing.T, fn func(t *testing.T, open func(*testing.T) client.Store)) {
	t.Helper()
	t.Parallel()
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(t, open)
		})
	}
}

func (p *person) id() quinta.UserID       { return p.s.Self().User }
func (p *person) device() quinta.DeviceID { return p.s.Self().ID }

// runs keeps the person connected until the end of the test or stop.
func (p *person) runs() *person {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.s.Run(ctx, p.on) }()
	var once sync.Once
	p.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				p.t.Errorf("%s: run: got %v, want it to end without error", p.id(), err)
			}
		})
	}
	p.t.Cleanup(p.stop)
	return p
}

// again stops the device and resumes it from its store.
func (p *person) again() *person {
	p.t.Helper()
	p.stop()
	return resumes(p.t, p.net, p.st, p.env)
}

func (p *person) on(e e2ee.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	close(p.came)
	p.came = make(chan struct{})
}

// sees waits for an event for which is returns true.
func (p *person) sees(what string, is func(e2ee.Event) bool) e2ee.Event {
	p.t.Helper()
	end := time.After(patience)
	for seen := 0; ; {
		p.mu.Lock()
		for ; seen < len(p.events); seen++ {
			if is(p.events[seen]) {
				defer p.mu.Unlock()
				return p.events[seen]
			}
		}
		came := p.came
		p.mu.Unlock()
		select {
		case <-came:
		case <-end:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("%s on %s: no %s in %v; got %s", p.id(), p.device(), what, patience, told(p.events))
		}
	}
}

// told writes events for a failed test.
func told(events []e2ee.Event) string {
	out := ""
	for _, e := range events {
		out += fmt.Sprintf("\n  kind %d room %s user %s device %s text %q reason %s detail %q", e.Kind, e.Message.Room, e.User, e.Device, e.Message.Text, e.Reason, e.Detail)
	}
	return out
}

// reads waits for a message with the text and returns it.
func (p *person) reads(text string) quinta.Message {
	p.t.Helper()
	e := p.sees(fmt.Sprintf("message %q", text), func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && e.Message.Text == text })
	return e.Message
}

// fails waits until a message could not be read for the reason.
func (p *person) fails(reason quinta.Reason) e2ee.Event {
	p.t.Helper()
	return p.sees("message that fails: "+string(reason), func(e e2ee.Event) bool { return e.Kind == e2ee.EventUndecryptable && e.Reason == reason })
}

// saw counts the messages with the text that came so far.
func (p *person) saw(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == e2ee.EventMessage && e.Message.Text == text {
			n++
		}
	}
	return n
}

// sends sends a text and waits until the server has it.
func (p *person) sends(room quinta.RoomID, text string) quinta.Message {
	p.t.Helper()
	return p.sendsDraft(room, client.Text(text))
}

func (p *person) sendsDraft(room quinta.RoomID, d client.Draft) quinta.Message {
	p.t.Helper()
	txn := p.puts(room, d)
	return p.sees("answer to the message", func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn }).Message
}

// puts puts a message into the outbox.
func (p *person) puts(room quinta.RoomID, d client.Draft) quinta.TxnID {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	txn, err := p.s.Send(ctx, room, d)
	if err != nil {
		p.t.Fatalf("%s: send: %v", p.id(), err)
	}
	return txn
}

// talks begins the direct conversation with another person.
func (p *person) talks(other *person) quinta.RoomID {
	p.t.Helper()
	return p.creates(client.NewRoom{Direct: true, Invite: []quinta.UserID{other.id()}})
}

// gathers makes a conversation of several.
func (p *person) gathers(others ...*person) quinta.RoomID {
	p.t.Helper()
	in := client.NewRoom{Name: "the group"}
	for _, o := range others {
		in.Invite = append(in.Invite, o.id())
	}
	return p.creates(in)
}

func (p *person) creates(in client.NewRoom) quinta.RoomID {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	room, err := p.s.Create(ctx, in)
	if err != nil {
		p.t.Fatalf("%s: create: %v", p.id(), err)
	}
	return room
}

// catchesUp flushes once, as a program that does not stay connected.
func (p *person) catchesUp() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if err := p.s.Flush(ctx, p.on); err != nil {
		p.t.Fatalf("%s: flush: %v", p.id(), err)
	}
}

// shown returns the timeline of a conversation as "sender: text" lines.
func (p *person) shown(room quinta.RoomID) []string {
	p.t.Helper()
	items, err := p.s.Read(p.t.Context(), room, timeline.Query{})
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, it := range items {
		line := string(it.Message.Sender) + ": " + it.Message.Text
		if it.Reason != "" {
			line = string(it.Message.Sender) + ": [" + string(it.Reason) + "]"
		}
		out = append(out, line)
	}
	return out
}

// wantKind fails the test unless err is of the kind.
func wantKind(t *testing.T, err error, want quinta.Kind) {
	t.Helper()
	if err == nil || quinta.KindOf(err) != want {
		t.Fatalf("got error %v of kind %v, want kind %v", err, quinta.KindOf(err), want)
	}
}
