package push

import (
	"context"
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// Note remembers an event for the push gateways, if anyone has a pusher.
// Which users it concerns is worked out later, outside the write.
func Note(tx *db.Tx, e *room.Event) error {
	var n int
	if err := tx.Row(`SELECT COUNT(*) FROM (SELECT 1 FROM matrix_pusher LIMIT 1) AS p`).Scan(&n); err != nil || n == 0 {
		return err
	}
	tx.Wake(pushKey)
	return tx.Queue(`INSERT INTO matrix_push_event (pos, room) VALUES ($1, $2)`, e.Pos, e.Room)
}

// A letter is a notification for one pusher that is not kept yet.
type letter struct {
	user     quinta.UserID
	app, key string
	body     []byte
}

// sort works out who is to be told of the events that are new. The work is
// done on a snapshot; what came of it is kept if no other node was first.
func (p *Postman) sort(ctx context.Context) (int, error) {
	letters := map[quinta.Pos][]letter{}
	err := p.core.View(ctx, func(tx *db.Tx) error {
		rooms := map[quinta.Pos]quinta.RoomID{}
		for row, err := range tx.Query(`SELECT pos, room FROM matrix_push_event ORDER BY pos LIMIT $1`, batch) {
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
	return len(letters), p.core.UpdateAlways(ctx, func(tx *db.Tx) error {
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
				// What has waited longest makes way: the user looks at all once they come.
				if err := tx.Queue(`DELETE FROM matrix_push WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND pos <=
					(SELECT pos FROM matrix_push WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 ORDER BY pos DESC LIMIT 1 OFFSET $4)`, l.user, l.app, l.key, maxLetters); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// maxLetters bounds the notifications that wait for one pusher.
const maxLetters = 200

// address writes the notifications of one event.
func (p *Postman) address(tx *db.Tx, id quinta.RoomID, pos quinta.Pos) ([]letter, error) {
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
	raw, err := json.Marshal(&wire.Event{Content: e.Content, ID: e.ID, Time: e.Time, Room: e.Room, Sender: e.Sender, StateKey: e.StateKey, Type: e.Type})
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
func (p *Postman) concerned(tx *db.Tx, e *room.Event) ([]quinta.UserID, error) {
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
func (p *Postman) notify(tx *db.Tx, user quinta.UserID, e *room.Event, pe *pushrule.Event) ([]letter, error) {
	rules, _, err := p.judge.evaluator(tx, user)
	if err != nil {
		return nil, err
	}
	s, err := sceneOf(tx, e.Room, user)
	if err != nil {
		return nil, err
	}
	m := rules.Match(pe, s.of(e))
	if !m.Notify() {
		return nil, nil
	}
	pushers, err := of(tx, user)
	if err != nil {
		return nil, err
	}
	var out []letter
	for _, ps := range pushers {
		body, err := wire.Encode(map[string]any{"notification": notification(&ps, e, m)})
		if err != nil {
			return nil, err
		}
		out = append(out, letter{user, ps.AppID, ps.Pushkey, body})
	}
	return out, nil
}

// notification is what the gateway gets (push gateway API). The content of an
// event leaves the server only if the pusher did not ask for ids alone.
func notification(ps *Pusher, e *room.Event, m pushrule.Match) map[string]any {
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
		"devices": []map[string]any{{"app_id": ps.AppID, "pushkey": ps.Pushkey, "pushkey_ts": ps.created / 1000, "data": data, "tweaks": tweaks}},
	}
	if ps.Data.Text("format") != "event_id_only" {
		n["type"], n["sender"], n["content"] = e.Type, e.Sender, json.RawMessage(e.Content)
	}
	return n
}
