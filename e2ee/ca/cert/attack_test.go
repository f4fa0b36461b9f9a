package cert_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/town"
)

// now is the time of the tests.
var now = town.Now

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAttack07RenewalWithAnotherExpiry(t *testing.T) {
	t.Parallel()
	old, fresh := town.NewPal(t, "a@hs1"), town.NewPal(t, "a@hs1")
	sig, err := cert.SignLegacyRenewal(fresh.SPKI, old.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.CheckLegacyRenewal(fresh.SPKI, sig, &old.Key.PublicKey); err != nil {
		t.Errorf("legacy: got %v: the expiry is not in the signature", err)
	}
	oldKey, newKey := town.Key(t), town.Key(t)
	st := cert.RenewalStatement{Username: "a@hs1", Device: "A", OldKeyID: "x", NewKey: "y", Expires: now.Unix(), Nonce: "n", Time: now.UnixMilli()}
	r, err := cert.NewRenewal(rand.Reader, st, oldKey, newKey)
	if err != nil {
		t.Fatal(err)
	}
	if nonce, err := r.Check(st, oldKey.Public(), newKey.Public(), now); err != nil || nonce != "n" {
		t.Fatalf("got %q %v", nonce, err)
	}
	later := st
	later.Expires++
	if _, err := r.Check(later, oldKey.Public(), newKey.Public(), now); !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
	changed := *r
	changed.Statement = bytes.Replace(r.Statement, []byte(`"expires":`), []byte(`"expires":1`), 1)
	later.Expires = mustExpires(t, changed.Statement)
	if _, err := changed.Check(later, oldKey.Public(), newKey.Public(), now); !errors.Is(err, cert.ErrPossession) {
		t.Errorf("changed: got %v, want ErrPossession", err)
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

func TestAttack08SomebodyElsesKey(t *testing.T) {
	t.Parallel()
	bob, carol := town.Key(t), town.Key(t)
	// A request is signed by its own key: Carol cannot make one for Bob's.
	id := cert.Identity{User: "carol@hs1", Device: "C", Use: cert.UseSign}
	raw, err := cert.NewRequest(rand.Reader, id, pretender{bob.Public(), carol})
	if err == nil {
		_, err = cert.ParseRequest(raw, id)
	}
	if err == nil {
		t.Error("a request with another's key passed")
	}
	// Nor can she renew to it.
	st := cert.RenewalStatement{Username: "carol@hs1", Device: "C", Time: now.UnixMilli()}
	r, err := cert.NewRenewal(rand.Reader, st, carol, carol)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(st, carol.Public(), bob.Public(), now); !errors.Is(err, cert.ErrPossession) {
		t.Errorf("got %v, want ErrPossession", err)
	}
}

// A pretender signs with another key than it shows.
type pretender struct {
	pub crypto.PublicKey
	crypto.Signer
}

func (p pretender) Public() crypto.PublicKey { return p.pub }

func TestAttack13ChosenEncoding(t *testing.T) {
	t.Parallel()
	p := town.NewPal(t, "a@hs1")
	if _, err := cert.ParseLegacyKey(p.SPKI); err != nil {
		t.Fatal(err)
	}
	// The same key with other parameters, bytes behind, a bare PKCS #1 key.
	noParams := must(asn1.Marshal(struct {
		Alg pkix.AlgorithmIdentifier
		Key asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}}, asn1.BitString{Bytes: x509.MarshalPKCS1PublicKey(&p.Key.PublicKey), BitLength: 8 * len(x509.MarshalPKCS1PublicKey(&p.Key.PublicKey))}}))
	for name, raw := range map[string][]byte{
		"no parameters": noParams, "bytes behind": append(bytes.Clone(p.SPKI), 0), "bare": x509.MarshalPKCS1PublicKey(&p.Key.PublicKey),
		"strong": must(x509.MarshalPKIXPublicKey(town.Key(t).Public())), "empty": nil, "huge": make([]byte, 5000),
	} {
		if _, err := cert.ParseLegacyKey(raw); err == nil {
			t.Errorf("%s: passed", name)
		}
		sum := sha1.Sum(raw)
		sig, err := rsa.SignPKCS1v15(nil, p.Key, crypto.SHA1, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		if cert.CheckLegacyRenewal(raw, sig, &p.Key.PublicKey) == nil {
			t.Errorf("%s: a renewal to it passed", name)
		}
	}
}

func TestAttack14LookalikeNames(t *testing.T) {
	t.Parallel()
	for _, name := range []quinta.UserID{"аlice@hs1", "Alice@hs1", "alice@hs1\x00", "alice@hs1.", "alice", "@hs1", "alice@@hs1", "ali ce@hs1", "alice@h..s1", "*@hs1", "alice@*"} {
		if err := (cert.Identity{User: name, Device: "A", Use: cert.UseSign}).Check(); err == nil {
			t.Errorf("%q passed", name)
		}
	}
}
