package caclient

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

// Bounds of what a server may send.
const (
	maxAnswer = 8 << 20  // most answers
	maxLarge  = 64 << 20 // the mailbox, history, key lists, revocation list
	maxError  = 256 << 10
)

// A conn speaks with one server. It is safe for concurrent use.
type conn struct {
	http *http.Client
	// base is the address of the server without a slash at its end.
	base  string
	token client.Secret
	now   func() time.Time
}

func newConn(rt http.RoundTripper, base string, token client.Secret, now func() time.Time) *conn {
	return &conn{http: dial.NewClient(rt), base: base, token: token, now: now}
}

// close gives up the connections that are not in use.
func (c *conn) close() { c.http.CloseIdleConnections() }

// A request is one call.
type request struct {
	method string
	// path is escaped, stands below wire.Base, and has the query.
	path string
	// body is JSON, or nil.
	body []byte
	// open says that no token is sent.
	open bool
	// max bounds the answer and within its time; zero means maxAnswer and
	// dial.AnswerWithin.
	max    int64
	within time.Duration
}

// call carries out a request and returns the body of a success, whole, with
// its header. Every error is a *quinta.Error or wraps one, and wraps a
// *wire.Error if the server gave one.
func (c *conn) call(ctx context.Context, op string, q request) ([]byte, http.Header, error) {
	if q.max == 0 {
		q.max = maxAnswer
	}
	return dial.Call(ctx, op, dial.Request{Method: q.method, URL: c.base + wire.Base + q.path, Body: q.body, Max: q.max, Within: q.within},
		func(op string, r *http.Request) (*http.Response, error) { return c.send(op, r, q.open) }, c.refusal)
}

// ask is call with JSON on both sides; in and out may be nil.
func (c *conn) ask(ctx context.Context, op string, q request, in, out any) error {
	if in != nil {
		b, err := dial.JSON(op, in)
		if err != nil {
			return err
		}
		q.body = b
	}
	b, _, err := c.call(ctx, op, q)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return quinta.E(quinta.KindMalformed, op, "the server's answer is not JSON of this network")
	}
	return nil
}

// send puts the headers on and sends.
func (c *conn) send(op string, r *http.Request, open bool) (*http.Response, error) {
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

// kindOf turns a refusal into the words of the core. A page from something in
// front of the server has no code: it is trouble on the way, unless its
// status says that repeating is useless.
func kindOf(e *wire.Error) quinta.Kind {
	for kind, row := range wire.Kinds {
		if row.Code == e.Code && kind != quinta.KindInternal {
			return kind
		}
	}
	switch s := e.Status; {
	case s == http.StatusUnauthorized && e.Code != "":
		return quinta.KindUnauthenticated
	case e.Code == wire.CodePossession, e.Code == wire.CodeApproval:
		return quinta.KindForbidden
	case e.Code == wire.CodeNonce, e.Code == wire.CodeState, e.Code == wire.CodeStaleKeys, e.Code == wire.CodeNotChosen, e.Code == wire.CodeUndelivered:
		return quinta.KindConflict
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		return quinta.KindNotFound
	case s == http.StatusForbidden:
		return quinta.KindForbidden
	case s == http.StatusRequestEntityTooLarge:
		return quinta.KindTooLarge
	case s == http.StatusTooManyRequests:
		return quinta.KindLimited
	case s == http.StatusRequestTimeout, s >= 500:
		return quinta.KindUnavailable
	}
	return quinta.KindInvalid
}
