package dial_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-1": 0, "soon": 0, "99999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:00:00 GMT": 0,
	} {
		if got := dial.RetryAfter(http.Header{"Retry-After": {header}}, now); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	if got := dial.Path("/rooms/{room}/members/{user}", "a/b", "../c?"); got != "/rooms/a%2Fb/members/..%2Fc%3F" {
		t.Errorf("got %s", got)
	}
}

// TestCall: a success comes whole with its header; a refusal has the kind that
// the network gives it, and says when to try again only where that is worth it;
// a redirect is not followed; an answer has a bound, in bytes and in time.
func TestCall(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		switch r.URL.Path {
		case "/echo":
			if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("User-Agent") != "quinta" || r.Header.Get("X-Own") != "yes" {
				t.Errorf("got the header %v", r.Header)
			}
			w.Write([]byte(`{"a":1}`))
		case "/busy":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/away":
			http.Redirect(w, r, "/echo", http.StatusFound)
		case "/large":
			w.Write(make([]byte, 101))
		case "/slow":
			<-end
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(end) })
	c := dial.NewClient(nil)
	send := func(op string, r *http.Request) (*http.Response, error) { return dial.Send(c, op, r) }
	call := func(path string, kind quinta.Kind) ([]byte, error) {
		b, _, err := dial.Call(t.Context(), "testing", dial.Request{Method: http.MethodPost, URL: s.URL + path, Header: http.Header{"X-Own": {"yes"}},
			Body: []byte("{}"), Max: 100, Within: 2 * time.Second}, send, func(op string, resp *http.Response) error {
			return dial.Refusal(op, resp, kind, errors.New("no"), dial.RetryAfter(resp.Header, time.Now()))
		})
		return b, err
	}
	if b, err := call("/echo", 0); string(b) != `{"a":1}` || err != nil {
		t.Errorf("got %s, %v", b, err)
	}
	_, err := call("/busy", quinta.KindLimited)
	if re, ok := errors.AsType[*client.RetryError](err); !ok || re.After != 7*time.Second || quinta.KindOf(err) != quinta.KindLimited {
		t.Errorf("got %v for a limit", err)
	}
	_, err = call("/busy", quinta.KindForbidden)
	if _, ok := errors.AsType[*client.RetryError](err); ok || quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("got %v for what does not pass", err)
	}
	if _, err := call("/away", quinta.KindInvalid); quinta.KindOf(err) != quinta.KindInvalid || !strings.Contains(err.Error(), "redirects this request (302)") {
		t.Errorf("got %v for a redirect", err)
	}
	if _, err := call("/large", 0); quinta.KindOf(err) != quinta.KindTooLarge {
		t.Errorf("got %v for a large answer", err)
	}
	if _, err := call("/slow", 0); quinta.KindOf(err) != quinta.KindUnavailable || !errors.Is(err, dial.ErrSlow) {
		t.Errorf("got %v for a slow answer", err)
	}
}
