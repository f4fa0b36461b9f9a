package keysrv_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// until carries out what is due but requests of a kind, until one of them is due.
func (d *device) until(kind keysrv.ReqKind) {
	d.p.t.Helper()
	for range 200 {
		for _, r := range d.due() {
			if r.Kind == kind {
				return
			}
			a := d.p.do(d, r)
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, a) })
		}
	}
	d.p.t.Fatalf("%s: %s is never due", d, kind)
}

// TestAttack12SealWaits: what was sealed for a device waits, since the server
// cannot be reached, and the device is rejected. When the server is back, the
// device gets neither a copy of a key nor a message that it can open, and the
// other device of the same user gets both, once.
func TestAttack12SealWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind keysrv.ReqKind
		// late says that the device comes after the key was made.
		late bool
	}{
		{"a new key", keysrv.ReqCreate, false},
		{"a message", keysrv.ReqMessage, false},
		{"a copy", keysrv.ReqWrap, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, a, b, room := couple(t)
			if c.late {
				a.says(room, "before")
			}
			thief := p.login(juliet, 3)
			b.approve(thief)
			a.hint(juliet)
			thief.settle()
			b.settle()
			b.take()
			thief.take()
			a.post(room, "secret")
			a.until(c.kind)
			a.decide(thief, keysrv.DecideRejected)
			a.settle()
			a.settle()
			b.settle()
			b.reads("secret")
			thief.settle()
			for _, e := range thief.take(e2ee.EventMessage) {
				t.Errorf("the rejected device reads %q", e.Message.Text)
			}
			sealed := p.archive[len(p.archive)-1].item.ObjectID
			if p.objects[sealed].has(juliet, thief.id) {
				t.Error("the rejected device has the key of the message")
			}
			for _, e := range a.take(e2ee.EventFailed, e2ee.EventUndecryptable) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

// TestSealWaitsForThoseWhoStay: what waits leaves as it is if no one is to be
// left out: the bytes are those of before.
func TestSealWaitsForThoseWhoStay(t *testing.T) {
	t.Parallel()
	_, a, b, room := couple(t)
	a.post(room, "one")
	a.until(keysrv.ReqMessage)
	payload := func() string {
		for _, r := range a.due() {
			if r.Kind == keysrv.ReqMessage {
				return string(r.Packet.Payload)
			}
		}
		t.Fatal("no message is due")
		return ""
	}
	before := payload()
	a.decide(b, keysrv.DecideVerified)
	if payload() != before {
		t.Error("the message was sealed again")
	}
	a.flush()
	b.settle()
	if got := b.reads("one"); got[0].Message.Sender != quinta.UserID(romeo) {
		t.Errorf("got %+v", got[0])
	}
}
