package mtprotoserver

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// The transport of single packets: a POST has one, and so has its answer. What
// a session is to be told waits until a POST of it takes it along; http_wait
// says how long that may take. "HTTP Wait/Long Poll".

const (
	// maxWait is how long a client waits at most, and by default.
	maxWait = 25 * time.Second
	// maxDelay bounds for how long messages are gathered.
	maxDelay = time.Second
	// maxBegun bounds the key exchanges that are under way over HTTP. Each message
	// of one is worked on once, and the next has to come within beginWithin.
	maxBegun = 10_000
	// maxSessions bounds the sessions over HTTP, maxOfKey those of one key.
	maxSessions = 10_000
	maxOfKey    = 8
	// maxOutbox bounds the messages that wait for the next POST of a session.
	maxOutbox = 2 * maxAnswered
)

var (
	errManySessions = errors.New("mtproto: too many sessions over HTTP")
	errOutbox       = errors.New("mtproto: a client over HTTP does not fetch what waits for it")
)

// polls are the sessions over HTTP.
type polls struct {
	mu       sync.Mutex
	sessions map[sessionName]*poll
	closed   bool
	ended    sync.WaitGroup
}

// nonces name a key exchange.
type nonces struct{ nonce, server [16]byte }

type sessionName struct{ key, session int64 }

// A poll is one session over HTTP.
type poll struct {
	name sessionName
	c    *conn
	end  context.CancelFunc
	last *time.Timer // ends the session when it is silent
	// turn is held while a packet of the session is worked on.
	turn sync.Mutex
}

// An outbox holds what a session is to be told.
type outbox struct {
	// hold is what the client said last about waiting; the turn of the poll
	// guards it.
	hold wire.HTTPWait

	mu      sync.Mutex
	waiting []wire.Message
	came    chan struct{} // something was put
}

func (o *outbox) put(m *wire.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) >= maxOutbox {
		return errOutbox
	}
	o.waiting = append(o.waiting, *m)
	select {
	case o.came <- struct{}{}:
	default:
	}
	return nil
}

func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) == 0
}

// take takes as many messages as fit into one packet.
func (o *outbox) take() []wire.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	size, n := 0, 0
	for n < len(o.waiting) && (n == 0 || size+len(o.waiting[n].Body) < wire.MaxFrame/2) {
		size += len(o.waiting[n].Body)
		n++
	}
	out := o.waiting[:n:n]
	o.waiting = o.waiting[n:]
	return out
}

// giveBack puts messages back that did not reach the client.
func (o *outbox) giveBack(m []wire.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(m, o.waiting...)
}

// An answerWay is the way of the one packet that answers a key exchange.
type answerWay struct{ packet []byte }

func (a *answerWay) Write(packet []byte) error { a.packet = packet; return nil }
func (a *answerWay) QuickAck(uint32) error     { return nil }
func (a *answerWay) Close() error              { return nil }

// A pollWay is the way of a session: nothing is written outside of an answer.
type pollWay struct {
	answerWay
	forget func()
}

func (p *pollWay) Close() error { p.forget(); return nil }

// servePoll answers a POST.
func (s *mtprotoServer) servePoll(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // nothing here goes by cookies
	switch r.Method {
	case http.MethodPost:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "POST, OPTIONS")
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	packet, err := incoming.Body(s.Core, w, r, wire.MaxFrame)
	if err == nil && len(packet) < 8 {
		err = wire.ErrFrame
	}
	if err == nil && binary.LittleEndian.Uint64(packet) == 0 {
		err = s.pollPlain(w, r, packet)
	} else if err == nil {
		err = s.pollSealed(w, r, packet)
	}
	s.refusePoll(w, err)
}

// refusePoll answers what failed. The error codes of the protocol are those of
// HTTP here.
func (s *mtprotoServer) refusePoll(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch code, closed := errors.AsType[closing](err); {
	case err == nil:
		return
	case closed:
		status = int(-code)
	case errors.Is(err, incoming.ErrLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, incoming.ErrBusy), errors.Is(err, errManySessions):
		incoming.RetryAfter(w.Header(), maxWait)
		status = http.StatusServiceUnavailable
	case errors.Is(err, wire.ErrFrame), errors.Is(err, wire.ErrMessage), errors.Is(err, incoming.ErrCut):
		status = http.StatusBadRequest
	default:
		s.Log.Debug("mtproto: a request over HTTP failed", "err", err)
	}
	http.Error(w, http.StatusText(status), status)
}

func localOf(r *http.Request) (net.Addr, error) {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return nil, errors.New("mtproto: a request without its local address")
	}
	return a, nil
}

// pollPlain carries a key exchange on by one message.
func (s *mtprotoServer) pollPlain(w http.ResponseWriter, r *http.Request, packet []byte) error {
	body, err := wire.ParsePlain(packet)
	if err != nil {
		return closing(wire.CodeKeyUnknown)
	}
	o, err := wire.Schema.Unmarshal(body)
	if err != nil {
		return closing(wire.CodeKeyUnknown)
	}
	var c *conn
	switch m := o.(type) {
	case *wire.ReqDHParams:
		c, _ = s.begun.take(nonces{m.Nonce, m.ServerNonce}, s.Now())
	case *wire.SetClientDHParams:
		c, _ = s.begun.take(nonces{m.Nonce, m.ServerNonce}, s.Now())
	default:
		local, err := localOf(r)
		if err != nil {
			return err
		}
		c = &conn{s: s, life: r.Context(), addr: incoming.Addr(r), local: local, answered: map[int64][]byte{}}
	}
	if c == nil {
		return closing(wire.CodeKeyUnknown)
	}
	answer := &answerWay{}
	c.f = answer
	if err := c.plain(r.Context(), packet); err != nil {
		return err
	}
	if c.exch != nil {
		s.begun.put(nonces{c.exch.nonce, c.exch.server}, c, s.Now())
	}
	incoming.Write(w, s.Log, http.StatusOK, "application/octet-stream", answer.packet)
	return nil
}

// pollSealed works on a packet of a session and answers with what waits for it.
func (s *mtprotoServer) pollSealed(w http.ResponseWriter, r *http.Request, packet []byte) error {
	local, err := localOf(r)
	if err != nil {
		return err
	}
	c := &conn{s: s, addr: incoming.Addr(r), local: local, answered: map[int64][]byte{}, outbox: &outbox{came: make(chan struct{}, 1)}}
	if err := c.use(r.Context(), int64(binary.LittleEndian.Uint64(packet))); err != nil {
		return err
	}
	m, err := wire.OpenMessage(c.key, wire.FromClient, packet)
	if err != nil {
		return closing(wire.CodeKeyUnknown)
	}
	p, err := s.polls.session(sessionName{c.authID, m.Session}, c)
	if err != nil {
		return err
	}
	hold, err := p.work(r.Context(), m)
	if err != nil {
		return err
	}
	p.await(r.Context(), s.Draining(), hold)
	return p.answer(w)
}

// session finds a session, or makes it with c.
func (p *polls) session(n sessionName, c *conn) (*poll, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.sessions[n]; one != nil {
		one.last.Reset(silentFor)
		return one, nil
	}
	of := 0
	for other := range p.sessions {
		if other.key == n.key {
			of++
		}
	}
	if p.closed || len(p.sessions) >= maxSessions || of >= maxOfKey {
		return nil, errManySessions
	}
	if p.sessions == nil {
		p.sessions = map[sessionName]*poll{}
	}
	one := &poll{name: n, c: c}
	c.f = &pollWay{forget: func() { p.forget(one) }}
	c.life, one.end = context.WithCancel(context.Background())
	one.last = time.AfterFunc(silentFor, func() { p.forget(one) })
	p.sessions[n] = one
	return one, nil
}

// forget ends a session.
func (p *polls) forget(one *poll) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions[one.name] != one {
		return // it was forgotten already
	}
	one.last.Stop()
	one.end()
	delete(p.sessions, one.name)
	p.ended.Go(one.c.wait.Wait)
}

// close ends all sessions.
func (p *polls) close() {
	p.mu.Lock()
	p.closed = true
	var all []*poll
	for _, one := range p.sessions {
		all = append(all, one)
	}
	p.mu.Unlock()
	for _, one := range all {
		p.forget(one)
	}
	p.ended.Wait()
}

// work works on one message and returns how long its answer may wait.
func (p *poll) work(ctx context.Context, m *wire.Message) (wire.HTTPWait, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.c.outbox.hold = wire.HTTPWait{MaxWait: int32(maxWait / time.Millisecond)}
	err := p.c.message(ctx, m)
	return p.c.outbox.hold, err
}

// await waits until there is something to tell and nothing more is likely to
// follow, or for as long as the client asked for.
func (p *poll) await(ctx context.Context, draining <-chan struct{}, hold wire.HTTPWait) {
	o := p.c.outbox
	wait := func(d time.Duration) (came bool) {
		if d <= 0 {
			return false
		}
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-o.came:
			return true
		case <-t.C:
		case <-draining:
		case <-p.c.life.Done():
		case <-ctx.Done():
		}
		return false
	}
	bounded := func(ms int32, most time.Duration) time.Duration {
		return min(most, max(0, time.Duration(ms)*time.Millisecond))
	}
	end := time.Now().Add(bounded(hold.MaxWait, maxWait))
	for o.empty() && wait(time.Until(end)) {
	}
	end = time.Now().Add(bounded(hold.MaxDelay, maxDelay))
	for wait(min(time.Until(end), bounded(hold.WaitAfter, maxDelay))) {
	}
}

// answer sends what waits, in a container.
func (p *poll) answer(w http.ResponseWriter) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	c := p.c
	all := c.outbox.take()
	c.mu.Lock()
	m := &wire.Message{Session: p.name.session, ID: c.nextID(otherID), SeqNo: 2 * c.contents, Body: wire.Container(all)}
	c.mu.Unlock()
	m.Salt = c.s.kept.salt(c.authID, c.s.Now(), 0)
	packet, err := m.Seal(c.s.Rand, c.key, wire.FromServer)
	if err == nil {
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Cache-Control", "no-store")
		_, err = w.Write(packet)
	}
	if err != nil {
		c.outbox.giveBack(all)
	}
	return err
}
