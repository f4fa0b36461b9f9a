package ca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A town has one authority and its people.
type town struct {
	t      testing.TB
	issuer *ca.Issuer
	v      *ca.Verifier
	number int64
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newTown(t testing.TB) *town {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	root, err := ca.NewRoot(rand.Reader, "hs1", rootKey, now)
	if err != nil {
		t.Fatal(err)
	}
	mid, err := ca.NewIntermediate(rand.Reader, "hs1", key, root, rootKey, now)
	if err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, issuer: &ca.Issuer{Root: root, Cert: mid, Key: key, Rand: rand.Reader}}
	w.v = ca.NewVerifier([]*x509.Certificate{root}, []*x509.Certificate{mid}, "hs1")
	w.crl()
	return w
}

// crl publishes a revocation list.
func (w *town) crl(revoked ...ca.Revoked) {
	w.t.Helper()
	w.number++
	at := now.Add(time.Duration(w.number) * time.Second)
	raw, err := w.issuer.NewCRL(w.number, revoked, at, at.Add(24*time.Hour))
	if err == nil {
		err = w.v.SetCRL(raw)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) certify(id ca.Identity, key crypto.Signer) *x509.Certificate {
	w.t.Helper()
	raw, err := ca.NewRequest(rand.Reader, id, key)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := ca.ParseRequest(raw, id)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := w.issuer.Issue(r, now, ca.Validity)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *town) person(user quinta.UserID, device quinta.DeviceID) *ca.Self {
	w.t.Helper()
	s := &ca.Self{SignKey: newKey(w.t), EncryptKey: newKey(w.t), Chain: []*x509.Certificate{w.issuer.Cert}}
	s.Sign = w.certify(ca.Identity{User: user, Device: device, Use: ca.UseSign}, s.SignKey)
	s.Encrypt = w.certify(ca.Identity{User: user, Device: device, Use: ca.UseEncrypt}, s.EncryptKey)
	return s
}

func content() ca.Content {
	return ca.Content{To: []quinta.UserID{"bob@hs1"}, Conv: "conv", ID: "m1", Seq: 1, Time: now.UnixMilli(), Body: []byte(`{"text":"hi"}`)}
}

func expect() ca.Expect {
	return ca.Expect{From: "alice@hs1", Conv: "conv", Self: "bob@hs1", Now: now.Add(time.Minute)}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	alice, bob, carol := w.person("alice@hs1", "A"), w.person("bob@hs1", "B"), w.person("carol@hs1", "C")
	raw, err := ca.Seal(rand.Reader, alice, content(), []*x509.Certificate{bob.Encrypt})
	if err != nil {
		t.Fatal(err)
	}
	o, err := ca.Open(raw, bob, w.v, expect())
	if err != nil {
		t.Fatal(err)
	}
	if o.Device != "A" || o.Content.From != "alice@hs1" || string(o.Content.Body) != `{"text":"hi"}` {
		t.Errorf("got %+v", o)
	}
	if _, err := ca.Open(raw, carol, w.v, expect()); !errors.Is(err, ca.ErrNotRecipient) {
		t.Errorf("carol: got %v, want ErrNotRecipient", err)
	}
	for name, c := range map[string]struct {
		change func(*ca.Expect)
		want   error
	}{
		"another sender by the transport": {func(x *ca.Expect) { x.From = "carol@hs1" }, ca.ErrMismatch},
		"another conversation":            {func(x *ca.Expect) { x.Conv = "other" }, ca.ErrMismatch},
		"another recipient":               {func(x *ca.Expect) { x.Self = "carol@hs1" }, ca.ErrMismatch},
		"from the future":                 {func(x *ca.Expect) { x.Now = now.Add(-time.Hour) }, ca.ErrReplayed},
		"too old":                         {func(x *ca.Expect) { x.Received = now.Add(30 * 24 * time.Hour) }, ca.ErrReplayed},
		"status unknown":                  {func(x *ca.Expect) { x.Now = now.Add(48 * time.Hour) }, ca.ErrNoStatus},
	} {
		x := expect()
		c.change(&x)
		if _, err := ca.Open(raw, bob, w.v, x); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	w.crl(ca.Revoked{Serial: alice.Sign.SerialNumber, At: now.Add(time.Hour), Reason: ca.ReasonKeyCompromise})
	if _, err := ca.Open(raw, bob, w.v, expect()); !errors.Is(err, ca.ErrExpired) {
		t.Errorf("a key in other hands: got %v, want ErrExpired", err)
	}
	if _, err := ca.Seal(rand.Reader, alice, content(), []*x509.Certificate{bob.Sign}); !errors.Is(err, ca.ErrUntrusted) {
		t.Errorf("sealed to a certificate that is to sign: got %v", err)
	}
}

func TestRecoveryWords(t *testing.T) {
	t.Parallel()
	var k [32]byte
	if _, err := rand.Read(k[:]); err != nil {
		t.Fatal(err)
	}
	text := ca.RecoveryText(k)
	if n := len(strings.Fields(text)); n != 24 {
		t.Errorf("got %d words, want 24", n)
	}
	got, err := ca.ParseRecovery("  " + strings.ToUpper(strings.ReplaceAll(text, " ", "\n")) + " ")
	if err != nil || got != k {
		t.Errorf("read back: %v", err)
	}
	list := strings.Fields(text)
	wrong := 0
	for i := range list {
		bad := append([]string{}, list...)
		bad[i] = "baba"
		if bad[i] == list[i] {
			continue
		}
		if _, err := ca.ParseRecovery(strings.Join(bad, " ")); err == nil {
			wrong++
		}
	}
	if wrong > 2 {
		t.Errorf("%d of 24 wrong words passed the checksum", wrong)
	}
	for _, bad := range []string{"", "baba", text + " baba", strings.Replace(text, list[0], "quux", 1)} {
		if _, err := ca.ParseRecovery(bad); err == nil || len(bad) > 10 && strings.Contains(err.Error(), bad) {
			t.Errorf("%.20q: got %v", bad, err)
		}
	}
	a, b := ca.SafetyWords("x", "y"), ca.SafetyWords("y", "x")
	if len(a) != 12 || strings.Join(a, " ") != strings.Join(b, " ") || strings.Join(a, " ") == strings.Join(ca.SafetyWords("x", "z"), " ") {
		t.Errorf("safety words: %q and %q", a, b)
	}
}

// BenchmarkVerifyAgain is a certificate whose chain was verified before.
func BenchmarkVerifyAgain(b *testing.B) {
	w := newTown(b)
	c := w.person("alice@hs1", "A").Sign
	for b.Loop() {
		if _, err := w.v.Verify(c, ca.UseSign, now, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyFirst(b *testing.B) {
	w := newTown(b)
	c := w.person("alice@hs1", "A").Sign
	for b.Loop() {
		v := ca.NewVerifier([]*x509.Certificate{w.issuer.Root}, []*x509.Certificate{w.issuer.Cert}, "hs1")
		if _, err := v.Verify(c, ca.UseSign, now, now); !errors.Is(err, ca.ErrNoStatus) {
			b.Fatal(err)
		}
	}
}
