package mtprotoclient_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
)

// TestFiles sends files of one byte, of whole blocks and of several parts, with
// and without a size that is known; both sides can fetch them, and the server
// holds none of their content.
func TestFiles(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.opens(bob)
	for i, n := range []int{1, 16, 1000, 512 << 10, 512<<10 + 1, 1300 << 10} {
		data := make([]byte, n)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		size := int64(n)
		if i%2 == 1 {
			size = -1
		}
		text := strings.Repeat("x", i+1)
		if _, err := alice.s.Send(t.Context(), id, client.Draft{Text: text, File: &client.Upload{Name: "a.bin", MediaType: "application/x", Size: size, From: bytes.NewReader(data)}}); err != nil {
			t.Fatal(err)
		}
		m := bob.reads(text)
		if m.Kind != quinta.MessageFile || m.File.Name != "a.bin" || m.File.Size != int64(n) || m.File.MediaType != "application/x" {
			t.Fatalf("%d bytes: got %+v", n, m)
		}
		var out bytes.Buffer
		if err := bob.s.Fetch(t.Context(), m.File, &out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("%d bytes: fetched %d, %v", n, out.Len(), err)
		}
		// The sender's own copy leads to the file as well.
		alice.until("that the file was sent", func() bool { return alice.sent(text) })
		own, _ := alice.find(func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Text == text })
		out.Reset()
		if err := alice.s.Fetch(t.Context(), own.Message.File, &out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%d bytes: the sender fetched %d, %v", n, out.Len(), err)
		}
	}
	for name, u := range map[string]*client.Upload{
		"empty": {Size: 0, From: bytes.NewReader(nil)}, "longer than said": {Size: 3, From: strings.NewReader("four")}, "shorter than said": {Size: 30, From: strings.NewReader("four")}, "nothing": {Size: -1, From: strings.NewReader("")},
	} {
		if _, err := alice.s.Send(t.Context(), id, client.Draft{File: u}); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

// TestAttack16Files: another key, a false size and a place that is not that of
// the message are refused, and nothing is written.
func TestAttack16Files(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.opens(bob)
	if _, err := alice.s.Send(t.Context(), id, client.Draft{Text: "file", File: &client.Upload{Name: "a", Size: 20, From: strings.NewReader("twenty bytes of file")}}); err != nil {
		t.Fatal(err)
	}
	m := bob.reads("file")
	for name, spoil := range map[string]func(r *secretchat.FileRef){
		"key":         func(r *secretchat.FileRef) { r.Key[0] ^= 1 },
		"iv":          func(r *secretchat.FileRef) { r.IV[0] ^= 1 },
		"size":        func(r *secretchat.FileRef) { r.Size = 40 },
		"sealed size": func(r *secretchat.FileRef) { r.Size, r.Location.Size = 40, 48 },
		"negative":    func(r *secretchat.FileRef) { r.Size = -1 },
		"access":      func(r *secretchat.FileRef) { r.Location.Access++ },
		"id":          func(r *secretchat.FileRef) { r.Location.ID++ },
		"no place":    func(r *secretchat.FileRef) { r.Location = nil },
	} {
		var ref secretchat.FileRef
		if err := json.Unmarshal(m.File.Ref, &ref); err != nil {
			t.Fatal(err)
		}
		spoil(&ref)
		var out bytes.Buffer
		if err := bob.s.Fetch(t.Context(), &quinta.File{Ref: e2ee.JSON(ref)}, &out); err == nil || out.Len() != 0 {
			t.Errorf("%s: got %v and %d bytes", name, err, out.Len())
		}
	}
	if err := bob.s.Fetch(t.Context(), m.File, io.Discard); err != nil {
		t.Errorf("the file itself: %v", err)
	}
}
