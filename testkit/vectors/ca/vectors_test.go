// Package ca_test runs the vectors of both profiles of the CA network: each is
// given to the reader of its kind, which accepts or refuses it as the file
// says. "go test -update" makes the files again from fixed seeds.
package ca_test

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

var update = flag.Bool("update", false, "make the vectors again")

// inputs are the head lines of all kinds.
var inputs = []string{"plain", "received", "at", "from", "self", "conv", "root", "intermediate", "crl", "certificate", "key", "sender-key", "padding",
	"issuer", "user", "device", "use", "old-key", "new-key", "old-key-id", "new-key-id", "expires", "signature", "recovery", "passphrase", "secret", "kid", "before"}

// refusals are the names of refusals, with the errors that they stand for.
var refusals = map[string][]error{
	"malformed":       {cert.ErrMalformed, cms.ErrMalformed},
	"unsupported":     {cert.ErrUnsupported, cms.ErrUnsupported},
	"untrusted":       {cert.ErrUntrusted},
	"expired":         {cert.ErrExpired},
	"no status":       {cert.ErrNoStatus},
	"mismatch":        {cert.ErrMismatch},
	"possession":      {cert.ErrPossession},
	"replayed":        {cert.ErrReplayed},
	"tampered":        {seal.ErrTampered},
	"not a recipient": {seal.ErrNotRecipient, cms.ErrNotRecipient},
	"bad signature":   {cms.ErrSignature},
	"cannot open":     {cms.ErrOpen},
}

func TestVectors(t *testing.T) {
	if *update {
		if err := vectors.WriteDir(".", generate(t)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := vectors.ReadDir(".", inputs...)
	if err != nil || len(all) < 80 {
		t.Fatalf("got %d vectors, %v; want 80 at least", len(all), err)
	}
	used := map[string]bool{}
	for _, f := range all {
		used[f.Kind] = true
		t.Run(f.Name, func(t *testing.T) {
			run, ok := kinds[f.Kind]
			if !ok {
				t.Fatalf("the kind %q is not known", f.Kind)
			}
			plain, err := run(t, f)
			if refused := slices.ContainsFunc(refusals[f.Expect], func(want error) bool { return errors.Is(err, want) }); refused == (f.Expect == vectors.Success) || (err == nil) == refused {
				t.Fatalf("got %v, want %s", err, f.Expect)
			}
			if want := input(t, f, "plain"); err == nil && !bytes.Equal(plain, want) {
				t.Errorf("got %q, want %q", plain, want)
			}
		})
	}
	for kind := range kinds {
		if !used[kind] {
			t.Errorf("no vector is of the kind %q", kind)
		}
	}
}

// TestGenerated finds that the files are those that the fixed seeds give: none
// was changed by hand, and the forms that are written are as they were.
func TestGenerated(t *testing.T) {
	if err := vectors.Compare(".", generate(t), inputs...); err != nil {
		t.Errorf("got %v; \"go test -update\" makes the files that the seeds give", err)
	}
}

// generate returns all vectors. The keys are made by the standard library,
// whose randomness is fixed for this.
func generate(t *testing.T) []*vectors.File {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 80)
	m := newMaker(t)
	for _, fill := range []func(){m.secure, m.legacy, m.cms, m.certificates, m.requests, m.lists, m.statements, m.legacyKeys, m.backups, m.sessions, m.names} {
		fill()
	}
	return m.all
}

func input(t *testing.T, f *vectors.File, name string) []byte {
	t.Helper()
	raw, err := f.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// must returns v, or ends the test.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
