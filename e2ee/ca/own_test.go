package ca_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// keys returns the keys of a device in a state and for a use.
func (d *device) keys(state string, use cert.Use) []ca.OwnKey {
	d.p.t.Helper()
	var out []ca.OwnKey
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		list, err := d.m.OwnKeys(tx)
		for _, k := range list {
			if k.State == state && k.Use == use {
				out = append(out, k)
			}
		}
		return nil, err
	})
	return out
}

// TestEnrol: a device makes a key for each use before it asks for the
// certificate, and asks with the same bytes until it has it.
func TestEnrol(t *testing.T) {
	t.Parallel()
	p := newPost(t, 2)
	d := p.device(alice, "A1", ca.Policy{})
	for _, r := range d.due() { // the anchors
		d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, p.do(d, r)) })
	}
	first := d.due()
	d.boot()
	second := d.due()
	enrols := 0
	for _, r := range second {
		if r.Kind != ca.ReqEnrol {
			continue
		}
		enrols++
		i := slices.IndexFunc(first, func(o ca.Req) bool { return o.ID == r.ID })
		if i < 0 || !bytes.Equal(first[i].Enrol.Pop, r.Enrol.Pop) {
			t.Errorf("the request to enrol for %s changed", r.Enrol.Use)
		}
	}
	if enrols != 2 || len(d.keys("made", cert.UseSign)) != 1 || len(d.keys("made", cert.UseEncrypt)) != 1 {
		t.Errorf("got %d requests, want one for each use", enrols)
	}
	d.flush()
	if len(d.keys("active", cert.UseSign)) != 1 || len(d.keys("active", cert.UseEncrypt)) != 1 {
		t.Error("the keys are not certified")
	}
	if k := d.keys("active", cert.UseSign)[0]; kindOfKey(t, k.Cert) != "p256" || !k.Expires.After(p.now.Add(29*24*time.Hour)) {
		t.Errorf("got %+v", k)
	}
}

// TestEnrolRSA: the policy may choose RSA, and messages go between both kinds.
func TestEnrolRSA(t *testing.T) {
	t.Parallel()
	p := newPost(t, 3)
	a, b := p.login(alice, "A1", ca.Policy{RSA: true}), p.login(bob, "B1", ca.Policy{})
	if k := a.keys("active", cert.UseEncrypt); len(k) != 1 || kindOfKey(t, k[0].Cert) != "rsa" {
		t.Fatalf("got %+v, want an RSA key", k)
	}
	conv := a.direct(bob)
	a.says(conv, "from RSA")
	b.settle()
	b.reads("from RSA")
	b.says(conv, "to RSA")
	a.settle()
	a.reads("to RSA")
}

// TestCertificateIsChecked: what comes back from the authority is not taken on
// trust.
func TestCertificateIsChecked(t *testing.T) {
	t.Parallel()
	for name, bend := range map[string]func(p *post, r ca.Req, good *ca.KeyInfo) *ca.KeyInfo{
		"nothing": func(*post, ca.Req, *ca.KeyInfo) *ca.KeyInfo { return nil },
		"another key's": func(p *post, _ ca.Req, i *ca.KeyInfo) *ca.KeyInfo {
			return &p.rogue(alice, "A1", cert.UseSign, strangeKey(t, 1)).KeyInfo
		},
		"another device's": func(p *post, _ ca.Req, i *ca.KeyInfo) *ca.KeyInfo { j := *i; j.Device = "A2"; return &j },
		"not a certificate": func(p *post, _ ca.Req, i *ca.KeyInfo) *ca.KeyInfo {
			j := *i
			j.Cert = []byte("certificate")
			return &j
		},
		"another authority's": func(p *post, r ca.Req, i *ca.KeyInfo) *ca.KeyInfo {
			other := newPost(t, 77)
			q := must(cert.ParseRequest(r.Enrol.Pop, cert.Identity{}))
			return &other.certify(q, other.now.Add(cert.Validity)).KeyInfo
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, 4)
			d := p.device(alice, "A1", ca.Policy{})
			p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
				if r.Kind != ca.ReqEnrol {
					return ca.Ans{}, false
				}
				a := p.enrol(d, r)
				if a.Key == nil {
					return a, true
				}
				return ca.Ans{Key: bend(p, r, a.Key)}, true
			}
			d.flush()
			if len(d.keys("active", cert.UseSign))+len(d.keys("active", cert.UseEncrypt)) != 0 {
				t.Error("the certificate was taken")
			}
			if has(d.take(), e2ee.EventTrouble, "certificate of this device is refused") == nil {
				t.Error("no one was told")
			}
			p.bend = nil
			p.later(2 * time.Minute)
			d.flush()
			if len(d.keys("active", cert.UseSign)) != 1 {
				t.Error("it was not asked for again")
			}
		})
	}
}

// TestRenewal: keys are renewed automatically when it is time; the old
// decryption key opens messages sealed for it, and is removed when its grace
// has ended and nothing waits. Peers follow without a warning.
func TestRenewal(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "before")
	old := b.keys("active", cert.UseEncrypt)[0].ID
	p.later(15 * 24 * time.Hour)
	b.flush()
	if got := b.keys("active", cert.UseEncrypt)[0].ID; got != old {
		t.Fatal("renewed after half of its life, want two thirds")
	}
	p.later(6 * 24 * time.Hour)
	b.flush()
	if got := b.keys("active", cert.UseEncrypt)[0].ID; got == old || len(b.keys("grace", cert.UseEncrypt)) != 1 || len(b.keys("active", cert.UseSign)) != 1 {
		t.Fatalf("got %s and %d in grace, want a new key and the old one in grace", got, len(b.keys("grace", cert.UseEncrypt)))
	}
	b.settle()
	b.reads("before")
	a.settle()
	if e := a.take(e2ee.EventKeyChanged); len(e) != 0 {
		t.Errorf("a renewal looked like a change: %+v", e)
	}
	b.says(conv, "after")
	a.settle()
	if m := a.reads("after")[0].Message; m.Trust != quinta.TrustPinned {
		t.Errorf("got %v", m.Trust)
	}
	a.says(conv, "to the new key")
	b.settle()
	b.reads("to the new key")
	p.later(8 * 24 * time.Hour)
	b.settle()
	if n := len(b.keys("grace", cert.UseEncrypt)); n != 0 || p.state(p.key(old)) != "retired" {
		t.Errorf("got %d keys in grace and the old one %s, want it retired", n, p.state(p.key(old)))
	}
}

// TestAttack19KeyDroppedTooEarly: an old key stays as long as the server holds
// messages for it, however long that is.
func TestAttack19KeyDroppedTooEarly(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "for the old key")
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Renew(tx) })
	b.flush()
	p.later(8 * 24 * time.Hour)
	b.flush()
	if len(b.keys("grace", cert.UseEncrypt)) != 1 {
		t.Fatal("the key was dropped while a message for it waits")
	}
	b.settle()
	b.reads("for the old key")
	p.later(2 * time.Hour)
	b.settle()
	if len(b.keys("grace", cert.UseEncrypt)) != 0 {
		t.Error("the key was kept when nothing waits any more")
	}
}

// TestRenewalAnswerLost: the server renewed, and its answer never came; the
// process ended meanwhile. The same bytes go out again; and where even that
// comes too late, the list of this user's keys says what happened.
func TestRenewalAnswerLost(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{time.Second, time.Hour, 15 * 24 * time.Hour} {
		p, _, b, _ := couple(t, ca.Policy{})
		old := b.keys("active", cert.UseSign)[0].ID
		lost := []ca.Req{}
		p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
			if d == b && r.Kind == ca.ReqRenew {
				p.renew(d, r)
				lost = append(lost, r)
			}
			return ca.Ans{}, false
		}
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Renew(tx) })
		for range 2 { // the nonces; then the renewals, whose answers are lost
			for _, r := range b.due() {
				if a := p.do(b, r); r.Kind != ca.ReqRenew {
					b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Done(tx, r, a) })
				}
			}
		}
		p.bend = nil
		b.boot()
		p.later(late)
		for _, r := range b.due() {
			if i := slices.IndexFunc(lost, func(o ca.Req) bool { return o.ID == r.ID }); i >= 0 && !bytes.Equal(lost[i].Renew.RenewalStatement, r.Renew.RenewalStatement) {
				t.Error("the renewal is repeated with other bytes")
			}
		}
		if late > time.Hour { // and now the server does not take the repetition
			p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
				return refuse("invalid", "too late"), r.Kind == ca.ReqRenew
			}
		}
		b.settle()
		b.settle()
		if k := b.keys("active", cert.UseSign); len(k) != 1 || k[0].ID == old || p.state(p.key(k[0].ID)) != "active" {
			t.Errorf("after %s: got %+v, want the renewed key", late, k)
		}
		if n := len(b.keys("made", cert.UseSign)) + len(b.keys("blocked", cert.UseSign)); n != 0 {
			t.Errorf("after %s: %d keys are left over", late, n)
		}
	}
}

// TestRevokedElsewhere: a device whose keys another one has revoked learns it,
// says nothing more, and continues when the other one approves new keys. What it
// wanted to say is not lost.
func TestRevokedElsewhere(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	b.direct(alice)
	second := p.login(bob, "B2", ca.Policy{})
	b.settle()
	b.take()
	for _, use := range []cert.Use{cert.UseSign, cert.UseEncrypt} {
		id := b.keys("active", use)[0].ID
		second.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, second.m.Revoke(tx, id, "unspecified") })
	}
	second.settle()
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
		if d == b && r.Kind == ca.ReqMessage && len(b.keys("active", cert.UseSign)) == 0 {
			return refuse(ca.CodeState, "the device has no valid key"), true
		}
		if d == b && r.Kind == ca.ReqMessage && p.state(p.key(b.keys("active", cert.UseSign)[0].ID)) != "active" {
			return refuse(ca.CodeState, "the device has no valid key"), true
		}
		return ca.Ans{}, false
	}
	b.says(conv, "still mine")
	events := b.take()
	if has(events, e2ee.EventKeyChanged, "was revoked") == nil {
		t.Errorf("got %+v, want that the keys were revoked", events)
	}
	asked := []cert.Fingerprint{}
	for _, e := range events {
		if e.Kind == e2ee.EventVerification {
			asked = append(asked, cert.Fingerprint(e.Detail[len("approval "):]))
		}
	}
	if len(asked) != 2 {
		t.Fatalf("got %q, want both keys to be approved", asked)
	}
	second.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, second.m.Approve(tx, "B1", asked...) })
	second.flush()
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Retry(tx) })
	p.later(2 * time.Minute)
	b.settle()
	a.settle()
	a.take()
	p.later(2 * time.Minute)
	b.settle()
	a.settle()
	if e := b.take(e2ee.EventSent); len(e) > 1 {
		t.Errorf("sent %d times", len(e))
	}
	if p.history[conv] == nil {
		t.Error("the message is lost")
	}
}

// TestExpiredOwnKey: a device that was away until its keys expired cannot renew
// them; it asks for approval and keeps what it has.
func TestExpiredOwnKey(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "in time")
	p.later(31 * 24 * time.Hour)
	b.settle()
	events := b.events
	b.reads("in time")
	if len(b.keys("blocked", cert.UseSign)) != 1 || has(events, e2ee.EventVerification, "approval ") == nil {
		t.Fatal("the device does not ask for approval")
	}
	p.approve[b.keys("blocked", cert.UseSign)[0].ID] = true
	p.approve[b.keys("blocked", cert.UseEncrypt)[0].ID] = true
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Retry(tx) })
	b.settle()
	if len(b.keys("active", cert.UseSign)) != 1 {
		t.Errorf("the approved key is not enrolled: %+v", b.take())
	}
}

// TestOtherDevice: a store belongs to one device.
func TestOtherDevice(t *testing.T) {
	t.Parallel()
	_, a, _, _ := couple(t, ca.Policy{})
	a.id = "A2"
	a.boot()
	if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, err := a.m.Outgoing(tx); return nil, err }); err != ca.ErrOtherDevice {
		t.Errorf("got %v, want ErrOtherDevice", err)
	}
}

// TestAuthorityClockSetBack: a certificate that begins before the authority's own
// does, since its clock was set back, is taken.
func TestAuthorityClockSetBack(t *testing.T) {
	t.Parallel()
	p := newPost(t, 14)
	p.later(-time.Minute)
	a := p.login(alice, "A1", ca.Policy{})
	if len(a.keys("active", cert.UseSign)) != 1 || len(a.keys("active", cert.UseEncrypt)) != 1 {
		t.Errorf("got %+v, want the certificates taken", a.take())
	}
}
