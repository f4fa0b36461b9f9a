package mtprotoclient

import (
	"context"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/gotd/td/bin"
	"github.com/gotd/td/exchange"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/tl"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

const (
	// dialWithin bounds the way to a connection, answerWithin that to the
	// answer of a call.
	dialWithin   = 20 * time.Second
	answerWithin = time.Minute
)

var (
	errLost    = quinta.E(quinta.KindUnavailable, "speaking to the server", "the connection was lost")
	errSlow    = quinta.E(quinta.KindUnavailable, "speaking to the server", "the server did not answer in time")
	errUnknown = quinta.E(quinta.KindUnauthenticated, "speaking to the server", "the server no longer knows this device")
)

// A target is where a server is and how it proves itself.
type target struct {
	// Addr is the host:port of a TCP listener; without it Web is the address of
	// a websocket, "http://" or "https://".
	Addr string `json:"addr,omitempty"`
	Web  string `json:"web,omitempty"`
	DC   int    `json:"dc"`
	// PublicKey is the server's, PKCS #1 in PEM.
	PublicKey string `json:"public_key"`
}

// A conn is one connection with a session on it.
type conn struct {
	env  e2ee.Env
	f    *wire.Frames
	key  *secretchat.Key
	wake chan struct{} // something came
	done chan struct{} // the connection ended

	mu       sync.Mutex
	err      error
	salt     int64
	session  int64
	lastID   int64
	contents int32
	ahead    time.Duration // of the server's clock
	pending  map[int64]*pending
}

// A pending is a call without an answer.
type pending struct {
	body   []byte
	answer chan answer
}

type answer struct {
	body []byte
	err  error
}

// A dialer is the outside world of connections.
type dialer struct {
	env e2ee.Env
	// transport carries requests and websockets; nil means that of package dial.
	transport http.RoundTripper
}

// open opens a connection with its framing.
func (d dialer) open(ctx context.Context, t target) (*wire.Frames, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	raw, err := d.reach(ctx, t)
	if err != nil {
		return nil, quinta.E(quinta.KindUnavailable, "speaking to the server", "the server cannot be reached")
	}
	f, err := wire.Dial(raw, d.env.Rand, t.DC)
	if err != nil {
		raw.Close()
		return nil, errLost
	}
	return f, nil
}

func (d dialer) reach(ctx context.Context, t target) (net.Conn, error) {
	if t.Web == "" {
		return (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, "tcp", t.Addr)
	}
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(t.Web, "http"), &websocket.DialOptions{HTTPClient: dial.NewClient(d.transport), Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(wire.MaxFrame + 64)
	// The connection outlives the dialling.
	return websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary), nil
}

// exchanging gives the key exchange its connection.
type exchanging struct{ f *wire.Frames }

// Send implements transport.Conn.
func (e exchanging) Send(ctx context.Context, b *bin.Buffer) error {
	return e.within(ctx, func() error { return e.f.Write(b.Buf) })
}

// Recv implements transport.Conn.
func (e exchanging) Recv(ctx context.Context, b *bin.Buffer) error {
	return e.within(ctx, func() error {
		p, _, err := e.f.Read()
		b.ResetTo(p)
		return err
	})
}

func (e exchanging) within(ctx context.Context, fn func() error) error {
	if d, ok := ctx.Deadline(); ok {
		e.f.Conn().SetDeadline(d)
	}
	defer e.f.Conn().SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { e.f.Conn().SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return fn()
}

// Close implements transport.Conn.
func (e exchanging) Close() error { return e.f.Close() }

// newKey makes an authorization key with a server that proves to have its own.
func (d dialer) newKey(ctx context.Context, t target, server *rsa.PublicKey) (*secretchat.Key, error) {
	const op = "making a key with the server"
	f, err := d.open(ctx, t)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	r, err := exchange.NewExchanger(exchanging{f}, t.DC).WithRand(d.env.Rand).Client([]exchange.PublicKey{{RSA: server}}).Run(ctx)
	switch {
	case errors.Is(err, exchange.ErrKeyFingerprintNotFound):
		return nil, quinta.E(quinta.KindForbidden, op, "the server has a different key from the one that was given: it is another server, or someone is in between")
	case err != nil && ctx.Err() != nil:
		return nil, errSlow
	case err != nil:
		return nil, quinta.E(quinta.KindUnavailable, op, "the key exchange failed")
	}
	return secretchat.ParseKey(r.AuthKey.Value[:])
}

// connect opens a connection and says who calls.
func (d dialer) connect(ctx context.Context, t target, key *secretchat.Key) (*conn, error) {
	f, err := d.open(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &conn{env: d.env, f: f, key: key, wake: make(chan struct{}, 1), done: make(chan struct{}), pending: map[int64]*pending{}}
	var b [8]byte
	if _, err := io.ReadFull(d.env.Rand, b[:]); err != nil {
		f.Close()
		return nil, fmt.Errorf("making a session: %w", err)
	}
	c.session = int64(binary.LittleEndian.Uint64(b[:]))
	go c.read()
	query, err := wire.Schema.Marshal(&wire.GetConfig{})
	if err == nil {
		query, err = wire.Schema.Marshal(&wire.InitConnection{DeviceModel: "Quinta", SystemVersion: "-", AppVersion: "1", SystemLangCode: "en", LangCode: "en", Query: query})
	}
	if err == nil {
		_, err = c.call(ctx, &wire.InvokeWithLayer{Layer: wire.APILayer, Query: query})
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) close() { c.fail(errLost) }

// fail ends the connection and every call that waits.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	for _, p := range c.pending {
		p.answer <- answer{err: err}
	}
	clear(c.pending)
	c.f.Close()
}

// A callError is the server's refusal of a call.
type callError struct{ *wire.RPCError }

// Error implements error.
func (e callError) Error() string { return fmt.Sprintf("the server answered %d %s", e.Code, e.Message) }

// call makes one call and returns its result, or a callError.
func (c *conn) call(ctx context.Context, req any) (any, error) {
	body, err := wire.Schema.Marshal(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	p := &pending{body: body, answer: make(chan answer, 1)}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	id, err := c.send(p.body, true)
	if err == nil {
		c.pending[id] = p
	}
	c.mu.Unlock()
	if err != nil {
		c.fail(errLost)
		return nil, errLost
	}
	select {
	case a := <-p.answer:
		if a.err != nil {
			return nil, a.err
		}
		return result(a.body)
	case <-ctx.Done():
		c.forget(p)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, errSlow
		}
		return nil, ctx.Err()
	}
}

func (c *conn) forget(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, q := range c.pending {
		if q == p {
			delete(c.pending, id)
		}
	}
}

// result reads what a call gave.
func result(body []byte) (any, error) {
	o, err := wire.Schema.Unmarshal(body)
	if g, ok := o.(*wire.GzipPacked); err == nil && ok {
		if body, err = wire.Unpack(g.Data); err == nil {
			o, err = wire.Schema.Unmarshal(body)
		}
	}
	if err != nil {
		return nil, quinta.E(quinta.KindUnavailable, "speaking to the server", "the server's answer is not what this call returns")
	}
	if e, ok := o.(*wire.RPCError); ok {
		return nil, callError{e}
	}
	return o, nil
}

// send seals one message and sends it. The lock is held.
func (c *conn) send(body []byte, content bool) (id int64, err error) {
	now := c.env.Now().Add(c.ahead)
	id = now.Unix()<<32 | int64(now.Nanosecond())<<2&^3
	if id <= c.lastID {
		id = c.lastID + 4
	}
	c.lastID = id
	m := &wire.Message{Salt: c.salt, Session: c.session, ID: id, SeqNo: 2 * c.contents, Body: body}
	if content {
		m.SeqNo++
		c.contents++
	}
	packet, err := m.Seal(c.env.Rand, c.key, wire.FromClient)
	if err != nil {
		return 0, err
	}
	c.f.Conn().SetWriteDeadline(time.Now().Add(answerWithin))
	return id, c.f.Write(packet)
}

// read takes in what comes until the connection ends.
func (c *conn) read() {
	for {
		packet, _, err := c.f.Read()
		if err != nil {
			c.fail(errLost)
			return
		}
		if len(packet) == 4 {
			err := errLost
			if int32(binary.LittleEndian.Uint32(packet)) == wire.CodeKeyUnknown {
				err = errUnknown
			}
			c.fail(err)
			return
		}
		if err := c.packet(packet); err != nil {
			c.fail(quinta.E(quinta.KindUnavailable, "speaking to the server", "the received bytes are not a message of this server"))
			return
		}
	}
}

func (c *conn) packet(packet []byte) error {
	m, err := wire.OpenMessage(c.key, wire.FromServer, packet)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Session != c.session {
		return wire.ErrMessage
	}
	all, err := m.Contained()
	if err != nil {
		return err
	}
	var acks []int64
	for i := range all {
		if all[i].NeedsAck() {
			acks = append(acks, all[i].ID)
		}
		if err := c.message(&all[i]); err != nil {
			return err
		}
	}
	if len(acks) == 0 {
		return nil
	}
	body, err := wire.Schema.Marshal(&wire.MsgsAck{MsgIDs: acks})
	if err == nil {
		_, err = c.send(body, false)
	}
	return err
}

// message works on one message. The lock is held.
func (c *conn) message(m *wire.Message) error {
	o, err := wire.Schema.Unmarshal(m.Body)
	if g, ok := o.(*wire.GzipPacked); err == nil && ok {
		var body []byte
		if body, err = wire.Unpack(g.Data); err == nil {
			o, err = wire.Schema.Unmarshal(body)
		}
	}
	if err != nil {
		// Something that this version does not know: what matters of it is in
		// the difference.
		if errors.Is(err, tl.ErrUnknown) {
			c.wakeUp()
			return nil
		}
		return err
	}
	switch o := o.(type) {
	case *wire.RPCResult:
		if p := c.pending[o.ReqMsgID]; p != nil {
			delete(c.pending, o.ReqMsgID)
			p.answer <- answer{body: o.Result}
		}
	case *wire.NewSessionCreated:
		c.salt = o.ServerSalt
		c.wakeUp()
	case *wire.BadServerSalt:
		c.salt = o.NewServerSalt
		return c.again(o.BadMsgID)
	case *wire.BadMsgNotification:
		// The clocks differ: the server's own id says by how much.
		c.ahead = time.Unix(m.ID>>32, 0).Sub(c.env.Now())
		c.lastID = 0
		return c.again(o.BadMsgID)
	case *wire.Updates:
		c.wakeUp()
	}
	return nil
}

// again sends a call again that the server did not look into.
func (c *conn) again(id int64) error {
	p := c.pending[id]
	if p == nil {
		return nil
	}
	delete(c.pending, id)
	now, err := c.send(p.body, true)
	c.pending[now] = p
	return err
}

func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
