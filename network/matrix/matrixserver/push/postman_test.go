package push

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quinta-chat/quinta/network/internal/outgoing"
)

// TestAttackPrivateGateway: a push gateway on loopback, by its address, by an
// IPv6 form of it and by a name, gets nothing unless the operator wants that.
func TestAttackPrivateGateway(t *testing.T) {
	t.Parallel()
	var got atomic.Int64
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	defer gateway.Close()
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "localhost"} {
		url := strings.Replace(gateway.URL, "127.0.0.1", host, 1) + Path
		post := func(private bool) error {
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
			if err != nil {
				return err
			}
			a, err := outgoing.NewClient(private, outgoing.Timeout).Do(q)
			if err == nil {
				err = a.Body.Close()
			}
			return err
		}
		before := got.Load()
		if err := post(false); !errors.Is(err, outgoing.ErrNotPublic) || got.Load() != before {
			t.Errorf("%s: got %v and %d requests, want ErrNotPublic and none", host, err, got.Load()-before)
		}
		if err := post(true); err != nil || got.Load() != before+1 {
			t.Errorf("%s, as the operator wants: got %v and %d requests", host, err, got.Load()-before)
		}
	}
}
