//go:build peers

package xmpp_test

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
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/xmpp/xmppclient"
	"github.com/quinta-chat/quinta/network/xmpp/xmppserver"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/peer/xmpphost"
)

const password = "correct horse"

// component is the name of the key server.
const component = "keys.localhost"

// A stage is an XMPP server with a key server beside it.
type stage struct {
	t    *testing.T
	xmpp *xmpphost.Server
	keys *quintatest.Server
}

// each runs fn beside every kind of server.
func each(t *testing.T, fn func(t *testing.T, s *stage)) {
	t.Helper()
	t.Parallel()
	eachWith(t, nil, fn)
}

// eachWith is each with a change to the server before it runs.
func eachWith(t *testing.T, change func(x *xmpphost.Server), fn func(t *testing.T, s *stage)) {
	t.Helper()
	for _, k := range xmpphost.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			fn(t, newStage(t, k, change))
		})
	}
}

func newStage(t *testing.T, k xmpphost.Kind, change func(x *xmpphost.Server)) *stage {
	t.Helper()
	s := &stage{t: t, xmpp: xmpphost.New(t, k)}
	if change != nil {
		change(s.xmpp)
	}
	s.keys = quintatest.StartNetworks(t, []server.Network{xmppserver.Network}, quintatest.Setting("xmpp-component", component+"@"+s.xmpp.Component))
	lines, err := s.keys.Core.RunCommand(t.Context(), "xmpp setup", server.CommandInput{Args: []string{k.Name}, Flags: map[string]string{"component": component, "port": s.xmpp.ComponentPort(), "new": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	s.xmpp.Configure(lines)
	for _, name := range []string{"romeo", "juliet", "tybalt"} {
		s.xmpp.AddUser(name, password)
	}
	s.xmpp.Start()
	return s
}

// A seat is one device.
type seat struct {
	s     *stage
	user  quinta.UserID
	store *memory.Store
	client.Session

	mu     sync.Mutex
	events []e2ee.Event
	news   chan struct{}
	stop   func()
}

func env() e2ee.Env { return e2ee.Env{Now: time.Now, Rand: rand.Reader} }

// seat makes a device that has not logged in.
func (s *stage) seat(name string) *seat {
	return &seat{s: s, user: quinta.UserID(name + "@" + xmpphost.Domain), store: memory.New(), news: make(chan struct{}, 1)}
}

// login makes a new device and lets it run.
func (s *stage) login(name string) *seat { return s.loginAt(name, "xmpp://"+s.xmpp.Client) }

// loginAt is login at an address of the server.
func (s *stage) loginAt(name, address string) *seat {
	s.t.Helper()
	p := s.seat(name)
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	var err error
	// The component may still be connecting.
	for range 100 {
		if _, err = (xmppclient.Network{}).Login(ctx, p.store, env(), client.Credentials{Server: address, User: string(p.user), Password: client.NewSecret(password)}); quinta.KindOf(err) != quinta.KindNotFound {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	p.run()
	return p
}

// run opens the session and lets it run.
func (p *seat) run() {
	p.s.t.Helper()
	var err error
	if p.Session, err = (xmppclient.Network{}).Open(p.s.t.Context(), p.store, env()); err != nil {
		p.s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx, p.on); err != nil {
			p.s.t.Errorf("%s: %v", p.user, err)
		}
	}()
	once := sync.Once{}
	p.stop = func() {
		once.Do(func() {
			cancel()
			<-done
		})
	}
	p.s.t.Cleanup(p.stop)
}

// close ends the session as the end of a process does, but for the store.
func (p *seat) close() {
	p.s.t.Helper()
	p.stop()
	p.store = p.store.Snapshot()
	if err := p.Session.Close(); err != nil {
		p.s.t.Error(err)
	}
}

func (p *seat) on(e e2ee.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// until waits until cond holds of the events.
func (p *seat) until(what string, cond func(list []e2ee.Event) bool) {
	p.s.t.Helper()
	end := time.After(60 * time.Second)
	for {
		p.mu.Lock()
		ok := cond(p.events)
		list := fmt.Sprintf("%+v", p.events)
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-p.news:
		case <-end:
			p.s.t.Fatalf("%s: %s did not come: %s", p.user, what, list)
		}
	}
}

// says sends a text and waits until it was sent.
func (p *seat) says(to *seat, text string) {
	p.s.t.Helper()
	p.post(to, text)
	p.until("that it was sent: "+text, func(list []e2ee.Event) bool { return p.count(list, e2ee.EventSent, text) == 1 })
}

func (p *seat) post(to *seat, text string) {
	p.s.t.Helper()
	talker, ok := client.As[client.Talker](p.Session)
	if !ok {
		p.s.t.Fatal("the session has no rooms")
	}
	room, err := talker.Create(p.s.t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{to.user}})
	if err != nil {
		p.s.t.Fatal(err)
	}
	if _, err := p.Send(p.s.t.Context(), room, client.Text(text)); err != nil {
		p.s.t.Fatal(err)
	}
}

func (p *seat) count(list []e2ee.Event, kind e2ee.EventKind, text string) int {
	n := 0
	for _, e := range list {
		if e.Kind == kind && e.Message.Text == text {
			n++
		}
	}
	return n
}

// reads waits until a text came, once.
func (p *seat) reads(from *seat, text string) quinta.Message {
	p.s.t.Helper()
	var m quinta.Message
	p.until("the text "+text, func(list []e2ee.Event) bool {
		for _, e := range list {
			if e.Kind == e2ee.EventMessage && e.Message.Text == text && e.Message.Sender == from.user {
				m = e.Message
			}
		}
		return p.count(list, e2ee.EventMessage, text) == 1
	})
	return m
}

// timeline returns the texts of a conversation on the device.
func (p *seat) timeline(with *seat) string {
	p.s.t.Helper()
	r, ok := client.As[client.Reader](p.Session)
	if !ok {
		p.s.t.Fatal("the session has no timeline")
	}
	items, err := r.Read(p.s.t.Context(), quinta.RoomID(with.user), timeline.Query{})
	if err != nil {
		p.s.t.Fatal(err)
	}
	var out []string
	for _, it := range items {
		out = append(out, it.Message.Text)
	}
	return strings.Join(out, " | ")
}
