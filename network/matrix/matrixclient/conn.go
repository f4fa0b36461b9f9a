package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
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
		// Its versions say which paths the server knows.
		if _, err := c.features(ctx); err != nil {
			return answer{}, err
		}
	}
	if q.max == 0 {
		q.max = maxAnswer
	}
	body, header, err := dial.Call(ctx, op, dial.Request{Method: q.method, URL: c.base + c.route(q.path), Body: q.body, Max: q.max, Within: q.within},
		func(op string, r *http.Request) (*http.Response, error) { return c.send(op, r, q.open) }, c.refusal)
	return answer{header, body}, err
}

// ask is call with JSON on both sides; in and out may be nil.
func (c *conn) ask(ctx context.Context, op, method, path string, in, out any) error {
	body, err := dial.JSON(op, in)
	if err != nil {
		return err
	}
	q := request{method: method, path: path, body: body}
	a, err := c.call(ctx, op, q)
	if err != nil || out == nil {
		return err
	}
	return a.decode(op, out)
}

// send puts the headers on and sends.
func (c *conn) send(op string, r *http.Request, open bool) (*http.Response, error) {
	r.Header.Set("Accept", "application/json")
	if !open {
		r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	return dial.Send(c.http, op, r)
}

// refusal makes the error of an answer that is not a success.
func (c *conn) refusal(op string, resp *http.Response) error {
	we := wire.ParseError(resp.StatusCode, dial.RefusalBody(resp, maxError))
	if we.RetryAfter == 0 {
		we.RetryAfter = dial.RetryAfter(resp.Header, c.now())
	}
	return dial.Refusal(op, resp, kindOf(we), we, we.RetryAfter)
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
	case wire.CodeResourceLimit:
		return quinta.KindQuota
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
