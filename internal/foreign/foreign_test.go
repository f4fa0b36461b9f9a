package foreign_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/internal/foreign"
	"github.com/quinta-chat/quinta/testkit/giant"
)

// atMost is what a refusal may take. Work with a key of 131,072 bits takes a
// hundred times as long.
const atMost = 5 * time.Millisecond

func TestGiantKeys(t *testing.T) {
	for _, bits := range []int{foreign.MaxRSA + 8, 16_384, 200_000} {
		for what, parse := range map[string]func() error{
			"certificate": func() error { _, err := foreign.Certificate(giant.Certificate(bits)); return err },
			"request":     func() error { _, err := foreign.Request(giant.Request(bits)); return err },
			"public key":  func() error { _, err := foreign.PublicKey(giant.PublicKey(bits)); return err },
			"RSA key":     func() error { _, err := foreign.RSAPublicKey(giant.RSAPublicKey(bits)); return err },
		} {
			if took, err := giant.Fastest(parse); err == nil || took > atMost {
				t.Errorf("%s of %d bits: got %v after %s, want it refused within %s", what, bits, err, took, atMost)
			}
		}
	}
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := func(bits uint) *big.Int {
		return new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(1))
	}
	for name, c := range map[string]struct {
		key any
		ok  bool
	}{
		"RSA-1024":          {&rsa.PublicKey{N: n(1024), E: 65537}, true},
		"RSA-8192":          {&rsa.PublicKey{N: n(8192), E: 65537}, true},
		"RSA-1023":          {&rsa.PublicKey{N: n(1023), E: 65537}, false},
		"RSA-8193":          {&rsa.PublicKey{N: n(8193), E: 65537}, false},
		"exponent 3":        {&rsa.PublicKey{N: n(2048), E: 3}, false},
		"a giant exponent":  {&rsa.PublicKey{N: n(2048), E: 1<<31 - 1}, false},
		"P-256":             {p256.Public(), true},
		"P-384":             {p384.Public(), false},
		"no key":            {nil, false},
		"another structure": {"key", false},
	} {
		if err := foreign.CheckKey(c.key); (err == nil) != c.ok || err != nil && !errors.Is(err, foreign.ErrKey) {
			t.Errorf("%s: got %v, want it taken: %v", name, err, c.ok)
		}
	}
}

// TestParse holds what is taken and what is not a certificate at all.
func TestParse(t *testing.T) {
	t.Parallel()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "x"}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := foreign.Certificate(raw); err != nil || c.SerialNumber.Int64() != 7 {
		t.Errorf("got %v", err)
	}
	for name, der := range map[string][]byte{"cut": raw[:len(raw)-1], "empty": nil, "more behind": append(raw[:len(raw):len(raw)], 0), "too large": make([]byte, 65<<10)} {
		if _, err := foreign.Certificate(der); !errors.Is(err, foreign.ErrMalformed) {
			t.Errorf("%s: got %v, want malformed", name, err)
		}
	}
}

// TestOnlyWayIn holds that nothing else in the module parses keys of others.
func TestOnlyWayIn(t *testing.T) {
	t.Parallel()
	parses := regexp.MustCompile(`x509\.Parse(Certificates?|PKIXPublicKey|PKCS1PublicKey|CertificateRequest)\(`)
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "foreign" || d.Name() == "testkit" || d.Name() == "bench"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		if at := parses.Find(src); at != nil {
			t.Errorf("%s calls %s: keys of others are parsed by package foreign", path, at)
		}
		return nil
	})
	if err != nil || seen < 100 {
		t.Fatalf("got %d files and %v", seen, err)
	}
}
