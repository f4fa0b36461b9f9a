package matrix_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	hostile "github.com/quinta-chat/quinta/testkit/hostile/matrix"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// A person is one device behind a hostile server of its own.
type person struct {
	t      *testing.T
	s      *matrixclient.Session
	server *hostile.Server

	mu     sync.Mutex
	events []e2ee.Event
	came   chan struct{}
}

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// meets makes an account and its device, and keeps it running.
func meets(t *testing.T, url, name string) *person {
	t.Helper()
	return enters(t, url, name, matrixclient.Network{}.Register)
}

// returns makes another device of an account.
func returns(t *testing.T, url, name string) *person {
	t.Helper()
	return enters(t, url, name, matrixclient.Network{}.Login)
}

func enters(t *testing.T, url, name string, login func(context.Context, client.Store, e2ee.Env, client.Credentials) (quinta.Device, error)) *person {
	t.Helper()
	p := &person{t: t, server: hostile.Start(t, url), came: make(chan struct{})}
	st := memory.New()
	in := client.Credentials{Server: p.server.URL, User: name, Password: client.NewSecret("correct horse battery staple")}
	if _, err := login(t.Context(), st, env, in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	s, err := matrixclient.Network{}.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	p.s = s.(*matrixclient.Session)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.s.Run(ctx, p.on) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: run: got %v, want it to end without error", name, err)
		}
	})
	return p
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
			p.t.Fatalf("%s: no %s in %v; got %+v", p.s.Self().User, what, patience, p.events)
		}
	}
}

// hears waits for a message that cannot be read for a reason.
func (p *person) hears(reason quinta.Reason) e2ee.Event {
	p.t.Helper()
	return p.sees("message that is "+string(reason), func(e e2ee.Event) bool { return e.Kind == e2ee.EventUndecryptable && e.Reason == reason })
}

// notices waits for an event of a kind about a user whose detail has a part.
func (p *person) notices(kind e2ee.EventKind, user quinta.UserID, detail string) e2ee.Event {
	p.t.Helper()
	return p.sees(fmt.Sprintf("word of %q", detail), func(e e2ee.Event) bool {
		return e.Kind == kind && e.User == user && strings.Contains(e.Detail, detail)
	})
}

// reads waits for a message with the text.
func (p *person) reads(text string) quinta.Message {
	p.t.Helper()
	return p.sees(fmt.Sprintf("message %q", text), func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && e.Message.Text == text }).Message
}

// saw counts the messages with the text.
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
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	txn, err := p.s.Send(ctx, room, client.Text(text))
	if err != nil {
		p.t.Fatalf("%s: send: %v", p.s.Self().User, err)
	}
	return p.sees("answer to the message", func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn }).Message
}

// invites makes an encrypted room and has everyone join it.
func (p *person) invites(others ...*person) quinta.RoomID {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	in := client.NewRoom{Name: "the room"}
	for _, o := range others {
		in.Invite = append(in.Invite, o.s.Self().User)
	}
	room, err := p.s.Create(ctx, in)
	if err != nil {
		p.t.Fatalf("create: %v", err)
	}
	for _, o := range others {
		if _, err := o.s.Join(ctx, string(room)); err != nil {
			p.t.Fatalf("%s: join: %v", o.s.Self().User, err)
		}
	}
	return room
}

// device is the name of a person's device, and user that of the person.
func (p *person) device() string { return string(p.s.Self().ID) }
func (p *person) user() string   { return string(p.s.Self().User) }

// sealed counts the Olm messages that left a person for a device.
func (p *person) sealed(device string) (n int) {
	for _, r := range p.server.Seen() {
		if strings.Contains(r.Path, "/sendToDevice/m.room.encrypted/") && strings.Contains(string(r.Body), `"`+device+`":{"algorithm"`) {
			n++
		}
	}
	return n
}

// never fails the test if the text was seen on the wire.
func (p *person) never(text string) {
	p.t.Helper()
	for _, r := range p.server.Seen() {
		if strings.Contains(string(r.Body), text) || strings.Contains(r.Path+r.Query, text) {
			p.t.Errorf("%s %s: %q left in clear", r.Method, r.Path, text)
		}
	}
}

// couple is Alice and Bob in an encrypted room, who have read each other.
func couple(t *testing.T) (alice, bob *person, room quinta.RoomID) {
	t.Helper()
	url := quintatest.Start(t).URL
	alice, bob = meets(t, url, "alice"), meets(t, url, "bob")
	room = alice.invites(bob)
	alice.sends(room, "hello")
	bob.reads("hello")
	bob.sends(room, "hi")
	alice.reads("hi")
	return alice, bob, room
}

// goesOn holds that all is as before: each reads the other.
func goesOn(alice, bob *person, room quinta.RoomID) {
	alice.t.Helper()
	alice.sends(room, "on we go")
	bob.reads("on we go")
	bob.sends(room, "so we do")
	alice.reads("so we do")
}
