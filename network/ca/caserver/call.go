package caserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
)

// The bounds of most bodies, of calls that need a token and of those that do
// not.
const (
	maxBody     = 256 << 10
	maxOpenBody = 64 << 10
)

// callTimeout bounds a call that neither waits for something to happen nor
// carries a file.
const callTimeout = 60 * time.Second

// The rates of the calls, each for one user or, without a token, one address.
var (
	rateRead    = server.Rate{Every: 20 * time.Millisecond, Burst: 500}
	rateWrite   = server.Rate{Every: 100 * time.Millisecond, Burst: 200}
	ratePublic  = server.Rate{Every: 50 * time.Millisecond, Burst: 200}
	rateKeys    = server.Rate{Every: 10 * time.Second, Burst: 30}
	rateFiles   = server.Rate{Every: 500 * time.Millisecond, Burst: 60}
	rateLookups = server.Rate{Every: 50 * time.Millisecond, Burst: 400}
)

// A call is one request on its way.
type call struct {
	*caServer
	w http.ResponseWriter
	r *http.Request
	// user and device are whose token came with the request; empty where none
	// is needed.
	user   quinta.UserID
	device quinta.DeviceID
	// route is the path with the names of its parameters, for the log: the path
	// itself names users and conversations.
	route string
	// most bounds the body in bytes.
	most int64
	// done says that the handler has written the answer itself.
	done bool
}

// An endpoint is one call of the network.
type endpoint struct {
	handle func(*call) (any, error)
	// open says that no token is needed; long that the call waits for
	// something to happen, or carries a file.
	open, long bool
	// rate bounds how often it is called.
	rate server.Rate
	// body bounds the body in bytes; zero means that there is none.
	body int64
	// file says that the call carries a file.
	file bool
	// status is that of a success; zero means 200.
	status int
}

// at registers a call under a path below wire.Base.
func (s *caServer) at(method, path string, e endpoint) { s.whole(method, wire.Base+path, e) }

// whole registers a call under a whole path.
func (s *caServer) whole(method, path string, e endpoint) {
	s.bounds = append(s.bounds, server.Bound{Call: method + " " + path, Open: e.open, Rate: e.rate, Body: e.body, File: e.file, Waits: e.long && !e.file})
	s.mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
		server.SetRoute(w, path)
		if !e.long {
			ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		c := &call{caServer: s, w: w, r: r, route: path, most: e.body}
		v, err := c.run(method+" "+path, e)
		if err != nil {
			c.fail(err)
		} else if !c.done {
			c.write(max(e.status, http.StatusOK), v)
		}
	})
	if s.paths[path] {
		return
	}
	s.paths[path] = true
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		c := &call{caServer: s, w: w, r: r}
		c.fail(wire.NewError(http.StatusMethodNotAllowed, wire.CodeMethod, "this path does not support the method "+r.Method))
	})
}

func (c *call) run(route string, e endpoint) (any, error) {
	who := server.ByAddr(c.addr())
	if !e.open {
		if err := c.authenticate(); err != nil {
			return nil, err
		}
		who = server.ByUser(network, c.user)
	}
	if err := limited(c.Calls.Allow("ca "+route, who, e.rate, 1)); err != nil {
		return nil, err
	}
	return e.handle(c)
}

func (c *call) ctx() context.Context { return c.r.Context() }

// addr returns the address that the request came from, without the port.
func (c *call) addr() string { return incoming.Addr(c.r) }

var errToken = wire.NewError(http.StatusUnauthorized, wire.CodeUnauthenticated, "the call needs a token of this network in the Authorization header")

// authenticate finds whose token came with the request. A token of another
// network's login is not one of this network.
func (c *call) authenticate() error {
	o, err := incoming.Owner(c.Core, c.r, network)
	if errors.Is(err, incoming.ErrNoToken) || errors.Is(err, incoming.ErrToken) {
		return errToken
	}
	c.user, c.device = o.User, o.Device
	return err
}

// readBody returns the whole body, within the bound of the call.
func (c *call) readBody() ([]byte, error) {
	b, err := incoming.Body(c.Core, c.w, c.r, c.most)
	switch {
	case errors.Is(err, incoming.ErrLarge):
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, fmt.Sprintf("the body is larger than %d bytes", c.most))
	case errors.Is(err, incoming.ErrBusy):
		return nil, err
	case err != nil:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMalformed, "the body could not be read to its end")
	}
	return b, nil
}

// decode reads the body into v.
func (c *call) decode(v any) error {
	raw, err := c.readBody()
	if err != nil {
		return err
	}
	if err := wire.Decode(raw, v); err != nil {
		return wire.NewError(http.StatusBadRequest, wire.CodeMalformed, "the body is not the JSON object that this call takes")
	}
	return nil
}

// paramInt returns a whole number from a query parameter, def if it is absent,
// and lowered to max.
func (c *call) paramInt(name string, def, max int64) (int64, error) {
	n, ok := incoming.Int(c.r.URL.Query().Get(name), def, 0, max)
	if !ok {
		return 0, invalid(name + " is not a suitable number")
	}
	return n, nil
}

func invalid(text string) error {
	return wire.NewError(http.StatusBadRequest, wire.CodeInvalid, text)
}

func notFound(text string) error {
	return wire.NewError(http.StatusNotFound, wire.CodeNotFound, text)
}

func limited(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	e := wire.NewError(http.StatusTooManyRequests, wire.CodeLimited, "too many requests")
	e.RetryAfter = wait
	return e
}

// write answers with JSON.
func (c *call) write(status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		c.Log.Error("ca: an answer cannot be written", "err", err)
		status, raw = http.StatusInternalServerError, []byte("{}")
	}
	contentType := "application/json"
	if _, failed := v.(*wire.Error); failed {
		contentType = wire.ErrorType
	}
	c.w.Header().Set("Cache-Control", "no-store")
	incoming.Write(c.w, c.Log, status, contentType, raw)
}

// send answers with bytes of another type.
func (c *call) send(contentType string, raw []byte) (any, error) {
	c.done = true
	incoming.Write(c.w, c.Log, http.StatusOK, contentType, raw)
	return nil, nil
}

// fail answers with an error in the form of RFC 9457.
func (c *call) fail(err error) {
	we, ok := errors.AsType[*wire.Error](err)
	if !ok {
		we = c.translate(err)
	}
	incoming.RetryAfter(c.w.Header(), we.RetryAfter)
	if we.Status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", c.scheme())
	}
	c.write(we.Status, we)
}

// scheme names how to authenticate: by password for EST, else by a token.
func (c *call) scheme() string {
	if strings.HasPrefix(c.r.URL.Path, wire.ESTBase) {
		return `Basic realm="quinta", charset="UTF-8"`
	}
	return "Bearer"
}

// faults gives the errors of the system its codes.
var faults = []struct {
	err    error
	status int
	code   wire.Code
}{
	{cert.ErrPossession, http.StatusForbidden, wire.CodePossession},
	{cert.ErrMismatch, http.StatusForbidden, wire.CodeForbidden},
	{cert.ErrReplayed, http.StatusConflict, wire.CodeNonce},
	{cert.ErrUnsupported, http.StatusBadRequest, wire.CodeUnsupported},
	{cert.ErrMalformed, http.StatusBadRequest, wire.CodeInvalid},
}

// translate turns an error of the core or of the system into the network's.
func (c *call) translate(err error) *wire.Error {
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return wire.NewError(f.status, f.code, strings.TrimPrefix(err.Error(), "ca: "))
		}
	}
	kind, text := incoming.Text(err)
	row := wire.Kinds[kind]
	if kind == quinta.KindInternal {
		if c.ctx().Err() != nil {
			return wire.NewError(http.StatusServiceUnavailable, wire.CodeUnavailable, "the call was abandoned before it was done")
		}
		c.Log.Error("ca: a call failed", "method", c.r.Method, "route", c.route, "err", err)
	}
	we := wire.NewError(row.Status, row.Code, text)
	if kind == quinta.KindLimited {
		we.RetryAfter = time.Second
	}
	return we
}

// checkPassword gives one answer for a wrong name and a wrong password, in the
// same time.
func (c *call) checkPassword(by incoming.By, name account.Name, password string) error {
	wait, err := incoming.Password(c.ctx(), c.Core, by, name, password)
	if errors.Is(err, incoming.ErrPassword) {
		return wire.NewError(http.StatusUnauthorized, wire.CodeUnauthenticated, "the user name or the password is wrong")
	}
	return errOr(err, limited(wait))
}
