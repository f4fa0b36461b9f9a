package rocketchatserver

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/server/db"
)

// maxPage bounds the messages of one answer.
const maxPage = 200

func (s *rcServer) historyCalls() {
	for _, kind := range []string{"im", "dm", "groups", "channels"} {
		s.get(kind+".history", (*call).history)
		s.get(kind+".messages", (*call).history)
	}
	s.get("chat.syncMessages", (*call).syncMessages)
	s.get("chat.getThreadMessages", (*call).threadMessages)
	s.ddp("getThreadMessages", (*call).loadThread)
	s.post("subscriptions.read", (*call).read)
	s.ddp("loadHistory", (*call).loadHistory)
}

// collect reads the bodies of messages.
func collect(tx *db.Tx, query string, args ...any) ([]*rocketchat.Message, error) {
	out := []*rocketchat.Message{}
	for row, err := range tx.Query(query, args...) {
		if err != nil {
			return nil, err
		}
		var body []byte
		if err := row.Scan(&body); err != nil {
			return nil, err
		}
		m := &rocketchat.Message{}
		if err := json.Unmarshal(body, m); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// before returns the newest messages of a room in a time, newest first.
func (c *call) before(tx *db.Tx, id quinta.RoomID, oldest, latest, count int64) ([]*rocketchat.Message, error) {
	if _, _, err := c.mine(tx, id); err != nil {
		return nil, err
	}
	return collect(tx, `SELECT body FROM rocketchat_message WHERE room = $1 AND at >= $2 AND at < $3 AND NOT gone ORDER BY at DESC, id DESC LIMIT $4`, id, oldest, latest, count)
}

// farFuture is after every message, in Unix milliseconds.
const farFuture = 1 << 50

func (c *call) history() (any, error) {
	latest, err := c.date("latest", farFuture)
	if err != nil {
		return nil, err
	}
	oldest, err := c.date("oldest", 0)
	if err != nil {
		return nil, err
	}
	count, err := c.number("count", 20, maxPage)
	if err != nil {
		return nil, err
	}
	var list []*rocketchat.Message
	err = c.View(c.ctx, func(tx *db.Tx) (err error) {
		list, err = c.before(tx, quinta.RoomID(c.query.Get("roomId")), oldest, latest, count)
		return err
	})
	return answer{"messages": list, "count": len(list)}, err
}

func (c *call) loadHistory() (any, error) {
	var rid string
	var end rocketchat.Date
	count := int64(20)
	if err := c.texts(&rid); err != nil {
		return nil, err
	}
	if err := c.param(1, &end); err != nil {
		return nil, err
	}
	if err := c.param(2, &count); err != nil {
		return nil, err
	}
	if end == 0 {
		end = farFuture
	}
	var list []*rocketchat.Message
	err := c.View(c.ctx, func(tx *db.Tx) (err error) {
		list, err = c.before(tx, quinta.RoomID(rid), 0, int64(end), min(max(count, 1), maxPage))
		return err
	})
	return answer{"messages": list}, err
}

// syncMessages gives what changed in a room at a time or later, and what was taken back.
func (c *call) syncMessages() (any, error) {
	since, err := c.date("lastUpdate", 0)
	if err != nil {
		return nil, err
	}
	id := quinta.RoomID(c.query.Get("roomId"))
	var list []*rocketchat.Message
	gone := []answer{}
	err = c.View(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.mine(tx, id); err != nil {
			return err
		}
		var err error
		if list, err = collect(tx, `SELECT body FROM rocketchat_message WHERE room = $1 AND updated >= $2 AND NOT gone ORDER BY at, id LIMIT $3`, id, since, maxSync); err != nil {
			return err
		}
		for row, err := range tx.Query(`SELECT id, updated FROM rocketchat_message WHERE room = $1 AND updated >= $2 AND gone ORDER BY updated LIMIT $3`, id, since, maxSync) {
			if err != nil {
				return err
			}
			var m quinta.MessageID
			var at int64
			if err := row.Scan(&m, &at); err != nil {
				return err
			}
			gone = append(gone, answer{"_id": m, "_deletedAt": rocketchat.Date(at)})
		}
		return nil
	})
	return answer{"result": answer{"updated": list, "deleted": gone}}, err
}

// maxSync bounds what one look at a room gives.
const maxSync = 5000

func (c *call) threadMessages() (any, error) {
	count, err := c.number("count", 50, maxPage)
	if err != nil {
		return nil, err
	}
	list, err := c.thread(quinta.MessageID(c.query.Get("tmid")), count)
	return answer{"messages": list, "count": len(list), "offset": 0, "total": len(list)}, err
}

// loadThread gives the messages of a thread by DDP.
func (c *call) loadThread() (any, error) {
	q := struct {
		Thread quinta.MessageID `json:"tmid"`
		Limit  int64            `json:"limit"`
	}{Limit: 50}
	if err := c.param(0, &q); err != nil {
		return nil, err
	}
	return c.thread(q.Thread, min(max(q.Limit, 1), maxPage))
}

// thread returns the oldest messages of a thread, in their order.
func (c *call) thread(of quinta.MessageID, count int64) (list []*rocketchat.Message, err error) {
	err = c.View(c.ctx, func(tx *db.Tx) error {
		_, _, m, _, err := c.ours(tx, of)
		if err != nil {
			return err
		}
		list, err = collect(tx, `SELECT body FROM rocketchat_message WHERE room = $1 AND thread = $2 AND NOT gone ORDER BY at, id LIMIT $3`, m.Room, of, count)
		return err
	})
	return list, err
}

// read says that the caller has read a room up to now.
func (c *call) read() (any, error) {
	var q struct {
		Room    quinta.RoomID `json:"rid"`
		RoomID  quinta.RoomID `json:"roomId"`
		Threads bool          `json:"readThreads"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Room == "" {
		q.Room = q.RoomID
	}
	return answer{}, c.UpdateAlways(c.ctx, func(tx *db.Tx) error {
		r, s, err := c.mine(tx, q.Room)
		if err != nil {
			return err
		}
		s.Unread, s.Seen = 0, tx.Millis()
		if err := s.put(tx); err != nil {
			return err
		}
		return c.tell(tx, "updated", s, r)
	})
}
