package sixthclient

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/internal/sixth/e2ee/sixth"
	"github.com/quinta-chat/quinta/network/internal/sixth/network/sixth/wire"
)

// A conn is a connection to the server.
type conn struct {
	c    net.Conn
	live context.Context // ends with the connection
	lost context.CancelCauseFunc
	done chan struct{} // closed when nothing is read any more

	mu      sync.Mutex
	n       uint64
	waiting map[uint64]chan wire.Answer
}

// connect dials a server on this computer.
func connect(ctx context.Context, base string) (*conn, error) {
	const op = "connecting"
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "tcp" || !dial.Loopback(u.Hostname()) {
		return nil, quinta.E(quinta.KindInvalid, op, "the toy network works on this computer only, at an address such as tcp://127.0.0.1:7000")
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, &quinta.Error{Kind: quinta.KindUnavailable, Op: op, Err: err}
	}
	c := &conn{c: raw, done: make(chan struct{}), waiting: map[uint64]chan wire.Answer{}}
	c.live, c.lost = context.WithCancelCause(context.Background())
	go c.read()
	return c, nil
}

// read hands the answers to those who wait for them.
func (c *conn) read() {
	defer close(c.done)
	defer c.c.Close()
	lines := wire.Lines(c.c)
	for lines.Scan() {
		var a wire.Answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			c.lost(errors.New("the server's answer is malformed"))
			return
		}
		c.mu.Lock()
		waits := c.waiting[a.N]
		delete(c.waiting, a.N)
		c.mu.Unlock()
		if waits != nil {
			waits <- a
		}
	}
	c.lost(errors.New("the server closed the connection"))
}

func (c *conn) close() {
	c.c.Close()
	<-c.done
}

// call makes a call and waits for its answer.
func (c *conn) call(ctx context.Context, call wire.Call) (a wire.Answer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dial.AnswerWithin, dial.ErrSlow)
	defer cancel()
	waits := make(chan wire.Answer, 1)
	c.mu.Lock()
	c.n++
	call.N = c.n
	c.waiting[call.N] = waits
	b, err := json.Marshal(call)
	if err == nil {
		c.c.SetWriteDeadline(time.Now().Add(dial.AnswerWithin))
		_, err = c.c.Write(append(b, '\n'))
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, call.N)
	}()
	if err != nil {
		return a, dial.Broken(ctx, "calling the server", err)
	}
	select {
	case a = <-waits:
		return a, nil
	case <-ctx.Done():
		return a, dial.Broken(ctx, "calling the server", ctx.Err())
	case <-c.live.Done():
		return a, dial.Broken(ctx, "calling the server", context.Cause(c.live))
	}
}

// refusal is the error of an answer that refuses.
func refusal(op string, a wire.Answer, err error) error {
	switch {
	case err != nil || a.Code == "":
		return err
	case a.Code == wire.Unauthenticated, a.Code == wire.CodeWanted:
		return quinta.E(quinta.KindUnauthenticated, op, "the server does not accept the code or the token")
	case a.Code == wire.Later:
		return quinta.E(quinta.KindUnavailable, op, "the server asks to try again later")
	}
	return quinta.E(quinta.KindInvalid, op, "the server does not understand the call")
}

// A link carries the machine's requests over one connection.
type link struct {
	base, token string
	waits       atomic.Bool

	mu sync.Mutex
	c  *conn // the connection that Connect made last
}

var _ client.Connected = (*link)(nil)

// Connect implements client.Connected.
func (l *link) Connect(ctx context.Context) (context.Context, func(), error) {
	c, err := connect(ctx, l.base)
	if err != nil {
		return nil, nil, err
	}
	a, err := c.call(ctx, wire.Call{Hello: &wire.Hello{Token: l.token}})
	if err = refusal("connecting", a, err); err != nil {
		c.close()
		return nil, nil, err
	}
	l.mu.Lock()
	l.c = c
	l.mu.Unlock()
	return c.live, c.close, nil
}

// over makes a call over the connection.
func (l *link) over(ctx context.Context, op string, call wire.Call) (wire.Answer, error) {
	l.mu.Lock()
	c := l.c
	l.mu.Unlock()
	a, err := c.call(ctx, call)
	return a, refusal(op, a, err)
}

// Do implements client.Link.
func (l *link) Do(ctx context.Context, p sixth.Post) (sixth.Receipt, error) {
	a, err := l.over(ctx, "posting", wire.Call{Post: &p})
	if quinta.KindOf(err) == quinta.KindInvalid && err != nil {
		return sixth.Receipt{Refused: "the server does not understand the post"}, nil
	}
	if err == nil && a.Receipt == nil {
		err = quinta.E(quinta.KindUnavailable, "posting", "the server gave no receipt")
	}
	if err != nil {
		return sixth.Receipt{}, err
	}
	return *a.Receipt, nil
}

// Receive implements client.Link.
func (l *link) Receive(ctx context.Context, st client.Store) ([]sixth.Mail, error) {
	in := wire.Fetch{Wait: l.waits.Load()}
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) { in.Since, err = sixth.Since(tx); return err }); err != nil {
		return nil, err
	}
	a, err := l.over(ctx, "fetching", wire.Call{Fetch: &in})
	return a.Mail, err
}
