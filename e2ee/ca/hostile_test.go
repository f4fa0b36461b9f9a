package ca_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/town"
)

// The attacks that a machine can meet, by their rows in doc/network/ca.md:
// a server that bends the rules, and users who write what their machine would
// not.

// self is the device as its user could use it without its machine.
func (d *device) self() *seal.Self {
	d.p.t.Helper()
	s := &seal.Self{Chain: []*x509.Certificate{d.p.issuer.Cert}}
	err := d.store.View(context.Background(), func(tx e2ee.Tx) error {
		for e, err := range tx.All("own/") {
			if err != nil {
				return err
			}
			var k struct {
				Use           cert.Use
				State         string
				Private, Cert []byte
			}
			if err := json.Unmarshal(e.Value, &k); err != nil {
				return err
			}
			if k.State != "active" || k.Cert == nil {
				continue
			}
			key := must(x509.ParsePKCS8PrivateKey(k.Private)).(crypto.Signer)
			if c := must(x509.ParseCertificate(k.Cert)); k.Use == cert.UseSign {
				s.Sign, s.SignKey = c, key
			} else {
				s.Encrypt, s.EncryptKey = c, key
			}
		}
		return nil
	})
	if err != nil {
		d.p.t.Fatal(err)
	}
	return s
}

// forge puts an item into a mailbox, as a server can.
func (p *post) forge(to *device, it ca.Item) {
	if it.Kind == "" {
		it.Kind = ca.KindMessage
	}
	if it.Form == "" {
		it.Form = ca.FormCMS
	}
	if it.Received.IsZero() {
		it.Received = p.now
	}
	p.drop(to.String(), it, "")
}

// seal seals a content of a device for another one, as its user can.
func (d *device) seal(to *device, c seal.Content) []byte {
	d.p.t.Helper()
	if c.Time == 0 {
		c.Time = d.p.now.UnixMilli()
	}
	if c.Seq == 0 {
		c.Seq = 1000
	}
	if c.Body == nil {
		c.Body = []byte(`{"kind":"text","text":"forged"}`)
	}
	if c.To == nil {
		c.To = []quinta.UserID{to.user}
	}
	return must(seal.Seal(d.p.rand, d.self(), c, []*x509.Certificate{to.self().Encrypt}))
}

// last is the newest message of a conversation at the server.
func (p *post) last(conv quinta.RoomID) ca.Item { h := p.history[conv]; return h[len(h)-1] }

// TestMachineAttack01Forwarding: bob seals what alice said to him for carol.
func TestMachineAttack01Forwarding(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	c := p.login(carol, "C1", ca.Policy{})
	toCarol := a.direct(carol)
	a.says(toCarol, "to know carol")
	c.settle()
	c.take()
	a.says(conv, "i agree")
	got := p.last(conv)
	raw := town.Forward(t, got.Body, b.self(), c.self().Encrypt)
	p.forge(c, ca.Item{Conv: toCarol, ID: got.ID, From: alice, Device: "A1", Body: raw})
	c.settle()
	c.told(quinta.ReasonSenderMismatch)
}

// TestMachineAttack02ForgedContent: bytes are changed on the way.
func TestMachineAttack02ForgedContent(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	b.take()
	it := p.last(conv)
	it.Body = append([]byte(nil), it.Body...)
	it.Body[len(it.Body)-5] ^= 1
	it.ID = "other"
	p.forge(b, it)
	b.settle()
	b.told(quinta.ReasonTampered)
}

// TestMachineAttack03Replay: a whole packet comes again: at once, after the
// process ended, and under another id.
func TestMachineAttack03Replay(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "pay 5")
	it := p.last(conv)
	b.settle()
	b.reads("pay 5")
	p.forge(b, it)
	b.settle()
	b.told(quinta.ReasonReplayed)
	b.boot()
	p.later(24 * time.Hour)
	p.forge(b, it)
	b.settle()
	b.told(quinta.ReasonReplayed)
	it.ID = "another-id"
	p.forge(b, it)
	b.settle()
	b.told(quinta.ReasonSenderMismatch)
	a.says(conv, "and on")
	b.settle()
	b.reads("and on")
}

// TestMachineAttack05Sender: the server puts another sender or device on a
// message.
func TestMachineAttack05Sender(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	c := p.login(carol, "C1", ca.Policy{})
	bc := b.direct(carol)
	a.says(conv, "one")
	b.says(bc, "to know carol")
	b.settle()
	b.take()
	it := p.last(conv)
	for _, it := range []ca.Item{
		{Conv: conv, ID: it.ID, From: carol, Device: "C1", Body: it.Body},
		{Conv: bc, ID: it.ID, From: carol, Device: "C1", Body: it.Body},
		{Conv: conv, ID: "m2", From: alice, Device: "A2", Body: a.seal(b, seal.Content{Conv: conv, ID: "m2"})},
		{Conv: bc, ID: "m3", From: alice, Device: "A1", Body: a.seal(b, seal.Content{Conv: bc, ID: "m3"})},
		{Conv: conv, ID: "m4", From: carol, Device: "C1", Body: c.seal(b, seal.Content{Conv: conv, ID: "m4"})},
	} {
		p.forge(b, it)
		b.settle()
		b.told(quinta.ReasonSenderMismatch)
	}
}

// TestMachineAttack06Rollback: an old negotiation comes again; the newer session
// stays the one that is written in.
func TestMachineAttack06Rollback(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	a.says(conv, "first offer")
	old := p.last(conv)
	b.settle()
	p.later(25 * time.Hour)
	a.says(conv, "second offer")
	b.settle()
	b.reads("first offer", "second offer")
	p.forge(b, old)
	b.settle()
	b.told(quinta.ReasonReplayed)
	b.says(b.direct(alice), "small")
	if got := p.last(conv); got.Form != ca.FormSession {
		t.Fatalf("got %s, want a packet", got.Form)
	}
	a.settle()
	a.reads("small")
	if got, _ := seal.PacketSession(p.last(conv).Body); got == "" {
		t.Error("the packet names no session")
	}
}

// TestMachineAttack15OldKeyUsed: after a renewal someone signs with the old
// key; and a device whose key was revoked continues.
func TestMachineAttack15OldKeyUsed(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	stolen := a.self()
	p.later(time.Hour)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Renew(tx) })
	a.settle()
	b.settle()
	b.take()
	send := func(id quinta.MessageID, at time.Time, seq uint64) {
		raw := must(seal.Seal(p.rand, stolen, seal.Content{To: []quinta.UserID{bob}, Conv: conv, ID: id, Seq: seq, Time: at.UnixMilli(), Body: []byte(`{"kind":"text","text":"old key"}`)},
			[]*x509.Certificate{b.self().Encrypt}))
		p.forge(b, ca.Item{Conv: conv, ID: id, From: alice, Device: "A1", Body: raw})
		b.settle()
	}
	p.later(10 * time.Minute)
	send("x1", p.now, 50)
	b.told(quinta.ReasonExpired)
	// Backdated to before the renewal it is older than what came since, or out of
	// the window of its delivery.
	send("x2", p.now.Add(-8*24*time.Hour), 1)
	b.told(quinta.ReasonExpired)

	stolen = a.self()
	id := a.keys("active", cert.UseSign)[0].ID
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Revoke(tx, id, "key-compromise") })
	a.flush()
	p.later(2 * time.Minute)
	b.settle()
	b.take()
	send("x3", p.now, 60)
	b.told(quinta.ReasonExpired)
	send("x4", p.now.Add(-time.Hour), 61) // before the revocation: a stolen key counts for no time
	b.told(quinta.ReasonExpired)
}

// TestMachineAttack17Downgrade: neither the server nor a peer brings a secure
// conversation down to the legacy profile; it is loud.
func TestMachineAttack17Downgrade(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	b.take()
	alicePal, bobPal := town.NewPal(t, alice), town.NewPal(t, bob)
	m := alicePal.Negotiate(t, bobPal, town.Secret(t), "psst")
	p.forge(b, ca.Item{Form: ca.FormLegacy, Conv: conv, ID: "l1", From: alice, Device: "A1", Body: must(json.Marshal(m))})
	b.settle()
	if has(b.told(quinta.ReasonUnsupported), e2ee.EventKeyChanged, "weaker profile") == nil {
		t.Error("it was not loud")
	}
	// A legacy conversation that this user did not choose.
	legacy := ca.Direct(alice, bob, cert.ProfileLegacy)
	p.convs[legacy] = &ca.Conversation{Conv: legacy, Profile: cert.ProfileLegacy, Members: []quinta.UserID{alice, bob}, Chosen: []quinta.UserID{alice, bob}}
	p.forge(b, ca.Item{Form: ca.FormLegacy, Conv: legacy, ID: "l2", From: alice, Device: "A1", Body: must(json.Marshal(m))})
	b.settle()
	if has(b.told(quinta.ReasonUnsupported), e2ee.EventKeyChanged, "weaker profile") == nil {
		t.Error("it was not loud")
	}
	// The server calls the secure conversation a legacy one.
	p.convs[conv].Profile = cert.ProfileLegacy
	p.login(bob, "B2", ca.Policy{})
	a.post(conv, "two")
	a.settle()
	if has(a.take(), e2ee.EventKeyChanged, "weaker profile") == nil {
		t.Error("it was not loud")
	}
	for _, it := range p.history[conv] {
		if it.Form == ca.FormLegacy {
			t.Error("a legacy message left")
		}
	}
	// A body with the signed profile of the other kind cannot even be made by
	// this package; RSA with 1024 bits is refused as a recipient.
	if err := cert.CheckKey(&bobPal.Key.PublicKey); err == nil {
		t.Error("a key of 1024 bits passed")
	}
}

// TestMachineAttack22StaleList: without a recent revocation list nothing is
// sent and nothing opened; all of it is done when there is one.
func TestMachineAttack22StaleList(t *testing.T) {
	t.Parallel()
	for name, bend := range map[string]func(p *post, old []byte) ca.Ans{
		"none":            func(*post, []byte) ca.Ans { return refuse("unavailable", "later") },
		"the old one":     func(_ *post, old []byte) ca.Ans { return ca.Ans{CRL: old} },
		"another issuers": func(p *post, _ []byte) ca.Ans { return ca.Ans{CRL: newPost(p.t, 99).crl()} },
		"no list":         func(*post, []byte) ca.Ans { return ca.Ans{CRL: []byte("list")} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a, b, conv := couple(t, ca.Policy{})
			a.says(conv, "one")
			b.settle()
			b.reads("one")
			old := p.crl()
			p.later(25 * time.Hour)
			a.says(conv, "two")
			p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
				if r.Kind != ca.ReqCRL || d != b {
					return ca.Ans{}, false
				}
				return bend(p, old), true
			}
			b.post(b.roomWith(alice), "three")
			b.settle()
			b.told(quinta.ReasonExpired)
			if len(p.history[conv]) != 2 {
				t.Error("a message left")
			}
			p.bend = nil
			p.later(2 * time.Minute)
			b.settle()
			b.reads("two")
			a.settle()
			a.reads("three")
		})
	}
}

// roomWith returns the conversation with a user, and does not ask the server.
func (d *device) roomWith(peer quinta.UserID) (id quinta.RoomID) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { id, err = d.m.Direct(tx, peer); return nil, err })
	return id
}

// TestMachineAttack23OrderAndAddress: ids that collide, numbers that jump back,
// times far off, messages for others and for other conversations: one clear
// reason each.
func TestMachineAttack23OrderAndAddress(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	p.login(carol, "C1", ca.Policy{})
	for _, text := range []string{"one", "two", "three"} {
		a.says(conv, text)
	}
	second := p.login(alice, "A2", ca.Policy{})
	b.settle()
	b.take()
	taken := p.last(conv).ID
	send := func(from *device, c seal.Content, want quinta.Reason) {
		t.Helper()
		raw := from.seal(b, c)
		p.forge(b, ca.Item{Conv: conv, ID: c.ID, From: from.user, Device: from.id, Body: raw})
		b.settle()
		b.told(want)
	}
	send(a, seal.Content{Conv: conv, ID: taken, Seq: 10}, quinta.ReasonReplayed)
	send(second, seal.Content{Conv: conv, ID: taken, Seq: 1}, quinta.ReasonReplayed)
	send(a, seal.Content{Conv: conv, ID: "back", Seq: 2}, quinta.ReasonReplayed)
	send(a, seal.Content{Conv: conv, ID: "same", Seq: 3}, quinta.ReasonReplayed)
	send(a, seal.Content{Conv: conv, ID: "future", Seq: 11, Time: p.now.Add(time.Hour).UnixMilli()}, quinta.ReasonReplayed)
	send(a, seal.Content{Conv: conv, ID: "past", Seq: 12, Time: p.now.Add(-9 * 24 * time.Hour).UnixMilli()}, quinta.ReasonExpired)
	send(a, seal.Content{Conv: conv, ID: "others", Seq: 13, To: []quinta.UserID{carol}}, quinta.ReasonSenderMismatch)
	send(a, seal.Content{Conv: ca.Direct(alice, carol, cert.ProfileSecure), ID: "elsewhere", Seq: 14}, quinta.ReasonSenderMismatch)
	p.forge(b, ca.Item{Conv: conv, ID: "renamed", From: alice, Device: "A1", Body: a.seal(b, seal.Content{Conv: conv, ID: "signed", Seq: 15})})
	b.settle()
	b.told(quinta.ReasonSenderMismatch)
	// None of that has moved what is remembered.
	a.says(conv, "four")
	b.settle()
	b.reads("four")
}

// TestMachineKindsStayApart: what is signed as one kind of delivery does not
// count as another.
func TestMachineKindsStayApart(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	b.take()
	seq := uint64(100)
	for _, c := range []struct {
		kind ca.Kind
		body string
		want quinta.Reason
	}{
		{ca.KindNotice, `{"kind":"text","text":"x"}`, quinta.ReasonSenderMismatch},
		{ca.KindApproval, `{"kind":"text","text":"x"}`, quinta.ReasonSenderMismatch},
		{ca.KindMessage, `{"kind":"unread","unread":["m"]}`, quinta.ReasonSenderMismatch},
		{ca.KindMessage, `{"kind":"keys"}`, quinta.ReasonSenderMismatch},
		{ca.KindApproval, `{"kind":"keys","keys":{"v":1,"keys":[]}}`, quinta.ReasonSenderMismatch}, // alice is not bob
		{ca.KindReseal, `{"kind":"text","text":"x"}`, quinta.ReasonSenderMismatch},                 // nothing waits
		{"gossip", `{"kind":"text","text":"x"}`, quinta.ReasonUnsupported},
		{ca.KindMessage, `{"kind":"text","session":{"kid":"x","secret":""}}`, quinta.ReasonMalformed},
		{ca.KindMessage, `[1]`, quinta.ReasonMalformed},
	} {
		seq++
		id := quinta.MessageID("k" + string(rune('a'+seq-100)))
		p.forge(b, ca.Item{Kind: c.kind, Conv: conv, ID: id, From: alice, Device: "A1", Body: a.seal(b, seal.Content{Conv: conv, ID: id, Seq: seq, Body: []byte(c.body)})})
		b.settle()
		b.told(c.want)
	}
}

// TestMachineOutsides: an item whose outside is none is refused, and the next
// one is read.
func TestMachineOutsides(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	it := p.last(conv)
	b.settle()
	b.take()
	for name, bend := range map[string]func(*ca.Item){
		"no conversation":  func(i *ca.Item) { i.Conv = "" },
		"odd conversation": func(i *ca.Item) { i.Conv = "with a space in it...." },
		"no id":            func(i *ca.Item) { i.ID = "" },
		"long id":          func(i *ca.Item) { i.ID = quinta.MessageID(strings.Repeat("x", 300)) },
		"no body":          func(i *ca.Item) { i.Body = nil },
		"odd sender":       func(i *ca.Item) { i.From = "Alice@hs1" },
		"odd device":       func(i *ca.Item) { i.Device = "a b" },
		"notice as packet": func(i *ca.Item) { i.Kind, i.Form = ca.KindNotice, ca.FormSession },
	} {
		x := it
		bend(&x)
		p.forge(b, x)
		b.settle()
		if e := b.take(); len(e) != 1 || e[0].Reason != quinta.ReasonMalformed {
			t.Errorf("%s: got %+v, want malformed", name, e)
		}
	}
	p.forge(b, ca.Item{Conv: "g_nobody-knows-this-one", ID: "m", From: alice, Device: "A1", Body: []byte("x")})
	b.settle()
	b.told(quinta.ReasonNotAMemberThen)
	a.says(conv, "two")
	b.settle()
	b.reads("two")
}

// TestClockWrongByADay: a device whose clock is a day slow or fast says so of
// each message, loses none, and reads all when the clock is right.
func TestClockWrongByADay(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]time.Duration{"slow": 24 * time.Hour, "fast": -25 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a, b, conv := couple(t, ca.Policy{})
			p.later(26 * time.Hour)
			a.says(conv, "one")
			b.settle()
			b.reads("one")
			b.slow = slow
			a.says(conv, "two")
			b.settle()
			e := b.told(quinta.ReasonExpired)
			if has(e, e2ee.EventUndecryptable, "") == nil || name == "slow" && has(e, e2ee.EventUndecryptable, "clock") == nil {
				t.Errorf("got %+v, want a word of the clock", e)
			}
			b.slow = 0
			p.later(2 * time.Minute)
			b.settle()
			b.settle()
			b.reads("two")
			a.says(conv, "three")
			b.settle()
			b.reads("three")
		})
	}
}

// TestUnlistedKey: a device that the authority has certified and does not list
// is not believed.
func TestUnlistedKey(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	b.take()
	k := strangeKey(t, 6)
	row := p.rogue(alice, "A9", cert.UseSign, k)
	raw := must(seal.Seal(p.rand, &seal.Self{Sign: row.cert, SignKey: k}, seal.Content{To: []quinta.UserID{bob}, Conv: conv, ID: "m", Seq: 1, Time: p.now.UnixMilli(), Body: []byte(`{"kind":"text"}`)},
		[]*x509.Certificate{b.self().Encrypt}))
	p.forge(b, ca.Item{Conv: conv, ID: "m", From: alice, Device: "A9", Body: raw})
	b.settle()
	b.told(quinta.ReasonSenderMismatch)
}
