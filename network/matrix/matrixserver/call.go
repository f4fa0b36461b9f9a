package matrixserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
)

// The bounds of most bodies, of calls that need a token and of those that do
// not.
const (
	maxBody     = 1 << 20
	maxOpenBody = 64 << 10
)

// The rates of most calls: those that only read and those that write, for one
// user, and those that need no token, for one address.
var (
	rateRead  = server.Rate{Every: 20 * time.Millisecond, Burst: 500}
	rateWrite = server.Rate{Every: 20 * time.Millisecond, Burst: 300}
	rateOpen  = server.Rate{Every: 100 * time.Millisecond, Burst: 200}
)

// callTimeout bounds a call that neither waits for something to happen nor
// carries a file.
const callTimeout = 60 * time.Second

// A call is one request on its way through its endpoint.
type call struct {
	*homeserver
	w  http.ResponseWriter
	r  *http.Request
	ep *endpoint
	// vars are the values of the path's variables.
	vars []string
	// user, device: whose access token came with the request; empty at an
	// open endpoint.
	user   quinta.UserID
	device quinta.DeviceID

	body    []byte
	gotBody bool
	query   url.Values
	// done says that the handler has written the answer itself.
	done bool
}

// run finds the endpoint, checks the token and calls the handler.
func (c *call) run() (any, error) {
	ep, vars, known := c.router.find(c.r.Method, c.r.URL.EscapedPath())
	if ep == nil {
		if known {
			return nil, wire.NewError(http.StatusMethodNotAllowed, wire.CodeUnrecognized, "this path does not support the method "+c.r.Method)
		}
		return nil, wire.NewError(http.StatusNotFound, wire.CodeUnrecognized, "there is no such call")
	}
	c.ep, c.vars = ep, vars
	server.SetRoute(c.w, ep.route)
	who := server.ByAddr(c.addr())
	if !ep.open {
		if err := c.authenticate(); err != nil {
			return nil, c.givenUp(err)
		}
		who = server.ByUser(network, c.user)
	}
	if err := limited(c.Calls.Allow(ep.counted, who, ep.rate, 1)); err != nil {
		return nil, err
	}
	for _, v := range vars {
		if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the path contains bytes that are not text")
		}
	}
	if !ep.long {
		ctx, cancel := context.WithTimeout(c.r.Context(), callTimeout)
		defer cancel()
		c.r = c.r.WithContext(ctx)
	}
	v, err := ep.handle(c)
	// Judged here, since the context ends with this function.
	return v, c.givenUp(err)
}

// givenUp turns an error of a call whose context has ended into the answer for
// that: the client went away, or closed its half of the connection and still
// listens (an answer left out would be an empty 200), or it took too long.
func (c *call) givenUp(err error) error {
	if _, ok := errors.AsType[*wire.Error](err); err == nil || ok || c.ctx().Err() == nil || quinta.KindOf(err) != quinta.KindInternal {
		return err
	}
	return wire.NewError(http.StatusServiceUnavailable, wire.CodeUnknown, "the call was abandoned before it was done")
}

// ctx returns the context of the request.
func (c *call) ctx() context.Context { return c.r.Context() }

// path returns the value of a variable of the path.
func (c *call) path(name string) string {
	for i, p := range c.ep.params {
		if p == name {
			return c.vars[i]
		}
	}
	panic("matrixserver: internal error: " + c.ep.route + " has no variable " + name)
}

// param returns the value of a query parameter, or "".
func (c *call) param(name string) string {
	if c.query == nil {
		c.query = c.r.URL.Query()
	}
	return c.query.Get(name)
}

// paramInt returns a whole number from a query parameter, def if it is
// absent, and M_INVALID_PARAM if it is not a number from min to max; a number
// above max is lowered to it.
func (c *call) paramInt(name string, def, min, max int64) (int64, error) {
	n, ok := incoming.Int(c.param(name), def, min, max)
	if !ok {
		return 0, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, name+" is not a suitable number")
	}
	return n, nil
}

// authenticate finds whose token came with the request.
func (c *call) authenticate() error {
	o, err := incoming.Owner(c.Core, c.r, network)
	switch {
	case errors.Is(err, incoming.ErrNoToken):
		return wire.NewError(http.StatusUnauthorized, wire.CodeMissingToken, "the call needs an access token in the Authorization header")
	case errors.Is(err, incoming.ErrToken):
		return wire.NewError(http.StatusUnauthorized, wire.CodeUnknownToken, "the access token is unknown, no longer valid, or of another network").With("soft_logout", false)
	}
	c.user, c.device = o.User, o.Device
	return err
}

// addr returns the address that the request came from, without the port.
func (c *call) addr() string { return incoming.Addr(c.r) }

// account returns the caller's account name.
func (c *call) account() account.Name { return c.accountOf(c.user) }

// accountOf returns the account name of a user of this server, or "".
func (s *homeserver) accountOf(id quinta.UserID) account.Name {
	local, host, ok := wire.SplitUserID(id)
	if !ok || host != s.Core.Name {
		return ""
	}
	return account.Name(local)
}

// readBody returns the whole body, within the endpoint's bound.
func (c *call) readBody() ([]byte, error) {
	if c.gotBody {
		return c.body, nil
	}
	limit := c.ep.body
	b, err := incoming.Body(c.Core, c.w, c.r, limit)
	switch {
	case errors.Is(err, incoming.ErrLarge):
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
	case errors.Is(err, incoming.ErrBusy):
		return nil, err
	case err != nil:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "the body could not be read to its end")
	}
	c.body, c.gotBody = b, true
	return c.body, nil
}

// object returns the body, which must be one JSON object: M_NOT_JSON if it is
// not JSON in UTF-8, M_BAD_JSON if it is something else or nested too deeply.
// An empty body counts as an empty object.
func (c *call) object() (json.RawMessage, error) {
	b, err := c.readBody()
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return json.RawMessage("{}"), nil
	}
	switch err := canonicaljson.Valid(b); {
	case errors.Is(err, canonicaljson.ErrNotJSON):
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeNotJSON, "the body is not JSON")
	case errors.Is(err, canonicaljson.ErrTooDeep):
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "the body is nested too deeply")
	}
	if b[0] != '{' {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "the body is not a JSON object")
	}
	return b, nil
}

// event returns the body as object does, and refuses with M_BAD_JSON what has
// no canonical form: the content of an event must have one.
func (c *call) event() (json.RawMessage, error) {
	b, err := c.object()
	if err != nil {
		return nil, err
	}
	if err := canonicaljson.Valid(b); err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "the body has no canonical form: "+strings.TrimPrefix(err.Error(), "canonicaljson: "))
	}
	return b, nil
}

// decode reads the body as object does, into v.
func (c *call) decode(v any) error {
	b, err := c.object()
	if err != nil {
		return err
	}
	return decode(b, v)
}

// decode reads JSON text into v: M_BAD_JSON for a member of the wrong type.
func decode(b []byte, v any) error {
	err := exactjson.Unmarshal(b, v)
	if err == nil {
		return nil
	}
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, fmt.Sprintf("%.100q must not be a %s", te.Field, te.Value))
	}
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return we
	}
	return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "the body has the wrong shape")
}

// limited returns M_LIMIT_EXCEEDED if wait is not zero.
func limited(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	e := wire.NewError(http.StatusTooManyRequests, wire.CodeLimitExceeded, "too many requests")
	e.RetryAfter = wait
	return e
}

// answer writes what the handler returned.
func (c *call) answer(v any, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	if c.done {
		return
	}
	c.write(http.StatusOK, v)
}

// fail writes an error in the form of the protocol.
func (c *call) fail(err error) {
	we, ok := errors.AsType[*wire.Error](err)
	if !ok {
		we = c.translate(err)
	}
	incoming.RetryAfter(c.w.Header(), we.RetryAfter)
	c.write(we.Status, we)
}

// translate turns an error of the core into the network's.
func (c *call) translate(err error) *wire.Error {
	kind, text := incoming.Text(err)
	row := wire.Kinds[kind]
	if kind == quinta.KindInternal {
		c.Log.Error("matrix: a call failed", "method", c.r.Method, "route", c.route(), "err", err)
	}
	we := wire.NewError(row.Status, row.Code, text)
	if kind == quinta.KindLimited {
		we.RetryAfter = time.Second
	}
	return we
}

// route returns the path as the specification writes it; the real one may
// hold what belongs in no log.
func (c *call) route() string {
	if c.ep == nil {
		return "unknown"
	}
	return c.ep.route
}

// empty is the answer that only says that it worked.
type empty struct{}

// write writes v as the JSON answer. A json.RawMessage is written as it is.
func (c *call) write(status int, v any) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = wire.Encode(v); err != nil {
			c.Log.Error("matrix: an answer cannot be written", "route", c.route(), "err", err)
			status, raw = http.StatusInternalServerError, json.RawMessage(`{"errcode":"M_UNKNOWN","error":"internal error"}`)
		}
	}
	incoming.Write(c.w, c.Log, status, "application/json", raw)
}
