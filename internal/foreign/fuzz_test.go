package foreign_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/internal/foreign"
	"github.com/quinta-chat/quinta/testkit/town"
)

// FuzzDER gives any bytes to each of the parsers: what passes has a key of a
// size that may be worked with.
func FuzzDER(f *testing.F) {
	w := town.New(f)
	f.Add(w.Issuer.Cert.Raw)
	f.Add(w.Person("alice@hs1", "A").Sign.Raw)
	r, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"hs1"}}, town.Key(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r)
	k, err := rsa.GenerateKey(rand.Reader, foreign.MinRSA)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x509.MarshalPKCS1PublicKey(&k.PublicKey))
	for _, pub := range []any{&k.PublicKey, town.Key(f).Public()} {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		judge := func(what string, pub any, err error) {
			if err == nil {
				err = foreign.CheckKey(pub)
				if err != nil {
					t.Errorf("%s: a key passed that is %v", what, err)
				}
				return
			}
			if !errors.Is(err, foreign.ErrMalformed) && !errors.Is(err, foreign.ErrKey) {
				t.Errorf("%s: got %v", what, err)
			}
		}
		c, err := foreign.Certificate(der)
		if err == nil {
			judge("certificate", c.PublicKey, nil)
		} else {
			judge("certificate", nil, err)
		}
		q, err := foreign.Request(der)
		if err == nil {
			judge("request", q.PublicKey, nil)
		} else {
			judge("request", nil, err)
		}
		pub, err := foreign.PublicKey(der)
		judge("key", pub, err)
		old, err := foreign.RSAPublicKey(der)
		judge("RSA key", old, err)
	})
}
