package mtprotoserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/tl"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// A call is one call of one device, in its transaction.
type call struct {
	*conn
	sec *secrets
	tx  *db.Tx
	// who has logged in with the device, "" no one; user is the id.
	who  account.Name
	user int64
}

// A method is how one call is answered.
type method struct {
	// open: it can be called before the login.
	open bool
	// write: it changes something.
	write bool
	// frees: it acknowledges, removes or ends, and so is also answered while the
	// disk is nearly full.
	frees bool
	run   func(c *call, req any) (any, error)
	// free, in the place of run, answers a call in transactions of its own,
	// since it moves bytes of files, once the device is known to be logged in.
	free func(ctx context.Context, c *conn, req any) (any, error)
}

// on makes a method of a function of the request's type.
func on[T any](m method, run func(c *call, req *T) (any, error)) (reflect.Type, method) {
	m.run = func(c *call, req any) (any, error) { return run(c, req.(*T)) }
	return reflect.TypeFor[*T](), m
}

// freely is on for calls with transactions of their own.
func freely[T any](run func(ctx context.Context, c *conn, req *T) (any, error)) (reflect.Type, method) {
	return reflect.TypeFor[*T](), method{free: func(ctx context.Context, c *conn, req any) (any, error) { return run(ctx, c, req.(*T)) }}
}

// methods is the table of calls.
func methods() map[reflect.Type]method {
	table := map[reflect.Type]method{}
	add := func(t reflect.Type, m method) { table[t] = m }
	open, read, write := method{open: true}, method{}, method{write: true}
	openWrite := method{open: true, write: true}
	frees := method{write: true, frees: true}
	add(on(open, getConfig))
	add(on(openWrite, sendCode))
	add(on(openWrite, resendCode))
	add(on(openWrite, signIn))
	add(on(open, getPassword))
	add(on(openWrite, checkPassword))
	add(on(write, updatePasswordSettings))
	add(on(frees, logOut))
	add(on(read, getAuthorizations))
	add(on(frees, resetAuthorization))
	add(on(frees, resetAuthorizations))
	add(on(write, updateStatus))
	add(on(read, resolvePhone))
	add(on(read, resolveUsername))
	add(on(read, getUsers))
	add(on(read, getFullUser))
	add(on(read, getDHConfig))
	add(on(write, requestEncryption))
	add(on(write, acceptEncryption))
	add(on(frees, discardEncryption))
	add(on(write, sendEncrypted))
	add(on(write, sendEncryptedService))
	add(on(write, setEncryptedTyping))
	add(on(write, readEncryptedHistory))
	add(on(read, getState))
	add(on(frees, getDifference))
	add(on(frees, receivedQueue))
	add(freely(saveFilePart))
	add(freely(saveBigFilePart))
	add(freely(sendEncryptedFile))
	add(freely(getFile))
	return table
}

var table = methods()

// rpcError is the answer of a call that failed.
func rpcError(code int32, message string) *wire.RPCError {
	return &wire.RPCError{Code: code, Message: message}
}

// A refusal is an error with its own answer.
type refusal struct{ *wire.RPCError }

// Error implements error.
func (r refusal) Error() string { return fmt.Sprintf("%d %s", r.Code, r.Message) }

func refuse(code int32, message string) error { return refusal{rpcError(code, message)} }

// codes has the answer for every Kind of the core.
var codes = map[quinta.Kind]*wire.RPCError{
	quinta.KindInternal:        rpcError(500, "INTERNAL"),
	quinta.KindInvalid:         rpcError(400, "INPUT_REQUEST_INVALID"),
	quinta.KindMalformed:       rpcError(400, "INPUT_REQUEST_INVALID"),
	quinta.KindUnauthenticated: rpcError(401, "AUTH_KEY_UNREGISTERED"),
	quinta.KindForbidden:       rpcError(403, "FORBIDDEN"),
	quinta.KindNotFound:        rpcError(400, "NOT_FOUND"),
	quinta.KindExists:          rpcError(400, "ALREADY_EXISTS"),
	quinta.KindConflict:        rpcError(500, "CONFLICT"),
	quinta.KindTooLarge:        rpcError(400, "DATA_TOO_LONG"),
	quinta.KindLimited:         rpcError(420, "FLOOD_WAIT_5"),
	quinta.KindUnavailable:     rpcError(500, "UNAVAILABLE"),
	quinta.KindFull:            rpcError(500, "STORAGE_FULL"),
	quinta.KindQuota:           rpcError(400, "STORAGE_QUOTA_EXCEEDED"),
}

// flood asks a client to wait.
func flood(d time.Duration) error {
	return refuse(420, fmt.Sprintf("FLOOD_WAIT_%d", max(1, int64((d+time.Second-1)/time.Second))))
}

// answerOf turns an error into an answer.
func (s *mtprotoServer) answerOf(err error) *wire.RPCError {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.RPCError
	}
	kind := quinta.KindOf(err)
	if kind == quinta.KindInternal {
		s.Log.Error("mtproto: a call failed", "err", err)
	}
	return codes[kind]
}

// byKey is the device as limits count it: by the id of its authorisation key.
func (c *conn) byKey() server.Who {
	return server.ByDevice(name, "", quinta.DeviceID(strconv.FormatInt(cmp.Or(c.keyID, c.authID), 10)))
}

// rateCalls bounds the calls of one device.
var rateCalls = server.Rate{Every: 10 * time.Millisecond, Burst: 400}

// maxWrappers bounds the wrappers around one call.
const maxWrappers = 16

// call unwraps a call and answers it. Calls of one key are worked on one after
// the other in the order in which they came, so what waits for an earlier one,
// by invokeAfterMsg, has waited.
func (c *conn) call(ctx context.Context, body []byte) any {
	layer := c.layer
	req, err := c.unwrap(body)
	if err == nil && c.layer != layer && c.keyID != 0 {
		err = c.keepLayer(ctx)
	}
	if err != nil {
		return c.s.answerOf(err)
	}
	if wait := c.s.Limits.Allow("mtproto call", c.byKey(), rateCalls, 1); wait > 0 {
		return c.s.answerOf(flood(wait))
	}
	if b, ok := req.(*wire.BindTempAuthKey); ok {
		if err := c.bind(ctx, b); err != nil {
			return c.s.answerOf(err)
		}
		return true
	}
	if _, config := req.(*wire.GetConfig); c.temp.unbound() && !config {
		return rpcError(401, "AUTH_KEY_PERM_EMPTY")
	}
	m, ok := table[reflect.TypeOf(req)]
	if !ok {
		return c.s.answerOf(c.unknown(ctx))
	}
	defer c.s.turn(cmp.Or(c.keyID, c.authID))()
	var answer any
	do := c.s.View
	switch {
	case m.frees:
		do = c.s.UpdateAlways
	case m.write:
		do = c.s.Update
	}
	err = do(ctx, func(tx *db.Tx) (err error) {
		one := &call{conn: c, sec: c.s.kept, tx: tx}
		if err := one.identify(); err != nil {
			return err
		}
		if one.who == "" && !m.open {
			return refuse(401, "AUTH_KEY_UNREGISTERED")
		}
		if m.free == nil {
			answer, err = m.run(one, req)
		}
		return err
	})
	if err == nil && m.free != nil {
		answer, err = m.free(ctx, c, req)
	}
	if err != nil {
		return c.s.answerOf(err)
	}
	c.push()
	return answer
}

// unknown is the answer to a call that is not served: never 401 for a device
// that is logged in, since clients take that for a logout.
func (c *conn) unknown(ctx context.Context) error {
	err := c.s.View(ctx, func(tx *db.Tx) error {
		one := &call{conn: c, tx: tx}
		if err := one.identify(); err != nil {
			return err
		}
		if one.who == "" {
			return refuse(401, "AUTH_KEY_UNREGISTERED")
		}
		return nil
	})
	if err == nil {
		err = refuse(400, "METHOD_INVALID")
	}
	return err
}

// identify finds out who has logged in with the key.
func (c *call) identify() error {
	var who *string
	err := c.tx.Row(`SELECT account FROM mtproto_device WHERE key_id = $1`, c.keyID).Scan(&who)
	if errors.Is(err, db.ErrNoRows) || err == nil && who == nil {
		return nil
	}
	if err != nil {
		return err
	}
	c.who = account.Name(*who)
	c.user, err = userID(c.tx, c.who)
	return err
}

// unwrap takes a call out of its wrappers, which nest in any order.
func (c *conn) unwrap(body []byte) (any, error) {
	for range maxWrappers {
		o, err := wire.Schema.Unmarshal(body)
		switch {
		case errors.Is(err, tl.ErrUnknown) && !wire.Schema.Knows(tl.Peek(body)):
			return nil, nil // a call that is not served
		case err != nil:
			return nil, refuse(400, "INPUT_REQUEST_INVALID")
		}
		switch w := o.(type) {
		case *wire.InvokeWithLayer:
			c.layer = w.Layer
			body = w.Query
		case *wire.InitConnection:
			c.model = w.DeviceModel + ", " + w.AppVersion
			body = w.Query
		case *wire.InvokeWithoutUpdates:
			c.quiet = true
			body = w.Query
		case *wire.InvokeAfterMsg:
			body = w.Query
		case *wire.InvokeAfterMsgs:
			body = w.Query
		case *wire.GzipPacked:
			if body, err = wire.Unpack(w.Data); err != nil {
				return nil, refuse(400, "INPUT_REQUEST_INVALID")
			}
		default:
			return o, nil
		}
	}
	return nil, refuse(400, "INPUT_REQUEST_INVALID")
}

// keepLayer keeps the layer of the client for its next connections, on which it
// does not repeat it.
func (c *conn) keepLayer(ctx context.Context) error {
	return c.s.Update(ctx, func(tx *db.Tx) error {
		return tx.Queue(`UPDATE mtproto_device SET layer = $1 WHERE key_id = $2`, int64(c.layer), c.keyID)
	})
}

// A turn is the lock of one key, with how many hold it or wait for it.
type turn struct {
	sync.Mutex
	n int
}

// turn waits until no other call of a key is worked on, and returns what ends
// the turn.
func (s *mtprotoServer) turn(key int64) (done func()) {
	s.mu.Lock()
	t := s.turns[key]
	if t == nil {
		t = &turn{}
		s.turns[key] = t
	}
	t.n++
	s.mu.Unlock()
	t.Lock()
	return func() {
		t.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.n--; t.n == 0 {
			delete(s.turns, key)
		}
	}
}
