package ca_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// forms are the forms of the messages of a conversation, in order.
func (p *post) forms(conv quinta.RoomID) (out []ca.Form) {
	for _, it := range p.history[conv] {
		out = append(out, it.Form)
	}
	return out
}

const (
	whole  = ca.FormCMS
	packet = ca.FormSession
)

func (p *post) wantForms(conv quinta.RoomID, want ...ca.Form) {
	p.t.Helper()
	if got := p.forms(conv); fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Errorf("got %v, want %v", got, want)
	}
}

// TestSmallPackets: after one message of the secure profile both sides continue
// with packets, on all of their devices; a message that is too large for one
// goes whole.
func TestSmallPackets(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	second := p.login(bob, "B2", ca.Policy{Sessions: true})
	a.settle()
	own := p.login(alice, "A2", ca.Policy{Sessions: true})
	a.settle()
	a.says(conv, "offer")
	a.says(conv, "small")
	for _, d := range []*device{b, second, own} {
		d.settle()
		events := d.reads("offer", "small")
		if m := events[1].Message; m.Sender != alice || m.Device != "A1" || m.Trust != quinta.TrustPinned || !m.Encrypted {
			t.Errorf("%s: got %+v", d, m)
		}
	}
	second.says(second.direct(alice), "from the second")
	for _, d := range []*device{a, b, own} {
		d.settle()
		d.reads("from the second")
	}
	long := string(make([]byte, 0)) + fmt.Sprintf("%020000d", 7)
	a.says(conv, long)
	b.settle()
	b.reads(long)
	p.wantForms(conv, whole, packet, packet, whole)
}

// TestSmallPacketsEnd: a new device, a lost one, a renewed key, a day, or a
// thousand packets end a session; the next message is a whole one and begins
// another.
func TestSmallPacketsEnd(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	a.says(conv, "1")
	a.says(conv, "2")
	second := p.login(bob, "B2", ca.Policy{Sessions: true})
	a.settle()
	a.says(conv, "3")
	a.says(conv, "4")
	second.settle()
	second.reads("3", "4")
	a.trust(second, ca.Reject)
	a.says(conv, "5")
	a.says(conv, "6")
	second.settle()
	second.reads()
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Renew(tx) })
	b.settle()
	a.settle()
	a.says(conv, "7")
	a.says(conv, "8")
	p.later(25 * time.Hour)
	a.says(conv, "9")
	b.settle()
	b.reads("1", "2", "3", "4", "5", "6", "7", "8", "9")
	// Without the second device the first session is good again: that device
	// never had it.
	p.wantForms(conv, whole, packet, whole, packet, packet, packet, whole, packet, whole)
}

// TestSmallPacketsLimit: a session ends after a thousand packets.
func TestSmallPacketsLimit(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	for i := range seal.SessionMessages + 3 {
		a.says(conv, fmt.Sprint(i))
	}
	got := p.forms(conv)
	if got[0] != whole || got[1] != packet || got[seal.SessionMessages] != packet || got[seal.SessionMessages+1] != whole || got[seal.SessionMessages+2] != packet {
		t.Errorf("got %v at the limit", got[seal.SessionMessages-1:])
	}
	b.settle()
	if n := len(b.take(e2ee.EventMessage)); n != seal.SessionMessages+3 {
		t.Errorf("got %d messages", n)
	}
}

// TestSmallPacketsByChoice: a conversation has its own choice, and several users
// have none.
func TestSmallPacketsByChoice(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	set := func(on bool) {
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.SetSessions(tx, conv, on) })
	}
	a.says(conv, "1")
	a.says(conv, "2")
	set(true)
	a.says(conv, "3")
	a.says(conv, "4")
	b.settle()
	b.says(b.direct(alice), "whole, since bob did not choose it")
	set(false)
	a.says(conv, "5")
	p.wantForms(conv, whole, whole, whole, packet, whole, whole)
	b.settle()
	b.reads("1", "2", "3", "4", "5")

	var group quinta.RoomID
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		group, err = a.m.Create(tx, []quinta.UserID{bob})
		return nil, err
	})
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.SetSessions(tx, group, true) })
	a.says(group, "1")
	a.says(group, "2")
	p.wantForms(group, whole, whole)
}

// TestSmallPacketAttacks: a packet that comes again, under another id, from
// another device, or changed, is refused with its reason.
func TestSmallPacketAttacks(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	other := p.login(alice, "A2", ca.Policy{Sessions: true})
	a.settle()
	a.says(conv, "offer")
	a.says(conv, "one")
	a.says(conv, "two")
	b.settle()
	b.reads("offer", "one", "two")
	other.settle()
	one := p.history[conv][1]
	for _, c := range []struct {
		bend func(*ca.Item)
		want quinta.Reason
	}{
		{func(*ca.Item) {}, quinta.ReasonReplayed},
		{func(i *ca.Item) { i.ID = "x" }, quinta.ReasonReplayed},
		{func(i *ca.Item) { i.Device = "A2" }, quinta.ReasonSenderMismatch},
		{func(i *ca.Item) { i.From = bob; i.Device = "B1" }, quinta.ReasonSenderMismatch},
		{func(i *ca.Item) { i.Body = append([]byte{}, i.Body...); i.Body[len(i.Body)-1] ^= 1 }, quinta.ReasonTampered},
		{func(i *ca.Item) { i.Body = i.Body[:20] }, quinta.ReasonMalformed},
		{func(i *ca.Item) { i.Body = append([]byte{}, i.Body...); i.Body[3] ^= 1 }, quinta.ReasonNoKeyYet},
	} {
		it := one
		c.bend(&it)
		p.forge(b, it)
		b.settle()
		b.told(c.want)
	}
	id := a.keys("active", cert.UseSign)[0].ID
	a.says(conv, "before the loss")
	b.settle()
	b.reads("before the loss")
	// The device is lost: what is said with its sessions afterwards is refused.
	thief := a.store.Snapshot()
	other.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, other.m.Revoke(tx, id, "key-compromise") })
	other.settle()
	p.later(2 * time.Minute)
	b.settle()
	b.take()
	a.store = thief
	a.post(conv, "i am alice")
	for _, r := range a.messages() {
		p.forge(b, ca.Item{Form: r.Deliver.Form, Conv: conv, ID: r.Message, From: alice, Device: "A1", Body: r.Deliver.Body})
	}
	b.settle()
	b.told(quinta.ReasonExpired)
}
