package cert_test

import (
	"crypto/rand"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/town"
)

// BenchmarkIssue makes one certificate from a request that was checked.
func BenchmarkIssue(b *testing.B) {
	w := town.New(b)
	id := cert.Identity{User: "alice@hs1", Device: "A", Use: cert.UseSign}
	r := must(cert.ParseRequest(must(cert.NewRequest(rand.Reader, id, town.Key(b))), id))
	for b.Loop() {
		if _, err := w.Issuer.Issue(r, now, cert.Validity); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyAgain is a certificate whose chain was verified before.
func BenchmarkVerifyAgain(b *testing.B) {
	w := town.New(b)
	c := w.Person("alice@hs1", "A").Sign
	for b.Loop() {
		if _, err := w.Verifier.Verify(c, cert.UseSign, now, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyFirst(b *testing.B) {
	w := town.New(b)
	c := w.Person("alice@hs1", "A").Sign
	for b.Loop() {
		v := w.NewVerifier()
		if _, err := v.Verify(c, cert.UseSign, now, now); !errors.Is(err, cert.ErrNoStatus) {
			b.Fatal(err)
		}
	}
}
