package seal_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/town"
)

// The attacks on the published scheme, by their rows in doc/network/ca.md.
// Under the legacy profile a test shows what happens; under the secure one
// each is refused.

// cast is three people of each profile.
type cast struct {
	*town.Town
	t                 *testing.T
	alice, bob, carol *seal.Self
	a, b, c           *town.Pal
}

func newCast(t *testing.T) *cast {
	t.Helper()
	w := town.New(t)
	return &cast{Town: w, t: t, alice: w.Person("alice@hs1", "A"), bob: w.Person("bob@hs1", "B"), carol: w.Person("carol@hs1", "C"),
		a: town.NewPal(t, "alice@hs1"), b: town.NewPal(t, "bob@hs1"), c: town.NewPal(t, "carol@hs1")}
}

func (c *cast) seal(x seal.Content, from *seal.Self, to ...*seal.Self) []byte {
	c.t.Helper()
	var certs []*x509.Certificate
	for _, s := range to {
		certs = append(certs, s.Encrypt)
	}
	raw, err := seal.Seal(rand.Reader, from, x, certs)
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

// refused expects that a message does not open, for a reason.
func (c *cast) refused(what string, raw []byte, self *seal.Self, x seal.Expect, want quinta.Reason) {
	c.t.Helper()
	o, err := seal.Open(raw, self, c.Verifier, x)
	if err == nil {
		c.t.Fatalf("%s: opened: %+v", what, o.Content)
	}
	if got := ca.ReasonOf(err); got != want {
		c.t.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
}

func TestAttack01SurreptitiousForwarding(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	// Legacy: Bob wraps Alice's key again for Carol, with Alice's signature.
	s := town.Secret(t)
	first := c.a.Negotiate(t, c.b, s, "you are hired")
	m, err := seal.SealLegacy(rand.Reader, c.a.Name, c.c.Name, s, []byte("you are hired"))
	if err == nil {
		err = m.Announce(rand.Reader, s, c.b.Key, c.c.Record(), seal.LegacyOAEP, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.Ext.E2EE.Sig, m.Ext.E2EE.KeyID = first.Ext.E2EE.Sig, c.a.ID()
	if got, _, err := c.c.Reader().Open(m, c.a.Name, c.a.Record(), now); err != nil || string(got) != "you are hired" {
		t.Errorf("legacy: got %q %v: the published scheme lets it pass", got, err)
	}
	// Secure: Bob seals what Alice signed for him once more, for Carol.
	raw := town.Forward(t, c.seal(content(), c.alice, c.bob), c.bob, c.carol.Encrypt)
	x := expect()
	x.Self = "carol@hs1"
	c.refused("secure", raw, c.carol, x, quinta.ReasonSenderMismatch)
	x.From = "bob@hs1"
	c.refused("secure, as Bob", raw, c.carol, x, quinta.ReasonSenderMismatch)
}

func TestAttack02ForgedContent(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	s := town.Secret(t)
	first := c.a.Negotiate(t, c.b, s, "hello")
	// Legacy: with the key Bob writes any text as Alice, for himself to read.
	m, err := seal.SealLegacy(rand.Reader, c.a.Name, c.b.Name, s, []byte("I owe you 1000"))
	if err != nil {
		t.Fatal(err)
	}
	m.Ext = first.Ext
	if got, _, err := c.b.Reader().Open(m, c.a.Name, c.a.Record(), now); err != nil || string(got) != "I owe you 1000" {
		t.Errorf("legacy: got %q %v: the published scheme lets it pass", got, err)
	}
	// Secure: another content under Alice's signature.
	signed, err := cms.Sign(rand.Reader, []byte(`{}`), cms.Signer{Certificate: c.alice.Sign, Key: c.alice.SignKey}, now)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(signed, []byte(`{}`), []byte(`[]`), 1)
	raw, err := cms.Seal(rand.Reader, forged, []*x509.Certificate{c.bob.Encrypt})
	if err != nil {
		t.Fatal(err)
	}
	c.refused("secure", raw, c.bob, expect(), quinta.ReasonTampered)
}

func TestAttack03Replay(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	s := town.Secret(t)
	m := c.a.Negotiate(t, c.b, s, "pay 10")
	for range 2 {
		if _, _, err := c.b.Reader().Open(m, c.a.Name, c.a.Record(), now); err != nil {
			t.Errorf("legacy: %v: the published scheme lets it pass", err)
		}
	}
	// Secure: what was seen is remembered by its id and number by the device;
	// here, by the time.
	raw := c.seal(content(), c.alice, c.bob)
	x := expect()
	x.Now = now.Add(seal.MaxAge + time.Hour)
	c.refused("secure", raw, c.bob, x, quinta.ReasonExpired)
	c.RevokeAt(x.Now)
	c.refused("secure, with a fresh status", raw, c.bob, x, quinta.ReasonReplayed)
	p := c.session(t)
	packet, err := p.a.Seal(seal.Small{ID: "m", Time: now.UnixMilli(), Body: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.b.Open(packet, "alice@hs1", "A", now); err != nil {
		t.Fatal(err)
	}
	if _, err := p.b.Open(packet, "alice@hs1", "A", now); !errors.Is(err, cert.ErrReplayed) {
		t.Errorf("session: got %v, want ErrReplayed", err)
	}
}

func TestAttack04FlippedBits(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	s := town.Secret(t)
	m := c.a.Negotiate(t, c.b, s, "pay 100 to Dave!")
	m.Body[4] ^= '1' ^ '9' // a bit of the vector changes one of the text
	if got, _, err := c.b.Reader().Open(m, c.a.Name, c.a.Record(), now); err != nil || string(got) != "pay 900 to Dave!" {
		t.Errorf("legacy: got %q %v: the published scheme lets it pass", got, err)
	}
	raw := c.seal(content(), c.alice, c.bob)
	for i := len(raw) - 40; i < len(raw); i++ {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := seal.Open(bad, c.bob, c.Verifier, expect()); err == nil {
			t.Fatalf("byte %d: opened", i)
		}
	}
	bad := bytes.Clone(raw)
	bad[len(bad)-1] ^= 1
	c.refused("secure", bad, c.bob, expect(), quinta.ReasonTampered)
}

func TestAttack05StolenAuthorship(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	// Legacy: Carol, who learned the key, signs Alice's text as her own.
	s := town.Secret(t)
	m := c.a.Negotiate(t, c.b, s, "my poem")
	stolen := c.c.Negotiate(t, c.b, s, "")
	stolen.Body = m.Body
	if got, _, err := c.b.Reader().Open(stolen, c.c.Name, c.c.Record(), now); err != nil || string(got) != "my poem" {
		t.Errorf("legacy: got %q %v: the published scheme lets it pass", got, err)
	}
	// Secure: Carol signs a content that says it is Alice's; Seal sets the
	// sender, so she writes the layers by hand.
	x := expect()
	raw := c.seal(content(), c.carol, c.bob)
	c.refused("secure, from Alice by the transport", raw, c.bob, x, quinta.ReasonSenderMismatch)
	inner := []byte(`{"content":{},"conv":"conv","from":"alice@hs1","fromKey":"` + string(cert.KeyID(c.carol.Sign)) + `","mid":"m","profile":"secure","seq":1,"to":["bob@hs1"],"ts":` + millis(now) + `,"v":1}`)
	signed, err := cms.Sign(rand.Reader, inner, cms.Signer{Certificate: c.carol.Sign, Key: c.carol.SignKey}, now)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = cms.Seal(rand.Reader, signed, []*x509.Certificate{c.bob.Encrypt}); err != nil {
		t.Fatal(err)
	}
	c.refused("secure, by hand", raw, c.bob, x, quinta.ReasonSenderMismatch)
}

func millis(t time.Time) string { return big.NewInt(t.UnixMilli()).String() }

func TestAttack06Rollback(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	old, fresh := town.Secret(t), town.Secret(t)
	m1, m2 := c.a.Negotiate(t, c.b, old, "one"), c.a.Negotiate(t, c.b, fresh, "two")
	r := c.b.Reader()
	var last *seal.LegacySecret
	for _, m := range []*seal.LegacyMessage{m1, m2, m1} {
		_, s, err := r.Open(m, c.a.Name, c.a.Record(), now)
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	if last.KID() != old.KID() {
		t.Error("legacy: the published scheme lets an old key be put back")
	}
	// Secure: a session has its own id, and a packet of an old one does not
	// open under the newer; what it offers is in a message with a number.
	p, q := c.session(t), c.session(t)
	packet, err := p.a.Seal(seal.Small{ID: "m", Time: now.UnixMilli(), Body: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.b.Open(packet, "alice@hs1", "A", now); !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("session: got %v, want ErrMismatch", err)
	}
}

func TestAttack09OtherPurpose(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	// Legacy: a signature made for anything over the SHA-256 of 16 bytes is
	// one over a symmetric key.
	s := town.Secret(t)
	sum := sha256.Sum256(s.Bytes())
	challenge, err := rsa.SignPKCS1v15(nil, c.a.Key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	m := c.c.Negotiate(t, c.b, s, "from Alice, it seems")
	m.From, m.Ext.E2EE.Sig, m.Ext.E2EE.KeyID = c.a.Name, challenge, c.a.ID()
	if _, _, err := c.b.Reader().Open(m, c.a.Name, c.a.Record(), now); err != nil {
		t.Errorf("legacy: got %v: the published scheme lets it pass", err)
	}
	// Secure: an approval is no renewal, though both are signed statements.
	st := cert.RenewalStatement{Username: "alice@hs1", Device: "A", Time: now.UnixMilli()}
	a, err := cert.NewApproval(rand.Reader, cert.ApprovalStatement{Username: "alice@hs1", Device: "A", Time: now.UnixMilli()}, c.alice.SignKey)
	if err != nil {
		t.Fatal(err)
	}
	r := cert.Renewal{Statement: a.Statement, OldSignature: a.Signature, NewSignature: a.Signature}
	if _, err := r.Check(st, c.alice.SignKey.Public(), c.alice.SignKey.Public(), now); !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}

func TestAttack10OtherAuthorityAndPin(t *testing.T) {
	t.Parallel()
	c, evil := newCast(t), town.New(t)
	// A certificate of another authority for Alice's name does not count; one
	// of the same authority changes the safety words that people compare.
	mallory := evil.Person("alice@hs1", "A")
	raw := c.seal(content(), mallory, c.bob)
	c.refused("another authority", raw, c.bob, expect(), quinta.ReasonSenderMismatch)
	swapped := c.Person("alice@hs1", "A")
	a, b := seal.SafetyWords(cert.KeyID(c.alice.Sign), cert.KeyID(c.bob.Sign)), seal.SafetyWords(cert.KeyID(swapped.Sign), cert.KeyID(c.bob.Sign))
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	if same > 3 {
		t.Errorf("%d of 12 words are the same for another key", same)
	}
}

func TestAttack11LeakedKeyOpensOldMessages(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	// Stated, not closed: who has the key opens what was sealed for it before.
	if _, err := seal.Open(raw, c.bob, c.Verifier, expect()); err != nil {
		t.Fatal(err)
	}
	// A key of another device does not.
	c.refused("another device", raw, c.Person("bob@hs1", "B2"), expect(), quinta.ReasonBeforeThisDevice)
}

func TestAttack12PaddingOracle(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	s := town.Secret(t)
	good := c.a.Negotiate(t, c.b, s, "hello")
	for _, padding := range []seal.LegacyPadding{seal.LegacyOAEP, seal.LegacyPKCS1} {
		r := c.b.Reader()
		r.Padding = padding
		for name, change := range map[string]func(m *seal.LegacyMessage){
			"wrapped key":      func(m *seal.LegacyMessage) { m.Ext.E2EE.EK[20] ^= 1 },
			"wrapped key zero": func(m *seal.LegacyMessage) { m.Ext.E2EE.EK = make([]byte, 128) },
			"wrapped key one":  func(m *seal.LegacyMessage) { m.Ext.E2EE.EK = append(make([]byte, 127), 1) },
			"wrapped key cut":  func(m *seal.LegacyMessage) { m.Ext.E2EE.EK = m.Ext.E2EE.EK[1:] },
			"signature":        func(m *seal.LegacyMessage) { m.Ext.E2EE.Sig[20] ^= 1 },
			"last block":       func(m *seal.LegacyMessage) { m.Body[len(m.Body)-1] ^= 1 },
			"name of the key":  func(m *seal.LegacyMessage) { m.Ext.E2EE.KID = "0123456789abcdef" },
		} {
			m := *good
			m.Body = bytes.Clone(good.Body)
			m.Ext.E2EE.EK, m.Ext.E2EE.Sig = bytes.Clone(good.Ext.E2EE.EK), bytes.Clone(good.Ext.E2EE.Sig)
			change(&m)
			if _, _, err := r.Open(&m, c.a.Name, c.a.Record(), now); err != seal.ErrTampered {
				t.Errorf("%s, %s: got %v, want just ErrTampered", padding, name, err)
			}
		}
	}
}

func TestAttack15CertificateNotInForce(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	sent := func(at time.Time) []byte {
		x := content()
		x.Time = at.UnixMilli()
		return c.seal(x, c.alice, c.bob)
	}
	expectAt := func(at time.Time) seal.Expect {
		x := expect()
		x.Now, x.Received = at.Add(time.Minute), at
		return x
	}
	for name, at := range map[string]time.Time{"expired": now.Add(cert.Validity + time.Hour), "not yet valid": now.Add(-time.Hour)} {
		c.Verifier = c.NewVerifier()
		c.RevokeAt(at)
		c.refused(name, sent(at), c.bob, expectAt(at), quinta.ReasonExpired)
	}
	c = newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	c.Revoke(cert.Revoked{Serial: c.alice.Sign.SerialNumber, At: now.Add(-10 * time.Minute), Reason: cert.ReasonSuperseded})
	c.refused("retired", raw, c.bob, expect(), quinta.ReasonExpired)
	// A certificate that is to encrypt does not sign.
	wrong := *c.carol
	wrong.Sign, wrong.SignKey = c.carol.Encrypt, c.carol.EncryptKey
	x := expect()
	x.From = "carol@hs1"
	if raw, err := seal.Seal(rand.Reader, &wrong, content(), []*x509.Certificate{c.bob.Encrypt}); err == nil {
		c.refused("wrong use", raw, c.bob, x, quinta.ReasonSenderMismatch)
	}
	if err := (&seal.LegacyRecord{Username: "a", Key: &c.a.Key.PublicKey, Expires: now}).Check("a", now.Add(time.Second)); !errors.Is(err, cert.ErrExpired) {
		t.Errorf("legacy, expired: got %v", err)
	}
}

func TestAttack16Backdating(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.Revoke(cert.Revoked{Serial: c.alice.Sign.SerialNumber, At: now, Reason: cert.ReasonCessation})
	x := content()
	x.Time = now.Add(-10 * time.Second).UnixMilli()
	raw := c.seal(x, c.alice, c.bob)
	// Ten days after the revocation, a message that says it is older.
	late := expect()
	late.Now, late.Received = now.Add(10*24*time.Hour), now.Add(10*24*time.Hour)
	c.Verifier = c.NewVerifier()
	c.RevokeAt(late.Now, cert.Revoked{Serial: c.alice.Sign.SerialNumber, At: now, Reason: cert.ReasonCessation})
	c.refused("backdated", raw, c.bob, late, quinta.ReasonReplayed)
	// A key in other hands is refused whatever time is claimed.
	c.Verifier = c.NewVerifier()
	c.RevokeAt(late.Now, cert.Revoked{Serial: c.alice.Sign.SerialNumber, At: now, Reason: cert.ReasonKeyCompromise})
	early := expect()
	early.Now, early.Received = now.Add(time.Minute), now
	c.refused("compromised", raw, c.bob, early, quinta.ReasonExpired)
}

func TestAttack17Downgrade(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	inner := []byte(`{"content":{},"conv":"conv","from":"alice@hs1","fromKey":"` + string(cert.KeyID(c.alice.Sign)) + `","mid":"m","profile":"legacy","seq":1,"to":["bob@hs1"],"ts":` + millis(now) + `,"v":1}`)
	signed, err := cms.Sign(rand.Reader, inner, cms.Signer{Certificate: c.alice.Sign, Key: c.alice.SignKey}, now)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := cms.Seal(rand.Reader, signed, []*x509.Certificate{c.bob.Encrypt})
	if err != nil {
		t.Fatal(err)
	}
	c.refused("another profile inside", raw, c.bob, expect(), quinta.ReasonSenderMismatch)
	m := must(seal.SealLegacy(rand.Reader, "alice@hs1", "bob@hs1", town.Secret(t), []byte("x")))
	c.refused("a legacy message", m.Body, c.bob, expect(), quinta.ReasonMalformed)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Signer{c.a.Key, weak} {
		if _, err := cert.NewRequest(rand.Reader, cert.Identity{User: "a@hs1", Device: "A", Use: cert.UseSign}, k); !errors.Is(err, cert.ErrUnsupported) {
			t.Errorf("a weak key: got %v, want ErrUnsupported", err)
		}
	}
}

func TestAttack20OtherForms(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	c.refused("cut", raw[:len(raw)-1], c.bob, expect(), quinta.ReasonMalformed)
	c.refused("bytes behind", append(bytes.Clone(raw), 0), c.bob, expect(), quinta.ReasonMalformed)
	c.refused("empty", nil, c.bob, expect(), quinta.ReasonMalformed)
	indefinite := append([]byte{0x30, 0x80}, raw[4:]...)
	c.refused("indefinite length", append(indefinite, 0, 0), c.bob, expect(), quinta.ReasonMalformed)
	c.refused("deep", bytes.Repeat([]byte{0x30, 0x80}, 1<<16), c.bob, expect(), quinta.ReasonMalformed)
	c.refused("wrong recipient", raw, c.carol, expect(), quinta.ReasonBeforeThisDevice)
	signed, err := cms.Sign(rand.Reader, []byte("{}"), cms.Signer{Certificate: c.alice.Sign, Key: c.alice.SignKey}, now)
	if err != nil {
		t.Fatal(err)
	}
	c.refused("signed only", signed, c.bob, expect(), quinta.ReasonUnsupported)
	sealed, err := cms.Seal(rand.Reader, []byte("no signature"), []*x509.Certificate{c.bob.Encrypt})
	if err != nil {
		t.Fatal(err)
	}
	c.refused("sealed only", sealed, c.bob, expect(), quinta.ReasonMalformed)
}

func TestAttack21OtherNames(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	// A certificate of our authority with names that are not those of a device.
	for name, change := range map[string]func(*x509.Certificate){
		"only a common name": func(x *x509.Certificate) { x.Subject.CommonName = "alice@hs1" },
		"a mail name":        func(x *x509.Certificate) { x.EmailAddresses = []string{"alice@hs1"} },
		"a NUL":              func(x *x509.Certificate) { x.EmailAddresses = []string{"alice@hs1\x00.evil"} },
		"a wildcard":         func(x *x509.Certificate) { x.DNSNames = []string{"*.hs1"} },
	} {
		k := town.Key(t)
		x := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}
		change(x)
		raw, err := x509.CreateCertificate(rand.Reader, x, c.Issuer.Cert, k.Public(), c.Issuer.Key)
		if err != nil {
			t.Fatal(err)
		}
		made := must(x509.ParseCertificate(raw))
		if _, err := c.Verifier.Verify(made, cert.UseSign, now, now); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
	other := c.Person("alice@other", "A")
	x := expect()
	x.From = "alice@other"
	c.refused("another domain", c.seal(content(), other, c.bob), c.bob, x, quinta.ReasonSenderMismatch)
}

func TestAttack22NoStatus(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	c.Verifier = c.NewVerifier()
	c.refused("missing", raw, c.bob, expect(), quinta.ReasonExpired)
	c.RevokeAt(now.Add(-48 * time.Hour))
	c.refused("stale", raw, c.bob, expect(), quinta.ReasonExpired)
	evil := town.New(t)
	other := must(evil.Issuer.NewCRL(9, nil, now, now.Add(time.Hour)))
	if err := c.Verifier.SetCRL(other); !errors.Is(err, cert.ErrUntrusted) {
		t.Errorf("another issuer's: got %v, want ErrUntrusted", err)
	}
	c.RevokeAt(now)
	if err := c.Verifier.SetCRL(must(c.Issuer.NewCRL(1, nil, now.Add(-time.Hour), now.Add(time.Hour)))); !errors.Is(err, cert.ErrReplayed) {
		t.Errorf("an older list: got %v, want ErrReplayed", err)
	}
}

func TestAttack23OrderAndAddress(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	for name, change := range map[string]func(*seal.Expect){
		"another conversation": func(x *seal.Expect) { x.Conv = "other" },
		"not addressed":        func(x *seal.Expect) { x.Self = "carol@hs1" },
	} {
		x := expect()
		change(&x)
		c.refused(name, raw, c.bob, x, quinta.ReasonSenderMismatch)
	}
	x := expect()
	x.Now = now.Add(-time.Hour)
	c.refused("far ahead", raw, c.bob, x, quinta.ReasonReplayed)
	for name, change := range map[string]func(*seal.Content){
		"no id": func(m *seal.Content) { m.ID = "" }, "no number": func(m *seal.Content) { m.Seq = 0 }, "nobody": func(m *seal.Content) { m.To = nil },
		"no time": func(m *seal.Content) { m.Time = 0 }, "no body": func(m *seal.Content) { m.Body = nil }, "too many": func(m *seal.Content) { m.To = make([]quinta.UserID, 501) },
	} {
		m := content()
		change(&m)
		if _, err := seal.Seal(rand.Reader, c.alice, m, []*x509.Certificate{c.bob.Encrypt}); !errors.Is(err, cert.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}
