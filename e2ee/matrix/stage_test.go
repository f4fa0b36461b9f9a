package matrix_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/key"
)

// A stage is a homeserver with devices on it and one clock.
type stage struct {
	t    testing.TB
	hs   *homeserver
	seed int
}

func newStage(t testing.TB) *stage {
	t.Helper()
	return &stage{t: t, hs: newHomeserver(t)}
}

func (s *stage) now() time.Time { return time.UnixMilli(s.hs.now) }

// env returns the outside world of one more machine.
func (s *stage) env() e2ee.Env {
	s.seed++
	return e2ee.Env{Now: s.now, Rand: rand.NewChaCha8([32]byte{byte(s.seed), byte(s.seed >> 8)})}
}

func (s *stage) wait(d time.Duration) { s.hs.now += d.Milliseconds() }

// A client is one device with its store.
type client struct {
	s      *stage
	m      *matrix.Machine
	mem    *memory
	user   quinta.UserID
	device quinta.DeviceID
	events []e2ee.Event
	// see watches requests before they leave; it returns false to cut the line.
	see func(matrix.Req) bool
}

type maker func(e2ee.Env, quinta.UserID, quinta.DeviceID) *matrix.Machine

// login makes a device and uploads its keys.
func (s *stage) login(u quinta.UserID, d quinta.DeviceID) *client {
	return s.loginWith(matrix.New, u, d)
}

func (s *stage) loginWith(make maker, u quinta.UserID, d quinta.DeviceID) *client {
	s.t.Helper()
	s.hs.login(u, d)
	c := &client{s: s, m: make(s.env(), u, d), mem: newMemory(), user: u, device: d}
	c.pump()
	return c
}

// update runs one call of the machine and collects its events.
func (c *client) update(f func(tx e2ee.Tx) ([]e2ee.Event, error)) {
	c.s.t.Helper()
	if err := c.try(f); err != nil {
		c.s.t.Fatalf("%s %s: %v", c.user, c.device, err)
	}
}

func (c *client) try(f func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return c.mem.update(func(tx e2ee.Tx) error {
		events, err := f(tx)
		if err == nil {
			c.events = append(c.events, events...)
		}
		return err
	})
}

func (c *client) outgoing() []matrix.Req {
	c.s.t.Helper()
	var reqs []matrix.Req
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		reqs, err = c.m.Outgoing(tx)
		return nil, err
	})
	return reqs
}

func (c *client) done(r matrix.Req, a matrix.Ans) {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return c.m.Done(tx, r, a) })
}

// pump sends what is due until nothing is, or the line is cut.
func (c *client) pump() {
	c.s.t.Helper()
	for range 100 {
		reqs := c.outgoing()
		answered := 0
		for _, r := range reqs {
			if c.see != nil && !c.see(r) {
				continue
			}
			a := c.s.hs.handle(c.user, c.device, r)
			if a.Failure != matrix.Unreached {
				answered++
			}
			c.done(r, a)
		}
		if answered == 0 {
			return
		}
	}
	c.s.t.Fatalf("%s %s does not come to rest: %v", c.user, c.device, kinds(c.outgoing()))
}

func kinds(reqs []matrix.Req) []string {
	var out []string
	for _, r := range reqs {
		out = append(out, fmt.Sprintf("%s %s", r.Kind, r.Path))
	}
	return out
}

// sync does one /sync.
func (c *client) sync() {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		since, err := matrix.Since(tx)
		if err != nil {
			return nil, err
		}
		in, err := matrix.ParseSync(since, c.s.hs.sync(c.user, c.device, since))
		if err != nil {
			return nil, err
		}
		return c.m.Receive(tx, in)
	})
}

// turn syncs and sends, for each client, until all is quiet.
func turn(cs ...*client) {
	for range 4 {
		for _, c := range cs {
			c.s.t.Helper()
			c.sync()
			c.pump()
		}
	}
}

func (c *client) send(room quinta.RoomID, text string) {
	c.s.t.Helper()
	if err := c.trySend(room, text); err != nil {
		c.s.t.Fatal(err)
	}
}

func (c *client) trySend(room quinta.RoomID, text string) error {
	return c.try(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, c.m.Send(tx, quinta.Message{Room: room, Type: "m.room.message", Body: body(text)})
	})
}

func body(text string) []byte { return mustJSON(map[string]string{"msgtype": "m.text", "body": text}) }

// says sends and carries the message out.
func (c *client) says(room quinta.RoomID, text string) {
	c.s.t.Helper()
	c.send(room, text)
	c.pump()
}

// text returns the body of a message.
func text(m quinta.Message) string {
	var b struct{ Body string }
	_ = json.Unmarshal(m.Body, &b)
	return b.Body
}

// take returns the events since the last take.
func (c *client) take() []e2ee.Event {
	out := c.events
	c.events = nil
	return out
}

// reads returns what the client saw of messages since the last take:
// "sender: text", or the reason.
func (c *client) reads() []string {
	var out []string
	for _, e := range c.take() {
		switch {
		case e.Kind == e2ee.EventMessage:
			line := strings.TrimSuffix(string(e.Message.Sender), ":x") + ": " + text(e.Message)
			if e.Message.Weakness != "" {
				line += " (" + string(e.Message.Weakness) + ")"
			}
			out = append(out, line)
		case e.Kind == e2ee.EventUndecryptable:
			line := "! " + string(e.Reason)
			if e.Detail != "" {
				line += ": " + e.Detail
			}
			out = append(out, line)
		}
	}
	return out
}

// wantReads checks what the client saw of messages.
func (c *client) wantReads(want ...string) {
	c.s.t.Helper()
	got := c.reads()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		c.s.t.Errorf("%s %s reads %q, want %q", c.user, c.device, got, want)
	}
}

// pair is Alice and Bob with one device each in one encrypted room.
func pair(t testing.TB) (s *stage, alice, bob *client) {
	t.Helper()
	s = newStage(t)
	alice, bob = s.login("@alice:x", "ALICE"), s.login("@bob:x", "BOB")
	s.hs.create("!r:x", "@alice:x", "@bob:x")
	turn(alice, bob)
	alice.take()
	bob.take()
	return s, alice, bob
}

// identity returns the fingerprint of a client.
func (c *client) identity() key.DeviceSigningPublic {
	c.s.t.Helper()
	var id matrix.Identity
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		id, err = c.m.Identity(tx)
		return nil, err
	})
	return id.Ed25519
}

// curve returns the identity key of a client.
func (c *client) curve() key.IdentityPublic {
	c.s.t.Helper()
	var id matrix.Identity
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		id, err = c.m.Identity(tx)
		return nil, err
	})
	return id.Curve
}
