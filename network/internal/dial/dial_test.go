package dial_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

func TestCheckBase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://example.org":            "https://example.org",
		"https://example.org/":           "https://example.org",
		"https://example.org:8448/a/b//": "https://example.org:8448/a/b",
		"http://127.0.0.1:8008":          "http://127.0.0.1:8008",
		"http://[::1]:8008/":             "http://[::1]:8008",
		"http://localhost":               "http://localhost",
		"http://localhost.example.org":   "",
		"http://127.0.0.1.example.org":   "",
		"http://example.org":             "",
		"javascript:alert(1)":            "",
		"https://a@example.org":          "",
		"https://example.org#x":          "",
		"https://exa mple.org":           "",
	} {
		got, err := dial.CheckBase(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

// TestBroken: an error says what ended the call, and never where it went.
func TestBroken(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	address := s.URL
	s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/canary-in-the-path", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dial.NewClient(nil).Do(r)
	got := dial.Broken(t.Context(), "calling", err)
	if quinta.KindOf(got) != quinta.KindUnavailable || strings.Contains(got.Error(), "canary") || !strings.HasPrefix(got.Error(), "calling: ") {
		t.Errorf("got %v, want an unavailable server and no address", got)
	}
	if got := dial.Broken(t.Context(), "calling", dial.ErrLarge); quinta.KindOf(got) != quinta.KindTooLarge {
		t.Errorf("got %v, want it too large", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := dial.Broken(gone, "calling", err); !errors.Is(got, context.Canceled) {
		t.Errorf("got %v, want that the caller gave up", got)
	}
	slow, cancel2 := context.WithTimeoutCause(t.Context(), 0, dial.ErrSlow)
	defer cancel2()
	if got := dial.Broken(slow, "calling", err); quinta.KindOf(got) != quinta.KindUnavailable || !errors.Is(got, dial.ErrSlow) {
		t.Errorf("got %v, want that the server was slow", got)
	}
}

// TestNoRedirect: a client goes nowhere by itself.
func TestNoRedirect(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	t.Cleanup(s.Close)
	resp, err := dial.NewClient(nil).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("got %d, want the redirect itself", resp.StatusCode)
	}
}

func TestReadAll(t *testing.T) {
	t.Parallel()
	if b, err := dial.ReadAll(strings.NewReader("12345"), 5); string(b) != "12345" || err != nil {
		t.Errorf("got %q %v", b, err)
	}
	if _, err := dial.ReadAll(strings.NewReader("123456"), 5); !errors.Is(err, dial.ErrLarge) {
		t.Errorf("got %v, want ErrLarge", err)
	}
}

// TestSpool: what is spooled is there from its beginning, and gone after.
func TestSpool(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("sealed"), 1000)
	f, n, err := dial.Spool(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err != nil || n != int64(len(want)) || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes and %v, want %d", len(got), err, len(want))
	}
	dial.Discard(f)
	if _, err := os.Stat(f.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the file gone", err)
	}
	bad := errors.New("broken")
	if _, _, err := dial.Spool(io.MultiReader(strings.NewReader("x"), iotestErr{bad})); !errors.Is(err, bad) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

// TestUploadBody: Wait returns when the transport reads no more.
func TestUploadBody(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != 3 {
			t.Errorf("got %d bytes and %v, want 3", n, err)
		}
	}))
	t.Cleanup(s.Close)
	ctx, w := dial.NewWatch(t.Context())
	defer w.Stop()
	body := dial.NewUploadBody(w.Reader(strings.NewReader("abc")))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 3
	resp, err := dial.NewClient(nil).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	body.Wait()
	w.Rest()
	if ctx.Err() != nil {
		t.Errorf("got %v, want the context to go on", ctx.Err())
	}
	w.Stop()
	if ctx.Err() == nil {
		t.Error("want the context to end")
	}
}

// TestPassing: what may pass is worth another try, and keeps its cause; what
// does not stays as it is.
func TestPassing(t *testing.T) {
	t.Parallel()
	for _, k := range quinta.Kinds() {
		err := quinta.E(k, "asking", "a reason")
		got := dial.Passing(err, quinta.KindTooLarge)
		want := quinta.KindUnavailable
		if k == quinta.KindLimited || k == quinta.KindUnauthenticated || k == quinta.KindTooLarge {
			want = k
		}
		if quinta.KindOf(got) != want || !errors.Is(got, err) {
			t.Errorf("%v: got %v of kind %v, want kind %v", k, got, quinta.KindOf(got), want)
		}
	}
	if got := dial.Passing(context.Canceled); got != context.Canceled {
		t.Errorf("got %v, want that the caller gave up", got)
	}
}
