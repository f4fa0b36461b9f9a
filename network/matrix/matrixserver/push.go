package matrixserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/outgoing"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// pushKey is the hub's key of those who tell push gateways of events.
const pushKey = "push"

// The times of delivery.
const (
	pushTimeout  = 20 * time.Second
	pushIdle     = 30 * time.Second // a look without a wake-up
	pushLease    = 60 * time.Second // how long a node has for one delivery
	pushFirst    = 10 * time.Second // the wait after the first failure; it doubles
	pushMostWait = time.Hour
	pushMaxTries = 30
	pushBatch    = 100
	// pushCount bounds how far members are counted for rules about the size
	// of a room.
	pushCount = 1000
)

// notePush remembers an event for the push gateways, if anybody has a pusher.
// Whom it concerns is worked out later, away from the write.
func notePush(tx *db.Tx, e *room.Event) error {
	var n int
	if err := tx.Row(`SELECT COUNT(*) FROM (SELECT 1 FROM matrix_pusher LIMIT 1) AS p`).Scan(&n); err != nil || n == 0 {
		return err
	}
	tx.Wake(pushKey)
	return tx.Queue(`INSERT INTO matrix_push_event (pos, room) VALUES ($1, $2)`, e.Pos, e.Room)
}

// A postman delivers notifications to push gateways while it runs.
type postman struct {
	s    *homeserver
	http *http.Client
}

func newPostman(s *homeserver) *postman {
	return &postman{s: s, http: gatewayClient(s.Setting(privateGateways) == "on")}
}

// gatewayClient connects to push gateways, at public addresses only unless
// private is set: users name the gateways, and must not reach the server's own
// network through it.
func gatewayClient(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !private {
		dialer.Control = outgoing.Control
	}
	return &http.Client{
		Timeout:       pushTimeout,
		Transport:     &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// run delivers what is due until ctx ends.
func (p *postman) run(ctx context.Context) error {
	defer p.http.CloseIdleConnections()
	w := p.s.Hub.Wait(pushKey)
	defer w.Close()
	for ctx.Err() == nil {
		next, err := p.round(ctx)
		if err != nil && ctx.Err() == nil {
			p.s.Log.Warn("matrix: telling push gateways failed, and is tried again", "err", err)
		}
		t := time.NewTimer(max(min(next, pushIdle), 50*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-w.C():
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

// round sorts what is new and delivers what is due. It returns when the next
// delivery is due.
func (p *postman) round(ctx context.Context) (time.Duration, error) {
	for {
		n, err := p.sort(ctx)
		if err != nil {
			return pushIdle, err
		}
		if n < pushBatch {
			break
		}
	}
	for ctx.Err() == nil {
		d, wait, err := p.claim(ctx)
		if err != nil {
			return pushIdle, err
		}
		if d == nil {
			return wait, nil
		}
		if err := p.deliver(ctx, d); err != nil {
			return pushIdle, err
		}
	}
	return pushIdle, nil
}

// A letter is a notification for one pusher that is not kept yet.
type letter struct {
	user     quinta.UserID
	app, key string
	body     []byte
}

// sort works out who is to be told of the events that are new. The work is
// done on a snapshot; what came of it is kept if no other node was first.
func (p *postman) sort(ctx context.Context) (int, error) {
	letters := map[quinta.Pos][]letter{}
	err := p.s.View(ctx, func(tx *db.Tx) error {
		rooms := map[quinta.Pos]quinta.RoomID{}
		for row, err := range tx.Query(`SELECT pos, room FROM matrix_push_event ORDER BY pos LIMIT $1`, pushBatch) {
			if err != nil {
				return err
			}
			var pos quinta.Pos
			var id quinta.RoomID
			if err := row.Scan(&pos, &id); err != nil {
				return err
			}
			rooms[pos] = id
		}
		for pos, id := range rooms {
			list, err := p.address(tx, id, pos)
			if err != nil {
				return err
			}
			letters[pos] = list
		}
		return nil
	})
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	return len(letters), p.s.Update(ctx, func(tx *db.Tx) error {
		for pos, list := range letters {
			n, err := tx.Exec(`DELETE FROM matrix_push_event WHERE pos = $1`, pos)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			for _, l := range list {
				if err := tx.Queue(`INSERT INTO matrix_push (user_id, app_id, pushkey, pos, body, next_try, tries) VALUES ($1, $2, $3, $4, $5, $6, 0)
					ON CONFLICT (user_id, app_id, pushkey, pos) DO NOTHING`, l.user, l.app, l.key, pos, l.body, tx.Millis()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// address writes the notifications of one event.
func (p *postman) address(tx *db.Tx, id quinta.RoomID, pos quinta.Pos) ([]letter, error) {
	e, err := room.ByPos(tx, id, pos)
	if quinta.KindOf(err) == quinta.KindNotFound && err != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	users, err := p.concerned(tx, e)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	raw, err := json.Marshal(&clientEvent{Content: e.Content, ID: e.ID, Time: e.Time, Room: e.Room, Sender: e.Sender, StateKey: e.StateKey, Type: e.Type})
	if err != nil {
		return nil, err
	}
	pe, err := pushrule.NewEvent(raw)
	if err != nil {
		return nil, err
	}
	var out []letter
	for _, u := range users {
		list, err := p.notify(tx, u, e, pe)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// concerned returns the users with pushers who may see the event: members,
// and one who is invited by it.
func (p *postman) concerned(tx *db.Tx, e *room.Event) ([]quinta.UserID, error) {
	var with, out []quinta.UserID
	for row, err := range tx.Query(`SELECT DISTINCT user_id FROM matrix_pusher WHERE user_id <> $1`, e.Sender) {
		if err != nil {
			return nil, err
		}
		var u quinta.UserID
		if err := row.Scan(&u); err != nil {
			return nil, err
		}
		with = append(with, u)
	}
	for _, u := range with {
		m, err := room.MemberOf(tx, e.Room, u)
		if err != nil {
			return nil, err
		}
		if m.Membership == "join" || m.Membership == "invite" && e.IsState(eventauth.TypeMember, string(u)) {
			out = append(out, u)
		}
	}
	return out, nil
}

// notify judges an event by a user's rules and writes what the user's pushers get.
func (p *postman) notify(tx *db.Tx, user quinta.UserID, e *room.Event, pe *pushrule.Event) ([]letter, error) {
	set, _, err := p.s.pushSet(tx, user)
	if err != nil {
		return nil, err
	}
	ctx, err := p.s.pushContext(tx, user, e)
	if err != nil {
		return nil, err
	}
	m := pushrule.Compile(set.Rules(string(user)), string(user)).Match(pe, ctx)
	if !m.Notify() {
		return nil, nil
	}
	pushers, err := pushersOf(tx, user)
	if err != nil {
		return nil, err
	}
	var out []letter
	for _, ps := range pushers {
		body, err := encode(map[string]any{"notification": notification(&ps, e, m)})
		if err != nil {
			return nil, err
		}
		out = append(out, letter{user, ps.AppID, ps.Pushkey, body})
	}
	return out, nil
}

// notification is what the gateway gets (push gateway API). The content of an
// event leaves the server only if the pusher did not ask for ids alone.
func notification(ps *pusher, e *room.Event, m pushrule.Match) map[string]any {
	tweaks := map[string]json.RawMessage{}
	for _, a := range m.Actions {
		var t struct {
			Tweak string          `json:"set_tweak"`
			Value json.RawMessage `json:"value"`
		}
		if json.Unmarshal(a, &t) == nil && t.Tweak != "" {
			if t.Value == nil {
				t.Value = json.RawMessage("true")
			}
			tweaks[t.Tweak] = t.Value
		}
	}
	data := map[string]json.RawMessage{}
	for k, v := range ps.Data {
		if k != "url" {
			data[k] = v
		}
	}
	n := map[string]any{
		"event_id": e.ID, "room_id": e.Room, "prio": "high",
		"devices": []map[string]any{{"app_id": ps.AppID, "pushkey": ps.Pushkey, "pushkey_ts": ps.createdUnix / 1000, "data": data, "tweaks": tweaks}},
	}
	if ps.Data.text("format") != "event_id_only" {
		n["type"], n["sender"], n["content"] = e.Type, e.Sender, json.RawMessage(e.Content)
	}
	return n
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
func (p *postman) claim(ctx context.Context) (*delivery, time.Duration, error) {
	var d *delivery
	wait := pushIdle
	err := p.s.Update(ctx, func(tx *db.Tx) error {
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
			tx.Millis()+pushLease.Milliseconds(), c.user, c.app, c.key, c.pos)
	})
	return d, wait, err
}

// deliver makes one delivery and writes down what became of it.
func (p *postman) deliver(ctx context.Context, d *delivery) error {
	rejected, err := p.post(ctx, d)
	if ctx.Err() != nil {
		return ctx.Err() // the lease ends by itself
	}
	if err != nil && d.tries+1 < pushMaxTries {
		p.s.Log.Info("matrix: a push gateway did not take a notification", "app", d.app, "tries", d.tries+1, "err", err)
		wait := min(pushFirst<<min(d.tries, 10), pushMostWait)
		return p.s.Update(ctx, func(tx *db.Tx) error {
			return tx.Queue(`UPDATE matrix_push SET next_try = $1 WHERE user_id = $2 AND app_id = $3 AND pushkey = $4 AND pos = $5`,
				tx.Millis()+wait.Milliseconds(), d.user, d.app, d.key, d.pos)
		})
	}
	return p.s.Update(ctx, func(tx *db.Tx) error {
		if rejected {
			return removePusher(tx, d.user, d.app, d.key)
		}
		return tx.Queue(`DELETE FROM matrix_push WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND pos = $4`, d.user, d.app, d.key, d.pos)
	})
}

// post sends a notification. rejected says that the gateway does not know the
// pushkey any more.
func (p *postman) post(ctx context.Context, d *delivery) (rejected bool, err error) {
	var ps *pusher
	if err := p.s.View(ctx, func(tx *db.Tx) (err error) {
		ps, err = pusherOf(tx, d.user, d.app, d.key)
		return err
	}); err != nil {
		return false, err
	}
	if ps == nil {
		return true, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ps.Data.text("url"), bytes.NewReader(d.body))
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

// pushContext is what push rules ask about a room and a user.
func (s *homeserver) pushContext(tx *db.Tx, user quinta.UserID, e *room.Event) (pushrule.Context, error) {
	var c pushrule.Context
	r, err := room.Get(tx, e.Room)
	if err != nil {
		return c, err
	}
	v, err := eventauth.ParseVersion(r.Version)
	if err != nil {
		return c, err
	}
	joined, err := room.Members(tx, e.Room, "join", pushCount)
	if err != nil {
		return c, err
	}
	c.Members = len(joined)
	me, err := room.StateOf(tx, e.Room, eventauth.TypeMember, string(user))
	if err != nil {
		return c, err
	}
	if me != nil {
		var m struct {
			Name string `json:"displayname"`
		}
		if json.Unmarshal(me.Content, &m) == nil {
			c.DisplayName = m.Name
		}
	}
	levels, err := levelsOf(tx, e.Room, v)
	if err != nil {
		return c, err
	}
	c.MayNotify = func(key string) bool { return levels.User(string(e.Sender)) >= levels.Notification(key) }
	return c, nil
}
