package ca_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// TestOutsideIsAHint: a server exchanges what is outside of the seal between
// real messages and packets of several people, makes values up, repeats and
// reorders. Whatever it writes there, what is shown, by id, text and sender, is
// among what was sealed, and each message is shown once.
func TestOutsideIsAHint(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	c := p.login(carol, "C1", ca.Policy{Sessions: true})
	b.settle()
	c.settle()
	other := c.roomWith(bob)
	before, after := b.store.Snapshot(), quinta.Pos(0)
	b.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { after, err = b.m.Since(tx); return nil, err })
	sealed := map[string]bool{}
	for _, who := range []struct {
		d    *device
		conv quinta.RoomID
	}{{a, conv}, {c, other}, {a, conv}, {c, other}, {a, conv}} {
		text := fmt.Sprint("text ", len(sealed))
		who.d.says(who.conv, text)
		sealed[fmt.Sprintf("%s %s %q", p.last(who.conv).ID, who.d.user, text)] = true
	}
	var real []ca.Item
	for _, it := range p.mailbox(b, after).Items {
		if it.Kind == ca.KindMessage {
			real = append(real, it)
		}
	}
	if len(real) != len(sealed) || real[0].Form == real[len(real)-1].Form {
		t.Fatalf("got %d messages, want %d, in both forms", len(real), len(sealed))
	}
	luck := rand.New(rand.NewPCG(8, 8))
	shown := map[string]bool{}
	for range 400 {
		b.store, b.events = before.Snapshot(), nil
		b.boot()
		in := ca.In{After: after}
		for i := range 8 {
			it := real[luck.IntN(len(real))]
			if luck.IntN(3) > 0 {
				it = bent(luck, it, real)
			}
			it.Pos = after + 1 + quinta.Pos(i)
			in.Items, in.Next = append(in.Items, it), it.Pos
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, in) })
		b.flush()
		once := map[quinta.MessageID]bool{}
		for _, e := range b.take(e2ee.EventMessage) {
			line := fmt.Sprintf("%s %s %q", e.Message.ID, e.Message.Sender, e.Message.Text)
			if !sealed[line] {
				t.Fatalf("got %s, which no one sealed, of %+v", line, in.Items)
			}
			if once[e.Message.ID] {
				t.Fatalf("got %s twice", line)
			}
			once[e.Message.ID], shown[line] = true, true
		}
	}
	if len(shown) != len(sealed) {
		t.Errorf("%d of %d messages were ever shown: the test shows nothing", len(shown), len(sealed))
	}
}

// bent changes some of what is outside of an item's seal, to what it is of
// another item or to anything else.
func bent(luck *rand.Rand, it ca.Item, others []ca.Item) ca.Item {
	o := others[luck.IntN(len(others))]
	for _, change := range []func(){
		func() {
			it.Kind = []ca.Kind{ca.KindNotice, ca.KindReseal, ca.KindApproval, ca.KindMessage}[luck.IntN(4)]
		},
		func() { it.Form = o.Form },
		func() { it.Conv = o.Conv },
		func() { it.ID = o.ID },
		func() { it.ID = "another" },
		func() { it.From = o.From },
		func() { it.From, it.Device = o.From, o.Device },
		func() { it.From, it.Device = bob, "B1" },
		func() { it.Device = "A2" },
		func() { it.Received = it.Received.Add(time.Duration(luck.IntN(100)-50) * time.Hour) },
		func() { it.Received = time.Time{} },
		func() { it.Body = o.Body },
	} {
		if luck.IntN(6) == 0 {
			change()
		}
	}
	return it
}

// TestConversationOwnsItsSession: a session belongs to one direct conversation,
// and the first signed offer in it stays. A third person who offers a session
// of the same id in a conversation of their own, before or after, and the peer
// who offers it again with another secret, change nothing in what is read.
func TestConversationOwnsItsSession(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"a third person before", "a third person after", "the peer again", "the peer in another conversation"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			p, a, b, conv := couple(t, ca.Policy{Sessions: true})
			c := p.login(carol, "C1", ca.Policy{Sessions: true})
			b.settle()
			c.settle()
			other := c.roomWith(bob)
			c.says(other, "hello")
			b.settle()
			b.reads("hello")
			a.says(conv, "offer")
			if who != "a third person before" {
				b.settle()
				b.reads("offer")
			}
			kid := sessionID(t, a.store, conv)
			steal := func(d *device, room quinta.RoomID) {
				body, err := json.Marshal(map[string]any{"kind": "text", "text": "squat", "session": map[string]any{"kid": kid, "secret": make([]byte, 32), "keys": []string{}}})
				if err != nil {
					t.Fatal(err)
				}
				p.forge(b, ca.Item{Conv: room, ID: "squat", From: d.user, Device: d.id, Body: d.seal(b, seal.Content{Conv: room, ID: "squat", Body: body})})
			}
			switch who {
			case "the peer in another conversation":
				steal(a, other)
				b.settle()
				b.told(quinta.ReasonSenderMismatch)
				b.take()
			case "the peer again":
				steal(a, conv)
				b.settle()
				b.reads("squat")
			case "a third person before":
				steal(c, other)
				b.settle()
				b.take()
				if sessionID(t, b.store, other) != kid {
					t.Fatal("the offer of the third person was not taken")
				}
			default:
				steal(c, other)
				b.settle()
				b.reads("squat")
			}
			a.says(conv, "one")
			if got := p.last(conv); got.Form != ca.FormSession {
				t.Fatalf("got the form %s, want a packet", got.Form)
			}
			b.settle()
			if e := b.reads("one"); e[0].Message.Sender != alice || e[0].Message.Room != conv {
				t.Errorf("got %+v", e[0].Message)
			}
		})
	}
}

// sessionID is the id of the one session of a conversation in a store.
func sessionID(t *testing.T, store *memory.Store, conv quinta.RoomID) (kid string) {
	t.Helper()
	prefix := "session/" + string(conv) + "\x00"
	err := store.View(t.Context(), func(tx e2ee.Tx) error {
		for e, err := range tx.All(prefix) {
			if err != nil {
				return err
			}
			kid = strings.TrimPrefix(e.Key, prefix)
		}
		return nil
	})
	if err != nil || kid == "" {
		t.Fatalf("got the session %q, %v", kid, err)
	}
	return kid
}

// TestEveryDeviceOfASessionCanForge shows the limit of session mode that
// doc/security.md names: a device that the offer was sealed for can make packets
// of any of the others; a whole message of another device it cannot make.
func TestEveryDeviceOfASessionCanForge(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	second := p.login(bob, "B2", ca.Policy{Sessions: true})
	a.settle()
	b.settle()
	a.says(conv, "offer")
	b.settle()
	second.settle()
	b.reads("offer")
	var s struct {
		Session seal.Session `json:"session"`
	}
	err := second.store.View(t.Context(), func(tx e2ee.Tx) error {
		raw, err := tx.Get("session/" + string(conv) + "\x00" + sessionID(t, second.store, conv))
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &s)
	})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := seal.NewSession(s.Session.Offer, conv, alice, "A1", bob, p.now)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := forged.Seal(seal.Small{ID: "forged", Time: p.now.UnixMilli(), Body: []byte(`{"kind":"text","text":"forged"}`)})
	if err != nil {
		t.Fatal(err)
	}
	p.forge(b, ca.Item{Form: ca.FormSession, Conv: conv, ID: "forged", From: alice, Device: "A1", Body: raw})
	b.settle()
	b.reads("forged")
	p.forge(b, ca.Item{Conv: conv, ID: "signed", From: alice, Device: "A1", Body: second.seal(b, seal.Content{Conv: conv, ID: "signed", To: []quinta.UserID{alice}})})
	b.settle()
	b.told(quinta.ReasonSenderMismatch)
	if got := b.take(e2ee.EventMessage); slices.ContainsFunc(got, func(e e2ee.Event) bool { return e.Message.ID == "signed" }) {
		t.Errorf("got %+v", got)
	}
}
