package town

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/cms"
)

// A Pal is a user of the legacy profile. SPKI is the public key in DER.
type Pal struct {
	Name quinta.UserID
	Key  *rsa.PrivateKey
	SPKI []byte
}

// NewPal makes a user of the legacy profile.
func NewPal(t testing.TB, name quinta.UserID) *Pal {
	t.Helper()
	k, err := cert.NewLegacyKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := cert.LegacySPKI(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &Pal{Name: name, Key: k, SPKI: spki}
}

// ID is the fingerprint of the user's key.
func (p *Pal) ID() cert.Fingerprint { return cert.FingerprintOf(p.SPKI) }

// Record is what the authority says of the user's key, an hour before and after
// Now.
func (p *Pal) Record() *seal.LegacyRecord {
	return &seal.LegacyRecord{Username: p.Name, KeyID: p.ID(), Key: &p.Key.PublicKey, NotBefore: Now.Add(-time.Hour), Expires: Now.Add(time.Hour)}
}

// Reader is what the user opens messages with.
func (p *Pal) Reader(saved ...*seal.LegacySecret) *seal.LegacyReader {
	r := &seal.LegacyReader{Self: p.Name, Own: map[cert.Fingerprint]*rsa.PrivateKey{p.ID(): p.Key}, Saved: map[string]*seal.LegacySecret{}, Padding: seal.LegacyOAEP}
	for _, s := range saved {
		r.Saved[s.KID()] = s
	}
	return r
}

// Negotiate makes a message that announces a symmetric key.
func (p *Pal) Negotiate(t testing.TB, to *Pal, s *seal.LegacySecret, text string) *seal.LegacyMessage {
	t.Helper()
	m, err := seal.SealLegacy(rand.Reader, p.Name, to.Name, s, []byte(text))
	if err == nil {
		err = m.Announce(rand.Reader, s, p.Key, to.Record(), seal.LegacyOAEP, Now)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Secret makes a symmetric key of the legacy profile.
func Secret(t testing.TB) *seal.LegacySecret {
	t.Helper()
	s, err := seal.NewLegacySecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Forward opens the envelope of a message with the P-256 key of a recipient and
// seals what is in it for others, as any recipient can.
func Forward(t testing.TB, raw []byte, from *seal.Self, to ...*x509.Certificate) []byte {
	t.Helper()
	k, ok := from.EncryptKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("the key is not P-256")
	}
	key, err := k.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := cms.Open(raw, from.Encrypt, key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cms.Seal(rand.Reader, signed, to)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
