package matrixserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/prekey"
)

// The rates of what uses up keys, per user: room for the first message to a
// very large room, and no room for draining everyone's keys.
var (
	rateClaim  = server.Rate{Every: 50 * time.Millisecond, Burst: 5000}
	rateUpload = server.Rate{Every: 20 * time.Millisecond, Burst: 10_000}
	// rateClaimOf bounds the one-time keys that one user takes of one device.
	// Beyond it they get the fallback key.
	rateClaimOf = server.Rate{Every: time.Minute, Burst: 5}
)

const (
	// maxClaim bounds the devices of one claim.
	maxClaim = 5000
	// claimStep is how many devices one transaction claims for, so that a
	// large claim lets other writers through.
	claimStep = 256
)

// A keyClaim is the body of "POST /keys/claim".
type keyClaim struct {
	OneTime map[quinta.UserID]map[quinta.DeviceID]string `json:"one_time_keys"`
	Timeout *int64                                       `json:"timeout"`
}

// postKeysClaim: "POST /keys/claim".
func (c *call) postKeysClaim() (any, error) {
	var q keyClaim
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.OneTime == nil {
		return nil, badJSON("one_time_keys is missing")
	}
	failures := map[string]struct{}{}
	var wants []prekey.Want
	for user, devices := range q.OneTime {
		if !c.ours(user, failures) {
			continue
		}
		if len(wants)+len(devices) > maxClaim {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many devices for one claim")
		}
		for dev, alg := range devices {
			wants = append(wants, prekey.Want{User: user, Device: dev, Algorithm: alg})
		}
	}
	if err := limited(c.Limits.Allow("keys-claim", server.ByUser(network, c.user), rateClaim, len(wants))); err != nil {
		return nil, err
	}
	got, err := c.give(wants)
	if err != nil {
		return nil, err
	}
	return writeClaim(got, failures), nil
}

// give gives out the keys: of a device of which the caller has taken many, the
// fallback key.
func (c *call) give(wants []prekey.Want) ([]prekey.Claimed, error) {
	me := server.ByUser(network, c.user)
	var fresh, over []prekey.Want
	for _, w := range wants {
		if c.claims.Allow("claim", me.And(server.ByDevice(network, w.User, w.Device)), rateClaimOf, 1) > 0 {
			over = append(over, w)
		} else {
			fresh = append(fresh, w)
		}
	}
	got, err := c.claim(fresh)
	if err != nil {
		return nil, err
	}
	for step := range slices.Chunk(over, claimStep) {
		if err := c.Update(c.ctx(), func(tx *db.Tx) error {
			keys, err := prekey.Fallback(tx, network, step)
			got = append(got, keys...)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// claim gives out the keys, one-time keys first.
func (c *call) claim(wants []prekey.Want) (got []prekey.Claimed, err error) {
	if len(wants) == 1 {
		// By far the most frequent claim, and mostly there is a key.
		k, ok, err := c.takeOne(wants[0])
		if err != nil || ok {
			return []prekey.Claimed{k}, err
		}
	}
	for step := range slices.Chunk(wants, claimStep) {
		err := c.Update(c.ctx(), func(tx *db.Tx) error {
			keys, err := prekey.Claim(tx, network, step)
			got = append(got, keys...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return got, nil
}

// takeOne takes a one-time key of one device, if there is one left.
func (c *call) takeOne(w prekey.Want) (k prekey.Claimed, ok bool, err error) {
	var t *prekey.Taken
	if err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		t, err = prekey.Take(tx, network, w)
		return err
	}); err != nil {
		return k, false, err
	}
	return t.Key()
}

// writeClaim splices the claimed keys into one answer.
func writeClaim(got []prekey.Claimed, failures map[string]struct{}) json.RawMessage {
	slices.SortFunc(got, func(a, b prekey.Claimed) int { return strings.Compare(string(a.User), string(b.User)) })
	b := append(make([]byte, 0, 64+512*len(got)), `{"one_time_keys":{`...)
	for i := 0; i < len(got); {
		user := got[i].User
		b = append(wire.AppendMember(b, string(user)), '{')
		for ; i < len(got) && got[i].User == user; i++ {
			k := &got[i]
			b = append(wire.AppendMember(b, string(k.Device)), '{')
			b = append(wire.AppendMember(b, k.Algorithm+":"+k.ID), k.Body...)
			b = append(b, '}')
		}
		b = append(b, '}')
	}
	b = append(b, `},"failures":{`...)
	for host := range failures {
		b = append(wire.AppendMember(b, host), "{}"...)
	}
	return append(b, '}', '}')
}
