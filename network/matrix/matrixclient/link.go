package matrixclient

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
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

const (
	// pollFor is how long the server may wait before it answers a /sync in
	// which nothing happened.
	pollFor = 30 * time.Second
	// syncWithin bounds a /sync beyond that: a first one of a large account
	// takes its time.
	syncWithin = 4 * time.Minute
)

// syncFilter asks for what is used: members as they are needed, and no
// presence.
const syncFilter = `{"presence":{"not_types":["*"]},"room":{"state":{"lazy_load_members":true},"timeline":{"limit":50}}}`

// link carries the machine's requests over HTTP.
type link struct {
	*conn
	// waits says that a /sync may wait for something to happen.
	waits atomic.Bool
	// due says whether a request is still to be carried out.
	due func(ctx context.Context, id string) (bool, error)
	// prove is how users prove who they are while their identity is created.
	prove atomic.Pointer[proof]
}

var _ client.Link[matrix.In, matrix.Req, matrix.Ans] = (*link)(nil)

// Do carries out a request. Only an answer of the homeserver itself, in the
// specification's format, is a refusal; a page from something in front of it
// is trouble on the way.
func (l *link) Do(ctx context.Context, req matrix.Req) (matrix.Ans, error) {
	const op = "speaking to the server"
	if _, err := l.features(ctx); err != nil {
		return matrix.Ans{}, dial.Passing(err, quinta.KindTooLarge)
	}
	if req.Kind == matrix.ReqRoomSend {
		// A message that was to leave in clear may have been withdrawn since
		// the last attempt, because the room became encrypted.
		due, err := l.due(ctx, req.ID)
		if err != nil || !due {
			return matrix.Ans{Failure: matrix.Unreached}, err
		}
	}
	if req.Kind == matrix.ReqDeviceSigning {
		return l.uploadIdentity(ctx, op, req)
	}
	a, err := l.call(ctx, op, request{method: req.Method, path: req.Path, body: req.Body, max: maxLarge})
	if err == nil {
		if !json.Valid(a.body) {
			return matrix.Ans{}, quinta.E(quinta.KindUnavailable, op, "the server's answer is not JSON")
		}
		return matrix.Ans{Body: a.body}, nil
	}
	we, answered := errors.AsType[*wire.Error](err)
	switch k := quinta.KindOf(err); {
	case !answered || k == quinta.KindUnavailable || k == quinta.KindLimited:
		return matrix.Ans{}, dial.Passing(err, quinta.KindTooLarge)
	case we.Code == wire.CodeUnknownToken || we.Code == wire.CodeMissingToken:
		return matrix.Ans{}, err
	case we.Code == "" && we.Extra["flows"] == nil && we.Status != http.StatusRequestEntityTooLarge:
		return matrix.Ans{}, dial.Passing(err, quinta.KindTooLarge)
	}
	return matrix.Ans{Failure: matrix.Refused, Code: string(we.Code)}, nil
}

// Receive asks for everything since the position in the store.
func (l *link) Receive(ctx context.Context, st client.Store) (matrix.In, error) {
	var since string
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
		since, err = matrix.Since(tx)
		return err
	}); err != nil {
		return matrix.In{}, err
	}
	in, err := l.sync(ctx, since)
	if we, ok := errors.AsType[*wire.Error](err); ok && since != "" && we.Status == http.StatusBadRequest && we.Code != "" {
		// A server that was put back to an earlier state does not know the
		// position any more: start from scratch, which the machine takes at any time.
		in, err = l.sync(ctx, "")
	}
	if err != nil {
		return matrix.In{}, dial.Passing(err, quinta.KindTooLarge)
	}
	return in, nil
}

func (l *link) sync(ctx context.Context, since string) (matrix.In, error) {
	const op = "asking for what is new"
	f, err := l.features(ctx)
	if err != nil {
		return matrix.In{}, err
	}
	q := url.Values{"filter": {syncFilter}}
	within := syncWithin
	if since != "" {
		q.Set("since", since)
		if l.waits.Load() {
			q.Set("timeout", strconv.FormatInt(pollFor.Milliseconds(), 10))
			within = pollFor + dial.AnswerWithin
		}
	}
	if f.stateAfter != "" {
		q.Set(f.stateAfter, "true")
	}
	a, err := l.call(ctx, op, request{method: http.MethodGet, path: path("sync") + "?" + q.Encode(), max: maxLarge, within: within})
	if err != nil {
		return matrix.In{}, err
	}
	in, err := matrix.ParseSync(since, a.body)
	if err != nil {
		return matrix.In{}, &quinta.Error{Kind: quinta.KindMalformed, Op: op, Err: err}
	}
	return in, nil
}
