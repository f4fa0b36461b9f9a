package cert_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/town"
)

var aliceSigns = cert.Identity{User: "alice@hs1", Device: "A", Use: cert.UseSign}

// TestRequest: a request names the identity that it was made for, and one
// without names gets the default.
func TestRequest(t *testing.T) {
	t.Parallel()
	raw := must(cert.NewRequest(rand.Reader, aliceSigns, town.Key(t)))
	r, err := cert.ParseRequest(raw, cert.Identity{})
	if err != nil || r.Identity != aliceSigns {
		t.Errorf("got %+v, %v", r, err)
	}
	other := aliceSigns
	other.Device = "B"
	if _, err := cert.ParseRequest(raw, other); !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("for another device: got %v, want ErrMismatch", err)
	}
	bare := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, town.Key(t)))
	if r, err := cert.ParseRequest(bare, other); err != nil || r.Identity != other {
		t.Errorf("without names: got %+v, %v", r, err)
	}
	if _, err := cert.ParseRequest(bare, cert.Identity{}); !errors.Is(err, cert.ErrMalformed) {
		t.Errorf("for no one: got %v, want ErrMalformed", err)
	}
	weak := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, must(rsa.GenerateKey(rand.Reader, 2048))))
	if _, err := cert.ParseRequest(weak, other); !errors.Is(err, cert.ErrUnsupported) {
		t.Errorf("a weak key: got %v, want ErrUnsupported", err)
	}
}

// TestVerifier: a certificate is good for its own use, in its own time, while a
// list that is not out of date does not name it.
func TestVerifier(t *testing.T) {
	t.Parallel()
	w := town.New(t)
	c := w.Certify(aliceSigns, town.Key(t))
	for name, x := range map[string]struct {
		use     cert.Use
		at, now time.Time
		want    error
	}{
		"good":           {cert.UseSign, now, now, nil},
		"another use":    {cert.UseEncrypt, now, now, cert.ErrUntrusted},
		"before":         {cert.UseSign, now.Add(-time.Hour), now, cert.ErrExpired},
		"after":          {cert.UseSign, now.Add(cert.Validity + time.Hour), now, cert.ErrExpired},
		"no recent list": {cert.UseSign, now, now.Add(48 * time.Hour), cert.ErrNoStatus},
	} {
		if id, err := w.Verifier.Verify(c, x.use, x.at, x.now); !errors.Is(err, x.want) || err == nil && id != aliceSigns {
			t.Errorf("%s: got %+v, %v, want %v", name, id, err, x.want)
		}
	}
	if _, err := town.New(t).Verifier.Verify(c, cert.UseSign, now, now); !errors.Is(err, cert.ErrUntrusted) {
		t.Errorf("another authority: got %v, want ErrUntrusted", err)
	}
	// A key that was given up is good for what is older; a leaked one for nothing.
	later := now.Add(time.Hour)
	for reason, before := range map[cert.Reason]error{cert.ReasonCessation: nil, cert.ReasonKeyCompromise: cert.ErrExpired} {
		w.Verifier = w.NewVerifier()
		w.RevokeAt(later, cert.Revoked{Serial: c.SerialNumber, At: later, Reason: reason})
		if _, err := w.Verifier.Verify(c, cert.UseSign, now, later); !errors.Is(err, before) {
			t.Errorf("reason %d, before: got %v, want %v", reason, err, before)
		}
		if _, err := w.Verifier.Verify(c, cert.UseSign, later.Add(time.Minute), later); !errors.Is(err, cert.ErrExpired) {
			t.Errorf("reason %d, after: got %v, want ErrExpired", reason, err)
		}
	}
}

// TestSerial: a serial number is positive, of 127 bits, and never the same.
func TestSerial(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		n := must(cert.NewSerial(rand.Reader))
		if n.Sign() <= 0 || n.BitLen() != 127 || seen[n.String()] {
			t.Fatalf("got %s", n)
		}
		seen[n.String()] = true
	}
}
