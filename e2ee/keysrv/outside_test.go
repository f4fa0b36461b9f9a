package keysrv_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// TestOutsideIsAHint: an XMPP server exchanges what is outside of the seal
// between real stanzas of several people, makes values up, repeats and reorders.
// Whatever it writes there, what is shown, by text, sender and room, is among
// what was sealed, and nothing is shown twice.
func TestOutsideIsAHint(t *testing.T) {
	t.Parallel()
	p, a, b, _ := couple(t)
	c := p.login(tybalt, 7)
	b.settle()
	before, seen := b.store.Snapshot(), len(p.fetch(juliet, "").Items)
	sealed := map[string]bool{}
	for i, d := range []*device{a, c, a, c, a} {
		text := fmt.Sprint("text ", i)
		d.says(d.direct(juliet), text)
		sealed[fmt.Sprintf("%s %s %q", d.user, d.user, text)] = true
	}
	real := p.fetch(juliet, "").Items[seen:]
	if len(real) != len(sealed) || string(real[0].Room) != string(a.user) {
		t.Fatalf("got %d stanzas, want %d", len(real), len(sealed))
	}
	luck := rand.New(rand.NewPCG(9, 9))
	shown := map[string]bool{}
	for range 300 {
		b.store, b.events = before.Snapshot(), nil
		b.boot()
		var items []keysrv.Item
		for range 8 {
			it := real[luck.IntN(len(real))]
			o := real[luck.IntN(len(real))]
			for _, change := range []func(){
				func() { it.Room = o.Room },
				func() { it.From = o.From },
				func() { it.Room, it.From = o.Room, o.From },
				func() { it.From = juliet },
				func() { it.StanzaID = o.StanzaID },
				func() { it.StanzaID = "another" },
				func() { it.ObjectID = o.ObjectID },
				func() { it.Text = o.Text },
				func() { it.Received = it.Received.Add(time.Duration(luck.IntN(100)-50) * time.Hour) },
			} {
				if luck.IntN(9) == 0 {
					change()
				}
			}
			items = append(items, it)
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, keysrv.In{Items: items}) })
		b.flush()
		once := map[string]bool{}
		for _, e := range b.take(e2ee.EventMessage) {
			line := fmt.Sprintf("%s %s %q", quinta.UserID(e.Message.Room), e.Message.Sender, e.Message.Text)
			if !sealed[line] {
				t.Fatalf("got %s, which no one sealed, of %+v", line, items)
			}
			if once[line] {
				t.Fatalf("got %s twice", line)
			}
			once[line], shown[line] = true, true
		}
	}
	if len(shown) != len(sealed) {
		t.Errorf("%d of %d messages were ever shown: the test shows nothing", len(shown), len(sealed))
	}
}
