package xmppclient

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

// sealedFile is a file with its reference and what a server has of it.
func sealedFile(t *testing.T, plain []byte) (*keysrv.FileRef, []byte) {
	t.Helper()
	k, err := key.GenerateSymmetric[key.Attachment](rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seal, err := keysrv.NewSegmentSealer(k, bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := io.ReadAll(seal)
	if err != nil {
		t.Fatal(err)
	}
	return &keysrv.FileRef{ID: "file", Key: k}, sealed
}

// fetching is a session that has a token for a server.
func fetching(t *testing.T, handler http.HandlerFunc) *Session {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	sign, err := key.GenerateSigning[key.Device](rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	env := e2ee.Env{Now: time.Now, Rand: rand.Reader}
	return &Session{env: env, link: &link{keys: &keyServer{http: srv.Client(), env: env, sign: sign, token: "token", base: srv.URL + wire.Base, expires: time.Now().Add(time.Hour)}}}
}

// TestFetchResumes: a transfer that breaks off continues with the next segment,
// and nothing is fetched twice except the one that was cut off.
func TestFetchResumes(t *testing.T) {
	t.Parallel()
	plain := make([]byte, 10*keysrv.SegmentSize+17)
	if _, err := io.ReadFull(rand.Reader, plain); err != nil {
		t.Fatal(err)
	}
	ref, sealed := sealedFile(t, plain)
	var ranges []string
	s := fetching(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != wire.Base+"/files/file" || r.Header.Get("Authorization") != "DPoP token" || r.Header.Get("DPoP") == "" {
			t.Errorf("got %s with %v", r.URL, r.Header)
		}
		ranges = append(ranges, r.Header.Get("Range"))
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Length", fmt.Sprint(len(sealed)-from))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			w.Header().Set("Content-Length", fmt.Sprint(len(sealed)))
		}
		rest := sealed[from:]
		if len(ranges) < 3 {
			if _, err := w.Write(rest[:3*keysrv.SealedSegmentSize+100]); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(rest); err != nil {
			t.Error(err)
		}
	})
	var got bytes.Buffer
	if err := s.fetch(t.Context(), nil, ref, int64(len(plain)), &got); err != nil || !bytes.Equal(got.Bytes(), plain) {
		t.Fatalf("got %d bytes and %v, want %d", got.Len(), err, len(plain))
	}
	if len(ranges) != 3 || ranges[0] != "" || ranges[1] == "" || ranges[2] == ranges[1] {
		t.Errorf("got the ranges %q", ranges)
	}
}

// TestAttack16File: a file that is altered, cut off in order, another one or of
// another length is refused, and not asked for again.
func TestAttack16File(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("quinta"), 30_000)
	ref, sealed := sealedFile(t, plain)
	_, other := sealedFile(t, plain)
	flipped := bytes.Clone(sealed)
	flipped[keysrv.SealedSegmentSize+5] ^= 1
	swapped := append(append(bytes.Clone(sealed[keysrv.SealedSegmentSize:2*keysrv.SealedSegmentSize]), sealed[:keysrv.SealedSegmentSize]...), sealed[2*keysrv.SealedSegmentSize:]...)
	for name, k := range map[string]struct {
		body []byte
		size int
	}{
		"flipped":      {flipped, len(plain)},
		"cut off":      {sealed[:2*keysrv.SealedSegmentSize], len(plain)},
		"swapped":      {swapped, len(plain)},
		"another file": {other, len(plain)},
		"empty":        {nil, len(plain)},
		"its length":   {sealed, len(plain) + 1},
	} {
		calls := 0
		s := fetching(t, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			if _, err := w.Write(k.body); err != nil {
				t.Error(err)
			}
		})
		if err := s.fetch(t.Context(), nil, ref, int64(k.size), io.Discard); quinta.KindOf(err) != quinta.KindInvalid || calls != 1 {
			t.Errorf("%s: got %v after %d calls, want invalid after 1", name, err, calls)
		}
	}
}
