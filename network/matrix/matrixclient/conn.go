package matrixclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// Bounds of what a server may send and how long it may take.
const (
	maxAnswer = 8 << 20  // most answers
	maxLarge  = 64 << 20 // sync, members, messages and device lists
	maxError  = 64 << 10 // the body of an error
)

// clientAPI is the path of the client-server API as this package writes it; a
// server that only knows the older path gets that one, see route.
const clientAPI = "/_matrix/client/v3"

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
	return &conn{http: dial.NewClient(rt), base: base, token: token, now: now}
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
	// and dial.AnswerWithin.
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
	if !q.open {
		// Which paths the server knows stands in its versions.
		if _, err := c.features(ctx); err != nil {
			return answer{}, err
		}
	}
	if q.within == 0 {
		q.within = dial.AnswerWithin
	}
	if q.max == 0 {
		q.max = maxAnswer
	}
	ctx, cancel := context.WithTimeoutCause(ctx, q.within, dial.ErrSlow)
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
	b, err := dial.ReadAll(resp.Body, q.max)
	if err != nil {
		return answer{}, dial.Broken(ctx, op, err)
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
		return nil, dial.Broken(r.Context(), op, err)
	}
	return resp, nil
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
