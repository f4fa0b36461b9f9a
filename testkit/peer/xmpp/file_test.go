//go:build peers

package xmpp_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// TestFile: files of several sizes, in a room, whose size is known and is not.
func TestFile(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.login("romeo"), s.login("juliet")
		room := romeo.creates("garden", juliet)
		juliet.comesIn(room)
		romeo.lists(room, romeo, juliet)
		for _, size := range []int{0, 1, 64 << 10, 1<<20 + 3} {
			for _, said := range []int64{int64(size), -1} {
				name := fmt.Sprint("file ", size, " ", said)
				want := make([]byte, size)
				if _, err := io.ReadFull(rand.Reader, want); err != nil {
					t.Fatal(err)
				}
				if _, err := romeo.Send(t.Context(), room, client.Draft{Text: "look", File: &client.Upload{Name: name, MediaType: "text/plain", Size: said, From: bytes.NewReader(want)}}); err != nil {
					t.Fatal(err)
				}
				var f *quinta.File
				juliet.until("the file", func(list []e2ee.Event) bool {
					for _, e := range list {
						if e.Kind == e2ee.EventMessage && e.Message.File != nil && e.Message.File.Name == name {
							f = e.Message.File
						}
					}
					return f != nil
				})
				fetcher, ok := client.As[client.Fetcher](juliet.Session)
				if !ok {
					t.Fatal("the session fetches no files")
				}
				var got bytes.Buffer
				if err := fetcher.Fetch(t.Context(), f, &got); err != nil || !bytes.Equal(got.Bytes(), want) || f.Size != int64(size) || f.MediaType != "text/plain" {
					t.Errorf("%s: got %d bytes and %v of %+v", name, got.Len(), err, f)
				}
			}
		}
	})
}
