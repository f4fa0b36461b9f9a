package secretchat

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
)

// TestOutsideIsAHint: a server exchanges what is outside of the seal between
// real packets of two chats, makes values up, repeats, reorders and drops.
// Whatever it writes there, what is shown in a chat is a beginning of what was
// said in it, in its order.
func TestOutsideIsAHint(t *testing.T) {
	p := newPlay(t, 901)
	one, two := p.open(), p.open()
	said := map[string][]string{string(one): {"a", "b", "c"}, string(two): {"d", "e"}}
	before := p.b.store.Snapshot()
	var real []Packet
	p.spoil = func(to *device, q Packet) []Packet {
		if to == p.b {
			q.Data = bytes.Clone(q.Data)
			real = append(real, q)
		}
		return nil
	}
	for _, text := range said[string(one)] {
		p.a.says(one, text)
		p.live()
	}
	for _, text := range said[string(two)] {
		p.a.says(two, text)
		p.live()
	}
	if len(real) != 5 {
		t.Fatalf("got %d packets, want 5", len(real))
	}
	luck := rand.New(rand.NewPCG(9, 1))
	shown := 0
	for range 300 {
		b := p.b
		b.store, b.events = before.Snapshot(), nil
		b.boot(chacha{rand.NewChaCha8([32]byte{1})})
		var in In
		for _, i := range luck.Perm(len(real) + 3) {
			q := real[min(i, len(real)-1)]
			if luck.IntN(2) == 0 {
				q = real[len(in.Updates)%len(real)] // often the one whose turn it is
			}
			o := real[luck.IntN(len(real))]
			for _, change := range []func(){
				func() { q.Chat = o.Chat },
				func() { q.Chat++ },
				func() { q.RandomID = o.RandomID },
				func() { q.RandomID = luck.Int64() },
				func() { q.Date += int64(luck.IntN(1000000)) - 500000 },
				func() { q.Data = o.Data },
				func() { q.File = &Location{ID: 1, Size: 100} },
			} {
				if luck.IntN(8) == 0 {
					change()
				}
			}
			in.Updates = append(in.Updates, Update{Packet: &q})
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, in) })
		got := map[string][]string{}
		for _, e := range b.events {
			if e.Kind == e2ee.EventMessage {
				if e.Message.Sender != "101" {
					t.Fatalf("got a message of %s", e.Message.Sender)
				}
				got[string(e.Message.Room)] = append(got[string(e.Message.Room)], e.Message.Text)
				shown++
			}
		}
		for room, texts := range got {
			if len(texts) > len(said[room]) || !slices.Equal(texts, said[room][:len(texts)]) {
				t.Fatalf("%s: got %q, want a beginning of %q", room, texts, said[room])
			}
		}
	}
	if shown < 100 {
		t.Errorf("%d messages were ever shown: the test shows nothing", shown)
	}
}
