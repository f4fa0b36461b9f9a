package matrixserver_test

import (
	"bytes"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// TestMediaInBucket does with the bytes in an S3 bucket what the other tests
// do with a folder.
func TestMediaInBucket(t *testing.T) {
	back := s3mem.New()
	if err := back.CreateBucket("media"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(back).Server())
	t.Cleanup(srv.Close)
	q := url.Values{"endpoint": {srv.URL}, "region": {"us-east-1"}, "use_path_style": {"true"}, "anonymous": {"true"}}
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		image := pngImage(t, 400, 300)
		id := alice.announce()
		alice.request("PUT", uploadPath+"/"+id, bytes.NewReader(image), "Content-Type", "image/png").want(200)
		if r := alice.get(downloadPath + id).want(200); !bytes.Equal(r.Raw, image) {
			t.Errorf("got %d bytes, want %d", len(r.Raw), len(image))
		}
		if r := alice.request("GET", downloadPath+id, nil, "Range", "bytes=10-19").want(206); !bytes.Equal(r.Raw, image[10:20]) {
			t.Errorf("a range: got %q", r.Raw)
		}
		first := alice.get(thumbnailPath + id + "?width=96&height=96&method=crop").want(200)
		again := alice.get(thumbnailPath + id + "?width=96&height=96&method=crop").want(200)
		if len(first.Raw) == 0 || !bytes.Equal(first.Raw, again.Raw) {
			t.Errorf("thumbnails: got %d and %d bytes", len(first.Raw), len(again.Raw))
		}
		if r := alice.get(downloadPath + alice.upload(nil, "text/plain", "")).want(200); len(r.Raw) != 0 {
			t.Errorf("got %q, want nothing", r.Raw)
		}
		alice.request("POST", uploadPath, bytes.NewReader(make([]byte, 300_000))).fails(413, "M_TOO_LARGE")
	}, quintatest.Configure(func(c *server.Config) { c.BlobURL, c.MaxUpload = "s3://media?"+q.Encode(), 200_000 }))
}

// TestBucketGone: a bucket that does not answer is an error to try again, and
// nothing that was there is lost.
func TestBucketGone(t *testing.T) {
	t.Parallel()
	back := s3mem.New()
	if err := back.CreateBucket("media"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(back).Server())
	t.Cleanup(srv.Close)
	q := url.Values{"endpoint": {srv.URL}, "region": {"us-east-1"}, "use_path_style": {"true"}, "anonymous": {"true"}}
	s := newStage(t, quintatest.Configure(func(c *server.Config) { c.BlobURL = "s3://media?" + q.Encode() }))
	alice := s.register("alice")
	id := alice.upload([]byte("x"), "text/plain", "")
	srv.Close()
	alice.get(downloadPath+id).fails(503, "M_UNKNOWN")
	alice.post(uploadPath, "y").fails(503, "M_UNKNOWN")
	alice.get("/_matrix/client/v3/account/whoami").want(200)
}
