package caclient_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// readsFile waits for a file.
func (p *person) readsFile(name string) *quinta.File {
	p.t.Helper()
	return p.sees("file "+name, func(e e2ee.Event) bool {
		return e.Kind == e2ee.EventMessage && e.Message.File != nil && e.Message.File.Name == name
	}).Message.File
}

// TestFiles: files of all sizes arrive whole, sealed on the way, whether their
// size is known beforehand or not.
func TestFiles(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.talks(bob)
	for name, size := range map[string]int{"empty": 0, "one": 1, "block": 32 << 10, "large": 5<<20 + 3} {
		want := random(t, size)
		if size > 8 {
			copy(want, "canary in the file")
		}
		for _, said := range []int64{int64(size), -1} {
			as := name
			if said < 0 {
				as += " of unknown size"
			}
			alice.sendsDraft(room, client.Draft{Text: "look", File: &client.Upload{Name: as, MediaType: "text/plain", Size: said, From: bytes.NewReader(want)}})
			f := bob.readsFile(as)
			if f.Size != int64(size) || f.MediaType != "text/plain" {
				t.Errorf("%s: got %+v, want %d bytes", as, f, size)
			}
			var got bytes.Buffer
			if err := bob.s.Fetch(t.Context(), f, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: got %d bytes and %v, want %d", as, got.Len(), err, size)
			}
		}
	}
	never(t, p, "canary", "text/plain")
}

// TestFileChanged: a file that is not the one that was sent is not given out,
// not even its beginning.
func TestFileChanged(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.talks(bob)
	alice.sendsDraft(room, client.Draft{File: &client.Upload{Name: "f", Size: 100_000, From: bytes.NewReader(random(t, 100_000))}})
	f := bob.readsFile("f")
	for name, fn := range map[string]func(b []byte) []byte{
		"last byte": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut":       func(b []byte) []byte { return b[:len(b)-1] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"empty":     func([]byte) []byte { return nil },
	} {
		p.Answers(changeOf("/ca/v1/files/", fn))
		var got bytes.Buffer
		err := bob.s.Fetch(t.Context(), f, &got)
		wantKind(t, err, quinta.KindInvalid)
		if got.Len() > 0 {
			t.Errorf("%s: got %d bytes of a file that was changed", name, got.Len())
		}
	}
	p.Answers(nil)
	var got bytes.Buffer
	if err := bob.s.Fetch(t.Context(), f, &got); err != nil || got.Len() != 100_000 {
		t.Errorf("got %d bytes and %v, want the file once it is right", got.Len(), err)
	}
}

// TestFileBad: what is no upload, no reference, and a server that stores
// something else.
func TestFileBad(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.talks(bob)
	send := func(u client.Upload) error {
		_, err := alice.s.Send(t.Context(), room, client.Draft{File: &u})
		return err
	}
	wantKind(t, send(client.Upload{Name: "none"}), quinta.KindInvalid)
	wantKind(t, send(client.Upload{Size: -2, From: strings.NewReader("x")}), quinta.KindInvalid)
	if err := send(client.Upload{Size: 2, From: strings.NewReader("x")}); err == nil {
		t.Error("got no error for a file that is shorter than was said")
	}
	if err := send(client.Upload{Size: 1, From: strings.NewReader("xyz")}); err == nil {
		t.Error("got no error for a file that is longer than was said")
	}
	if _, err := alice.s.Send(t.Context(), "g_aaaaaaaaaaaaaaaaaaaaaa", client.Draft{File: &client.Upload{Size: 1, From: strings.NewReader("x")}}); quinta.KindOf(err) != quinta.KindNotFound {
		t.Errorf("got %v, want no such conversation", err)
	}
	for _, ref := range []string{"", "{}", `{"url":"urn:quinta:ca:file:../../keys"}`} {
		if err := bob.s.Fetch(t.Context(), &quinta.File{Ref: []byte(ref)}, io.Discard); err == nil {
			t.Errorf("%q: got no error", ref)
		}
	}
	if err := bob.s.Fetch(t.Context(), nil, io.Discard); err == nil {
		t.Error("got no error for no file")
	}
	p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		var info map[string]any
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/files") || json.Unmarshal(b, &info) != nil {
			return status, b
		}
		info["sha256"] = bytes.Repeat([]byte{1}, 32)
		out, err := json.Marshal(info)
		if err != nil {
			t.Error(err)
		}
		return status, out
	})
	wantKind(t, send(client.Upload{Size: 1, From: strings.NewReader("x")}), quinta.KindUnavailable)
}
