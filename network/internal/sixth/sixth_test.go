package sixth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/all/clients"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/network/internal/sixth/network/sixth/sixthclient"
	"github.com/quinta-chat/quinta/network/internal/sixth/network/sixth/sixthserver"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// serverHalves and clientHalves are the two lists with the toy's line in each.
func serverHalves() []server.Network { return append(servers.All(), sixthserver.Network) }
func clientHalves() []client.Network { return append(clients.All(), sixthclient.Network{}) }

// toyNetwork finds the toy in the list, as a program does.
func toyNetwork(t *testing.T) client.Network {
	t.Helper()
	for _, n := range clientHalves() {
		if n.Name() == "sixth" {
			return n
		}
	}
	t.Fatal("the list has no toy")
	return nil
}

// start starts a server with all networks and the accounts of alice and bob.
func start(t *testing.T) *quintatest.Server {
	t.Helper()
	s := quintatest.StartNetworks(t, serverHalves(), quintatest.Setting("sixth-listen", "127.0.0.1:0"))
	for _, name := range []string{"alice", "bob"} {
		if err := s.Core.AddAccount(t.Context(), name, "a long password"); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// newCode runs the operator's command.
func newCode(t *testing.T, s *quintatest.Server, user string) string {
	t.Helper()
	out, err := s.Core.RunCommand(t.Context(), "sixth code", server.CommandInput{Args: []string{user}})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// login makes a device that answers the questions with a code and a word.
func login(t *testing.T, addr, user, code, word string) (client.Session, error) {
	t.Helper()
	st, env := memory.New(), e2ee.Env{Now: time.Now, Rand: rand.Reader}
	asked := ""
	in := client.Credentials{Server: "tcp://" + addr, User: user, Ask: func(_ context.Context, q client.Question) (client.Secret, error) {
		asked += string(q.Kind) + " "
		return client.NewSecret(map[client.QuestionKind]string{client.AskCode: code, client.AskKeyPassword: word}[q.Kind]), nil
	}}
	n := toyNetwork(t)
	if _, err := n.Login(t.Context(), st, env, in); err != nil {
		return nil, err
	}
	if asked != "code key-password " {
		t.Errorf("got the questions %q", asked)
	}
	s, err := n.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, nil
}

// send sends a text and returns when the server has it.
func send(t *testing.T, s client.Session, to, text string) {
	t.Helper()
	if _, err := s.Send(t.Context(), quinta.RoomID(to), client.Text(text)); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// run runs a session until the end of the test and returns its messages.
func run(t *testing.T, s client.Session) <-chan e2ee.Event {
	t.Helper()
	events := make(chan e2ee.Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(e e2ee.Event) {
			if e.Kind != e2ee.EventTrouble {
				events <- e
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	})
	return events
}

func next(t *testing.T, events <-chan e2ee.Event) e2ee.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
		return e2ee.Event{}
	}
}

// A wire is a proxy that counts connections and can cut them.
type wire struct {
	l  net.Listener
	mu sync.Mutex
	// open are the connections to the proxy; seen counts all there were.
	open []net.Conn
	seen int
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.open = append(w.open, c)
			w.seen++
			w.mu.Unlock()
			all.Go(func() { carry(c, to) })
		}
	})
	t.Cleanup(func() { l.Close(); w.cut(); all.Wait() })
	return w
}

// carry carries what is said between c and the server, until either hangs up.
func carry(c net.Conn, to string) {
	defer c.Close()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { io.Copy(c, s); c.Close() })
	io.Copy(s, c)
	s.Close()
	back.Wait()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// TestSixthNetwork: two users talk over the toy, through the client core and a
// server with all other networks; one connection is held for as long as it
// lasts, and dialled again when it was cut.
func TestSixthNetwork(t *testing.T) {
	t.Parallel()
	s := start(t)
	addr := s.Addr(t, "sixth")
	alice, err := login(t, addr, "alice", newCode(t, s, "alice"), "garden")
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, addr)
	bob, err := login(t, w.l.Addr().String(), "bob", newCode(t, s, "bob"), "garden")
	if err != nil {
		t.Fatal(err)
	}
	before := w.count()
	events := run(t, bob)
	for i, text := range []string{"hi", "are you there?", "after the cut"} {
		if text == "after the cut" {
			if got := w.count() - before; got != 1 {
				t.Errorf("got %d connections before the cut, want one", got)
			}
			w.cut()
		}
		send(t, alice, "bob@hs1", text)
		e := next(t, events)
		if e.Kind != e2ee.EventMessage || e.Message.Text != text || e.Message.Sender != "alice@hs1" || !e.Message.Encrypted {
			t.Errorf("got %v %+v for message %d", e.Kind, e.Message, i)
		}
	}
	if got := w.count() - before; got != 2 {
		t.Errorf("got %d connections in all, want one before and one after the cut", got)
	}
	// And back, while bob runs.
	if _, err := bob.Send(t.Context(), "alice@hs1", client.Text("yes")); err != nil {
		t.Fatal(err)
	}
	if e := next(t, events); e.Kind != e2ee.EventSent || e.Message.ID == "" {
		t.Errorf("got %v %+v, want that the answer was sent", e.Kind, e.Message)
	}
	if e := next(t, run(t, alice)); e.Message.Text != "yes" {
		t.Errorf("got %v %+v", e.Kind, e.Message)
	}
}

// TestSixthRefusals: a wrong code and a code that was used log no one in,
// whoever has another word reads nothing, and no one listens outside.
func TestSixthRefusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	addr := s.Addr(t, "sixth")
	code := newCode(t, s, "alice")
	if _, err := login(t, addr, "alice", "000000x", "garden"); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v for a wrong code", err)
	}
	alice, err := login(t, addr, "alice", code, "garden")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := login(t, addr, "alice", code, "garden"); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v for a code that was used", err)
	}
	if _, err := login(t, addr, "alice", "", "garden"); !errors.Is(err, client.ErrUnanswered) {
		t.Errorf("got %v for a question without an answer", err)
	}
	bob, err := login(t, addr, "bob", newCode(t, s, "bob"), "kitchen")
	if err != nil {
		t.Fatal(err)
	}
	send(t, alice, "bob@hs1", "hi")
	if e := next(t, run(t, bob)); e.Kind != e2ee.EventUndecryptable || e.Reason != quinta.ReasonTampered || e.Message.Text != "" {
		t.Errorf("got %v %v %+v with another word", e.Kind, e.Reason, e.Message)
	}
	if _, err := login(t, "192.0.2.1:1", "alice", code, "garden"); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("got %v for a server elsewhere", err)
	}
	if err := sixthserver.Network.Settings[0].Accepts("0.0.0.0:7000"); err == nil {
		t.Error("the setting accepts an address that others reach")
	}
	// A user that is signed out has a session that ends.
	if err := s.Core.SetPassword(t.Context(), "alice", "another long password", true); err != nil {
		t.Fatal(err)
	}
	if err := alice.Flush(t.Context(), nil); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v after the logout", err)
	}
}
