package xmppserver_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"testing"

	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

// TestFiles: bytes come back whole and in ranges, to users of the server only,
// with a proof that counts once.
func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		r, j := s.published(romeo), s.published(juliet)
		body := make([]byte, 200_000)
		if _, err := io.ReadFull(rand.Reader, body); err != nil {
			t.Fatal(err)
		}
		var info wire.FileInfo
		if err := json.Unmarshal(r.call("POST", "/files", body).status(201).Body, &info); err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(body); info.Size != int64(len(body)) || !bytes.Equal(info.SHA256, sum[:]) {
			t.Errorf("got %+v", info)
		}
		path := "/files/" + info.ID
		if got := j.call("GET", path, nil).status(200); !bytes.Equal(got.Body, body) {
			t.Errorf("got %d bytes, want %d", len(got.Body), len(body))
		}
		head := map[string]string{"Authorization": "DPoP " + j.token, "DPoP": j.proof("GET", path, s.clock.Now()), "Range": "bytes=100000-"}
		if got := s.raw("GET", path, nil, head).status(206); !bytes.Equal(got.Body, body[100_000:]) {
			t.Errorf("a range: got %d bytes", len(got.Body))
		}
		s.raw("GET", path, nil, head).refused(401, wire.CodeUnauthenticated) // the proof again
		if got := j.call("HEAD", path, nil).status(200); got.Header.Get("Content-Length") != "200000" || len(got.Body) != 0 {
			t.Errorf("got %v", got.Header)
		}
		s.raw("GET", path, nil, nil).refused(401, wire.CodeUnauthenticated)
		for _, id := range []string{"none", "a.b", "%2e%2e"} {
			j.call("GET", "/files/"+id, nil).refused(404, wire.CodeNotFound)
		}
	})
}
