package ca_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/internal/cms"
)

// The attacks on the published scheme, by their numbers in the protocol page.
// Under the legacy profile a test shows what happens; under the secure one
// each is refused.

// A pal is a user of the legacy profile.
type pal struct {
	name quinta.UserID
	key  *rsa.PrivateKey
	spki []byte
}

func newPal(t testing.TB, name quinta.UserID) *pal {
	t.Helper()
	k, err := ca.NewLegacyKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := ca.LegacySPKI(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &pal{name: name, key: k, spki: spki}
}

func (p *pal) id() string { return ca.Fingerprint(p.spki) }

func (p *pal) record() *ca.LegacyRecord {
	return &ca.LegacyRecord{Username: p.name, KeyID: p.id(), Key: &p.key.PublicKey, NotBefore: now.Add(-time.Hour), Expires: now.Add(time.Hour)}
}

func (p *pal) reader(saved ...*ca.LegacySecret) *ca.LegacyReader {
	r := &ca.LegacyReader{Self: p.name, Own: map[string]*rsa.PrivateKey{p.id(): p.key}, Saved: map[string]*ca.LegacySecret{}, Padding: ca.LegacyOAEP}
	for _, s := range saved {
		r.Saved[s.KID()] = s
	}
	return r
}

// negotiate makes the first message of a negotiation.
func (p *pal) negotiate(t testing.TB, to *pal, s *ca.LegacySecret, text string) *ca.LegacyMessage {
	t.Helper()
	m, err := ca.SealLegacy(rand.Reader, p.name, to.name, s, []byte(text))
	if err == nil {
		err = m.Announce(rand.Reader, s, p.key, to.record(), ca.LegacyOAEP, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func secret(t testing.TB) *ca.LegacySecret {
	t.Helper()
	s, err := ca.NewLegacySecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cast is three people of each profile.
type cast struct {
	*town
	alice, bob, carol *ca.Self
	a, b, c           *pal
}

func newCast(t *testing.T) *cast {
	t.Helper()
	w := newTown(t)
	return &cast{town: w, alice: w.person("alice@hs1", "A"), bob: w.person("bob@hs1", "B"), carol: w.person("carol@hs1", "C"),
		a: newPal(t, "alice@hs1"), b: newPal(t, "bob@hs1"), c: newPal(t, "carol@hs1")}
}

func (c *cast) seal(x ca.Content, from *ca.Self, to ...*ca.Self) []byte {
	c.t.Helper()
	var certs []*x509.Certificate
	for _, s := range to {
		certs = append(certs, s.Encrypt)
	}
	raw, err := ca.Seal(rand.Reader, from, x, certs)
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

// refused expects that a message does not open, for a reason.
func (c *cast) refused(what string, raw []byte, self *ca.Self, x ca.Expect, want quinta.Reason) {
	c.t.Helper()
	o, err := ca.Open(raw, self, c.v, x)
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
	// Legacy: Bob wraps Alice's key anew for Carol, with Alice's signature.
	s := secret(t)
	first := c.a.negotiate(t, c.b, s, "you are hired")
	m, err := ca.SealLegacy(rand.Reader, c.a.name, c.c.name, s, []byte("you are hired"))
	if err == nil {
		err = m.Announce(rand.Reader, s, c.b.key, c.c.record(), ca.LegacyOAEP, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.Ext.E2EE.Sig, m.Ext.E2EE.KeyID = first.Ext.E2EE.Sig, c.a.id()
	if got, _, err := c.c.reader().Open(m, c.a.name, c.a.record(), now); err != nil || string(got) != "you are hired" {
		t.Errorf("legacy: got %q %v: the published scheme lets it pass", got, err)
	}
	// Secure: Bob seals what Alice signed for him anew for Carol.
	raw, err := ca.Reseal(rand.Reader, c.seal(content(), c.alice, c.bob), c.bob, []*x509.Certificate{c.carol.Encrypt})
	if err != nil {
		t.Fatal(err)
	}
	x := expect()
	x.Self = "carol@hs1"
	c.refused("secure", raw, c.carol, x, quinta.ReasonSenderMismatch)
	x.From = "bob@hs1"
	c.refused("secure, as Bob", raw, c.carol, x, quinta.ReasonSenderMismatch)
}

func TestAttack02ForgedContent(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	s := secret(t)
	first := c.a.negotiate(t, c.b, s, "hello")
	// Legacy: with the key Bob writes any text as Alice, to himself.
	m, err := ca.SealLegacy(rand.Reader, c.a.name, c.b.name, s, []byte("I owe you 1000"))
	if err != nil {
		t.Fatal(err)
	}
	m.Ext = first.Ext
	if got, _, err := c.b.reader().Open(m, c.a.name, c.a.record(), now); err != nil || string(got) != "I owe you 1000" {
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
	s := secret(t)
	m := c.a.negotiate(t, c.b, s, "pay 10")
	for range 2 {
		if _, _, err := c.b.reader().Open(m, c.a.name, c.a.record(), now); err != nil {
			t.Errorf("legacy: %v: the published scheme lets it pass", err)
		}
	}
	// Secure: what was seen is remembered by its id and number by the device;
	// here, by the time.
	raw := c.seal(content(), c.alice, c.bob)
	x := expect()
	x.Now = now.Add(ca.MaxAge + time.Hour)
	c.refused("secure", raw, c.bob, x, quinta.ReasonExpired)
	c.crlAt(x.Now)
	c.refused("secure, with a fresh status", raw, c.bob, x, quinta.ReasonReplayed)
	p := c.session(t)
	packet, err := p.a.Seal(ca.Small{ID: "m", Time: now.UnixMilli(), Body: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.b.Open(packet, "alice@hs1", "A", now); err != nil {
		t.Fatal(err)
	}
	if _, err := p.b.Open(packet, "alice@hs1", "A", now); !errors.Is(err, ca.ErrReplayed) {
		t.Errorf("session: got %v, want ErrReplayed", err)
	}
}

// crlAt publishes a revocation list of another time.
func (c *cast) crlAt(at time.Time) {
	c.t.Helper()
	c.number++
	raw, err := c.issuer.NewCRL(c.number, nil, at, at.Add(24*time.Hour))
	if err == nil {
		err = c.v.SetCRL(raw)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestAttack04FlippedBits(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	s := secret(t)
	m := c.a.negotiate(t, c.b, s, "pay 100 to Dave!")
	m.Body[4] ^= '1' ^ '9' // a bit of the vector changes one of the text
	if got, _, err := c.b.reader().Open(m, c.a.name, c.a.record(), now); err != nil || string(got) != "pay 900 to Dave!" {
		t.Errorf("legacy: got %q %v: the published scheme lets it pass", got, err)
	}
	raw := c.seal(content(), c.alice, c.bob)
	for i := len(raw) - 40; i < len(raw); i++ {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := ca.Open(bad, c.bob, c.v, expect()); err == nil {
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
	s := secret(t)
	m := c.a.negotiate(t, c.b, s, "my poem")
	stolen := c.c.negotiate(t, c.b, s, "")
	stolen.Body = m.Body
	if got, _, err := c.b.reader().Open(stolen, c.c.name, c.c.record(), now); err != nil || string(got) != "my poem" {
		t.Errorf("legacy: got %q %v: the published scheme lets it pass", got, err)
	}
	// Secure: Carol signs a content that says it is Alice's; Seal sets the
	// sender, so she writes the layers by hand.
	x := expect()
	raw := c.seal(content(), c.carol, c.bob)
	c.refused("secure, from Alice by the transport", raw, c.bob, x, quinta.ReasonSenderMismatch)
	inner := []byte(`{"content":{},"conv":"conv","from":"alice@hs1","fromKey":"` + ca.KeyID(c.carol.Sign) + `","mid":"m","profile":"secure","seq":1,"to":["bob@hs1"],"ts":` + millis(now) + `,"v":1}`)
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
	old, fresh := secret(t), secret(t)
	m1, m2 := c.a.negotiate(t, c.b, old, "one"), c.a.negotiate(t, c.b, fresh, "two")
	r := c.b.reader()
	var last *ca.LegacySecret
	for _, m := range []*ca.LegacyMessage{m1, m2, m1} {
		_, s, err := r.Open(m, c.a.name, c.a.record(), now)
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
	packet, err := p.a.Seal(ca.Small{ID: "m", Time: now.UnixMilli(), Body: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.b.Open(packet, "alice@hs1", "A", now); !errors.Is(err, ca.ErrMismatch) {
		t.Errorf("session: got %v, want ErrMismatch", err)
	}
}

func TestAttack07RenewalWithAnotherExpiry(t *testing.T) {
	t.Parallel()
	old, fresh := newPal(t, "a@hs1"), newPal(t, "a@hs1")
	sig, err := ca.SignLegacyRenewal(fresh.spki, old.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.CheckLegacyRenewal(fresh.spki, sig, &old.key.PublicKey); err != nil {
		t.Errorf("legacy: got %v: the expiry is not in the signature", err)
	}
	oldKey, newKey := newKey(t), newKey(t)
	st := ca.RenewalStatement{Username: "a@hs1", Device: "A", OldKeyID: "x", NewKey: "y", Expires: now.Unix(), Nonce: "n", Time: now.UnixMilli()}
	r, err := ca.NewRenewal(rand.Reader, st, oldKey, newKey)
	if err != nil {
		t.Fatal(err)
	}
	if nonce, err := r.Check(st, oldKey.Public(), newKey.Public(), now); err != nil || nonce != "n" {
		t.Fatalf("got %q %v", nonce, err)
	}
	later := st
	later.Expires++
	if _, err := r.Check(later, oldKey.Public(), newKey.Public(), now); !errors.Is(err, ca.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
	changed := *r
	changed.Statement = bytes.Replace(r.Statement, []byte(`"expires":`), []byte(`"expires":1`), 1)
	later.Expires = mustExpires(t, changed.Statement)
	if _, err := changed.Check(later, oldKey.Public(), newKey.Public(), now); !errors.Is(err, ca.ErrPossession) {
		t.Errorf("changed: got %v, want ErrPossession", err)
	}
}

func TestAttack08SomebodyElsesKey(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	// A request is signed by its own key: Carol cannot make one for Bob's.
	id := ca.Identity{User: "carol@hs1", Device: "C", Use: ca.UseSign}
	raw, err := ca.NewRequest(rand.Reader, id, pretender{c.bob.SignKey.Public(), c.carol.SignKey})
	if err == nil {
		_, err = ca.ParseRequest(raw, id)
	}
	if err == nil {
		t.Error("a request with another's key passed")
	}
	// Nor can she renew to it.
	st := ca.RenewalStatement{Username: "carol@hs1", Device: "C", Time: now.UnixMilli()}
	r, err := ca.NewRenewal(rand.Reader, st, c.carol.SignKey, c.carol.SignKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(st, c.carol.SignKey.Public(), c.bob.SignKey.Public(), now); !errors.Is(err, ca.ErrPossession) {
		t.Errorf("got %v, want ErrPossession", err)
	}
}

// A pretender signs with another key than it shows.
type pretender struct {
	pub crypto.PublicKey
	crypto.Signer
}

func (p pretender) Public() crypto.PublicKey { return p.pub }

func TestAttack09OtherPurpose(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	// Legacy: a signature made for anything over the SHA-256 of 16 bytes is
	// one over a symmetric key.
	s := secret(t)
	sum := sha256.Sum256(s.Bytes())
	challenge, err := rsa.SignPKCS1v15(nil, c.a.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	m := c.c.negotiate(t, c.b, s, "from Alice, it seems")
	m.From, m.Ext.E2EE.Sig, m.Ext.E2EE.KeyID = c.a.name, challenge, c.a.id()
	if _, _, err := c.b.reader().Open(m, c.a.name, c.a.record(), now); err != nil {
		t.Errorf("legacy: got %v: the published scheme lets it pass", err)
	}
	// Secure: an approval is no renewal, though both are signed statements.
	st := ca.RenewalStatement{Username: "alice@hs1", Device: "A", Time: now.UnixMilli()}
	a, err := ca.NewApproval(rand.Reader, ca.ApprovalStatement{Username: "alice@hs1", Device: "A", Time: now.UnixMilli()}, c.alice.SignKey)
	if err != nil {
		t.Fatal(err)
	}
	r := ca.Renewal{Statement: a.Statement, OldSignature: a.Signature, NewSignature: a.Signature}
	if _, err := r.Check(st, c.alice.SignKey.Public(), c.alice.SignKey.Public(), now); !errors.Is(err, ca.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}

func TestAttack10OtherAuthorityAndPin(t *testing.T) {
	t.Parallel()
	c, evil := newCast(t), newTown(t)
	// A certificate of another authority for Alice's name does not count; one
	// of the same authority changes the safety words that people compare.
	mallory := evil.person("alice@hs1", "A")
	raw := c.seal(content(), mallory, c.bob)
	c.refused("another authority", raw, c.bob, expect(), quinta.ReasonSenderMismatch)
	swapped := c.person("alice@hs1", "A")
	a, b := ca.SafetyWords(ca.KeyID(c.alice.Sign), ca.KeyID(c.bob.Sign)), ca.SafetyWords(ca.KeyID(swapped.Sign), ca.KeyID(c.bob.Sign))
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
	if _, err := ca.Open(raw, c.bob, c.v, expect()); err != nil {
		t.Fatal(err)
	}
	// A key of another device does not.
	c.refused("another device", raw, c.person("bob@hs1", "B2"), expect(), quinta.ReasonBeforeThisDevice)
}

func TestAttack12PaddingOracle(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	s := secret(t)
	good := c.a.negotiate(t, c.b, s, "hello")
	for _, padding := range []ca.LegacyPadding{ca.LegacyOAEP, ca.LegacyPKCS1} {
		r := c.b.reader()
		r.Padding = padding
		for name, change := range map[string]func(m *ca.LegacyMessage){
			"wrapped key":      func(m *ca.LegacyMessage) { m.Ext.E2EE.EK[20] ^= 1 },
			"wrapped key zero": func(m *ca.LegacyMessage) { m.Ext.E2EE.EK = make([]byte, 128) },
			"wrapped key one":  func(m *ca.LegacyMessage) { m.Ext.E2EE.EK = append(make([]byte, 127), 1) },
			"wrapped key cut":  func(m *ca.LegacyMessage) { m.Ext.E2EE.EK = m.Ext.E2EE.EK[1:] },
			"signature":        func(m *ca.LegacyMessage) { m.Ext.E2EE.Sig[20] ^= 1 },
			"last block":       func(m *ca.LegacyMessage) { m.Body[len(m.Body)-1] ^= 1 },
			"name of the key":  func(m *ca.LegacyMessage) { m.Ext.E2EE.KID = "0123456789abcdef" },
		} {
			m := *good
			m.Body = bytes.Clone(good.Body)
			m.Ext.E2EE.EK, m.Ext.E2EE.Sig = bytes.Clone(good.Ext.E2EE.EK), bytes.Clone(good.Ext.E2EE.Sig)
			change(&m)
			if _, _, err := r.Open(&m, c.a.name, c.a.record(), now); err != ca.ErrTampered {
				t.Errorf("%s, %s: got %v, want just ErrTampered", padding, name, err)
			}
		}
	}
}

func TestAttack13ChosenEncoding(t *testing.T) {
	t.Parallel()
	p := newPal(t, "a@hs1")
	if _, err := ca.ParseLegacyKey(p.spki); err != nil {
		t.Fatal(err)
	}
	// The same key with other parameters, bytes behind, a bare PKCS #1 key.
	noParams := must(asn1.Marshal(struct {
		Alg pkix.AlgorithmIdentifier
		Key asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}}, asn1.BitString{Bytes: x509.MarshalPKCS1PublicKey(&p.key.PublicKey), BitLength: 8 * len(x509.MarshalPKCS1PublicKey(&p.key.PublicKey))}}))
	for name, raw := range map[string][]byte{
		"no parameters": noParams, "bytes behind": append(bytes.Clone(p.spki), 0), "bare": x509.MarshalPKCS1PublicKey(&p.key.PublicKey),
		"strong": must(x509.MarshalPKIXPublicKey(newKey(t).Public())), "empty": nil, "huge": make([]byte, 5000),
	} {
		if _, err := ca.ParseLegacyKey(raw); err == nil {
			t.Errorf("%s: passed", name)
		}
		sum := sha1.Sum(raw)
		sig, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA1, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		if ca.CheckLegacyRenewal(raw, sig, &p.key.PublicKey) == nil {
			t.Errorf("%s: a renewal to it passed", name)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAttack14LookalikeNames(t *testing.T) {
	t.Parallel()
	for _, name := range []quinta.UserID{"аlice@hs1", "Alice@hs1", "alice@hs1\x00", "alice@hs1.", "alice", "@hs1", "alice@@hs1", "ali ce@hs1", "alice@h..s1", "*@hs1", "alice@*"} {
		if err := (ca.Identity{User: name, Device: "A", Use: ca.UseSign}).Check(); err == nil {
			t.Errorf("%q passed", name)
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
	expectAt := func(at time.Time) ca.Expect {
		x := expect()
		x.Now, x.Received = at.Add(time.Minute), at
		return x
	}
	for name, at := range map[string]time.Time{"expired": now.Add(ca.Validity + time.Hour), "not yet valid": now.Add(-time.Hour)} {
		c.crlAt2(at)
		c.refused(name, sent(at), c.bob, expectAt(at), quinta.ReasonExpired)
	}
	c = newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	c.crl(ca.Revoked{Serial: c.alice.Sign.SerialNumber, At: now.Add(-10 * time.Minute), Reason: ca.ReasonSuperseded})
	c.refused("retired", raw, c.bob, expect(), quinta.ReasonExpired)
	// A certificate that is to encrypt does not sign.
	wrong := *c.carol
	wrong.Sign, wrong.SignKey = c.carol.Encrypt, c.carol.EncryptKey
	x := expect()
	x.From = "carol@hs1"
	if raw, err := ca.Seal(rand.Reader, &wrong, content(), []*x509.Certificate{c.bob.Encrypt}); err == nil {
		c.refused("wrong use", raw, c.bob, x, quinta.ReasonSenderMismatch)
	}
	if err := (&ca.LegacyRecord{Username: "a", Key: &c.a.key.PublicKey, Expires: now}).Check("a", now.Add(time.Second)); !errors.Is(err, ca.ErrExpired) {
		t.Errorf("legacy, expired: got %v", err)
	}
}

// crlAt2 gives a new verifier that knows the status at another time.
func (c *cast) crlAt2(at time.Time) {
	c.t.Helper()
	c.v = ca.NewVerifier([]*x509.Certificate{c.issuer.Root}, []*x509.Certificate{c.issuer.Cert}, "hs1")
	c.crlAt(at)
}

func TestAttack16Backdating(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.crl(ca.Revoked{Serial: c.alice.Sign.SerialNumber, At: now, Reason: ca.ReasonCessation})
	x := content()
	x.Time = now.Add(-10 * time.Second).UnixMilli()
	raw := c.seal(x, c.alice, c.bob)
	// Ten days after the revocation, a message that says it is older.
	late := expect()
	late.Now, late.Received = now.Add(10*24*time.Hour), now.Add(10*24*time.Hour)
	c.crlAfter(late.Now, ca.Revoked{Serial: c.alice.Sign.SerialNumber, At: now, Reason: ca.ReasonCessation})
	c.refused("backdated", raw, c.bob, late, quinta.ReasonReplayed)
	// A key in other hands is refused whatever time is claimed.
	c.crlAfter(late.Now, ca.Revoked{Serial: c.alice.Sign.SerialNumber, At: now, Reason: ca.ReasonKeyCompromise})
	early := expect()
	early.Now, early.Received = now.Add(time.Minute), now
	c.refused("compromised", raw, c.bob, early, quinta.ReasonExpired)
}

func (c *cast) crlAfter(at time.Time, revoked ...ca.Revoked) {
	c.t.Helper()
	c.v = ca.NewVerifier([]*x509.Certificate{c.issuer.Root}, []*x509.Certificate{c.issuer.Cert}, "hs1")
	c.number++
	raw, err := c.issuer.NewCRL(c.number, revoked, at, at.Add(24*time.Hour))
	if err == nil {
		err = c.v.SetCRL(raw)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestAttack17Downgrade(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	inner := []byte(`{"content":{},"conv":"conv","from":"alice@hs1","fromKey":"` + ca.KeyID(c.alice.Sign) + `","mid":"m","profile":"legacy","seq":1,"to":["bob@hs1"],"ts":` + millis(now) + `,"v":1}`)
	signed, err := cms.Sign(rand.Reader, inner, cms.Signer{Certificate: c.alice.Sign, Key: c.alice.SignKey}, now)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := cms.Seal(rand.Reader, signed, []*x509.Certificate{c.bob.Encrypt})
	if err != nil {
		t.Fatal(err)
	}
	c.refused("another profile inside", raw, c.bob, expect(), quinta.ReasonSenderMismatch)
	m := must(ca.SealLegacy(rand.Reader, "alice@hs1", "bob@hs1", secret(t), []byte("x")))
	c.refused("a legacy message", m.Body, c.bob, expect(), quinta.ReasonMalformed)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Signer{c.a.key, weak} {
		if _, err := ca.NewRequest(rand.Reader, ca.Identity{User: "a@hs1", Device: "A", Use: ca.UseSign}, k); !errors.Is(err, ca.ErrUnsupported) {
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
		k := newKey(t)
		x := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}
		change(x)
		raw, err := x509.CreateCertificate(rand.Reader, x, c.issuer.Cert, k.Public(), c.issuer.Key)
		if err != nil {
			t.Fatal(err)
		}
		cert := must(x509.ParseCertificate(raw))
		if _, err := c.v.Verify(cert, ca.UseSign, now, now); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
	other := c.person("alice@other", "A")
	x := expect()
	x.From = "alice@other"
	c.refused("another domain", c.seal(content(), other, c.bob), c.bob, x, quinta.ReasonSenderMismatch)
}

func TestAttack22NoStatus(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	c.v = ca.NewVerifier([]*x509.Certificate{c.issuer.Root}, []*x509.Certificate{c.issuer.Cert}, "hs1")
	c.refused("missing", raw, c.bob, expect(), quinta.ReasonExpired)
	c.crlAt(now.Add(-48 * time.Hour))
	c.refused("stale", raw, c.bob, expect(), quinta.ReasonExpired)
	evil := newTown(t)
	other := must(evil.issuer.NewCRL(9, nil, now, now.Add(time.Hour)))
	if err := c.v.SetCRL(other); !errors.Is(err, ca.ErrUntrusted) {
		t.Errorf("another issuer's: got %v, want ErrUntrusted", err)
	}
	c.crlAt(now)
	if err := c.v.SetCRL(must(c.issuer.NewCRL(1, nil, now.Add(-time.Hour), now.Add(time.Hour)))); !errors.Is(err, ca.ErrReplayed) {
		t.Errorf("an older list: got %v, want ErrReplayed", err)
	}
}

func TestAttack23OrderAndAddress(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	for name, change := range map[string]func(*ca.Expect){
		"another conversation": func(x *ca.Expect) { x.Conv = "other" },
		"not addressed":        func(x *ca.Expect) { x.Self = "carol@hs1" },
	} {
		x := expect()
		change(&x)
		c.refused(name, raw, c.bob, x, quinta.ReasonSenderMismatch)
	}
	x := expect()
	x.Now = now.Add(-time.Hour)
	c.refused("far ahead", raw, c.bob, x, quinta.ReasonReplayed)
	for name, change := range map[string]func(*ca.Content){
		"no id": func(m *ca.Content) { m.ID = "" }, "no number": func(m *ca.Content) { m.Seq = 0 }, "nobody": func(m *ca.Content) { m.To = nil },
		"no time": func(m *ca.Content) { m.Time = 0 }, "no body": func(m *ca.Content) { m.Body = nil }, "too many": func(m *ca.Content) { m.To = make([]quinta.UserID, 501) },
	} {
		m := content()
		change(&m)
		if _, err := ca.Seal(rand.Reader, c.alice, m, []*x509.Certificate{c.bob.Encrypt}); !errors.Is(err, ca.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

func mustExpires(t *testing.T, raw []byte) int64 {
	t.Helper()
	i := bytes.Index(raw, []byte(`"expires":`)) + len(`"expires":`)
	n := int64(0)
	for ; raw[i] >= '0' && raw[i] <= '9'; i++ {
		n = n*10 + int64(raw[i]-'0')
	}
	return n
}

// A link is a session of two devices.
type link struct{ a, b *ca.Session }

func (c *cast) session(t *testing.T) *link {
	t.Helper()
	o, err := ca.NewOffer(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &link{
		a: must(ca.NewSession(o, "conv", "alice@hs1", "A", "bob@hs1", now)),
		b: must(ca.NewSession(o, "conv", "bob@hs1", "B", "alice@hs1", now)),
	}
}
