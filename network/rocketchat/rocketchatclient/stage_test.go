package rocketchatclient_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
)

// patience bounds every wait of these tests.
const patience = 2 * time.Minute

// password of everyone in these tests.
var password = client.NewSecret("correct horse battery staple")

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// A person is one device of one user in a story.
type person struct {
	t    *testing.T
	s    *rocketchatclient.Session
	st   client.Store
	stop func()

	mu     sync.Mutex
	events []e2ee.Event
	came   chan struct{}
}

// meets makes an account and logs in.
func meets(t *testing.T, url, name string) *person {
	t.Helper()
	return enters(t, url, name, memory.New(), true)
}

// another logs the user in once more.
func another(t *testing.T, url, name string) *person {
	t.Helper()
	return enters(t, url, name, memory.New(), false)
}

func enters(t *testing.T, url, name string, st client.Store, register bool) *person {
	t.Helper()
	n := rocketchatclient.Network{}
	in := client.Credentials{Server: url, User: name, Password: password, DeviceName: name + "'s device"}
	login := n.Login
	if register {
		login = n.Register
	}
	if _, err := login(t.Context(), st, env, in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return resumes(t, st)
}

func resumes(t *testing.T, st client.Store) *person {
	t.Helper()
	s, err := rocketchatclient.Network{}.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, s: s.(*rocketchatclient.Session), st: st, came: make(chan struct{})}
	t.Cleanup(p.rests)
	return p
}

// runs lets the session run until the test ends or it rests.
func (p *person) runs() *person {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- p.s.Run(ctx, p.hears) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("%s: the session ended: %v", p.s.Self().User, err)
		}
	})
	return p
}

func (p *person) rests() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

func (p *person) hears(e e2ee.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	close(p.came)
	p.came = make(chan struct{})
}

// waits returns the first event that fits.
func (p *person) waits(what string, fits func(e2ee.Event) bool) e2ee.Event {
	p.t.Helper()
	end := time.After(patience)
	for at := 0; ; {
		p.mu.Lock()
		for ; at < len(p.events); at++ {
			if fits(p.events[at]) {
				defer p.mu.Unlock()
				return p.events[at]
			}
		}
		came := p.came
		p.mu.Unlock()
		select {
		case <-came:
		case <-end:
			p.t.Fatalf("%s: waited in vain for %s; %s", p.s.Self().User, what, p.story())
		}
	}
}

func (p *person) story() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, e := range p.events {
		b.WriteString("\n  " + string(e.Message.Room) + " " + string(e.Message.ID) + " " + e.Message.Text + " " + string(e.Reason) + " " + e.Detail)
	}
	return b.String()
}

// reads waits for a text.
func (p *person) reads(text string) quinta.Message {
	p.t.Helper()
	return p.waits(text, func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && e.Message.Text == text }).Message
}

// sends sends a text and waits until the server has it.
func (p *person) sends(room quinta.RoomID, text string) quinta.Message {
	p.t.Helper()
	return p.posts(room, client.Text(text))
}

func (p *person) posts(room quinta.RoomID, d client.Draft) quinta.Message {
	p.t.Helper()
	txn, err := p.s.Send(p.t.Context(), room, d)
	if err != nil {
		p.t.Fatalf("%s: %v", p.s.Self().User, err)
	}
	e := p.waits("the end of "+d.Text, func(e e2ee.Event) bool {
		return e.Message.Txn == txn && (e.Kind == e2ee.EventSent || e.Kind == e2ee.EventFailed)
	})
	if e.Kind == e2ee.EventFailed {
		p.t.Fatalf("%s: %q was not sent: %s", p.s.Self().User, d.Text, e.Detail)
	}
	return e.Message
}

// opens makes a conversation with someone.
func (p *person) opens(other string) quinta.RoomID {
	p.t.Helper()
	id, err := p.s.Create(p.t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{quinta.UserID(other)}})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// written shows the E2E password.
func (p *person) written() client.Secret {
	p.t.Helper()
	secret, err := p.s.CreateBackup(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return secret
}

// item returns one message of the device's timeline.
func (p *person) item(room quinta.RoomID, id quinta.MessageID) timeline.Item {
	p.t.Helper()
	items, err := p.s.Read(p.t.Context(), room, timeline.Query{Limit: 100})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, it := range items {
		if it.Message.ID == id {
			return it
		}
	}
	p.t.Fatalf("got no message %s", id)
	return timeline.Item{}
}
