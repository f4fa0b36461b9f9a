package rocketchatserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// The bounds of a call.
const (
	maxBody     = 4 << 20
	maxOpenBody = 64 << 10
	callTimeout = 30 * time.Second
)

// The rates of calls of one user, or of one address before a login.
var (
	rateRead  = server.Rate{Every: 20 * time.Millisecond, Burst: 400}
	rateWrite = server.Rate{Every: 50 * time.Millisecond, Burst: 200}
	rateFiles = server.Rate{Every: 500 * time.Millisecond, Burst: 60}
	// rateOpen is of calls without a login. All clients of an office may have
	// one address.
	rateOpen = server.Rate{Every: 100 * time.Millisecond, Burst: 200}
)

// A call is one request on its way, of REST or of DDP.
type call struct {
	*rcServer
	ctx  context.Context
	addr string
	// me and device are whose token came with it; zero where none is needed.
	me     person
	device quinta.DeviceID
	token  string

	// w and r are nil in DDP, params and conn are nil in REST.
	w      http.ResponseWriter
	r      *http.Request
	query  url.Values
	tail   string // the part of the path after the name of the route
	params []json.RawMessage
	conn   *ddpConn
	// most bounds the body in bytes.
	most int64
	// done says that the handler has written the answer itself.
	done bool
}

// An answer is the members of a success.
type answer map[string]any

// An endpoint is one call of REST.
type endpoint struct {
	handle func(*call) (any, error)
	// open says that no login is needed, long that it carries a file.
	open, long bool
	rate       server.Rate
	// body bounds the body in bytes; zero means that there is none.
	body int64
}

// A method is one call of DDP.
type method struct {
	handle func(*call) (any, error)
	open   bool
	rate   server.Rate
}

func (s *rcServer) get(name string, h func(*call) (any, error)) {
	s.rest["GET "+name] = endpoint{handle: h, rate: rateRead}
}

func (s *rcServer) post(name string, h func(*call) (any, error)) {
	s.rest["POST "+name] = endpoint{handle: h, rate: rateWrite, body: maxBody}
}

func (s *rcServer) ddp(name string, h func(*call) (any, error)) {
	s.methods[name] = method{handle: h, rate: rateWrite}
}

// serveREST answers a call by its name; a name may be followed by a path.
func (s *rcServer) serveREST(w http.ResponseWriter, r *http.Request, path string) {
	name, tail, _ := strings.Cut(path, "/")
	c := &call{rcServer: s, w: w, r: r, ctx: r.Context(), addr: incoming.Addr(r), query: r.URL.Query(), tail: tail}
	e, ok := s.rest[r.Method+" "+name]
	if !ok {
		c.fail(wire.NewError(http.StatusNotFound, "", "there is no such call"))
		return
	}
	server.SetRoute(w, wire.PathAPI+name)
	c.most = e.body
	v, err := c.run(r.Method+" "+name, e)
	switch {
	case err != nil:
		c.fail(err)
	case !c.done:
		c.write(http.StatusOK, v)
	}
}

func (c *call) run(route string, e endpoint) (any, error) {
	who := server.ByAddr(c.addr)
	if !e.open {
		if err := c.authenticate(c.r.Header.Get(wire.HeaderUser), c.r.Header.Get(wire.HeaderToken)); err != nil {
			return nil, err
		}
		who = server.ByUser(name, c.me.user())
	}
	if err := limited(c.Calls.Allow("rocketchat "+route, who, e.rate, 1)); err != nil {
		return nil, err
	}
	if !e.long {
		ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
		defer cancel()
		c.ctx = ctx
	}
	return e.handle(c)
}

var errLogin = &wire.Error{Status: http.StatusUnauthorized, Text: "You must be logged in to do this."}

// authenticate finds whose token a call carries.
func (c *call) authenticate(user, token string) error {
	if user == "" || token == "" {
		return errLogin
	}
	o, err := incoming.Token(c.ctx, c.Core, name, token, c.addr)
	if errors.Is(err, incoming.ErrToken) || err == nil && string(o.User) != user {
		return errLogin
	}
	if err != nil {
		return err
	}
	err = c.View(c.ctx, func(tx *db.Tx) (err error) {
		c.me, err = getPerson(tx, string(o.User))
		return err
	})
	if quinta.KindOf(err) == quinta.KindNotFound {
		return errLogin
	}
	c.device, c.token = o.Device, token
	return err
}

// decode reads the body into v, whose members are all that it may have.
func (c *call) decode(v any) error {
	raw, err := incoming.Body(c.Core, c.w, c.r, c.most)
	if errors.Is(err, incoming.ErrLarge) {
		return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeMalformed, "the body is too large")
	}
	if errors.Is(err, incoming.ErrBusy) {
		return err
	}
	if err != nil {
		return malformed("the body could not be read to its end")
	}
	return strict(raw, v)
}

func strict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return invalid("must NOT have additional properties: " + name)
		}
		return malformed("the body is not the JSON object that this call takes")
	}
	if d.More() {
		return malformed("the body contains more than one JSON object")
	}
	return nil
}

// strictLoose reads JSON that may have members which no one here needs.
func strictLoose(raw []byte, v any) error {
	if len(raw) > maxBody || json.Unmarshal(raw, v) != nil {
		return malformed("this is not the JSON object that this call takes")
	}
	return nil
}

// param reads one parameter of a DDP method; a missing one leaves v as it is.
func (c *call) param(i int, v any) error {
	if i >= len(c.params) || string(c.params[i]) == "null" {
		return nil
	}
	if json.Unmarshal(c.params[i], v) != nil {
		return invalid("parameter " + strconv.Itoa(i+1) + " has the wrong type")
	}
	return nil
}

// texts reads the first parameters of a DDP method, which are strings.
func (c *call) texts(to ...*string) error {
	for i, p := range to {
		if err := c.param(i, p); err != nil {
			return err
		}
	}
	return nil
}

// list returns a query parameter that may be given several times, with or without
// brackets.
func (c *call) list(name string) []string {
	return append(c.query[name+"[]"], c.query[name]...)
}

// number returns a whole number of the query, at most most.
func (c *call) number(name string, def, most int64) (int64, error) {
	n, ok := incoming.Int(c.query.Get(name), def, 0, most)
	if !ok {
		return 0, invalid(name + " is not a suitable number")
	}
	return n, nil
}

// date returns a time of the query in Unix milliseconds, or def.
func (c *call) date(name string, def int64) (int64, error) {
	text := c.query.Get(name)
	if text == "" {
		return def, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, invalid(name + " is not a date")
	}
	return t.UnixMilli(), nil
}

func invalid(text string) error {
	return wire.NewError(http.StatusBadRequest, wire.CodeInvalid, text)
}

func malformed(text string) error {
	return wire.NewError(http.StatusBadRequest, wire.CodeMalformed, text)
}

func refused(code, text string) error { return wire.NewError(http.StatusBadRequest, code, text) }

func forbidden(text string) error {
	return wire.NewError(http.StatusForbidden, wire.CodeForbidden, text)
}

func limited(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	seconds := int((wait + time.Second - 1) / time.Second)
	e := wire.NewError(http.StatusTooManyRequests, wire.CodeLimited,
		"Error, too many requests. Please slow down. You must wait "+strconv.Itoa(seconds)+" seconds before trying this endpoint again.")
	e.RetryAfter, e.Details = wait, map[string]any{"timeToReset": wait.Milliseconds()}
	return e
}

// write answers with JSON; success:true is added to an answer.
func (c *call) write(status int, v any) {
	if a, ok := v.(answer); ok {
		a["success"] = status == http.StatusOK
	}
	raw, err := json.Marshal(v)
	if err != nil {
		c.Log.Error("rocketchat: an answer cannot be written", "err", err)
		status, raw = http.StatusInternalServerError, []byte(`{"success":false}`)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	incoming.Write(c.w, c.Log, status, "application/json", raw)
}

// fail answers with a refusal.
func (c *call) fail(err error) {
	e := c.translate(err)
	incoming.RetryAfter(c.w.Header(), e.RetryAfter)
	if e.Status == http.StatusUnauthorized {
		c.write(e.Status, map[string]any{"status": "error", "success": false, "error": e.Code, "message": e.Text})
		return
	}
	a := map[string]any{"success": false, "error": e.Error()}
	if e.Code != "" {
		a["errorType"] = e.Code
	}
	if e.Details != nil {
		a["details"] = e.Details
	}
	c.write(e.Status, a)
}

// translate turns an error of the core into the network's.
func (c *call) translate(err error) *wire.Error {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e
	}
	kind, text := incoming.Text(err)
	row := wire.Kinds[kind]
	if kind == quinta.KindInternal {
		if c.ctx.Err() != nil {
			return wire.NewError(http.StatusServiceUnavailable, wire.CodeUnavailable, "the call was abandoned before it was done")
		}
		c.Log.Error("rocketchat: a call failed", "err", err)
	}
	return wire.NewError(row.Status, row.Code, text)
}
