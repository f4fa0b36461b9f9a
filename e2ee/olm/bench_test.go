package olm_test

import (
	"crypto/rand"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/olm"
)

func BenchmarkNewOutbound(b *testing.B) {
	alice, bob := newAccount(b, 1), newAccount(b, 2)
	one := claim(b, bob, 3)
	for b.Loop() {
		if _, err := alice.NewOutbound(rand.Reader, bob.Identity(), one); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRatchetTurn(b *testing.B) {
	alice, bob := pair(b)
	b.ReportAllocs()
	text := make([]byte, 256)
	for b.Loop() {
		m, err := bob.Seal(rand.Reader, text)
		if err != nil {
			b.Fatal(err)
		}
		parsed, err := olm.ParseMessage(parse(b, m).Bytes())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := alice.Open(parsed); err != nil {
			b.Fatal(err)
		}
		alice, bob = bob, alice
	}
}

func BenchmarkSeal(b *testing.B) {
	alice, bob := pair(b)
	opens(b, alice, seal(b, bob, rand.Reader, "x"), "x")
	b.ReportAllocs()
	text := make([]byte, 256)
	for b.Loop() {
		if _, err := alice.Seal(rand.Reader, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOneTimeKeys(b *testing.B) {
	for b.Loop() {
		a := newAccount(b, 1)
		if err := a.GenerateOneTimeKeys(rand.Reader, 100); err != nil {
			b.Fatal(err)
		}
	}
}
