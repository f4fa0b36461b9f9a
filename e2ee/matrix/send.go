package matrix

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// maxContent bounds the content of one message; an event of a room has at most
// 65,536 bytes, and encryption makes it a third longer.
const maxContent = 44_000

// An outboxItem is a message that was not sealed yet.
type outboxItem struct {
	Room    quinta.RoomID   `json:"room"`
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
	Txn     quinta.TxnID    `json:"txn"`
}

// Send takes a message for Room: either Type and Body, the event type and the
// JSON content, or the members that all networks share (Kind, Text, File,
// Relation). Txn, if it is set, is the transaction id under which it leaves,
// and must be one that was never used; it is in the EventSent or EventFailed.
//
// In an encrypted room the message leaves when all who are entitled to its key
// have it, and never in clear. Only a redaction, which says no more than which
// message it takes back, has no encrypted form.
func (m *Machine) Send(tx e2ee.Tx, msg quinta.Message) error {
	_, err := m.run(tx, func(w *work) error {
		if w.meta.Foreign {
			return ErrOtherDevice
		}
		r, found, err := w.room(msg.Room)
		if err != nil {
			return err
		}
		if !found || r.Left {
			return ErrUnknownRoom
		}
		i := outboxItem{msg.Room, msg.Type, msg.Body, msg.Txn}
		if i.Type == "" {
			if i.Type, i.Content, err = render(msg); err != nil {
				return err
			}
		}
		if i.Type == typeEncrypted {
			return fmt.Errorf("%w: message type", ErrMalformed)
		}
		if len(i.Content) > maxContent {
			return quinta.E(quinta.KindTooLarge, "sending", "the message is too large")
		}
		if _, err := canonicaljson.Members(i.Content); err != nil {
			return fmt.Errorf("%w: content: %w", ErrMalformed, err)
		}
		if i.Txn == "" {
			txn, err := w.txn()
			if err != nil {
				return err
			}
			i.Txn = quinta.TxnID(txn)
		}
		if i.Type == typeRedaction {
			if msg.Relation.To == "" {
				return fmt.Errorf("%w: a redaction without a target", ErrMalformed)
			}
			return w.reqs.add(&record{
				Kind: ReqRoomSend, Method: "PUT", Path: path("rooms", string(i.Room), "redact", string(msg.Relation.To), string(i.Txn)),
				Body: i.Content, Room: i.Room, Txn: i.Txn, Type: i.Type, Content: i.Content,
			})
		}
		if r.Encrypted {
			if r.Algorithm != algorithmMegolm {
				return ErrUnsupportedRoom
			}
			if err := w.blocked(msg.Room); err != nil {
				return err
			}
		}
		return e2ee.Store(w.tx, "outbox/"+w.next(), &i)
	})
	return err
}

// blocked returns ErrIdentityChanged if a member's verified identity changed.
func (w *work) blocked(room quinta.RoomID) error {
	a, err := w.audience(room)
	if err != nil {
		return err
	}
	if a.blocked != "" {
		return fmt.Errorf("%w: %s", ErrIdentityChanged, a.blocked)
	}
	return nil
}

// planOutbox seals the messages that may leave, in the order of each room.
func (w *work) planOutbox() error {
	waiting := map[quinta.RoomID]bool{}
	for e, err := range e2ee.Records[outboxItem](w.tx, "outbox/") {
		if err != nil {
			return err
		}
		i := e.Value
		if waiting[i.Room] {
			continue
		}
		sent, err := w.sendItem(&i)
		if err != nil {
			return err
		}
		if !sent {
			waiting[i.Room] = true
			continue
		}
		if err := w.tx.Delete(e.Key); err != nil {
			return err
		}
	}
	return nil
}

// sendItem makes the request of one message, if it may leave.
func (w *work) sendItem(i *outboxItem) (bool, error) {
	r, _, err := w.room(i.Room)
	if err != nil {
		return false, err
	}
	out := &record{Kind: ReqRoomSend, Method: "PUT", Room: i.Room, Txn: i.Txn, Type: i.Type, Content: i.Content}
	if !r.Encrypted {
		out.Path, out.Body = path("rooms", string(i.Room), "send", i.Type, string(i.Txn)), i.Content
		return true, w.reqs.add(out)
	}
	if !w.meta.Published || w.meta.Foreign || r.Algorithm != algorithmMegolm {
		return false, nil
	}
	if !r.Complete {
		return false, w.fetchMembers(i.Room, &r)
	}
	o, ready, err := w.share(i.Room, &r)
	if err != nil || !ready {
		return false, err
	}
	if out.Body, err = w.sealRoom(i.Room, o, i.Type, i.Content); err != nil {
		return false, err
	}
	out.Sealed = true
	out.Path = path("rooms", string(i.Room), "send", typeEncrypted, string(i.Txn))
	return true, w.reqs.add(out)
}

// doneRoomSend tells what became of a message.
func (w *work) doneRoomSend(r *record, ans Ans) error {
	msg := quinta.Message{
		Room: r.Room, Sender: w.m.user, Device: w.m.device, Txn: r.Txn, Time: w.now,
		Type: r.Type, Body: r.Content, Encrypted: r.Sealed, Trust: quinta.TrustVerified,
	}
	describe(&msg, "")
	var a struct {
		ID quinta.MessageID `json:"event_id"`
	}
	if ans.Failure == Refused || exactjson.Unmarshal(ans.Body, &a) != nil || a.ID == "" {
		w.emit(e2ee.Event{Kind: e2ee.EventFailed, Message: msg, Reason: quinta.ReasonNotPermitted, Detail: ans.Code})
		return nil
	}
	msg.ID = a.ID
	w.emit(e2ee.Event{Kind: e2ee.EventSent, Message: msg})
	return nil
}

// Unsent returns how many messages to a room were not sealed yet, as their key
// is on its way or something blocks them.
func (m *Machine) Unsent(tx e2ee.Tx, room quinta.RoomID) (int, error) {
	n := 0
	_, err := m.run(tx, func(w *work) error {
		for e, err := range e2ee.Records[outboxItem](w.tx, "outbox/") {
			if err != nil {
				return err
			}
			if e.Value.Room == room {
				n++
			}
		}
		return nil
	})
	return n, err
}

// Room returns what is known of a room; Members are those who are in it.
func (m *Machine) Room(tx e2ee.Tx, id quinta.RoomID) (quinta.Room, error) {
	rooms, err := m.Known(tx, id)
	if r, found := rooms[id]; found || err != nil {
		return r, err
	}
	return quinta.Room{ID: id}, ErrUnknownRoom
}

// Known returns what is known of rooms, as Room does; those of which nothing
// is known are left out. For many rooms it is quicker than Room for each.
func (m *Machine) Known(tx e2ee.Tx, ids ...quinta.RoomID) (map[quinta.RoomID]quinta.Room, error) {
	out := make(map[quinta.RoomID]quinta.Room, len(ids))
	_, err := m.run(tx, func(w *work) error {
		for _, id := range ids {
			r, found, err := w.room(id)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			known := quinta.Room{ID: id, Name: r.Name, Encrypted: r.Encrypted}
			prefix := memberKey(id, "")
			for e, err := range w.tx.All(prefix) {
				if err != nil {
					return err
				}
				if string(e.Value) == "join" {
					known.Members = append(known.Members, quinta.UserID(strings.TrimPrefix(e.Key, prefix)))
				}
			}
			out[id] = known
		}
		return nil
	})
	return out, err
}

// Membership returns a user's membership of a room as it was seen last: "join",
// "invite", "leave" and so on, or "" if none was.
func (m *Machine) Membership(tx e2ee.Tx, room quinta.RoomID, user quinta.UserID) (string, error) {
	b, err := tx.Get(memberKey(room, user))
	return string(b), err
}

// Rooms returns the ids of the rooms that this account is in, in order.
func (m *Machine) Rooms(tx e2ee.Tx) ([]quinta.RoomID, error) {
	var out []quinta.RoomID
	_, err := m.run(tx, func(w *work) error {
		for e, err := range e2ee.Records[roomRecord](w.tx, "room/") {
			if err != nil {
				return err
			}
			if !e.Value.Left && !e.Value.Invited {
				out = append(out, quinta.RoomID(e.Name))
			}
		}
		return nil
	})
	return out, err
}

// Rotate makes the next message to a room begin a new session.
func (m *Machine) Rotate(tx e2ee.Tx, room quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error { return w.discard(room) })
	return err
}
