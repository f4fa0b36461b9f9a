package xmppserver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// callTimeout bounds a call.
const callTimeout = 60 * time.Second

// The rates of the calls, each for one user, and of calls without a good token
// for one address.
var (
	rateRead  = server.Rate{Every: 20 * time.Millisecond, Burst: 500}
	rateWrite = server.Rate{Every: 100 * time.Millisecond, Burst: 200}
	rateBad   = server.Rate{Every: 200 * time.Millisecond, Burst: 50}
	// rateAudit bounds the lines of the audit that one user's calls add, which are
	// never removed.
	rateAudit = server.Rate{Every: 10 * time.Second, Burst: 10_000}
)

// A call is one request on its way.
type call struct {
	*xmppServer
	w http.ResponseWriter
	r *http.Request
	// grant is what the token says.
	grant *grant
	// proof is nil for a token that is bound to no key.
	proof *keysrv.Proof
	// client is the client's own id, of a token that is bound to no key.
	client string
	// device is that of the token's key, if it was published; set by update.
	device *deviceRow
	// most bounds the body in bytes.
	most int64
	// told are hints for after the commit.
	told []hint
	// done says that the answer was written.
	done bool
}

// lines asks whether the call may add n lines to the audit, before it does.
func (c *call) lines(n int) error {
	if wait := c.Calls.Allow("xmpp audit", server.ByUser(network, c.user()), rateAudit, n); wait > 0 {
		return limited(wait)
	}
	return nil
}

// An endpoint is one call of the network.
type endpoint struct {
	handle func(*call) (any, error)
	rate   server.Rate
	// body bounds the body in bytes; zero means that there is none.
	body int64
	// file says that the call carries a file, which takes its time.
	file bool
	// status is that of a success; zero means 200.
	status int
}

// at registers a call under a path below wire.Base.
func (s *xmppServer) at(method, path string, e endpoint) {
	whole := wire.Base + path
	s.bounds = append(s.bounds, server.Bound{Call: method + " " + whole, Rate: e.rate, Body: e.body, File: e.file})
	s.mux.HandleFunc(method+" "+whole, func(w http.ResponseWriter, r *http.Request) {
		server.SetRoute(w, whole)
		c := &call{xmppServer: s, w: w, r: r, most: e.body}
		v, err := c.run(method+" "+path, e)
		if err != nil {
			c.fail(err)
			return
		}
		if c.done {
			return
		}
		c.write(max(e.status, http.StatusOK), "application/json", v)
	})
}

func (c *call) run(route string, e endpoint) (any, error) {
	if !e.file {
		ctx, cancel := context.WithTimeout(c.r.Context(), callTimeout)
		defer cancel()
		c.r = c.r.WithContext(ctx)
	}
	if err := c.authenticate(); err != nil {
		if wait := c.Calls.Allow("xmpp token", server.ByAddr(incoming.Addr(c.r)), rateBad, 1); wait > 0 {
			return nil, limited(wait)
		}
		return nil, err
	}
	if wait := c.Calls.Allow("xmpp "+route, server.ByUser(network, c.grant.User), e.rate, 1); wait > 0 {
		return nil, limited(wait)
	}
	return e.handle(c)
}

func (c *call) ctx() context.Context { return c.r.Context() }

// user is whose token came with the request.
func (c *call) user() quinta.UserID { return c.grant.User }

// authenticate reads the token and its proof. A token is in the header alone.
func (c *call) authenticate() error {
	scheme, token, ok := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if !ok {
		return errToken
	}
	g, err := c.readToken(c.ctx(), token)
	if err != nil {
		return err
	}
	c.grant = g
	if g.Thumbprint == "" {
		c.client = c.r.Header.Get(wire.HeaderClient)
		if !strings.EqualFold(scheme, wire.SchemeBearer) || len(c.client) > 255 {
			return errToken
		}
		return nil
	}
	proofs := c.r.Header.Values(wire.HeaderProof)
	if !strings.EqualFold(scheme, wire.SchemeProof) || len(proofs) != 1 {
		return errToken
	}
	p, err := keysrv.ParseProof(proofs[0])
	if err != nil {
		return errToken
	}
	if err := p.Check(c.r.Method, c.href()+c.r.URL.EscapedPath(), token, g.Thumbprint, c.Now()); err != nil {
		return errToken
	}
	c.proof = p
	return nil
}

// href is the address of the server as clients know it, without a path.
func (c *call) href() string {
	if base := c.ClientURL(); base != "" {
		return base
	}
	if c.r.TLS != nil {
		return "https://" + c.r.Host
	}
	return "http://" + c.r.Host
}

// update runs fn in a transaction in which the proof is used up. A refusal, a
// *wire.Error, is committed with it: fn writes nothing but the audit before it
// refuses.
func (c *call) update(fn func(tx *db.Tx) error) error {
	var refusal error
	do := c.Update
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead || c.r.Method == http.MethodDelete {
		do = c.UpdateAlways // it stores nothing but that it was called
	}
	err := do(c.ctx(), func(tx *db.Tx) error {
		refusal, c.told = nil, nil
		if err := c.enter(tx); err != nil {
			return err
		}
		err := fn(tx)
		if we, ok := errors.AsType[*wire.Error](err); ok {
			refusal = we
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	c.tellNow(c.told)
	return refusal
}

// enter uses the proof up, or gives a token without a key to the first client
// that uses it, and finds the device.
func (c *call) enter(tx *db.Tx) error {
	if c.proof == nil {
		if _, err := tx.Exec(`INSERT INTO xmpp_bearer (token, client, expires) VALUES ($1, $2, $3) ON CONFLICT (token) DO NOTHING`,
			c.grant.ID, c.client, c.grant.Expires*1000); err != nil {
			return err
		}
		var client string
		if err := tx.Row(`SELECT client FROM xmpp_bearer WHERE token = $1`, c.grant.ID).Scan(&client); err != nil {
			return err
		}
		if client != c.client {
			return errToken
		}
		return nil
	}
	sum := sha256.Sum256([]byte(c.grant.Thumbprint + " " + c.proof.ID))
	n, err := tx.Exec(`INSERT INTO xmpp_proof (hash, expires) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`,
		sum[:], tx.Now().Add(3*keysrv.ProofAge).UnixMilli())
	if err != nil {
		return err
	}
	if n == 0 {
		return errToken
	}
	c.device, err = deviceByThumbprint(tx, c.user(), c.grant.Thumbprint)
	if err != nil {
		return err
	}
	if c.device != nil && c.device.retired {
		return errToken
	}
	return nil
}

// needDevice returns the calling device, which must be published and approved.
func (c *call) needDevice() (*deviceRow, error) {
	switch {
	case c.device == nil:
		return nil, wire.NewError(http.StatusForbidden, wire.CodeUnapproved, "the call needs a token that is bound to the key of a published device")
	case !c.device.approved:
		return nil, wire.NewError(http.StatusForbidden, wire.CodeUnapproved, "another device of the user must approve this one first")
	}
	return c.device, nil
}

// decode reads the body into v.
func (c *call) decode(v any) ([]byte, error) {
	raw, err := incoming.Body(c.Core, c.w, c.r, c.most)
	switch {
	case errors.Is(err, incoming.ErrLarge):
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "the body is larger than 512 KiB")
	case errors.Is(err, incoming.ErrBusy):
		return nil, err
	case err != nil:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMalformed, "the body could not be read to its end")
	}
	if err := wire.Decode(raw, v); err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMalformed, "the body is not the JSON object that this call takes")
	}
	return raw, nil
}

// errNotFound is for what is not there and for what is not for this user alike.
var errNotFound = wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such object, or it is not for this user")

func invalid(text string) error {
	return wire.NewError(http.StatusBadRequest, wire.CodeInvalid, text)
}

func limited(wait time.Duration) error {
	e := wire.NewError(http.StatusTooManyRequests, wire.CodeLimited, "too many requests")
	e.RetryAfter = wait
	return e
}

// write answers with JSON.
func (c *call) write(status int, contentType string, v any) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			c.Log.Error("xmpp: an answer cannot be written", "err", err)
			status, raw = http.StatusInternalServerError, []byte("{}")
		}
	}
	c.w.Header().Set("Cache-Control", "no-store")
	incoming.Write(c.w, c.Log, status, contentType, raw)
}

// fail answers with an error in the form of RFC 9457.
func (c *call) fail(err error) {
	we, ok := errors.AsType[*wire.Error](err)
	if !ok {
		we = c.translate(err)
	}
	incoming.RetryAfter(c.w.Header(), we.RetryAfter)
	if we.Status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", `DPoP algs="EdDSA"`)
	}
	c.write(we.Status, wire.ErrorType, we)
}

// translate turns an error of the core or of the system into the network's.
func (c *call) translate(err error) *wire.Error {
	for _, is := range []error{keysrv.ErrMalformed, keysrv.ErrUnsupported, keysrv.ErrMismatch, keysrv.ErrTampered, keysrv.ErrUntrusted} {
		if errors.Is(err, is) {
			return wire.NewError(http.StatusBadRequest, wire.CodeInvalid, strings.TrimPrefix(err.Error(), "keysrv: "))
		}
	}
	kind, text := incoming.Text(err)
	row := wire.Kinds[kind]
	if kind == quinta.KindInternal {
		if c.ctx().Err() != nil {
			return wire.NewError(http.StatusServiceUnavailable, wire.CodeUnavailable, "the call was abandoned before it was done")
		}
		c.Log.Error("xmpp: a call failed", "method", c.r.Method, "err", err)
	}
	we := wire.NewError(row.Status, row.Code, text)
	if kind == quinta.KindLimited {
		we.RetryAfter = time.Second
	}
	return we
}
