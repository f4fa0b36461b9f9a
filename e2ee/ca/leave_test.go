package ca_test

import (
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// encrypts returns the id of the key that a device decrypts with.
func (d *device) encrypts() cert.Fingerprint {
	d.p.t.Helper()
	return cert.KeyID(d.self().Encrypt)
}

// sealedFor reports whether a delivery that is due is sealed for a device.
func (d *device) sealedFor(other *device) bool {
	d.p.t.Helper()
	id := other.encrypts()
	return slices.ContainsFunc(d.messages(), func(r ca.Req) bool { return slices.Contains(r.Deliver.Keys, id) })
}

// without carries out what is due but for messages.
func (d *device) without() {
	d.p.t.Helper()
	for range 5 {
		for _, r := range d.due() {
			if r.Kind != ca.ReqMessage {
				d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, d.p.do(d, r)) })
			}
		}
	}
}

// TestMachineAttack15SealWaits: a message that was sealed while the server could
// not be reached does not leave for a device that was rejected, revoked or
// removed meanwhile; it leaves for the others. One whose recipients are still
// the same leaves as it is.
func TestMachineAttack15SealWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy ca.Policy
		change func(p *post, a, thief *device)
		reads  bool
	}{
		"still good":            {ca.Policy{}, func(*post, *device, *device) {}, true},
		"rejected":              {ca.Policy{}, func(_ *post, a, thief *device) { a.trust(thief, ca.Reject) }, false},
		"rejected in a session": {ca.Policy{Sessions: true}, func(_ *post, a, thief *device) { a.trust(thief, ca.Reject) }, false},
		"revoked": {ca.Policy{}, func(p *post, a, thief *device) {
			for _, k := range p.keys {
				if k.User == thief.user && k.Device == thief.id {
					p.out(k, cert.ReasonKeyCompromise)
					p.tell(k, "revoked")
				}
			}
			a.poll() // of the notice of it
			a.without()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a, b, conv := couple(t, c.policy)
			thief := p.login(bob, "B2", c.policy)
			a.says(conv, "one")
			b.settle()
			thief.settle()
			b.reads("one")
			thief.reads("one")
			a.post(conv, "two")
			if !a.sealedFor(thief) {
				t.Fatal("the message is not sealed for both devices")
			}
			c.change(p, a, thief)
			if got := a.sealedFor(thief); got != c.reads {
				t.Errorf("it still leaves for the device: %v, want %v", got, c.reads)
			}
			a.flush()
			b.settle()
			b.reads("two")
			thief.settle()
			if got := len(thief.take(e2ee.EventMessage)) > 0; got != c.reads {
				t.Errorf("the device reads it: %v, want %v", got, c.reads)
			}
		})
	}
}

// TestMachineAttack15MemberWaits: a message that waits does not leave for a
// member who left meanwhile.
func TestMachineAttack15MemberWaits(t *testing.T) {
	t.Parallel()
	p, a, b, _ := couple(t, ca.Policy{})
	out := p.login(carol, "C1", ca.Policy{})
	var conv quinta.RoomID
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		conv, err = a.m.Create(tx, []quinta.UserID{bob, carol})
		return nil, err
	})
	a.settle()
	a.says(conv, "one")
	b.settle()
	out.settle()
	b.reads("one")
	out.reads("one")
	a.post(conv, "two")
	if !a.sealedFor(out) {
		t.Fatal("the message is not sealed for carol")
	}
	out.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, out.m.Leave(tx, conv) })
	out.flush()
	p.later(2 * time.Hour) // the conversations are listed again
	a.without()
	if a.sealedFor(out) {
		t.Error("it still leaves for carol")
	}
	a.flush()
	out.settle()
	out.reads()
	b.settle()
	b.reads("two")
}

// TestMachineAttack15KeysWait: the keys that one device gives another of its
// user, and messages that are sealed again for a device, do not leave if it is
// not verified any more.
func TestMachineAttack15KeysWait(t *testing.T) {
	t.Parallel()
	for name, decision := range map[string]ca.Decision{"still verified": ca.Accept, "verified no more": ca.Skip, "rejected": ca.Reject} {
		for when, sealed := range map[string]bool{"sealed": true, "not sealed yet": false} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				p, a, b, _ := unread(t, ca.Policy{}, nil)
				fresh := p.login(bob, "B2", ca.Policy{})
				fresh.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { _, err = fresh.m.AskSenders(tx); return nil, err })
				fresh.settle()
				a.settle()
				b.look(bob)
				b.direct(bob)
				a.trust(fresh, ca.Accept)
				b.trust(fresh, ca.Accept)
				b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.GiveKeys(tx, "B2") })
				for _, d := range []*device{a, b} {
					if sealed && !d.sealedFor(fresh) {
						t.Fatalf("%s: nothing is sealed for the new device", d)
					}
					d.trust(fresh, decision)
					if got := d.sealedFor(fresh); got != (decision == ca.Accept) {
						t.Errorf("%s: something leaves for the device: %v", d, got)
					}
				}
			})
		}
	}
}
