package ca_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// fuzzStage is a couple with a session, and the store of bob before bob has read
// two messages.
func fuzzStage(f *testing.F) (p *post, b *device, conv quinta.RoomID, before *memory.Store) {
	f.Helper()
	p, a, b, conv := couple(f, ca.Policy{Sessions: true})
	a.says(conv, "one")
	b.settle()
	b.take()
	a.says(conv, "two")
	a.says(conv, "three")
	return p, b, conv, b.store.Snapshot()
}

// FuzzReceive hands a machine pages of a mailbox that a server made up. It does
// not fail, shows nothing that no one said, and reads afterwards what is real.
func FuzzReceive(f *testing.F) {
	p, b, conv, before := fuzzStage(f)
	real := p.mailbox(b, 0).Items
	for _, it := range real {
		f.Add(string(it.Kind), string(it.Form), string(it.Conv), string(it.ID), string(it.From), string(it.Device), it.Body)
	}
	for _, kind := range []ca.Kind{ca.KindMessage, ca.KindNotice, ca.KindReseal, ca.KindApproval, ca.KindKeys} {
		for _, form := range []ca.Form{ca.FormCMS, ca.FormSession, ca.FormLegacy, ca.FormJSON} {
			f.Add(string(kind), string(form), string(conv), "id", string(alice), "A1", []byte(`{"username":"alice@hs1","change":"renewed"}`))
		}
	}
	f.Fuzz(func(t *testing.T, kind, form, room, id, from, dev string, body []byte) {
		p.t = t
		b.store, b.events = before.Snapshot(), nil
		b.boot()
		after := quinta.Pos(0)
		b.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { after, err = b.m.Since(tx); return nil, err })
		it := ca.Item{Pos: after + 1, Kind: ca.Kind(kind), Form: ca.Form(form), Conv: quinta.RoomID(room), ID: quinta.MessageID(id), From: quinta.UserID(from), Device: quinta.DeviceID(dev), Received: p.now, Body: body}
		made := true
		for _, r := range real {
			made = made && string(r.Body) != string(body)
		}
		in := ca.In{After: after, Next: after + 1, Items: []ca.Item{it}}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, in) })
		if e := b.take(e2ee.EventMessage); made && len(e) > 0 {
			t.Fatalf("got %+v of what no one said", e)
		}
		if !made {
			return
		}
		page := ca.In{After: after + 1, Next: 1 << 40}
		for i, r := range real[len(real)-2:] {
			r.Pos = after + 2 + quinta.Pos(i)
			page.Items = append(page.Items, r)
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, page) })
		b.flush()
		b.reads("two", "three")
	})
}

// FuzzDone hands a machine answers that a server made up, to every kind of
// request.
func FuzzDone(f *testing.F) {
	kinds := []ca.ReqKind{ca.ReqRoots, ca.ReqCRL, ca.ReqEnrol, ca.ReqNonce, ca.ReqRenew, ca.ReqKeys, ca.ReqConversations, ca.ReqConversation, ca.ReqMessage, ca.ReqHistory, ca.ReqBackup}
	for i, a := range []ca.Ans{
		{Roots: &ca.Roots{Domain: domain, Roots: [][]byte{{1}}, Intermediates: [][]byte{{2}}}}, {CRL: []byte("x")}, {Key: &ca.KeyInfo{User: alice}}, {Nonce: "n"},
		{Key: &ca.KeyInfo{}}, {Keys: &ca.KeyList{User: alice, Keys: []ca.KeyInfo{{User: alice, Device: "A1", Profile: "secure", State: "active", Cert: []byte{1}}}}},
		{Conversations: []ca.Conversation{{Conv: "g_0123456789abcdef", Profile: "secure", Members: []quinta.UserID{bob}}}}, {Conversation: &ca.Conversation{}},
		{Delivered: &ca.Delivered{}}, {History: &ca.History{Items: []ca.Item{{}}}}, {Backup: &ca.Backup{Sealed: []byte(`{}`)}}, {Code: "stale-keys", Missing: []cert.Fingerprint{"a"}},
	} {
		f.Add(uint8(i), must(json.Marshal(a)))
	}
	f.Fuzz(func(t *testing.T, kind uint8, raw []byte) {
		var a ca.Ans
		if json.Unmarshal(raw, &a) != nil {
			return
		}
		p := newPost(t, 30)
		d := p.device(bob, "B1", ca.Policy{})
		p.boxes[d.String()] = nil
		want := kinds[int(kind)%len(kinds)]
		bent := 0
		p.bend = func(_ *device, r ca.Req) (ca.Ans, bool) {
			if r.Kind != want || bent > 0 {
				return ca.Ans{}, false
			}
			bent++
			return a, true
		}
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.Begin(tx, ca.Login{New: true}) })
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return nil, d.m.EnableBackup(tx, seal.FromRecovery([32]byte{1}))
		})
		var conv quinta.RoomID
		d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { conv, err = d.m.Direct(tx, bob); return nil, err })
		if err := d.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return nil, d.m.Send(tx, quinta.Message{Room: conv, Text: "x"})
		}); err != nil && !errors.Is(err, ca.ErrUnknownConversation) {
			t.Fatal(err)
		}
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.Renew(tx) })
		d.settle()
	})
}
