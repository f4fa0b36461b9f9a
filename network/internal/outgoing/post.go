package outgoing

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta/server"
)

// The times of deliveries to gateways.
const (
	Timeout   = 20 * time.Second // of one request
	Idle      = 30 * time.Second // a look without a wake-up
	Lease     = 60 * time.Second // how long a node has for one delivery
	MaxTries  = 30
	firstWait = 10 * time.Second // the wait after the first failure; it doubles
	mostWait  = time.Hour
)

// Wait returns how long to wait after a failed delivery that had failed the
// given number of times before.
func Wait(failed int) time.Duration { return min(firstWait<<min(max(failed, 0), 10), mostWait) }

// NewClient returns a client for requests to gateways. It connects to public
// addresses only, unless private is set, and follows no redirection.
func NewClient(private bool, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !private {
		dialer.Control = Control
	}
	return &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Rounds calls round until ctx ends: at once, when a key of the hub is woken, and when
// the time has passed that round returned. Errors of round are logged.
func Rounds(ctx context.Context, c *server.Core, key string, round func(ctx context.Context) (time.Duration, error)) error {
	w := c.Hub.Wait(key)
	defer w.Close()
	for ctx.Err() == nil {
		next, err := round(ctx)
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("notifying gateways failed, and will be tried again", "of", key, "err", err)
		}
		t := time.NewTimer(max(min(next, Idle), 50*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-w.C():
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}
