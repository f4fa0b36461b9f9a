// Package dial is the outgoing half of HTTP that the client halves share: the
// transport, the checks of an address that a user typed, the limits on the
// size and time of an answer, and the streaming of files.
//
// Nothing here follows a redirect, keeps a cookie, or knows a token. No error
// repeats an address, because it may contain what a user typed.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
)

// AnswerWithin is how long a server may take for an answer that is not a long
// poll and not a file.
const AnswerWithin = time.Minute

// Errors of this package, inside of a *quinta.Error where Broken made it.
var (
	// ErrSlow: the server did not answer in the time that the call had.
	ErrSlow = errors.New("the server did not answer in time")
	// ErrLarge: the answer, or the file, exceeds its bound.
	ErrLarge = errors.New("the server's answer is too large")
	// ErrStalled: a transfer stalled.
	ErrStalled = errors.New("the transfer of the file stalled")
)

// NewTransport returns the transport of a connection. It verifies
// certificates, as the zero TLS configuration does, and uses the proxy from
// the environment.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    20 * time.Second,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
}

// NewClient returns a client over rt, or over NewTransport if it is nil. It
// follows no redirects: each call decides what to do about one.
func NewClient(rt http.RoundTripper) *http.Client {
	if rt == nil {
		rt = NewTransport()
	}
	return &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Broken says why a request has no answer, or why its answer broke off: an
// error of KindUnavailable, of KindTooLarge for ErrLarge, or the cause for
// which the caller's context ended.
func Broken(ctx context.Context, op string, err error) error {
	if errors.Is(err, ErrLarge) {
		return quinta.E(quinta.KindTooLarge, op, ErrLarge.Error())
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrSlow) || errors.Is(cause, ErrStalled):
		err = cause
	case cause != nil:
		return cause
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return &quinta.Error{Kind: quinta.KindUnavailable, Op: op, Err: err}
}

// Passing turns an error that may be temporary into one of KindUnavailable,
// after which another attempt makes sense. Not temporary are a missing login,
// the caller's own cancellation, and errors of the final kinds.
func Passing(err error, final ...quinta.Kind) error {
	switch k := quinta.KindOf(err); {
	case k == quinta.KindUnavailable, k == quinta.KindLimited, k == quinta.KindUnauthenticated, slices.Contains(final, k):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &quinta.Error{Kind: quinta.KindUnavailable, Err: err}
}

// ReadAll reads at most max bytes, and ErrLarge if there are more.
func ReadAll(r io.Reader, max int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(b)) > max {
		err = ErrLarge
	}
	return b, err
}

// CheckBase checks an address of a server and returns it without a slash at
// its end. A password never travels in clear: plain HTTP is for the local
// machine only.
func CheckBase(s string) (string, error) {
	const op = "reading the server's address"
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", quinta.E(quinta.KindInvalid, op, "it is not an address such as https://example.org")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", quinta.E(quinta.KindInvalid, op, "an address of a server has no user, no query and no fragment")
	case u.Scheme == "https":
	case u.Scheme == "http" && Loopback(u.Hostname()):
	case u.Scheme == "http":
		return "", quinta.E(quinta.KindInvalid, op, "plain http would show the password to everyone on the way: use https")
	default:
		return "", quinta.E(quinta.KindInvalid, op, "it does not begin with https://")
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

// Loopback reports whether a host is the local machine.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
