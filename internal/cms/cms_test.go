package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// A person has a certificate of the test's CA and its key.
type person struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// opener returns the key in the form that Open takes.
func (p *person) opener(t testing.TB) any {
	t.Helper()
	if k, ok := p.key.(*ecdsa.PrivateKey); ok {
		e, err := k.ECDH()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	return p.key
}

func (p *person) signer() cms.Signer { return cms.Signer{Certificate: p.cert, Key: p.key} }

type cast struct{ ca, rsa, ec, rsa2, ec2 *person }

// people makes the cast once: RSA keys take their time.
var people = sync.OnceValues(func() (*cast, error) {
	var serial int64
	newPerson := func(name string, key crypto.Signer, ca *person) (*person, error) {
		serial++
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
		}
		parent, signer := tmpl, key
		if ca == nil {
			tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage, tmpl.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
		} else {
			parent, signer = ca.cert, ca.key
		}
		raw, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
		if err != nil {
			return nil, err
		}
		c, err := x509.ParseCertificate(raw)
		return &person{c, key}, err
	}
	c := &cast{}
	for _, p := range []struct {
		at   **person
		name string
		rsa  bool
	}{{&c.ca, "ca", false}, {&c.rsa, "rsa", true}, {&c.ec, "ec", false}, {&c.rsa2, "rsa2", true}, {&c.ec2, "ec2", false}} {
		var key crypto.Signer
		var err error
		if p.rsa {
			key, err = rsa.GenerateKey(rand.Reader, 2048)
		} else {
			key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			return nil, err
		}
		if *p.at, err = newPerson(p.name, key, c.ca); err != nil {
			return nil, err
		}
	}
	return c, nil
})

func theCast(t testing.TB) *cast {
	t.Helper()
	c, err := people()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var content = []byte("{\"text\":\"olá\\u0000\"}\r\nsecond line")

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	c := theCast(t)
	for _, text := range [][]byte{content, {}, bytes.Repeat([]byte("x"), 100_000)} {
		raw, err := cms.Seal(rand.Reader, text, []*x509.Certificate{c.rsa.cert, c.ec.cert, c.rsa2.cert})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []*person{c.rsa, c.ec, c.rsa2} {
			got, err := cms.Open(raw, p.cert, p.opener(t))
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: got %.40q, %v", p.cert.Subject.CommonName, got, err)
			}
		}
		if _, err := cms.Open(raw, c.ec2.cert, c.ec2.opener(t)); !errors.Is(err, cms.ErrNotRecipient) {
			t.Errorf("someone else: got %v, want ErrNotRecipient", err)
		}
		for _, k := range []any{c.ec2.opener(t), c.rsa.opener(t), "no key", nil, (*ecdh.PrivateKey)(nil)} {
			if k == (*ecdh.PrivateKey)(nil) {
				continue
			}
			if _, err := cms.Open(raw, c.ec.cert, k); !errors.Is(err, cms.ErrOpen) {
				t.Errorf("another key: got %v, want ErrOpen", err)
			}
		}
	}
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	c := theCast(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, p := range []*person{c.rsa, c.ec} {
		raw, err := cms.Sign(rand.Reader, content, cms.Signer{Certificate: p.cert, Key: p.key, Chain: []*x509.Certificate{c.ca.cert}}, at)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cms.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		who, err := s.Signer()
		if err != nil || !who.Equal(p.cert) || !s.Time().Equal(at) || len(s.Certificates()) != 2 {
			t.Errorf("got %v at %v with %d certificates, %v", who, s.Time(), len(s.Certificates()), err)
		}
		if got, err := s.Verify(who); err != nil || !bytes.Equal(got, content) {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := s.Verify(c.rsa2.cert); !errors.Is(err, cms.ErrSignature) {
			t.Errorf("someone else: got %v, want ErrSignature", err)
		}
	}
}

// TestEveryByteCounts changes each byte of a message: none of the changed
// ones may give the content.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	c := theCast(t)
	for _, p := range []*person{c.rsa, c.ec} {
		sealed, err := cms.Seal(rand.Reader, content, []*x509.Certificate{p.cert})
		if err != nil {
			t.Fatal(err)
		}
		k := p.opener(t)
		for i := range sealed {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1
			if got, err := cms.Open(bad, p.cert, k); err == nil {
				t.Errorf("sealed, byte %d: opened to %q", i, got)
			}
		}
		signed, err := cms.Sign(rand.Reader, content, cms.Signer{Certificate: p.cert, Key: p.key}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		// The certificate that travels with it is not covered by the
		// signature; Verify takes the one that the caller judged.
		begin := bytes.Index(signed, p.cert.Raw)
		for i := range signed {
			if i >= begin && i < begin+len(p.cert.Raw) {
				continue
			}
			bad := bytes.Clone(signed)
			bad[i] ^= 1
			s, err := cms.Parse(bad)
			if err != nil {
				continue
			}
			if got, err := s.Verify(p.cert); err == nil {
				t.Errorf("signed, byte %d: verified to %q", i, got)
			}
		}
		for n := range sealed {
			if _, err := cms.Open(sealed[:n], p.cert, k); err == nil {
				t.Errorf("sealed and cut to %d bytes: opened", n)
			}
		}
		for _, extra := range []string{"\x00", "x"} {
			if _, err := cms.Open(append(bytes.Clone(sealed), extra...), p.cert, k); !errors.Is(err, cms.ErrMalformed) {
				t.Errorf("trailing bytes: got %v, want ErrMalformed", err)
			}
		}
	}
}

func TestTooManyRecipients(t *testing.T) {
	t.Parallel()
	c := theCast(t)
	if _, err := cms.Seal(rand.Reader, content, nil); err == nil {
		t.Error("sealed for no one")
	}
	many := make([]*x509.Certificate, cms.MaxRecipients+1)
	for i := range many {
		many[i] = c.ec.cert
	}
	if _, err := cms.Seal(rand.Reader, content, many); err == nil {
		t.Error("sealed for too many")
	}
	if _, err := cms.Open(make([]byte, cms.MaxSize+1), c.ec.cert, c.ec.opener(t)); !errors.Is(err, cms.ErrMalformed) {
		t.Errorf("too large: got %v", err)
	}
}

func TestWeakKeysAreRefused(t *testing.T) {
	t.Parallel()
	c := theCast(t)
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(99), NotAfter: time.Now().Add(time.Hour)}, c.ca.cert, key.Public(), c.ca.key)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cms.Seal(rand.Reader, content, []*x509.Certificate{weak}); !errors.Is(err, cms.ErrUnsupported) {
		t.Errorf("RSA-1024: got %v, want ErrUnsupported", err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cms.Sign(rand.Reader, content, cms.Signer{Certificate: c.ec.cert, Key: p384}, time.Now()); !errors.Is(err, cms.ErrUnsupported) {
		t.Errorf("P-384: got %v, want ErrUnsupported", err)
	}
}

// A bench of openssl: files in a folder, and commands on them.
type bench struct {
	t   *testing.T
	dir string
}

func openssl(t *testing.T) *bench {
	t.Helper()
	require.Program(t, "openssl")
	c := theCast(t)
	b := &bench{t, t.TempDir()}
	for name, p := range map[string]*person{"ca": c.ca, "rsa": c.rsa, "ec": c.ec, "rsa2": c.rsa2, "ec2": c.ec2} {
		b.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
		der, err := x509.MarshalPKCS8PrivateKey(p.key)
		if err != nil {
			t.Fatal(err)
		}
		b.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	return b
}

func (b *bench) write(name string, data []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(name string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// try runs openssl with the words of line and returns whether it succeeded.
func (b *bench) try(line string) (string, bool) {
	cmd := exec.CommandContext(b.t.Context(), "openssl", strings.Fields(line)...)
	cmd.Dir = b.dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func (b *bench) run(line string) {
	b.t.Helper()
	if out, ok := b.try(line); !ok {
		b.t.Fatalf("openssl %s: %s", line, out)
	}
}

func TestOpensslReadsOurs(t *testing.T) {
	t.Parallel()
	c, b := theCast(t), openssl(t)
	for _, from := range []*person{c.rsa, c.ec} {
		signed, err := cms.Sign(rand.Reader, content, from.signer(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range [][]*x509.Certificate{{c.rsa2.cert}, {c.ec2.cert}, {c.rsa.cert, c.ec.cert, c.rsa2.cert, c.ec2.cert}} {
			sealed, err := cms.Seal(rand.Reader, signed, to)
			if err != nil {
				t.Fatal(err)
			}
			b.write("m.der", sealed)
			name := to[len(to)-1].Subject.CommonName
			b.run("cms -decrypt -inform DER -in m.der -recip " + name + ".crt -inkey " + name + ".key -out s.der")
			b.run("cms -verify -inform DER -in s.der -CAfile ca.crt -purpose any -binary -out inner")
			if got := b.read("inner"); !bytes.Equal(got, content) {
				t.Errorf("from %s to %s: got %q", from.cert.Subject.CommonName, name, got)
			}
			sealed[len(sealed)-30] ^= 1
			b.write("bad.der", sealed)
			if out, ok := b.try("cms -decrypt -inform DER -in bad.der -recip " + name + ".crt -inkey " + name + ".key -out bad"); ok {
				t.Errorf("openssl opened a changed message: %s", out)
			}
		}
	}
}

func TestWeReadOpenssls(t *testing.T) {
	t.Parallel()
	c, b := theCast(t), openssl(t)
	b.write("inner", content)
	for _, from := range []string{"rsa", "ec"} {
		pss := ""
		if from == "rsa" {
			pss = " -keyopt rsa_padding_mode:pss"
		}
		b.run("cms -sign -binary -nodetach -md sha256 -in inner -signer " + from + ".crt -inkey " + from + ".key" + pss + " -outform DER -out s.der")
		for _, to := range []*person{c.rsa2, c.ec2} {
			name := to.cert.Subject.CommonName
			opts := " -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256"
			if name == "ec2" {
				opts = ""
			}
			b.run("cms -encrypt -binary -aes-256-gcm -in s.der -recip " + name + ".crt" + opts + " -outform DER -out m.der")
			signed, err := cms.Open(b.read("m.der"), to.cert, to.opener(t))
			if err != nil {
				t.Errorf("to %s: %v", name, err)
				continue
			}
			s, err := cms.Parse(signed)
			if err != nil {
				t.Errorf("from %s: %v", from, err)
				continue
			}
			who, err := s.Signer()
			if err != nil {
				t.Errorf("from %s: %v", from, err)
				continue
			}
			if got, err := s.Verify(who); err != nil || !bytes.Equal(got, content) {
				t.Errorf("from %s to %s: got %q, %v", from, name, got, err)
			}
		}
	}
	// Two recipients in one message, of both kinds.
	b.run("cms -encrypt -binary -aes-256-gcm -in inner -recip rsa.crt -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -recip ec.crt -keyopt ecdh_kdf_md:sha256 -outform DER -out m.der")
	for _, to := range []*person{c.rsa, c.ec} {
		if got, err := cms.Open(b.read("m.der"), to.cert, to.opener(t)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s of two: got %q, %v", to.cert.Subject.CommonName, got, err)
		}
	}
}

// TestOtherFormsAreRefused gives what openssl can make and we do not read.
func TestOtherFormsAreRefused(t *testing.T) {
	t.Parallel()
	c, b := theCast(t), openssl(t)
	b.write("inner", content)
	for name, line := range map[string]string{
		"PKCS #1 v1.5 wrap": "cms -encrypt -binary -aes-256-gcm -in inner -recip rsa.crt -outform DER -out m.der",
		"OAEP with SHA-1":   "cms -encrypt -binary -aes-256-gcm -in inner -recip rsa.crt -keyopt rsa_padding_mode:oaep -outform DER -out m.der",
		"CBC without MAC":   "cms -encrypt -binary -aes-256-cbc -in inner -recip rsa.crt -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -outform DER -out m.der",
		"AES-128-GCM":       "cms -encrypt -binary -aes-128-gcm -in inner -recip rsa.crt -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -outform DER -out m.der",
		"streamed, not DER": "cms -encrypt -stream -binary -aes-256-gcm -in inner -recip rsa.crt -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -outform DER -out m.der",
		"signed only":       "cms -sign -binary -nodetach -md sha256 -in inner -signer ec.crt -inkey ec.key -outform DER -out m.der",
		"digested":          "cms -digest_create -binary -in inner -outform DER -out m.der",
	} {
		b.run(line)
		if got, err := cms.Open(b.read("m.der"), c.rsa.cert, c.rsa.opener(t)); err == nil {
			t.Errorf("%s: opened to %q", name, got)
		}
	}
	for name, line := range map[string]string{
		"detached":      "cms -sign -binary -md sha256 -in inner -signer ec.crt -inkey ec.key -outform DER -out s.der",
		"two signers":   "cms -sign -binary -nodetach -md sha256 -in inner -signer ec.crt -inkey ec.key -signer rsa.crt -inkey rsa.key -outform DER -out s.der",
		"SHA-1":         "cms -sign -binary -nodetach -md sha1 -in inner -signer ec.crt -inkey ec.key -outform DER -out s.der",
		"no attributes": "cms -sign -binary -nodetach -noattr -md sha256 -in inner -signer ec.crt -inkey ec.key -outform DER -out s.der",
		"PKCS #1 v1.5":  "cms -sign -binary -nodetach -md sha256 -in inner -signer rsa.crt -inkey rsa.key -outform DER -out s.der",
	} {
		b.run(line)
		s, err := cms.Parse(b.read("s.der"))
		if err != nil {
			continue
		}
		who, err := s.Signer()
		if err != nil {
			continue
		}
		if _, err := s.Verify(who); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	c := theCast(f)
	for _, p := range []*person{c.rsa, c.ec} {
		raw, err := cms.Seal(rand.Reader, content, []*x509.Certificate{p.cert})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	k := c.ec.opener(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := cms.Open(raw, c.ec.cert, k); err == nil && !bytes.Equal(got, content) {
			t.Errorf("opened to %q", got)
		}
		if n, err := cms.Recipients(raw); err == nil && (n < 1 || n > cms.MaxRecipients) {
			t.Errorf("%d recipients", n)
		}
	})
}

func FuzzParse(f *testing.F) {
	c := theCast(f)
	for _, p := range []*person{c.rsa, c.ec} {
		raw, err := cms.Sign(rand.Reader, content, p.signer(), time.Now())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := cms.Parse(raw)
		if err != nil {
			return
		}
		if got, err := s.Verify(c.ec.cert); err == nil && !bytes.Equal(got, content) {
			t.Errorf("verified to %q", got)
		}
	})
}

func BenchmarkSeal100(b *testing.B) {
	c := theCast(b)
	var to []*x509.Certificate
	for range 100 {
		to = append(to, c.ec.cert)
	}
	for b.Loop() {
		if _, err := cms.Seal(rand.Reader, content, to); err != nil {
			b.Fatal(err)
		}
	}
}
