package secretchat

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
)

// FuzzReceive hands a machine updates that a server made up. It does not fail,
// shows nothing that no one said, and reads afterwards what is real.
func FuzzReceive(f *testing.F) {
	p := newPlay(f, 900)
	room := p.open()
	var real []byte
	p.spoil = func(to *device, q Packet) []Packet { real = bytes.Clone(q.Data); return []Packet{q} }
	p.a.says(room, "one")
	p.live()
	p.a.says(room, "two")
	p.spoil = func(to *device, q Packet) []Packet { real = bytes.Clone(q.Data); return nil }
	p.live()
	before, id := p.b.store.Snapshot(), mustChat(f, room)
	f.Add(uint8(0), int32(id), int64(7), real[:len(real)-1])
	f.Add(uint8(0), int32(id), int64(7), []byte{})
	for stage := range uint8(5) {
		f.Add(1+stage, int32(id), p.a.id, bytes.Repeat([]byte{9}, Size))
		f.Add(1+stage, int32(1234), p.a.id, bytes.Repeat([]byte{0xff}, Size))
	}
	f.Fuzz(func(t *testing.T, kind uint8, chat int32, number int64, data []byte) {
		p.t = t
		b := p.b
		b.store, b.events = before.Snapshot(), nil
		b.boot(chacha{rand.NewChaCha8([32]byte{1})})
		u := Update{Packet: &Packet{Chat: ChatID(chat), RandomID: number, Date: number, Data: data, File: &Location{ID: number, Size: number}}}
		switch {
		case kind >= 5:
			u = Update{Read: &Read{Chat: ChatID(chat), MaxDate: number}}
		case kind > 0:
			u = Update{Chat: &Chat{ID: ChatID(chat), Stage: Stage(kind), Access: number, Date: number, Admin: number, Participant: p.b.id, Public: data, Fingerprint: number}}
		}
		if bytes.Equal(data, real) {
			return
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, In{Updates: []Update{u}}) })
		if got := b.read(); len(got) > 0 {
			t.Fatalf("got %q, which no one said", got)
		}
		if b.chat(room).State != StateOpen {
			return // the server can end a chat; that it did is shown
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return b.m.Receive(tx, In{Updates: []Update{{Packet: &Packet{Chat: id, RandomID: 99, Data: real}}}})
		})
		if got := b.read(); !slices.Equal(got, []string{"two"}) {
			t.Errorf("got %q afterwards, want what is real", got)
		}
	})
}
