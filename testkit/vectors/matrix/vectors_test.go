// Package matrix_test runs the vectors of the Matrix network's forms: each is
// given to the reader of its kind, which accepts or refuses it as the file
// says. "go test -update" makes the files again from fixed seeds.
package matrix_test

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/attachment"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

var update = flag.Bool("update", false, "make the vectors again")

// inputs are the head lines of all kinds.
var inputs = []string{"account", "one-time", "fallback", "sender", "before", "type", "session-key", "key", "passphrase", "room", "session", "secret",
	"user", "key-id", "public", "commitment", "file", "plain"}

// refusals are the names of refusals, with the errors that they stand for.
var refusals = map[string][]error{
	"malformed": {olm.ErrMalformed, megolm.ErrMalformed, keybackup.ErrMalformed, secretstorage.ErrMalformed, attachment.ErrFormat, keyexport.ErrFormat, sas.ErrQR,
		canonicaljson.ErrNotObject},
	"version":              {olm.ErrVersion, megolm.ErrVersion},
	"bad mac":              {olm.ErrBadMAC, megolm.ErrBadMAC, keybackup.ErrOpen, secretstorage.ErrOpen, keyexport.ErrPassphrase},
	"bad hash":             {attachment.ErrHash},
	"bad signature":        {megolm.ErrBadSignature, canonicaljson.ErrBadSignature},
	"no signature":         {canonicaljson.ErrNoSignature},
	"weak key":             {key.ErrWeak, sas.ErrKey},
	"unknown one-time key": {olm.ErrUnknownOneTimeKey},
	"sender mismatch":      {olm.ErrSenderMismatch},
	"no message key":       {olm.ErrNoMessageKey},
	"replayed":             {olm.ErrReplayed},
	"too far ahead":        {olm.ErrSkipTooFar},
	"unknown index":        {megolm.ErrUnknownIndex},
	"too large":            {keyexport.ErrTooLarge, attachment.ErrTooLarge},
	"mismatch":             {keybackup.ErrMismatch, secretstorage.ErrMismatch, errCommitment},
	"unsupported":          {secretstorage.ErrUnsupported},
	"not stored":           {secretstorage.ErrNotStored},
	"not json":             {canonicaljson.ErrNotJSON},
	"not canonical":        {canonicaljson.ErrNotCanonical},
	sas.CodeKeyMismatch:    {cancelled(sas.CodeKeyMismatch)},
	sas.CodeInvalidMessage: {cancelled(sas.CodeInvalidMessage)},
	sas.CodeCommitment:     {cancelled(sas.CodeCommitment)},
	sas.CodeUnknownMethod:  {cancelled(sas.CodeUnknownMethod)},
}

func TestVectors(t *testing.T) {
	if *update {
		if err := vectors.WriteDir(".", generate(t)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := vectors.ReadDir(".", inputs...)
	if err != nil || len(all) < 150 {
		t.Fatalf("got %d vectors, %v; want 150 at least", len(all), err)
	}
	used := map[string]bool{}
	for _, f := range all {
		used[f.Kind] = true
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			run, ok := kinds[f.Kind]
			if !ok {
				t.Fatalf("the kind %q is not known", f.Kind)
			}
			plain, err := run(t, f)
			if got := outcome(err); got != f.Expect && (err == nil || !slices.ContainsFunc(refusals[f.Expect], func(want error) bool { return errors.Is(err, want) })) {
				t.Fatalf("got %s (%v), want %s", got, err, f.Expect)
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

func outcome(err error) string {
	if err == nil {
		return vectors.Success
	}
	return "a refusal"
}

// TestGenerated finds that the files are those that the fixed seeds give: none
// was changed by hand, and the forms that are written are as they were.
func TestGenerated(t *testing.T) {
	t.Parallel()
	if err := vectors.Compare(".", generate(t), inputs...); err != nil {
		t.Errorf("got %v; \"go test -update\" makes the files that the seeds give", err)
	}
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
