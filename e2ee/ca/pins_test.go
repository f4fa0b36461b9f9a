package ca_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// swap makes the authority list another key in the place of one of a device.
func (p *post) swap(user quinta.UserID, dev quinta.DeviceID, use cert.Use, n byte) *keyRow {
	p.t.Helper()
	row := p.rogue(user, dev, use, strangeKey(p.t, n))
	p.list = func(u quinta.UserID, keys []ca.KeyInfo) []ca.KeyInfo {
		for i := range keys {
			if u == user && keys[i].Device == dev && keys[i].Use == string(use) && keys[i].State == "active" {
				keys[i] = row.KeyInfo
				keys[i].State = "active"
			}
		}
		return keys
	}
	return row
}

// look has the keys of a user looked up again.
func (d *device) look(user quinta.UserID) {
	d.p.t.Helper()
	body := []byte(`{"username":"` + string(user) + `","change":"enrolled"}`)
	d.p.boxes[d.String()] = append(d.p.boxes[d.String()], mail{item: ca.Item{Pos: d.p.next(), Kind: ca.KindKeys, Form: ca.FormJSON, Received: d.p.now, Body: body}})
	d.poll()
	d.settle()
}

// devices returns what a device knows of a user's.
func (d *device) devices(user quinta.UserID) []ca.DeviceInfo {
	d.p.t.Helper()
	var out []ca.DeviceInfo
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { out, err = d.m.Devices(tx, user); return nil, err })
	return out
}

// TestAttack10KeySwapped: the authority puts another key in the place of a
// user's. It is seen at once and loudly; if the user was verified nothing is
// sent before someone decided.
func TestAttack10KeySwapped(t *testing.T) {
	t.Parallel()
	for _, use := range []cert.Use{cert.UseSign, cert.UseEncrypt} {
		for _, verified := range []bool{false, true} {
			p, a, b, conv := couple(t, ca.Policy{})
			a.says(conv, "to know bob")
			if verified {
				a.trust(b, ca.Accept)
			}
			before := a.devices(bob)[0]
			a.take()
			p.swap(bob, "B1", use, 9)
			a.look(bob)
			e := a.take(e2ee.EventKeyChanged)
			if len(e) != 1 || e[0].User != bob || e[0].Device != "B1" {
				t.Fatalf("%s: got %+v, want one loud change", use, e)
			}
			a.look(bob)
			if e := a.take(e2ee.EventKeyChanged); len(e) != 0 {
				t.Errorf("%s: the same change is told again: %+v", use, e)
			}
			now := a.devices(bob)[0]
			if now.Fingerprint == before.Fingerprint || now.Changed != verified {
				t.Errorf("%s: got %+v after %+v", use, now, before)
			}
			err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
				return nil, a.m.Send(tx, quinta.Message{Room: conv, Text: "x"})
			})
			if verified != errors.Is(err, ca.ErrKeyChanged) {
				t.Errorf("%s: verified %v: got %v", use, verified, err)
			}
			if !verified {
				continue
			}
			a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Acknowledge(tx, bob) })
			if i := a.devices(bob)[0]; i.Trust != quinta.TrustPinned || i.Changed {
				t.Errorf("%s: after the acknowledgement: got %+v, want pinned", use, i)
			}
		}
	}
}

// TestVerifiedChangeHoldsOutbox: a message that was on its way when a verified
// key changed does not leave; it does after the user has decided.
func TestVerifiedChangeHoldsOutbox(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "to know bob")
	a.trust(b, ca.Accept)
	a.take()
	row := p.swap(bob, "B1", cert.UseEncrypt, 5)
	a.post(conv, "secret")
	a.look(bob)
	sealed := func() int { return len(p.history[conv]) }
	if sealed() != 1 {
		t.Fatalf("got %d messages at the server, want the first alone", sealed())
	}
	p.keys = append(p.keys, row)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Acknowledge(tx, bob) })
	p.key(b.keys("active", cert.UseEncrypt)[0].ID).retired = true
	a.flush()
	if sealed() != 2 {
		t.Errorf("got %d, want that it was sent after the acknowledgement", sealed())
	}
}

// TestRollbackOfKey: the authority puts a renewed key back. It is told, and not
// used.
func TestRollbackOfKey(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	old := *p.key(b.keys("active", cert.UseEncrypt)[0].ID)
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Renew(tx) })
	b.settle()
	a.settle()
	fresh := b.keys("active", cert.UseEncrypt)[0].ID
	a.take()
	p.list = func(u quinta.UserID, keys []ca.KeyInfo) []ca.KeyInfo {
		keys = slices.DeleteFunc(keys, func(k ca.KeyInfo) bool { return k.ID == fresh })
		for i := range keys {
			if keys[i].ID == old.ID {
				keys[i].State = "active"
			}
		}
		return keys
	}
	a.look(bob)
	if has(a.take(), e2ee.EventKeyChanged, "presented again") == nil {
		t.Error("no one was told of the older key")
	}
	if got := a.devices(bob)[0].Encrypt; got != fresh {
		t.Errorf("got %s, want that the newer key stays", got)
	}
}

// TestForgedRenewal: the server's claim that a key was renewed is nothing
// without the old key's signature.
func TestForgedRenewal(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	a.trust(b, ca.Accept)
	a.take()
	id := b.keys("active", cert.UseSign)[0].ID
	row := p.rogue(bob, "B1", cert.UseSign, strangeKey(t, 3))
	forged := must(cert.NewRenewal(p.rand, cert.RenewalStatement{Username: bob, Device: "B1", OldKeyID: id, NewKey: row.ID, Expires: row.Expires.Unix(), Nonce: "n", Time: p.now.UnixMilli()},
		strangeKey(t, 3), strangeKey(t, 3)))
	row.Replaces, row.Renewal = id, forged
	p.list = func(u quinta.UserID, keys []ca.KeyInfo) []ca.KeyInfo {
		for i := range keys {
			if keys[i].ID == id {
				keys[i].State = "retired"
			}
		}
		if u == bob {
			i := row.KeyInfo
			i.State = "active"
			keys = append(keys, i)
		}
		return keys
	}
	a.look(bob)
	if has(a.take(), e2ee.EventKeyChanged, "verified key has changed") == nil {
		t.Error("a renewal that the old key did not sign was believed")
	}
}

// TestRenewalsFollowed: a device that was away while another one renewed several
// times follows the line, and a verified device stays verified.
func TestRenewalsFollowed(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	a.trust(b, ca.Accept)
	for range 4 {
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Renew(tx) })
		b.settle()
		p.later(time.Hour)
	}
	b.take()
	b.says(b.direct(alice), "after four")
	a.settle()
	events := a.events
	if m := a.reads("after four")[0].Message; m.Trust != quinta.TrustVerified {
		t.Errorf("got %v, want verified", m.Trust)
	}
	if e := has(events, e2ee.EventKeyChanged, ""); e != nil {
		t.Errorf("got %+v, want no warning", e)
	}
	a.says(conv, "two")
	b.settle()
	b.reads("two")
}

// TestRejected: a rejected device gets nothing, the others do; what it says is
// marked.
func TestRejected(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	second := p.login(bob, "B2", ca.Policy{})
	a.says(conv, "to both")
	b.settle()
	second.settle()
	b.reads("to both")
	second.reads("to both")
	a.trust(second, ca.Reject)
	a.says(conv, "to one")
	b.settle()
	second.settle()
	b.reads("to one")
	second.reads()
	second.says(second.direct(alice), "from the rejected one")
	a.settle()
	if m := a.reads("from the rejected one")[0].Message; m.Trust != quinta.TrustRejected {
		t.Errorf("got %v, want rejected", m.Trust)
	}
	a.trust(second, ca.Skip)
	a.says(conv, "to both again")
	second.settle()
	second.reads("to both again")
}

// TestVerifiedOnly: only devices that the user has verified get messages.
func TestVerifiedOnly(t *testing.T) {
	t.Parallel()
	_, a, b, conv := couple(t, ca.Policy{VerifiedOnly: true})
	a.says(conv, "to nobody")
	b.settle()
	b.reads()
	a.trust(b, ca.Accept)
	a.says(conv, "to bob")
	b.settle()
	b.reads("to bob")
}

// TestNewDevice: a new device of a known user is told, and reads from then on.
func TestNewDevice(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	a.take()
	second := p.login(bob, "B2", ca.Policy{})
	own := p.login(alice, "A2", ca.Policy{})
	a.poll()
	current := func() (ok bool) {
		a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { ok, err = a.m.Current(tx, bob); return nil, err })
		return ok
	}
	if current() {
		t.Error("the keys count as current before they were looked up again")
	}
	a.settle()
	if !current() {
		t.Error("the keys do not count as current")
	}
	events := a.take()
	for _, want := range []struct {
		user quinta.UserID
		dev  quinta.DeviceID
	}{{bob, "B2"}, {alice, "A2"}} {
		if !slices.ContainsFunc(events, func(e e2ee.Event) bool {
			return e.Kind == e2ee.EventDevice && e.User == want.user && e.Device == want.dev
		}) {
			t.Errorf("got %+v, want that the device %s is new", events, want.dev)
		}
	}
	a.says(conv, "two")
	second.settle()
	own.settle()
	second.reads("two")
	if m := own.reads("two")[0].Message; m.Sender != alice || m.Device != "A1" {
		t.Errorf("got %+v", m)
	}
}

// TestDeviceWords: both sides see the same words, and other ones when a key is
// another.
func TestDeviceWords(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	words := func(d *device, user quinta.UserID, dev quinta.DeviceID) (out []string) {
		d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
			out, err = d.m.DeviceWords(tx, user, dev)
			return nil, err
		})
		return out
	}
	x, y := words(a, bob, "B1"), words(b, alice, "A1")
	if len(x) != 12 || !slices.Equal(x, y) {
		t.Fatalf("got %q and %q, want the same twelve", x, y)
	}
	p.swap(bob, "B1", cert.UseEncrypt, 4)
	a.look(bob)
	if slices.Equal(words(a, bob, "B1"), y) {
		t.Error("another key has the same words")
	}
	if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, err := a.m.DeviceWords(tx, carol, "C1"); return nil, err }); !errors.Is(err, ca.ErrUnknownDevice) {
		t.Errorf("got %v, want ErrUnknownDevice", err)
	}
}

// TestDecideOnAnotherFingerprint: a decision is for the keys that were compared.
func TestDecideOnAnotherFingerprint(t *testing.T) {
	t.Parallel()
	p, a, _, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	seen := a.devices(bob)[0].Fingerprint
	p.swap(bob, "B1", cert.UseSign, 2)
	a.look(bob)
	err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return a.m.Decide(tx, bob, "B1", seen, ca.Accept) })
	if !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}

// TestOtherRoot: the anchors are pinned; a server that later gives others is not
// believed, and the user is told.
func TestOtherRoot(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	other := newPost(t, 50)
	a.take()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return a.m.Done(tx, ca.Req{ID: "none"}, ca.Ans{Roots: &ca.Roots{}})
	})
	p.issuer, p.crlRaw = other.issuer, nil
	p.later(25 * time.Hour)
	a.post(conv, "two")
	a.settle()
	if has(a.take(), e2ee.EventTrouble, "revocation list is refused") == nil {
		t.Error("a list of another authority was taken")
	}
	if len(p.history[conv]) != 1 {
		t.Error("a message left without a revocation list")
	}
	b.settle()
}

// TestOwnKeyListedByAnother: the owner hears of a key in the name of their device
// that it did not make.
func TestOwnKeyListedByAnother(t *testing.T) {
	t.Parallel()
	p, a, _, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	a.take()
	p.swap(alice, "A1", cert.UseEncrypt, 8)
	a.look(alice)
	if has(a.take(), e2ee.EventKeyChanged, "did not make") == nil {
		t.Error("the owner was not told")
	}
}
