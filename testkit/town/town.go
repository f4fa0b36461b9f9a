// Package town is an authority of the CA network and the people whose keys it
// certifies, for tests of what is certified, sealed and opened.
package town

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// Now is the time at which a town is founded.
var Now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// Domain is the domain of its people.
const Domain = "hs1"

// A Town has one authority. Verifier trusts it and knows its revocation list.
type Town struct {
	Issuer   *cert.Issuer
	Verifier *cert.Verifier

	t      testing.TB
	number int64
}

// New founds a town with an empty revocation list.
func New(t testing.TB) *Town {
	t.Helper()
	rootKey, key := Key(t), Key(t)
	root, err := cert.NewRoot(rand.Reader, Domain, rootKey, Now)
	if err != nil {
		t.Fatal(err)
	}
	mid, err := cert.NewIntermediate(rand.Reader, Domain, key, root, rootKey, Now)
	if err != nil {
		t.Fatal(err)
	}
	w := &Town{Issuer: &cert.Issuer{Root: root, Cert: mid, Key: key, Rand: rand.Reader}, t: t}
	w.Verifier = w.NewVerifier()
	w.Revoke()
	return w
}

// Key makes a P-256 key.
func Key(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// NewVerifier returns a verifier of the town's certificates that knows no
// revocation list.
func (w *Town) NewVerifier() *cert.Verifier {
	return cert.NewVerifier([]*x509.Certificate{w.Issuer.Root}, []*x509.Certificate{w.Issuer.Cert}, Domain)
}

// Revoke gives Verifier a new revocation list of about now.
func (w *Town) Revoke(revoked ...cert.Revoked) {
	w.t.Helper()
	w.RevokeAt(Now.Add(time.Duration(w.number+1)*time.Second), revoked...)
}

// RevokeAt gives Verifier a new revocation list that was made at a time and is
// good for a day.
func (w *Town) RevokeAt(at time.Time, revoked ...cert.Revoked) {
	w.t.Helper()
	w.number++
	raw, err := w.Issuer.NewCRL(w.number, revoked, at, at.Add(24*time.Hour))
	if err == nil {
		err = w.Verifier.SetCRL(raw)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// Certify makes a certificate for a key.
func (w *Town) Certify(id cert.Identity, key crypto.Signer) *x509.Certificate {
	w.t.Helper()
	raw, err := cert.NewRequest(rand.Reader, id, key)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := cert.ParseRequest(raw, id)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := w.Issuer.Issue(r, Now, cert.Validity)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// Person makes a device with both of its certificates.
func (w *Town) Person(user quinta.UserID, device quinta.DeviceID) *seal.Self {
	w.t.Helper()
	s := &seal.Self{SignKey: Key(w.t), EncryptKey: Key(w.t), Chain: []*x509.Certificate{w.Issuer.Cert}}
	s.Sign = w.Certify(cert.Identity{User: user, Device: device, Use: cert.UseSign}, s.SignKey)
	s.Encrypt = w.Certify(cert.Identity{User: user, Device: device, Use: cert.UseEncrypt}, s.EncryptKey)
	return s
}
