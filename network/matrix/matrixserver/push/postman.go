// Package push notifies push gateways of events and counts what a user has
// not read: both judge events by the user's push rules (client-server API,
// "Push Notifications"; push gateway API).
//
// A write calls [Note]; a [Postman] works out later, on one node, who is to be
// notified and posts to the gateways of their pushers. A [Judge] counts. [Put],
// [List] and [Remove] keep pushers, [RulesOf] and [SetRules] a user's rules. The
// tables belong to the network's schema; the calls are not here.
package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/outgoing"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// pushKey is the hub's key of those who tell push gateways of events.
const pushKey = "matrix push"

// batch bounds the events that are sorted at once.
const batch = 100

// A Postman delivers notifications to push gateways while it runs.
type Postman struct {
	core  *server.Core
	judge *Judge
	http  *http.Client
}

// NewPostman returns the postman of a core, which judges events with judge. It posts to gateways at
// public addresses only, unless private is set: users name the gateways, and must not reach the
// server's own network through it.
func NewPostman(c *server.Core, judge *Judge, private bool) *Postman {
	return &Postman{core: c, judge: judge, http: outgoing.NewClient(private, outgoing.Timeout)}
}

// Run delivers what is due until ctx ends.
func (p *Postman) Run(ctx context.Context) error {
	defer p.http.CloseIdleConnections()
	return outgoing.Rounds(ctx, p.core, pushKey, p.round)
}

// round sorts what is new and delivers what is due. It returns when the next
// delivery is due.
func (p *Postman) round(ctx context.Context) (time.Duration, error) {
	for {
		n, err := p.sort(ctx)
		if err != nil {
			return outgoing.Idle, err
		}
		if n < batch {
			break
		}
	}
	for ctx.Err() == nil {
		d, wait, err := p.claim(ctx)
		if err != nil {
			return outgoing.Idle, err
		}
		if d == nil {
			return wait, nil
		}
		if err := p.deliver(ctx, d); err != nil {
			return outgoing.Idle, err
		}
	}
	return outgoing.Idle, nil
}

// A delivery is one word that is due.
type delivery struct {
	user     quinta.UserID
	app, key string
	pos      quinta.Pos
	body     []byte
	tries    int
}

// claim takes the delivery that is due first, so that no other node takes it
// for a time, such as one that takes over while this delivery is under way. If
// none is due, it says how long that will take.
func (p *Postman) claim(ctx context.Context) (*delivery, time.Duration, error) {
	var d *delivery
	wait := outgoing.Idle
	err := p.core.Update(ctx, func(tx *db.Tx) error {
		var c delivery
		var next int64
		err := tx.Row(`SELECT user_id, app_id, pushkey, pos, body, tries, next_try FROM matrix_push ORDER BY next_try, pos LIMIT 1`).
			Scan(&c.user, &c.app, &c.key, &c.pos, &c.body, &c.tries, &next)
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if next > tx.Millis() {
			wait = time.Duration(next-tx.Millis()) * time.Millisecond
			return nil
		}
		d = &c
		return tx.Queue(`UPDATE matrix_push SET next_try = $1, tries = tries + 1 WHERE user_id = $2 AND app_id = $3 AND pushkey = $4 AND pos = $5`,
			tx.Millis()+outgoing.Lease.Milliseconds(), c.user, c.app, c.key, c.pos)
	})
	return d, wait, err
}

// deliver makes one delivery and writes down what became of it.
func (p *Postman) deliver(ctx context.Context, d *delivery) error {
	rejected, err := p.post(ctx, d)
	if ctx.Err() != nil {
		return ctx.Err() // the lease ends by itself
	}
	if err != nil && d.tries+1 < outgoing.MaxTries {
		p.core.Log.Info("matrix: a push gateway did not accept a notification", "app", d.app, "tries", d.tries+1, "err", err)
		wait := outgoing.Wait(d.tries)
		return p.core.UpdateAlways(ctx, func(tx *db.Tx) error {
			return tx.Queue(`UPDATE matrix_push SET next_try = $1 WHERE user_id = $2 AND app_id = $3 AND pushkey = $4 AND pos = $5`,
				tx.Millis()+wait.Milliseconds(), d.user, d.app, d.key, d.pos)
		})
	}
	return p.core.UpdateAlways(ctx, func(tx *db.Tx) error {
		if rejected {
			return Remove(tx, d.user, d.app, d.key)
		}
		return tx.Queue(`DELETE FROM matrix_push WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND pos = $4`, d.user, d.app, d.key, d.pos)
	})
}

// post sends a notification. rejected says that the gateway does not know the
// pushkey any more.
func (p *Postman) post(ctx context.Context, d *delivery) (rejected bool, err error) {
	var ps *Pusher
	if err := p.core.View(ctx, func(tx *db.Tx) (err error) {
		ps, err = get(tx, d.user, d.app, d.key)
		return err
	}); err != nil {
		return false, err
	}
	if ps == nil {
		return true, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ps.Data.Text("url"), bytes.NewReader(d.body))
	if err != nil {
		return false, errors.New("the address is not valid")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(req)
	if err != nil {
		return false, errors.New("the gateway does not answer")
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the gateway answered %d", resp.StatusCode)
	}
	var a struct {
		Rejected []string `json:"rejected"`
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return false, errors.New("the gateway's answer is not JSON")
	}
	for _, k := range a.Rejected {
		if k == d.key {
			return true, nil
		}
	}
	return false, nil
}
