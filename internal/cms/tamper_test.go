package cms_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/internal/cms"
)

// TestNobodyOpensTampered changes bytes all over a message, and asks openssl
// and this package: this package refuses every one; openssl passes over some,
// such as a version number, and then gives the content as it was.
func TestNobodyOpensTampered(t *testing.T) {
	t.Parallel()
	c := theCast(t)
	for _, p := range []*person{c.rsa, c.ec} {
		name := p.cert.Subject.CommonName
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openssl(t)
			signed, err := cms.Sign(rand.Reader, content, p.signer(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := cms.Seal(rand.Reader, content, []*x509.Certificate{p.cert})
			if err != nil {
				t.Fatal(err)
			}
			b.tampers("sealed", nil, sealed, nil, 3, "cms -decrypt -inform DER -in bad.der -recip "+name+".crt -inkey "+name+".key -out out", func(raw []byte) error {
				_, err := cms.Open(raw, p.cert, p.opener(t))
				return err
			})
			// The certificate that travels along is judged by itself: a changed
			// one does not come from the authority.
			begin := bytes.Index(signed, p.cert.Raw)
			end := begin + len(p.cert.Raw)
			verify := "cms -verify -inform DER -in bad.der -CAfile ca.crt -purpose any -binary -out out"
			refuses := func(raw []byte) error {
				s, err := cms.Parse(raw)
				if err != nil {
					return err
				}
				who, err := s.Signer()
				if err != nil {
					return err
				}
				if err := who.CheckSignatureFrom(c.ca.cert); err != nil {
					return err
				}
				_, err = s.Verify(who)
				return err
			}
			b.tampers("before the certificate", nil, signed[:begin], signed[begin:], 3, verify, refuses)
			b.tampers("certificate", signed[:begin], signed[begin:end], signed[end:], 29, verify, refuses)
			b.tampers("behind the certificate", signed[:end], signed[end:], nil, 3, verify, refuses)
		})
	}
}

// tampers changes every n-th byte of a part of a message, in which before and
// behind stand around it.
func (b *bench) tampers(what string, before, part, behind []byte, n int, line string, open func([]byte) error) {
	b.t.Helper()
	refused := 0
	for i := 0; i < len(part); i += n {
		bad := bytes.Clone(part)
		bad[i] ^= 1
		raw := bytes.Join([][]byte{before, bad, behind}, nil)
		if open(raw) == nil {
			b.t.Errorf("%s, byte %d: opened", what, i)
		}
		b.write("bad.der", raw)
		b.write("out", nil)
		if _, ok := b.try(line); !ok {
			refused++
		} else if got := b.read("out"); !bytes.Equal(got, content) {
			b.t.Errorf("%s, byte %d: openssl gave %q", what, i, got)
		}
	}
	if all := (len(part) + n - 1) / n; refused*10 < all*8 {
		b.t.Errorf("%s: openssl refused %d of %d: the test is broken", what, refused, all)
	}
}
