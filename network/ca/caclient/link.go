package caclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

const (
	// pollFor is how long the server may wait before it answers that nothing
	// came; the machine looks then whether something else is due.
	pollFor = 30 * time.Second
	// pageOf is how many deliveries one request for the mailbox asks for.
	pageOf = 200
)

// A link carries the machine's requests over HTTP.
type link struct {
	*conn
	since func(tx e2ee.Tx) (quinta.Pos, error)
	// came is told of each answer.
	came func(*ca.Req, ca.Ans)
	// waits says that a request for the mailbox may wait.
	waits atomic.Bool
}

var _ client.Link[ca.In, ca.Req, ca.Ans] = (*link)(nil)

// Do carries out a request. Only an answer of the server itself, in the
// network's own format, is a refusal; a page from something in front of it is
// trouble on the way.
func (l *link) Do(ctx context.Context, req ca.Req) (ca.Ans, error) {
	const op = "speaking to the server"
	c, ok := calls[req.Kind]
	if !ok {
		return ca.Ans{}, quinta.E(quinta.KindInternal, op, "a request of an unknown kind")
	}
	q, in := c.request(&req)
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return ca.Ans{}, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
		}
		q.body = b
	}
	b, _, err := l.call(ctx, op, q)
	if err == nil {
		var ans ca.Ans
		if err := c.answer(b, &ans); err != nil {
			return ca.Ans{}, quinta.E(quinta.KindUnavailable, op, "the server's answer is not what this call returns")
		}
		l.came(&req, ans)
		return ans, nil
	}
	we, answered := errors.AsType[*wire.Error](err)
	switch k := quinta.KindOf(err); {
	case !answered || k == quinta.KindUnavailable || k == quinta.KindLimited || k == quinta.KindUnauthenticated:
		return ca.Ans{}, dial.Passing(err)
	case we.Code == "" || we.Code == wire.CodeInternal:
		return ca.Ans{}, dial.Passing(err)
	}
	ans := ca.Ans{Code: string(we.Code), Detail: we.Detail, Missing: we.Missing, Stale: we.Stale}
	l.came(&req, ans)
	return ans, nil
}

// Receive asks for everything since the position in the store.
func (l *link) Receive(ctx context.Context, st client.Store) (ca.In, error) {
	const op = "asking for what is new"
	var after quinta.Pos
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
		after, err = l.since(tx)
		return err
	}); err != nil {
		return ca.In{}, err
	}
	q := url.Values{"after": {strconv.FormatInt(int64(after), 10)}, "limit": {strconv.Itoa(pageOf)}}
	within := dial.AnswerWithin
	if l.waits.Load() {
		q.Set("timeout", strconv.FormatInt(pollFor.Milliseconds(), 10))
		within += pollFor
	}
	var m wire.Mailbox
	if err := l.ask(ctx, op, request{method: http.MethodGet, path: wire.PathMailbox + "?" + q.Encode(), max: maxLarge, within: within}, nil, &m); err != nil {
		return ca.In{}, dial.Passing(err)
	}
	in, err := pageFrom(after, &m)
	if err != nil {
		return ca.In{}, &quinta.Error{Kind: quinta.KindUnavailable, Op: op, Err: err}
	}
	return in, nil
}

var errPage = errors.New("the server's page of the mailbox is not in order")

// pageFrom makes the machine's input of a page: positions only grow, and the
// page ends where its last delivery stands.
func pageFrom(after quinta.Pos, m *wire.Mailbox) (ca.In, error) {
	in := ca.In{After: after, Next: m.Next, Items: m.Items}
	last := after
	for _, it := range in.Items {
		if it.Pos <= last {
			return ca.In{}, errPage
		}
		last = it.Pos
	}
	if m.Next < last || len(m.Items) > wire.MaxLimit || len(m.Items) == 0 && m.Next != after {
		return ca.In{}, errPage
	}
	return in, nil
}
