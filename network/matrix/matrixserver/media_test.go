package matrixserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/stores"
)

const (
	uploadPath    = "/_matrix/media/v3/upload"
	createPath    = "/_matrix/media/v1/create"
	downloadPath  = "/_matrix/client/v1/media/download/"
	thumbnailPath = "/_matrix/client/v1/media/thumbnail/"
)

// request makes a call with a body and headers of its own.
func (u *user) request(method, path string, body io.Reader, header ...string) *reply {
	u.s.t.Helper()
	q, err := http.NewRequestWithContext(u.s.t.Context(), method, u.s.URL+path, body)
	if err != nil {
		u.s.t.Fatal(err)
	}
	if u.Token != "" {
		q.Header.Set("Authorization", "Bearer "+u.Token)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		u.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	r := &reply{t: u.s.t, call: method + " " + path, Status: resp.StatusCode, Header: resp.Header}
	if r.Raw, err = io.ReadAll(resp.Body); err != nil {
		u.s.t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(r.Raw, &r.Body); err != nil {
			u.s.t.Fatalf("%s: the answer is not JSON: %v", r.call, err)
		}
	}
	return r
}

// upload uploads a file and returns "server/id".
func (u *user) upload(body []byte, mediaType, name string) string {
	u.s.t.Helper()
	path := uploadPath
	if name != "" {
		path += "?filename=" + url.QueryEscape(name)
	}
	r := u.request("POST", path, bytes.NewReader(body), "Content-Type", mediaType).want(200)
	return mxc(u.s.t, r.text("content_uri"))
}

// announce makes an id to be filled later and returns "server/id".
func (u *user) announce() string {
	u.s.t.Helper()
	return mxc(u.s.t, u.post(createPath, nil).want(200).text("content_uri"))
}

func mxc(t *testing.T, uri string) string {
	t.Helper()
	s, ok := strings.CutPrefix(uri, "mxc://hs1/")
	if !ok || len(s) < 20 {
		t.Fatalf("got content URI %q", uri)
	}
	return "hs1/" + s
}

func wantHeader(t *testing.T, r *reply, name, want string) {
	t.Helper()
	if got := r.Header.Get(name); got != want {
		t.Errorf("%s: header %s: got %q, want %q", r.call, name, got, want)
	}
}

func TestContentCSAPIMediaV1(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		body := []byte("img data")
		id := alice.upload(body, "img/png", "test.png")
		r := bob.get(downloadPath + id).want(200)
		if !bytes.Equal(r.Raw, body) {
			t.Errorf("got %q, want %q", r.Raw, body)
		}
		wantHeader(t, r, "Content-Type", "img/png")
		wantHeader(t, r, "Content-Length", "8")
		wantHeader(t, r, "Content-Disposition", "attachment; filename=test.png")
		wantHeader(t, r, "Content-Security-Policy", "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';")
		wantHeader(t, r, "Cross-Origin-Resource-Policy", "cross-origin")
		wantHeader(t, r, "X-Content-Type-Options", "nosniff")
		wantHeader(t, r, "Access-Control-Allow-Origin", "*")
		h := bob.do("HEAD", downloadPath+id, nil).want(200)
		wantHeader(t, h, "Content-Length", "8")

		// The old path of the call uploads as well.
		r = alice.request("POST", "/_matrix/media/r0/upload", strings.NewReader("old")).want(200)
		r = bob.get(downloadPath + mxc(t, r.text("content_uri"))).want(200)
		wantHeader(t, r, "Content-Type", "application/octet-stream")
		wantHeader(t, r, "Content-Disposition", "attachment")
		// A file of no bytes is a file.
		if r := bob.get(downloadPath + alice.upload(nil, "text/plain", "")).want(200); len(r.Raw) != 0 {
			t.Errorf("got %q, want nothing", r.Raw)
		}
	})
}

func TestMediaConfig(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		for _, path := range []string{"/_matrix/client/v1/media/config", "/_matrix/media/v3/config", "/_matrix/media/r0/config"} {
			if got := alice.get(path).want(200).at("m.upload.size"); got != 100.*(1<<20) {
				t.Errorf("%s: got m.upload.size %v, want 100 MiB", path, got)
			}
			s.nobody().get(path).fails(401, "M_MISSING_TOKEN")
		}
	})
}

// TestMediaNeedsToken: no media for who has no token, under no path.
func TestMediaNeedsToken(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, nobody := s.register("alice"), s.nobody()
		id := alice.upload(pngImage(t, 200, 100), "image/png", "a.png")
		nobody.get(downloadPath+id).fails(401, "M_MISSING_TOKEN")
		nobody.get(downloadPath+id+"/a.png").fails(401, "M_MISSING_TOKEN")
		nobody.get(thumbnailPath+id+"?width=32&height=32").fails(401, "M_MISSING_TOKEN")
		nobody.post(uploadPath, "x").fails(401, "M_MISSING_TOKEN")
		nobody.post(createPath, nil).fails(401, "M_MISSING_TOKEN")
		nobody.put(uploadPath+"/"+id, "x").fails(401, "M_MISSING_TOKEN")
		(&user{s: s, Token: "made-up"}).get(downloadPath+id).fails(401, "M_UNKNOWN_TOKEN")
		for _, u := range []*user{nobody, alice} {
			for _, v := range []string{"v3", "r0"} {
				u.get("/_matrix/media/"+v+"/download/"+id).fails(404, "M_NOT_FOUND")
				u.get("/_matrix/media/"+v+"/download/"+id+"/a.png").fails(404, "M_NOT_FOUND")
				u.get("/_matrix/media/"+v+"/thumbnail/"+id+"?width=32&height=32").fails(404, "M_NOT_FOUND")
			}
		}
	})
}

func TestAsyncUpload(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		r := alice.post(createPath, nil).want(200) // Create media
		id := mxc(t, r.text("content_uri"))
		left := time.Until(time.UnixMilli(int64(r.at("unused_expires_at").(float64))))
		if left < 23*time.Hour || left > 25*time.Hour {
			t.Errorf("the id expires in %v, want 24 h", left)
		}
		// Not yet uploaded
		for _, path := range []string{"/_matrix/media/v3/download/", "/_matrix/media/r0/download/", downloadPath} {
			alice.get(path+id+"?timeout_ms=1").fails(504, "M_NOT_YET_UPLOADED")
		}
		alice.get(thumbnailPath+id+"?timeout_ms=1&width=32&height=32").fails(504, "M_NOT_YET_UPLOADED")
		s.nobody().get("/_matrix/media/v3/thumbnail/"+id+"?timeout_ms=1&width=32&height=32").fails(504, "M_NOT_YET_UPLOADED")
		// Upload media
		image := pngImage(t, 10, 10)
		r = alice.request("PUT", uploadPath+"/"+id+"?filename=test.png", bytes.NewReader(image), "Content-Type", "image/png").want(200)
		if string(r.Raw) != "{}" {
			t.Errorf("got %s, want {}", r.Raw)
		}
		// Cannot upload to a media ID that has already been uploaded to
		alice.put(uploadPath+"/"+id, "other").fails(409, "M_CANNOT_OVERWRITE_MEDIA")
		// Download media, over _matrix/client/v1/media/download
		r = alice.get(downloadPath + id).want(200)
		if !bytes.Equal(r.Raw, image) {
			t.Errorf("got %d bytes, want the %d of the image", len(r.Raw), len(image))
		}
		wantHeader(t, r, "Content-Type", "image/png")
		alice.get("/_matrix/media/v3/download/"+id).fails(404, "M_NOT_FOUND")
	})
}

func TestAsyncUploadErrors(t *testing.T) {
	eachClock(t, func(t *testing.T, s *stage, now *shifted) {
		alice, bob := s.register("alice"), s.register("bob")
		id := alice.announce()
		bob.put(uploadPath+"/"+id, "x").fails(403, "M_FORBIDDEN")
		alice.put(uploadPath+"/hs1/neverannounced", "x").fails(404, "M_NOT_FOUND")
		alice.put(uploadPath+"/other.example/"+strings.TrimPrefix(id, "hs1/"), "x").fails(404, "M_NOT_FOUND")
		alice.put(uploadPath+"/hs1/"+esc("../../etc/passwd"), "x").fails(404, "M_NOT_FOUND")
		full := alice.upload([]byte("x"), "text/plain", "")
		alice.put(uploadPath+"/"+full, "y").fails(409, "M_CANNOT_OVERWRITE_MEDIA")
		bob.put(uploadPath+"/"+full, "y").fails(403, "M_FORBIDDEN")

		for range 49 {
			alice.announce()
		}
		r := alice.post(createPath, nil).fails(429, "M_LIMIT_EXCEEDED")
		if r.Header.Get("Retry-After") == "" || r.at("retry_after_ms") == nil {
			t.Errorf("no time to retry after: %v %s", r.Header, r.Raw)
		}
		bob.announce()
		alice.put(uploadPath+"/"+id, "x").want(200)
		late := alice.announce() // one less waits
		now.add(25 * time.Hour)
		alice.put(uploadPath+"/"+late, "x").fails(404, "M_NOT_FOUND")
		alice.get(downloadPath+late+"?timeout_ms=1").fails(404, "M_NOT_FOUND")
		alice.get(downloadPath + id).want(200)
		alice.announce()
	})
}

// eachClock is each with a clock of its own for every server.
func eachClock(t *testing.T, fn func(t *testing.T, s *stage, now *shifted)) {
	t.Helper()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			now := &shifted{}
			fn(t, newStage(t, quintatest.Database(stores.Config(t, engine)), quintatest.Clock(now.now)), now)
		})
	}
}

// shifted is the real clock, moved ahead.
type shifted struct {
	mu sync.Mutex
	by time.Duration
}

func (c *shifted) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return time.Now().Add(c.by) }
func (c *shifted) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

// TestDownloadWaits: someone who asks for an announced file gets it as soon
// as it is there, and a server that stops lets no one wait.
func TestDownloadWaits(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		first, second := alice.announce(), alice.announce()
		others := s.Core.Hub.Waiting()
		waiting := func(n int) {
			for s.Core.Hub.Waiting() != others+n {
				if t.Context().Err() != nil {
					t.Fatal("no one waits")
				}
				time.Sleep(time.Millisecond)
			}
		}
		got := make(chan *reply)
		go func() { got <- bob.get(downloadPath + first + "?timeout_ms=60000") }()
		waiting(1)
		began := time.Now()
		alice.put(uploadPath+"/"+first, "here it is").want(200)
		if r := <-got; r.Status != 200 || string(r.Raw) != "here it is" {
			t.Errorf("got %d %q", r.Status, r.Raw)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("the waiter was woken after %v", d)
		}
		go func() { got <- bob.get(downloadPath + second + "?timeout_ms=60000") }()
		waiting(1)
		s.Stop()
		(<-got).fails(504, "M_NOT_YET_UPLOADED")
	})
}

func TestMediaErrors(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		id := alice.upload([]byte("x"), "text/plain", "")
		for _, c := range []struct {
			path string
			code int
			err  string
		}{
			{downloadPath + "hs1/unknown", 404, "M_NOT_FOUND"},
			{downloadPath + "other.example/" + strings.TrimPrefix(id, "hs1/"), 404, "M_NOT_FOUND"},
			{downloadPath + id + "?timeout_ms=-1", 400, "M_INVALID_PARAM"},
			{downloadPath + id + "?timeout_ms=soon", 400, "M_INVALID_PARAM"},
			{downloadPath + id + "/" + "%ff.txt", 400, "M_INVALID_PARAM"},
			{downloadPath + "hs1", 404, "M_UNRECOGNIZED"},
			{"/_matrix/client/v1/media/preview_url?url=" + url.QueryEscape(s.URL+"/"), 404, "M_UNRECOGNIZED"},
			{"/_matrix/media/v3/preview_url?url=" + url.QueryEscape(s.URL+"/"), 404, "M_UNRECOGNIZED"},
			{"/_matrix/media/v3/download/hs1/unknown", 404, "M_NOT_FOUND"},
		} {
			alice.get(c.path).fails(c.code, c.err)
		}
		alice.post(downloadPath+id, nil).fails(405, "M_UNRECOGNIZED")
		alice.request("POST", uploadPath+"?filename=%ff", strings.NewReader("x")).fails(400, "M_INVALID_PARAM")
	})
}

// TestPathTraversal asks for files outside of the media store in every form
// (CVE-2024-50336).
func TestPathTraversal(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.register("alice")
	for _, bad := range []string{"..", ".", "../../quinta.db", "..\\..\\quinta.db", "%2e%2e", "a/../../b", "a b", "a.b", "ä", strings.Repeat("a", 256), "a?b", "a#b", "a\nb"} {
		for _, path := range []string{"/_matrix/client/v1/media/download/hs1/%s", "/_matrix/client/v1/media/download/%s/abc", "/_matrix/client/v1/media/thumbnail/hs1/%s?width=1&height=1",
			"/_matrix/client/v1/media/thumbnail/%s/abc?width=1&height=1", "/_matrix/media/v3/download/hs1/%s", "/_matrix/media/v3/download/%s/abc"} {
			escaped := strings.ReplaceAll(esc(bad), ".", "%2e")
			if r := alice.get(fmt.Sprintf(path, escaped)); r.Status != 404 || r.Body["errcode"] != "M_NOT_FOUND" {
				t.Errorf("%s with %q: got %d %s, want 404 M_NOT_FOUND", path, bad, r.Status, r.Raw)
			}
		}
	}
	for _, raw := range []string{"hs1/../../../../etc/passwd", "hs1/..%2f..%2fquinta.db", "../config"} {
		if r := rawGet(t, s.URL, downloadPath+raw, alice.Token); !strings.HasPrefix(r, "HTTP/1.1 404 ") {
			t.Errorf("%s: got %.100q, want 404", raw, r)
		}
	}
}

// rawGet makes a call whose path no client library has cleaned.
func rawGet(t *testing.T, base, path, token string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: hs1\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", path, token)
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestUploadTooLarge: over the bound is M_TOO_LARGE, whether the length is
// said before or not, and nothing is kept.
func TestUploadTooLarge(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		body := bytes.Repeat([]byte("x"), 100_000)
		id := alice.upload(body, "text/plain", "") // exactly the bound
		if r := alice.get(downloadPath + id).want(200); len(r.Raw) != len(body) {
			t.Errorf("got %d bytes, want %d", len(r.Raw), len(body))
		}
		announced := alice.announce()
		over := append(body, 'x')
		chunked := func() io.Reader { return struct{ io.Reader }{bytes.NewReader(over)} }
		alice.request("POST", uploadPath, bytes.NewReader(over)).fails(413, "M_TOO_LARGE")
		alice.request("POST", uploadPath, chunked()).fails(413, "M_TOO_LARGE")
		alice.request("PUT", uploadPath+"/"+announced, bytes.NewReader(over)).fails(413, "M_TOO_LARGE")
		alice.request("PUT", uploadPath+"/"+announced, chunked()).fails(413, "M_TOO_LARGE")
		alice.request("PUT", uploadPath+"/"+announced, struct{ io.Reader }{bytes.NewReader(body)}).want(200)
		if got := alice.get("/_matrix/client/v1/media/config").want(200).at("m.upload.size"); got != 100_000. {
			t.Errorf("got m.upload.size %v", got)
		}
	}, quintatest.Configure(func(c *server.Config) { c.MaxUpload = 100_000 }))
}

func TestContentDisposition(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.register("alice")
	for _, c := range []struct{ mediaType, name, how, want string }{
		{"text/plain", "ascii", "inline", "ascii"},
		{"text/plain; charset=utf-8", "name with spaces", "inline", "name with spaces"},
		{"application/json", "name;with;semicolons", "inline", "name;with;semicolons"},
		{"image/png", `quo"te\d.png`, "inline", `quo"te_d.png`},
		{"image/jpeg", "Bücher 🐔.jpg", "inline", "Bücher 🐔.jpg"},
		{"application/pdf", "a.pdf", "attachment", "a.pdf"},
		{"image/svg+xml", "a.svg", "attachment", "a.svg"},
		{"text/html", "a.html", "attachment", "a.html"},
		{"application/javascript", "a.js", "attachment", "a.js"},
		{"TEXT/HTML; charset=utf-8", "", "attachment", ""},
		{"application/octet-stream", "../../a", "attachment", ".._.._a"},
		{"application/x-unknown", "a\r\nSet-Cookie: x", "attachment", "aSet-Cookie: x"},
		{"text/plain", "abc\u202egnp.exe", "inline", "abcgnp.exe"},
		{"text/plain", strings.Repeat("ä", 200), "inline", strings.Repeat("ä", 127)},
	} {
		id := alice.upload([]byte("x"), c.mediaType, c.name)
		r := alice.get(downloadPath + id).want(200)
		how, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
		if err != nil || how != c.how || params["filename"] != c.want {
			t.Errorf("%s %q: got %q, want %s of %q (%v)", c.mediaType, c.name, r.Header.Get("Content-Disposition"), c.how, c.want, err)
		}
		wantHeader(t, r, "Content-Type", c.mediaType)
		r = alice.get(downloadPath + id + "/other%2Fname.txt").want(200)
		if _, params, _ := mime.ParseMediaType(r.Header.Get("Content-Disposition")); params["filename"] != "other_name.txt" {
			t.Errorf("a name in the path: got %q", r.Header.Get("Content-Disposition"))
		}
	}
	for _, bad := range []string{"", "nonsense", "text/", "/", "text/plain/x", "text/plain; charset", "a/" + strings.Repeat("b", 300), "text/plain, text/html"} {
		id := mxc(t, alice.request("POST", uploadPath, strings.NewReader("x"), "Content-Type", bad).want(200).text("content_uri"))
		wantHeader(t, alice.get(downloadPath+id).want(200), "Content-Type", "application/octet-stream")
	}
}

func TestDownloadRange(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.register("alice")
	id := alice.upload([]byte("0123456789"), "text/plain", "")
	tag := alice.get(downloadPath + id).want(200).Header.Get("ETag")
	for _, c := range []struct {
		header []string
		status int
		want   string
	}{
		{[]string{"Range", "bytes=2-4"}, 206, "234"},
		{[]string{"Range", "bytes=7-"}, 206, "789"},
		{[]string{"Range", "bytes=-2"}, 206, "89"},
		{[]string{"Range", "bytes=0-1,3-4,6-7"}, 200, "0123456789"}, // one range or all
		{[]string{"Range", "bytes=2-4", "If-Range", tag}, 206, "234"},
		{[]string{"Range", "bytes=2-4", "If-Range", `"other"`}, 200, "0123456789"},
		{[]string{"If-None-Match", tag}, 304, ""},
	} {
		r := alice.request("GET", downloadPath+id, nil, c.header...).want(c.status)
		if string(r.Raw) != c.want {
			t.Errorf("%v: got %q, want %q", c.header, r.Raw, c.want)
		}
	}
	alice.request("GET", downloadPath+id, nil, "Range", "bytes=10-").want(416)
}

// TestUploadTorn: a client that goes away in the middle of an upload leaves
// nothing, and the announced id can still be filled.
func TestUploadTorn(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		id := alice.announce()
		for _, head := range []string{"Content-Length: 200000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n30d40\r\n"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "PUT %s/%s HTTP/1.1\r\nHost: hs1\r\nAuthorization: Bearer %s\r\n%s%s", uploadPath, id, alice.Token, head, strings.Repeat("x", 100_000))
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
				t.Errorf("half an upload: got %.100q, %v", answer, err)
			}
			conn.Close()
		}
		alice.get(downloadPath+id+"?timeout_ms=0").fails(504, "M_NOT_YET_UPLOADED")
		alice.put(uploadPath+"/"+id, "whole").want(200)
		if r := alice.get(downloadPath + id).want(200); string(r.Raw) != "whole" {
			t.Errorf("got %q", r.Raw)
		}
	})
}

// TestUploadDiskFull: a full disk is an error of its own, nothing is half
// done, and afterwards everything continues.
func TestUploadDiskFull(t *testing.T) {
	t.Parallel()
	var full struct {
		sync.Mutex
		on bool
	}
	set := func(on bool) { full.Lock(); defer full.Unlock(); full.on = on }
	s := newStage(t, quintatest.Configure(func(c *server.Config) {
		c.BlobFaults = func(op string) error {
			full.Lock()
			defer full.Unlock()
			if full.on && op == "write" {
				return syscall.ENOSPC
			}
			return nil
		}
	}))
	alice := s.register("alice")
	id := alice.announce()
	set(true)
	alice.post(uploadPath, "x").fails(507, "M_UNKNOWN")
	alice.put(uploadPath+"/"+id, "x").fails(507, "M_UNKNOWN")
	set(false)
	alice.get(downloadPath+id+"?timeout_ms=0").fails(504, "M_NOT_YET_UPLOADED")
	alice.put(uploadPath+"/"+id, "x").want(200)
	alice.get(downloadPath + id).want(200)
}

func TestUploadRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newStage(t, quintatest.RateLimits(), quintatest.Clock(func() time.Time { return now }))
	alice := s.register("alice")
	for range 100 {
		alice.post(uploadPath, "x").want(200)
	}
	alice.post(uploadPath, "x").fails(429, "M_LIMIT_EXCEEDED")
}
