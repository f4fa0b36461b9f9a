package rocketchatserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// A session off the record is between the two people of a direct conversation. Its
// messages are events alone: none of them is stored as a message, so that none can be
// edited, quoted, pinned or found again, and the events go when a session ends. A session
// ends with the connection of either side.

// maxTalks bounds the sessions of one connection.
const maxTalks = 100

// otrLines are the lines that clients have the server say in a conversation.
var otrLines = []string{"user_joined_otr", "user_requested_otr_key_refresh", "user_key_refreshed_successfully"}

var errOTR = refused(wire.CodeForbidden, "conversations off the record are switched off on this server")

func (s *rcServer) otrCalls() {
	s.ddp("stream-notify-user", (*call).publishUser)
	s.ddp("updateOTRAck", (*call).ackOTR)
	s.ddp("deleteOldOTRMessages", (*call).purgeOTR)
	s.post("chat.otr", (*call).lineOTR)
}

func (s *rcServer) otr() bool { return s.Setting(settingOTR) == "on" }

// pairOf returns a direct conversation of the caller's and the other user in it.
func (c *call) pairOf(tx *db.Tx, id quinta.RoomID) (r *roomRow, other string, err error) {
	r, _, err = c.mine(tx, id)
	if err != nil {
		return nil, "", err
	}
	if r.Type != typeDirect {
		return nil, "", refused(wire.CodeForbidden, "this is not a direct conversation")
	}
	members, err := membersOf(tx, id)
	for _, m := range members {
		if m.User != c.me.ID {
			other = m.User
		}
	}
	if err == nil && other == "" {
		err = refused(wire.CodeForbidden, "no one else is in this conversation")
	}
	return r, other, err
}

// publishUser tells the other user of a direct conversation about a session off the
// record. The sender is always the caller, and nothing is passed on except what such
// a session needs.
func (c *call) publishUser() (any, error) {
	var key, kind string
	if err := c.texts(&key, &kind); err != nil {
		return nil, err
	}
	var in wire.OTRSignal
	if err := c.param(2, &in); err != nil {
		return nil, err
	}
	peer, what, _ := strings.Cut(key, "/")
	keyed := kind == wire.OTRHandshake || kind == wire.OTRAcknowledge
	switch {
	case what != "otr", in.User != c.me.ID, peer == c.me.ID:
		return nil, errStream
	case !keyed && kind != wire.OTRDeny && kind != wire.OTREnd:
		return nil, errStream
	case keyed && !c.otr():
		return nil, errOTR
	case keyed && rocketchat.CheckOTRKey(in.Public) != nil:
		return nil, invalid("publicKey is not a P-256 key")
	case !keyed:
		in.Public, in.Refresh = "", false
	}
	if keyed && !c.conn.talk(in.Room, peer) {
		return nil, &wire.Error{Status: http.StatusTooManyRequests, Code: wire.CodeLimited, Text: "too many conversations off the record on one connection"}
	}
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		_, other, err := c.pairOf(tx, in.Room)
		if err != nil || other != peer {
			return errStream
		}
		return tellOTR(tx, in.Room, peer, kind, in)
	})
	if err != nil || !keyed {
		c.conn.forget(in.Room)
	}
	return nil, err
}

// tellOTR tells a user about a session off the record.
func tellOTR(tx *db.Tx, room quinta.RoomID, peer, kind string, in wire.OTRSignal) error {
	return keepEvent(tx, in.User, room, scopeUser(peer), "stream-notify-user", wire.OTREvent(peer), []any{kind, in})
}

// talk remembers that the connection takes part in a session; it reports false if it
// takes part in too many.
func (c *ddpConn) talk(room quinta.RoomID, peer string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, have := c.talks[room]; !have && len(c.talks) >= maxTalks {
		return false
	}
	c.talks[room] = peer
	return true
}

func (c *ddpConn) forget(room quinta.RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.talks, room)
}

// talkEnded forgets a session that the other user has ended or declined, as the
// connection now hears.
func (c *ddpConn) talkEnded(args []json.RawMessage) {
	var kind string
	var in wire.OTRSignal
	if len(args) < 2 || json.Unmarshal(args[0], &kind) != nil || json.Unmarshal(args[1], &in) != nil {
		return
	}
	if kind == wire.OTREnd || kind == wire.OTRDeny {
		c.forget(in.Room)
	}
}

// endTalks ends the sessions that a connection leaves behind: the other user is told,
// and what was said is removed.
func (c *ddpConn) endTalks() {
	c.mu.Lock()
	talks := c.talks
	c.talks = map[quinta.RoomID]string{}
	c.mu.Unlock()
	if len(talks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), callTimeout)
	defer cancel()
	err := c.UpdateAlways(ctx, func(tx *db.Tx) error {
		for room, peer := range talks {
			if err := removeOTR(tx, room); err != nil {
				return err
			}
			if err := tellOTR(tx, room, peer, wire.OTREnd, wire.OTRSignal{Room: room, User: c.me.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.Log.Warn("rocketchat: the other side could not be told that a conversation off the record ended", "err", err)
	}
}

// removeOTR removes what was said off the record in a room.
func removeOTR(tx *db.Tx, room quinta.RoomID) error {
	return removeEvents(tx, `otr = $1 AND scope = $2`, string(room), scopeRoom(room))
}

// sendOTR passes a message off the record on to the room. It is not stored.
func (c *call) sendOTR(d draft) (*rocketchat.Message, error) {
	if !c.otr() {
		return nil, errOTR
	}
	if rocketchat.CheckOTR(d.Msg) != nil || len(d.Content) > 0 || d.Thread != "" || d.E2E != "" {
		return nil, invalid("this is not a message off the record")
	}
	m := &rocketchat.Message{ID: d.ID, Room: d.Room, Type: rocketchat.TypeOTR, Msg: d.Msg, User: c.me.author()}
	return m, c.Update(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.pairOf(tx, d.Room); err != nil {
			return err
		}
		if _, _, err := getMessage(tx, d.ID); err == nil {
			return refused("error-duplicate-message-id", "this id belongs to another message")
		} else if !errors.Is(err, errNoMessage) {
			return err
		}
		m.TS = rocketchat.Date(tx.Millis())
		return keepEvent(tx, c.me.ID, d.Room, scopeRoom(d.Room), "stream-room-messages", string(d.Room),
			[]any{wire.OTRMessage{ID: m.ID, Room: m.Room, Type: m.Type, Msg: m.Msg, User: m.User, TS: m.TS}})
	})
}

// ackOTR tells the sender of a message that the caller, who is the other one, has it.
// What is said of the message is what the server itself has passed on.
func (c *call) ackOTR() (any, error) {
	var q struct {
		Message struct {
			ID   quinta.MessageID `json:"_id"`
			Room quinta.RoomID    `json:"rid"`
		} `json:"message"`
		Ack string `json:"ack"`
	}
	if err := c.param(0, &q); err != nil {
		return nil, err
	}
	if !c.otr() {
		return nil, errOTR
	}
	if rocketchat.CheckOTR(q.Ack) != nil {
		return nil, invalid("ack is not sealed")
	}
	return nil, c.Update(c.ctx, func(tx *db.Tx) error {
		_, other, err := c.pairOf(tx, q.Message.Room)
		if err != nil {
			return err
		}
		m, err := passedOTR(tx, q.Message.Room, q.Message.ID)
		if err != nil {
			return err
		}
		if m != nil && m.User.ID == other && m.Ack == "" {
			m.Ack = q.Ack
			return keepEvent(tx, c.me.ID, m.Room, scopeRoom(m.Room), "stream-room-messages", string(m.Room), []any{m})
		}
		return refused(wire.CodeNoMessage, "the other user sent no such message to acknowledge")
	})
}

// passedOTR returns the newest event of a message off the record that the server has
// passed on, or nil.
func passedOTR(tx *db.Tx, id quinta.RoomID, of quinta.MessageID) (found *wire.OTRMessage, err error) {
	for row, err := range tx.Query(`SELECT args FROM rocketchat_event WHERE otr = $1 AND scope = $2 ORDER BY pos`, string(id), scopeRoom(id)) {
		if err != nil {
			return nil, err
		}
		var raw []byte
		if err := row.Scan(&raw); err != nil {
			return nil, err
		}
		var list []wire.OTRMessage
		if json.Unmarshal(raw, &list) == nil && len(list) == 1 && list[0].ID == of {
			found = &list[0]
		}
	}
	return found, nil
}

// purgeOTR removes what is left of the sessions off the record of a conversation.
func (c *call) purgeOTR() (any, error) {
	var rid string
	if err := c.texts(&rid); err != nil {
		return nil, err
	}
	return nil, c.UpdateAlways(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.pairOf(tx, quinta.RoomID(rid)); err != nil {
			return err
		}
		return removeOTR(tx, quinta.RoomID(rid))
	})
}

// lineOTR has the server say a line of a session off the record. It is not stored.
func (c *call) lineOTR() (any, error) {
	var q struct {
		Room quinta.RoomID `json:"roomId"`
		Type string        `json:"type"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if !c.otr() {
		return nil, errOTR
	}
	if !slices.Contains(otrLines, q.Type) {
		return nil, invalid("type is not a message type of a conversation off the record")
	}
	id, err := rocketchat.NewID(c.Rand)
	if err != nil {
		return nil, err
	}
	return answer{}, c.Update(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.pairOf(tx, q.Room); err != nil {
			return err
		}
		return keepEvent(tx, c.me.ID, q.Room, scopeRoom(q.Room), "stream-room-messages", string(q.Room),
			[]any{wire.OTRMessage{ID: quinta.MessageID(id), Room: q.Room, Type: q.Type, Msg: string(c.me.Name), User: c.me.author(), TS: rocketchat.Date(tx.Millis())}})
	})
}
