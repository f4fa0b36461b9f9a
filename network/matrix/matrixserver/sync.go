package matrixserver

import (
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/sync"
	"github.com/quinta-chat/quinta/server"
)

func (s *homeserver) syncCalls() {
	s.client(http.MethodGet, "/sync", endpoint{rate: rateRead, long: true, handle: (*call).getSync})
}

// The rates of syncs, per user. The first one of a device costs as much as a
// hundred others.
var (
	rateSync      = server.Rate{Every: 20 * time.Millisecond, Burst: 500}
	rateFirstSync = server.Rate{Every: time.Second, Burst: 60}
)

// syncQuery reads the parameters. set_presence is not looked at: there is no
// presence.
func (c *call) syncQuery() (*sync.Query, error) {
	q := &sync.Query{Initial: c.param("since") == "", Full: c.param("full_state") == "true",
		StateAfter: c.param("use_state_after") == "true", UnstableAfter: c.param("org.matrix.msc4222.use_state_after") == "true"}
	var err error
	if !q.Initial {
		if q.Since, err = sync.ParsePlace(c.param("since")); err != nil {
			return nil, err
		}
	}
	ms, err := c.paramInt("timeout", 0, 0, int64(sync.MaxWait/time.Millisecond))
	if err != nil {
		return nil, err
	}
	if !q.Initial && !q.Full {
		q.Wait = time.Duration(ms) * time.Millisecond
	}
	if q.Filter, err = c.syncFilter(); err != nil {
		return nil, err
	}
	q.Fields, err = filter.ParseFields(q.Filter.Fields)
	return q, err
}

// getSync: "GET /sync".
func (c *call) getSync() (any, error) {
	q, err := c.syncQuery()
	if err != nil {
		return nil, err
	}
	what, rate := "sync", rateSync
	if q.Initial || q.Full {
		what, rate = "first-sync", rateFirstSync
	}
	if err := limited(c.Limits.Allow(what, server.ByUser(network, c.user), rate, 1)); err != nil {
		return nil, err
	}
	d := &sync.Device{Core: c.Core, Notices: c.notices, User: c.user, ID: c.device, Valid: c.authenticate}
	return d.Sync(c.ctx(), q)
}

// paramToken reads a token from a query parameter, def if it is absent.
func (c *call) paramToken(name string, def quinta.Pos) (quinta.Pos, error) {
	s := c.param(name)
	if s == "" {
		return def, nil
	}
	return sync.ParseToken(s)
}
