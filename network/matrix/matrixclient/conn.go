package matrixclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// Bounds of what a server may send and how long it may take.
const (
	maxAnswer = 8 << 20  // most answers
	maxLarge  = 64 << 20 // sync, members, messages and device lists
	maxError  = 64 << 10 // the body of an error

	answerWithin = time.Minute
	// stallWithin is how long a stream of a file may stand still.
	stallWithin = time.Minute
)

// clientAPI is the path of the client-server API as this package writes it; a
// server that only knows the older path gets that one, see route.
const clientAPI = "/_matrix/client/v3"

// newTransport returns the transport of a connection. Certificates are
// verified, as the zero TLS configuration does.
func newTransport() *http.Transport {
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

// A conn speaks HTTP with one homeserver. It is safe for concurrent use.
type conn struct {
	http *http.Client
	// base is the address of the homeserver without a slash at its end.
	base  string
	token client.Secret
	now   func() time.Time

	mu    sync.Mutex
	known *features
}

// newConn returns a connection to the homeserver at base. It follows no
// redirect: what a redirect may do is decided by each call.
func newConn(rt http.RoundTripper, base string, token client.Secret, now func() time.Time) *conn {
	if rt == nil {
		rt = newTransport()
	}
	return &conn{
		http: &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: base, token: token, now: now,
	}
}

// close gives up the connections that are not in use.
func (c *conn) close() { c.http.CloseIdleConnections() }

// A request is one call of the API.
type request struct {
	method string
	// path is escaped and has the query; it begins with "/_matrix/".
	path string
	// body is JSON, or nil.
	body []byte
	// open says that no access token is sent.
	open bool
	// max bounds the answer, within its time; the zero values mean maxAnswer
	// and answerWithin.
	max    int64
	within time.Duration
}

// An answer is the body of a success, whole.
type answer struct {
	header http.Header
	body   []byte
}

// decode reads the answer's JSON into v.
func (a answer) decode(op string, v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return quinta.E(quinta.KindMalformed, op, "the server's answer is not what the specification says")
	}
	return nil
}

// call carries out a request. Every error is a *quinta.Error or wraps one,
// and wraps a *wire.Error if the server gave one.
func (c *conn) call(ctx context.Context, op string, q request) (answer, error) {
	if q.within == 0 {
		q.within = answerWithin
	}
	if q.max == 0 {
		q.max = maxAnswer
	}
	ctx, cancel := context.WithTimeoutCause(ctx, q.within, errSlow)
	defer cancel()
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, c.base+c.route(q.path), body)
	if err != nil {
		return answer{}, quinta.E(quinta.KindInvalid, op, "the request has no valid address")
	}
	if q.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.send(op, r, q.open)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return answer{}, refusal(op, resp, c.now())
	}
	b, err := readAll(resp.Body, q.max)
	if err != nil {
		return answer{}, c.broken(ctx, op, err)
	}
	return answer{resp.Header, b}, nil
}

// ask is call with JSON on both sides; in and out may be nil.
func (c *conn) ask(ctx context.Context, op, method, path string, in, out any) error {
	q := request{method: method, path: path}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
		}
		q.body = b
	}
	a, err := c.call(ctx, op, q)
	if err != nil || out == nil {
		return err
	}
	return a.decode(op, out)
}

// send puts the headers on and sends.
func (c *conn) send(op string, r *http.Request, open bool) (*http.Response, error) {
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "quinta")
	if !open {
		r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.broken(r.Context(), op, err)
	}
	return resp, nil
}

var (
	errSlow  = errors.New("the server did not answer in time")
	errLarge = errors.New("the server's answer is too large")
)

// broken says what ended a request that has no answer.
func (c *conn) broken(ctx context.Context, op string, err error) error {
	if errors.Is(err, errLarge) {
		return quinta.E(quinta.KindTooLarge, op, errLarge.Error())
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSlow) || errors.Is(cause, errStalled):
		err = cause
	case cause != nil:
		return cause
	}
	// The address in the error is not repeated: it can hold what a user typed.
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return &quinta.Error{Kind: quinta.KindUnavailable, Op: op, Err: err}
}

// readAll reads at most max bytes, and errLarge if there are more.
func readAll(r io.Reader, max int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(b)) > max {
		err = errLarge
	}
	return b, err
}

// refusal makes the error of an answer that is no success.
func refusal(op string, resp *http.Response, now time.Time) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		b = nil // the status says enough
	}
	we := wire.ParseError(resp.StatusCode, b)
	if we.RetryAfter == 0 {
		we.RetryAfter = wire.RetryAfter(resp.Header.Get("Retry-After"), now)
	}
	e := &quinta.Error{Kind: kindOf(we), Op: op, Err: we}
	if resp.StatusCode/100 == 3 {
		e.Err = fmt.Errorf("the server sends this request elsewhere (%d), which is not followed", resp.StatusCode)
	}
	if we.RetryAfter > 0 && (e.Kind == quinta.KindLimited || e.Kind == quinta.KindUnavailable) {
		return &client.RetryError{After: we.RetryAfter, Err: e}
	}
	return e
}

// kindOf turns a refusal into the words of the core.
func kindOf(e *wire.Error) quinta.Kind {
	switch e.Code {
	case wire.CodeUnknownToken, wire.CodeMissingToken:
		if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
			return quinta.KindUnauthenticated
		}
	case wire.CodeLimitExceeded:
		return quinta.KindLimited
	case wire.CodeUserInUse, wire.CodeRoomInUse:
		return quinta.KindExists
	case wire.CodeUserDeactivated:
		return quinta.KindForbidden
	}
	switch s := e.Status; {
	case s == http.StatusUnauthorized:
		return quinta.KindUnauthenticated
	case s == http.StatusForbidden:
		return quinta.KindForbidden
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed, s == http.StatusGone:
		return quinta.KindNotFound
	case s == http.StatusConflict:
		return quinta.KindConflict
	case s == http.StatusRequestEntityTooLarge:
		return quinta.KindTooLarge
	case s == http.StatusTooManyRequests:
		return quinta.KindLimited
	case s == http.StatusNotImplemented, s == http.StatusInsufficientStorage:
		return quinta.KindInvalid
	case s == http.StatusRequestTimeout, s >= 500:
		return quinta.KindUnavailable
	}
	return quinta.KindInvalid
}

// codeOf returns the error code of a refusal in err's chain, or "".
func codeOf(err error) wire.Code {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return we.Code
	}
	return ""
}

// path joins escaped elements below the client API.
func path(elems ...string) string {
	var b strings.Builder
	b.WriteString(clientAPI)
	for _, e := range elems {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(e))
	}
	return b.String()
}
