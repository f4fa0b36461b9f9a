package rocketchatclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

const (
	maxEvent   = 4 << 20 // a frame of the server
	maxPending = 1000    // events that wait to be taken in
	pingEvery  = 25 * time.Second
	deadAfter  = 60 * time.Second
)

var errClosed = quinta.E(quinta.KindUnavailable, "listening", "the connection was closed")

// A stream is the websocket on which events come.
type stream struct {
	ws     *websocket.Conn
	events chan wire.Frame
	// gone is closed when the connection has ended.
	gone   chan struct{}
	cancel context.CancelFunc
	next   atomic.Int64

	mu      sync.Mutex
	answers map[string]chan wire.Frame // of methods, by id
	subs    map[string]bool
}

// listen connects and logs in.
func (c *conn) listen(ctx context.Context) (*stream, error) {
	const op = "listening"
	address := "ws" + strings.TrimPrefix(c.base, "http") + wire.PathWebsocket
	dctx, cancel := context.WithTimeoutCause(ctx, dial.AnswerWithin, dial.ErrSlow)
	defer cancel()
	ws, _, err := websocket.Dial(dctx, address, &websocket.DialOptions{HTTPClient: c.http})
	if err != nil {
		return nil, &quinta.Error{Kind: quinta.KindUnavailable, Op: op, Err: errors.New("the server did not open a websocket")}
	}
	ws.SetReadLimit(maxEvent)
	sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &stream{ws: ws, events: make(chan wire.Frame, maxPending), gone: make(chan struct{}), cancel: stop, answers: map[string]chan wire.Frame{}, subs: map[string]bool{}}
	hello := make(chan wire.Frame, 1)
	s.answers[""] = hello
	go s.read(sctx)
	go s.ping(sctx)
	if err := s.send(dctx, wire.Frame{Msg: "connect", Version: "1", Support: []string{"1"}}); err != nil {
		s.close()
		return nil, err
	}
	if _, err := s.await(dctx, hello); err != nil {
		s.close()
		return nil, err
	}
	if _, err := s.method(dctx, "login", map[string]string{"resume": c.token.Reveal()}); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close ends the connection.
func (s *stream) close() {
	s.cancel()
	_ = s.ws.CloseNow()
	<-s.gone
}

func (s *stream) send(ctx context.Context, f wire.Frame) error {
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := s.ws.Write(ctx, websocket.MessageText, raw); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return errClosed
	}
	return nil
}

// read takes frames until the connection ends. If no one takes the events, the
// connection ends too: what was missed is asked for at the next one.
func (s *stream) read(ctx context.Context) {
	defer close(s.gone)
	defer s.ws.CloseNow()
	defer s.cancel()
	for {
		rctx, cancel := context.WithTimeout(ctx, deadAfter)
		_, raw, err := s.ws.Read(rctx)
		cancel()
		if err != nil {
			return
		}
		var f wire.Frame
		if json.Unmarshal(raw, &f) != nil {
			continue // such as {"server_id":"0"} of older servers
		}
		switch f.Msg {
		case "connected", "failed":
			s.answer("", f)
		case "ping":
			if s.send(ctx, wire.Frame{Msg: "pong", ID: f.ID}) != nil {
				return
			}
		case "result":
			s.answer(f.ID, f)
		case "nosub", "changed":
			select {
			case s.events <- f:
			default:
				return
			}
		}
	}
}

func (s *stream) answer(id string, f wire.Frame) {
	s.mu.Lock()
	ch := s.answers[id]
	delete(s.answers, id)
	s.mu.Unlock()
	if ch != nil {
		ch <- f
	}
}

func (s *stream) ping(ctx context.Context) {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if s.send(ctx, wire.Frame{Msg: "ping"}) != nil {
				return
			}
		}
	}
}

func (s *stream) await(ctx context.Context, ch chan wire.Frame) (wire.Frame, error) {
	select {
	case f := <-ch:
		if f.Msg == "failed" {
			return f, quinta.E(quinta.KindUnavailable, "listening", "the server speaks another version of DDP")
		}
		return f, nil
	case <-s.gone:
		return wire.Frame{}, errClosed
	case <-ctx.Done():
		return wire.Frame{}, context.Cause(ctx)
	}
}

// method calls a method of DDP.
func (s *stream) method(ctx context.Context, name string, params ...any) (json.RawMessage, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	if len(params) == 0 {
		raw = []byte("[]")
	}
	id, ch := fmt.Sprint("m", s.next.Add(1)), make(chan wire.Frame, 1)
	s.mu.Lock()
	s.answers[id] = ch
	s.mu.Unlock()
	if err := s.send(ctx, wire.Frame{Msg: "method", Method: name, ID: id, Params: raw}); err != nil {
		return nil, err
	}
	f, err := s.await(ctx, ch)
	if err != nil {
		return nil, err
	}
	if f.Error == nil {
		return f.Result, nil
	}
	e := &wire.Error{Code: printable.Line(fmt.Sprint(f.Error.Error)), Text: printable.Line(f.Error.Reason)}
	kind := quinta.KindInvalid
	switch {
	case name == "login":
		kind = quinta.KindUnauthenticated
	case e.Code == wire.CodeLimited:
		kind = quinta.KindLimited
	}
	return nil, &quinta.Error{Kind: kind, Op: "calling " + name, Err: e}
}

// subscribe asks for the events of a stream, once.
func (s *stream) subscribe(ctx context.Context, name, key string) error {
	if s.subs[name+" "+key] {
		return nil
	}
	s.subs[name+" "+key] = true
	raw, err := json.Marshal([]any{key, map[string]any{"useCollection": false, "args": []any{}}})
	if err != nil {
		return err
	}
	return s.send(ctx, wire.Frame{Msg: "sub", ID: fmt.Sprint("s", s.next.Add(1)), Name: name, Params: raw})
}
