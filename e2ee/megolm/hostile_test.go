package megolm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/base64text"
)

// hostile returns the inputs of one corpus of testdata/hostile.tar.gz.
func hostile(t testing.TB, corpus string, want int) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/hostile.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr := must[*gzip.Reader](t)(gzip.NewReader(f))
	out := map[string][]byte{}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && path.Dir(h.Name) == corpus {
			out[h.Name] = must[[]byte](t)(io.ReadAll(tr))
		}
	}
	if len(out) != want {
		t.Fatalf("got %d inputs of %s, want %d", len(out), corpus, want)
	}
	return out
}

// decodeMessage feeds b to the decoder, and to in what decodes.
func decodeMessage(t testing.TB, in *megolm.Inbound, b []byte) {
	t.Helper()
	m, err := megolm.ParseMessage(b)
	if err != nil {
		return
	}
	if again, err := megolm.ParseMessage(m.Bytes()); err != nil || again.Index != m.Index || !bytes.Equal(m.Bytes(), b) {
		t.Errorf("got %v, %v, want what decodes to encode to the same", again, err)
	}
	before := in.Encode()
	if got, err := in.Open(m); err == nil || !bytes.Equal(before, in.Encode()) {
		t.Errorf("got %x, %v, want a refusal without a change", got, err)
	}
}

// decodeKey feeds b to both decoders of session keys.
func decodeKey(t testing.TB, b []byte) {
	t.Helper()
	if in, err := megolm.NewInbound(b); err == nil {
		got, err := in.Export(in.FirstIndex())
		if err != nil || !bytes.Equal(got[1:], b[1:megolm.ExportSize]) {
			t.Errorf("got %x, %v, want the session key back", got, err)
		}
	}
	if in, err := megolm.Import(b); err == nil {
		if got, err := in.Export(in.FirstIndex()); err != nil || !bytes.Equal(got, b) {
			t.Errorf("got %x, %v, want the session key back", got, err)
		}
		if _, err := in.Export(1<<32 - 1); err != nil {
			t.Errorf("got %v, want an export of the last index", err)
		}
	}
}

func TestHostileInputs(t *testing.T) {
	t.Parallel()
	in := newInbound(t, newOutbound(t, 1))
	for corpus, n := range map[string]int{"megolm-decoding": 102, "megolm-decryption": 125} {
		for name, b := range hostile(t, corpus, n) {
			t.Run(name, func(t *testing.T) { decodeMessage(t, in, b) })
		}
	}
	for corpus, n := range map[string]int{"megolm-session-creation": 8, "megolm-session-import": 7} {
		for name, b := range hostile(t, corpus, n) {
			t.Run(name, func(t *testing.T) {
				decodeKey(t, b)
				if raw, err := base64text.Decode(string(bytes.TrimSpace(b))); err == nil {
					decodeKey(t, raw)
				}
			})
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(seal(f, newOutbound(f, 1), "a message"))
	for _, b := range hostile(f, "megolm-decryption", 125) {
		f.Add(b)
	}
	// Another session than that of the seeds: nothing here opens.
	in := newInbound(f, newOutbound(f, 2))
	f.Fuzz(func(t *testing.T, b []byte) { decodeMessage(t, in, b) })
}

func FuzzSessionKey(f *testing.F) {
	out := newOutbound(f, 1)
	f.Add(out.SessionKey())
	f.Add(must[[]byte](f)(newInbound(f, out).Export(0)))
	f.Fuzz(func(t *testing.T, b []byte) { decodeKey(t, b) })
}

func FuzzState(f *testing.F) {
	out := newOutbound(f, 1)
	f.Add(out.Encode())
	f.Add(newInbound(f, out).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := megolm.DecodeOutbound(b); err == nil {
			if !bytes.Equal(s.Encode(), b) {
				t.Error("got another state, want one form for one state")
			}
		} else if !errors.Is(err, megolm.ErrBadState) {
			t.Errorf("got %v, want ErrBadState", err)
		}
		if s, err := megolm.DecodeInbound(b); err == nil {
			if !bytes.Equal(s.Encode(), b) {
				t.Error("got another state, want one form for one state")
			}
		} else if !errors.Is(err, megolm.ErrBadState) {
			t.Errorf("got %v, want ErrBadState", err)
		}
	})
}
