// Package socket serves websockets (RFC 6455) for the server halves.
//
// [Serve] takes a request over and hands the caller a [Conn] of whole messages.
// A message is bounded in size, a peer that does not answer pings or does not
// read is disconnected, pages from other origins are refused, and when the
// server stops it closes the connection as "going away". The core limits and
// counts the connections, as it does raw ones.
//
// Messages are not compressed: the length of text that is compressed together
// with a secret can reveal the secret.
package socket

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/server"
)

// A Config says how websockets of one kind are served.
type Config struct {
	// Limit bounds a message of the peer in bytes.
	Limit int64
	// Binary says that messages are binary; else they are text in UTF-8. A
	// message of the other kind closes the connection.
	Binary bool
	// Origins are hosts whose pages may connect, besides the request's own host
	// and that of the server's public URL; "*" stands for any part of a name. A
	// program that is not a browser names no origin and is accepted.
	Origins []string
	// Subprotocols are those that the server offers, the preferred one first.
	Subprotocols []string
	// Ping is the time between pings; zero means 30 seconds.
	Ping time.Duration
}

const (
	// pingEvery is the default of Config.Ping.
	pingEvery = 30 * time.Second
	// retryAfter is when a client may try again that found no place.
	retryAfter = 30 * time.Second
)

// The codes with which a connection is closed (RFC 6455, section 7.4.1).
const (
	Normal      = websocket.StatusNormalClosure
	GoingAway   = websocket.StatusGoingAway
	Protocol    = websocket.StatusProtocolError
	Unsupported = websocket.StatusUnsupportedData
	Policy      = websocket.StatusPolicyViolation
	Internal    = websocket.StatusInternalError
)

// ErrRefused says that the request did not become a websocket. It has been
// answered.
var ErrRefused = errors.New("socket: the request was refused")

// Serve makes a websocket of a request and lets serve talk over it. ctx ends
// when the connection does. When serve returns, the connection is closed; a
// panic of serve closes it as well. A request that cannot become a websocket is
// answered, and Serve returns [ErrRefused].
func Serve(core *server.Core, w http.ResponseWriter, r *http.Request, cfg Config, serve func(ctx context.Context, c *Conn)) error {
	if err := server.Reserve(w); err != nil {
		incoming.RetryAfter(w.Header(), retryAfter)
		http.Error(w, "too many connections", http.StatusTooManyRequests)
		return ErrRefused
	}
	origins := cfg.Origins
	if u, err := url.Parse(core.PublicURL); err == nil && u.Host != "" {
		origins = append(origins[:len(origins):len(origins)], u.Host)
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: cfg.Subprotocols, OriginPatterns: origins})
	if err != nil {
		return ErrRefused // the error may hold what the request held
	}
	defer ws.CloseNow()
	ws.SetReadLimit(cfg.Limit)
	ctx, end := context.WithCancel(context.WithoutCancel(r.Context()))
	defer end()
	c := &Conn{ws: ws, ctx: ctx, end: end, patience: core.WriteTimeout, kind: websocket.MessageText}
	if cfg.Binary {
		c.kind = websocket.MessageBinary
	}
	every := cfg.Ping
	if every == 0 {
		every = pingEvery
	}
	watched := make(chan struct{})
	go func() { defer close(watched); c.watch(core.Draining(), every) }()
	serve(ctx, c)
	c.Close(Normal, "")
	<-watched
	return nil
}

// A Conn is a websocket. Write and Close may be called while Read waits.
type Conn struct {
	ws       *websocket.Conn
	ctx      context.Context
	end      context.CancelFunc
	kind     websocket.MessageType
	patience time.Duration
}

// Limit bounds the peer's messages from the next one on, in bytes. It is called
// by the reader.
func (c *Conn) Limit(n int64) { c.ws.SetReadLimit(n) }

// watch pings the peer and closes the connection with the server, until it
// ends.
func (c *Conn) watch(draining <-chan struct{}, every time.Duration) {
	defer c.end()
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-draining:
			c.Close(GoingAway, "the server is stopping")
			return
		case <-t.C:
			if !c.ping(draining) {
				return
			}
		}
	}
}

// ping reports whether the peer answers. One that does not is dropped.
func (c *Conn) ping(draining <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(c.ctx, c.patience)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- c.ws.Ping(ctx) }()
	select {
	case err := <-answered:
		return err == nil // the end of ctx drops the connection
	case <-draining:
		c.Close(GoingAway, "the server is stopping")
		cancel()
		<-answered
		return false
	}
}

// Subprotocol returns the subprotocol that was agreed on, or "".
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// Read returns the next message. After an error the connection has ended.
func (c *Conn) Read() ([]byte, error) {
	kind, p, err := c.ws.Read(c.ctx)
	if err == nil && kind != c.kind {
		c.Close(Unsupported, "messages of this kind are not supported")
		err = errors.New("socket: a message of the wrong kind")
	}
	if err != nil {
		c.end()
		return nil, err
	}
	return p, nil
}

// Write sends a message. A peer that does not take it in the server's
// WriteTimeout is dropped.
func (c *Conn) Write(p []byte) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.patience)
	defer cancel()
	err := c.ws.Write(ctx, c.kind, p)
	if err != nil {
		c.end()
	}
	return err
}

// Close tells the peer why the connection ends, waits a few seconds for it to
// agree, and closes the connection. reason has at most 123 bytes.
func (c *Conn) Close(code websocket.StatusCode, reason string) {
	defer c.end()
	var _ = c.ws.Close(code, reason) // it is closed in any case
}
