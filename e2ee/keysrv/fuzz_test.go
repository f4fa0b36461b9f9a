package keysrv_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// FuzzReceive hands a machine stanzas that a server made up. It does not fail,
// shows nothing that no one said, and reads afterwards what is real.
func FuzzReceive(f *testing.F) {
	p, a, b, room := couple(f)
	a.says(room, "one", "two")
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return b.m.Receive(tx, keysrv.In{Items: p.fetch(juliet, "").Items[:1]})
	})
	b.flush()
	b.reads("one")
	before, real := b.store.Snapshot(), p.fetch(juliet, "").Items
	for _, it := range real {
		f.Add(string(it.Room), string(it.From), string(it.StanzaID), it.ObjectID, it.Text)
	}
	f.Fuzz(func(t *testing.T, from, to, id, object, text string) {
		p.t = t
		b.store, b.events = before.Snapshot(), nil
		b.boot()
		it := keysrv.Item{Room: quinta.RoomID(from), From: quinta.UserID(to), StanzaID: quinta.MessageID(id), ObjectID: object, Text: text}
		b.receive(it)
		for _, e := range b.take(e2ee.EventMessage) {
			if e.Message.Text != "two" || e.Message.Sender != romeo {
				t.Errorf("got a message that no one wrote: %+v", e.Message)
			}
		}
	})
}

// FuzzAnswer hands a machine key objects that a server made up: none brings a
// key.
func FuzzAnswer(f *testing.F) {
	p, a, b, room := couple(f)
	a.says(room, "one")
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, p.fetch(juliet, "")) })
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Refresh(tx, romeo) })
	var req keysrv.Req
	for range 5 {
		for _, r := range b.due() {
			if r.Kind == keysrv.ReqObjects {
				req = r
				continue
			}
			ans := p.do(b, r)
			b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Done(tx, r, ans) })
		}
	}
	before := b.store.Snapshot()
	honest := p.read(b, req.IDs).Objects[0]
	f.Add(honest.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := keysrv.ParseObject(raw)
		if err != nil {
			return
		}
		p.t = t
		b.store, b.events = before.Snapshot(), nil
		b.boot()
		o.ID = req.IDs[0]
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return b.m.Done(tx, req, keysrv.Ans{Objects: []keysrv.Object{*o}})
		})
		read := false
		for _, e := range b.take(e2ee.EventMessage) {
			read = true
			if e.Message.Text != "one" {
				t.Errorf("got %+v", e.Message)
			}
		}
		if o.Mode == keysrv.ModeSealed && b.kept("key/", "") && !read {
			t.Error("a key was kept that no one made")
		}
	})
}
