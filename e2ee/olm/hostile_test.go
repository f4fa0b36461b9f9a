package olm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/olm"
)

// hostile returns the inputs of one corpus of testdata/hostile.tar.gz.
func hostile(t testing.TB, corpus string, want int) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/hostile.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || path.Dir(h.Name) != corpus {
			continue
		}
		if out[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
	if len(out) != want {
		t.Fatalf("got %d inputs of %s, want %d", len(out), corpus, want)
	}
	return out
}

// decodeBoth feeds b to both decoders, and to s what decodes.
func decodeBoth(t testing.TB, s *olm.Session, a *olm.Account, b []byte) {
	t.Helper()
	before, account := s.Encode(), a.Encode()
	if m, err := olm.ParseMessage(b); err == nil {
		again, err := olm.ParseMessage(m.Bytes())
		if err != nil || again.Ratchet != m.Ratchet || again.Index != m.Index || !bytes.Equal(m.Bytes(), b) {
			t.Errorf("got %v, %v, want what decodes to encode to the same", again, err)
		}
		if got, err := s.Open(m); err == nil {
			t.Errorf("got %x opened, want a refusal", got)
		}
	}
	if m, err := olm.ParsePreKeyMessage(b); err == nil {
		if again, err := olm.ParsePreKeyMessage(m.Bytes()); err != nil || again.SessionID() != m.SessionID() || !bytes.Equal(m.Bytes(), b) {
			t.Errorf("got %v, %v, want what decodes to encode to the same", again, err)
		}
		if got, err := s.Open(&m.Message); err == nil {
			t.Errorf("got %x opened, want a refusal", got)
		}
		if _, got, err := a.NewInbound(m.Identity, m); err == nil {
			t.Errorf("got %x opened as a new session, want a refusal", got)
		}
	}
	if !bytes.Equal(before, s.Encode()) || !bytes.Equal(account, a.Encode()) {
		t.Error("got another state after refusals, want no change")
	}
}

func TestHostileInputs(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	opens(t, alice, seal(t, bob, source(1), "x"), "x")
	a := newAccount(t, 9)
	claim(t, a, 1)
	for corpus, n := range map[string]int{"olm-message-decoding": 107, "olm-decryption": 169} {
		for name, b := range hostile(t, corpus, n) {
			t.Run(name, func(t *testing.T) { decodeBoth(t, alice, a, b) })
		}
	}
}

func FuzzMessage(f *testing.F) {
	alice, bob := pair(f)
	f.Add(seal(f, alice, source(1), "a pre-key message").Body)
	opens(f, alice, seal(f, bob, source(1), "x"), "x")
	f.Add(seal(f, alice, source(1), "a message").Body)
	for _, b := range hostile(f, "olm-decryption", 169) {
		f.Add(b)
	}
	a := newAccount(f, 9)
	claim(f, a, 1)
	// Other keys than those of the seeds: nothing here opens.
	_, idle := pairOf(f, newAccount(f, 10), newAccount(f, 11))
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeBoth(t, idle, a, b)
	})
}

func FuzzDecodeSession(f *testing.F) {
	alice, bob := pair(f)
	f.Add(alice.Encode())
	f.Add(bob.Encode())
	seal(f, alice, source(1), "skipped")
	opens(f, bob, seal(f, alice, source(1), "x"), "x")
	f.Add(bob.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := olm.DecodeSession(b)
		if err != nil {
			if !errors.Is(err, olm.ErrBadState) {
				t.Fatalf("got %v, want ErrBadState", err)
			}
			return
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Fatal("got another state, want one form for one state")
		}
		if _, err := s.Seal(source(1), []byte("x")); err != nil {
			t.Logf("seal: %v", err)
		}
	})
}

func FuzzDecodeAccount(f *testing.F) {
	a := newAccount(f, 1)
	f.Add(a.Encode())
	claim(f, a, 2)
	if err := a.GenerateFallbackKey(source(3)); err != nil {
		f.Fatal(err)
	}
	f.Add(a.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := olm.DecodeAccount(b)
		if err != nil {
			if !errors.Is(err, olm.ErrBadState) {
				t.Fatalf("got %v, want ErrBadState", err)
			}
			return
		}
		if !bytes.Equal(a.Encode(), b) {
			t.Fatal("got another state, want one form for one state")
		}
	})
}
