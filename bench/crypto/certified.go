package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// A town has one authority, whose keys are P-256, and devices whose keys are
// of one kind.
type town struct {
	now    time.Time
	issuer *cert.Issuer
	v      *cert.Verifier
	alice  *seal.Self
	bob    *seal.Self
	others []*x509.Certificate
}

func newP256() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
func newRSA() (crypto.Signer, error)  { return rsa.GenerateKey(rand.Reader, 3072) }

// newTown makes the authority, Alice, Bob, and further devices of Bob so that
// they have most. These share one key: it takes long to make one, and to seal for
// them takes as long as for others.
func newTown(newKey func() (crypto.Signer, error), most int) (*town, error) {
	t := &town{now: time.Now()}
	rootKey, err := newP256()
	if err != nil {
		return nil, err
	}
	key, err := newP256()
	if err != nil {
		return nil, err
	}
	root, err := cert.NewRoot(rand.Reader, "bench", rootKey, t.now)
	if err != nil {
		return nil, err
	}
	mid, err := cert.NewIntermediate(rand.Reader, "bench", key, root, rootKey, t.now)
	if err != nil {
		return nil, err
	}
	t.issuer = &cert.Issuer{Root: root, Cert: mid, Key: key, Rand: rand.Reader}
	if t.v, err = t.verifier(); err != nil {
		return nil, err
	}
	k, err := newKey()
	if err != nil {
		return nil, err
	}
	if t.alice, err = t.person("alice@bench", "A", k); err != nil {
		return nil, err
	}
	if t.bob, err = t.person("bob@bench", "B", k); err != nil {
		return nil, err
	}
	t.others = append(t.others, t.bob.Encrypt)
	for i := 1; i < most; i++ {
		c, err := t.certify(cert.Identity{User: "bob@bench", Device: quinta.DeviceID(fmt.Sprintf("B%d", i)), Use: cert.UseEncrypt}, k)
		if err != nil {
			return nil, err
		}
		t.others = append(t.others, c)
	}
	return t, nil
}

// verifier is one that has seen nothing yet but the list of what is revoked.
func (t *town) verifier() (*cert.Verifier, error) {
	v := cert.NewVerifier([]*x509.Certificate{t.issuer.Root}, []*x509.Certificate{t.issuer.Cert}, "bench")
	raw, err := t.issuer.NewCRL(1, nil, t.now, t.now.Add(24*time.Hour))
	if err != nil {
		return nil, err
	}
	return v, v.SetCRL(raw)
}

func (t *town) certify(id cert.Identity, k crypto.Signer) (*x509.Certificate, error) {
	raw, err := cert.NewRequest(rand.Reader, id, k)
	if err != nil {
		return nil, err
	}
	r, err := cert.ParseRequest(raw, id)
	if err != nil {
		return nil, err
	}
	return t.issuer.Issue(r, t.now, cert.Validity)
}

func (t *town) person(user quinta.UserID, device quinta.DeviceID, k crypto.Signer) (*seal.Self, error) {
	s := &seal.Self{SignKey: k, EncryptKey: k, Chain: []*x509.Certificate{t.issuer.Cert}}
	var err error
	if s.Sign, err = t.certify(cert.Identity{User: user, Device: device, Use: cert.UseSign}, k); err != nil {
		return nil, err
	}
	s.Encrypt, err = t.certify(cert.Identity{User: user, Device: device, Use: cert.UseEncrypt}, k)
	return s, err
}

// seal seals a message of 256 bytes for n devices.
func (t *town) seal(n int) ([]byte, error) {
	body := make([]byte, 256)
	for i := range body {
		body[i] = 'x'
	}
	body[0], body[len(body)-1] = '"', '"'
	return seal.Seal(rand.Reader, t.alice, seal.Content{
		To: []quinta.UserID{"bob@bench"}, Conv: "conv", ID: "m", Seq: 1, Time: t.now.UnixMilli(), Body: body,
	}, t.others[:n])
}

func (t *town) sealing(n int) func() (func() error, error) {
	return func() (func() error, error) {
		return func() error { _, err := t.seal(n); return err }, nil
	}
}

func (t *town) opening(n int) func() (func() error, error) {
	return func() (func() error, error) {
		raw, err := t.seal(n)
		if err != nil {
			return nil, err
		}
		return func() error {
			_, err := seal.Open(raw, t.bob, t.v, seal.Expect{From: "alice@bench", Conv: "conv", Self: "bob@bench", Now: t.now.Add(time.Minute)})
			return err
		}, nil
	}
}

// issuing checks a request as a server does and makes the certificate.
func (t *town) issuing() (func() error, error) {
	k, err := newP256()
	if err != nil {
		return nil, err
	}
	id := cert.Identity{User: "carol@bench", Device: "C", Use: cert.UseSign}
	raw, err := cert.NewRequest(rand.Reader, id, k)
	if err != nil {
		return nil, err
	}
	return func() error {
		r, err := cert.ParseRequest(raw, id)
		if err != nil {
			return err
		}
		_, err = t.issuer.Issue(r, t.now, cert.Validity)
		return err
	}, nil
}

func (t *town) verifiedAgain() (func() error, error) {
	return func() error {
		_, err := t.v.Verify(t.alice.Sign, cert.UseSign, t.now, t.now)
		return err
	}, nil
}

// verifiedFirst has a verifier that never saw the chain each time. It knows no
// list of what is revoked, so that its last word is that the list is missing.
func (t *town) verifiedFirst() (func() error, error) {
	return func() error {
		v := cert.NewVerifier([]*x509.Certificate{t.issuer.Root}, []*x509.Certificate{t.issuer.Cert}, "bench")
		if _, err := v.Verify(t.alice.Sign, cert.UseSign, t.now, t.now); !errors.Is(err, cert.ErrNoStatus) {
			return fmt.Errorf("a chain without a list of what is revoked: got %w", err)
		}
		return nil
	}, nil
}
