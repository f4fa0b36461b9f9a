package matrix

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
)

// maxContent bounds the content of one message; an event of a room has at most
// 65,536 bytes, and encryption makes it a third longer.
const maxContent = 44_000

// An outboxItem is a message that was not sealed yet.
type outboxItem struct {
	Room    quinta.RoomID    `json:"room"`
	Local   quinta.MessageID `json:"local,omitempty"`
	Type    string           `json:"type"`
	Content json.RawMessage  `json:"content"`
	Txn     string           `json:"txn"`
}

// Send takes a message: Room, Type and Body, the JSON content. Its ID, if
// any, is the caller's own name for it, which comes back in the Detail of its
// EventSent or EventNotSent. In an encrypted room it leaves when all who are
// entitled to its key have it, and never in clear.
func (m *Machine) Send(tx e2ee.Tx, msg quinta.Message) error {
	_, err := m.run(tx, func(w *work) error {
		r, found, err := w.room(msg.Room)
		if err != nil {
			return err
		}
		if !found || r.Left {
			return ErrUnknownRoom
		}
		if msg.Type == "" || msg.Type == typeEncrypted {
			return fmt.Errorf("%w: message type", ErrMalformed)
		}
		if len(msg.Body) > maxContent {
			return quinta.E(quinta.KindTooLarge, "sending", "the message is too large")
		}
		if _, err := canonicaljson.Members(msg.Body); err != nil {
			return fmt.Errorf("%w: content: %w", ErrMalformed, err)
		}
		if r.Encrypted {
			if r.Algorithm != algorithmMegolm {
				return ErrUnsupportedRoom
			}
			if err := w.blocked(msg.Room); err != nil {
				return err
			}
		}
		return w.put("outbox/"+w.next(), &outboxItem{msg.Room, msg.ID, msg.Type, msg.Body, w.txn()})
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
	entries, err := w.keysWith("outbox/")
	if err != nil {
		return err
	}
	waiting := map[quinta.RoomID]bool{}
	for _, e := range entries {
		var i outboxItem
		if err := json.Unmarshal(e.Value, &i); err != nil {
			return ErrMalformed
		}
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
	out := &record{Kind: ReqRoomSend, Method: "PUT", Room: i.Room, Local: i.Local, Type: i.Type, Content: i.Content}
	if !r.Encrypted {
		out.Path, out.Body = path("rooms", string(i.Room), "send", i.Type, i.Txn), i.Content
		return true, w.enqueue(out)
	}
	if !w.meta.Published || r.Algorithm != algorithmMegolm {
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
	out.Path = path("rooms", string(i.Room), "send", typeEncrypted, i.Txn)
	return true, w.enqueue(out)
}

// doneRoomSend tells what became of a message.
func (w *work) doneRoomSend(r *record, ans Ans) error {
	msg := quinta.Message{Room: r.Room, Sender: w.m.user, Device: w.m.device, Type: r.Type, Body: r.Content}
	var a struct {
		ID quinta.MessageID `json:"event_id"`
	}
	if ans.Failure == Refused {
		w.emit(e2ee.Event{Kind: e2ee.EventNotSent, Message: msg, Reason: quinta.ReasonNotPermitted, Detail: string(r.Local)})
		return nil
	}
	if json.Unmarshal(ans.Body, &a) != nil || a.ID == "" {
		return ErrMalformed
	}
	msg.ID = a.ID
	w.emit(e2ee.Event{Kind: e2ee.EventSent, Message: msg, Detail: string(r.Local)})
	return nil
}

// Unsent returns how many messages to a room have not left.
func (m *Machine) Unsent(tx e2ee.Tx, room quinta.RoomID) (int, error) {
	n := 0
	_, err := m.run(tx, func(w *work) error {
		entries, err := w.keysWith("outbox/")
		if err != nil {
			return err
		}
		for _, e := range entries {
			var i outboxItem
			if err := json.Unmarshal(e.Value, &i); err != nil {
				return ErrMalformed
			}
			if i.Room == room {
				n++
			}
		}
		return nil
	})
	return n, err
}

// A RoomInfo is what is known of one room.
type RoomInfo struct {
	// Encrypted never becomes false again.
	Encrypted bool
	Members   []quinta.UserID
}

// Room returns what is known of a room.
func (m *Machine) Room(tx e2ee.Tx, id quinta.RoomID) (RoomInfo, error) {
	var out RoomInfo
	_, err := m.run(tx, func(w *work) error {
		r, found, err := w.room(id)
		if err != nil {
			return err
		}
		if !found {
			return ErrUnknownRoom
		}
		out.Encrypted = r.Encrypted
		prefix := "member/" + string(id) + "\x00"
		entries, err := w.keysWith(prefix)
		for _, e := range entries {
			if string(e.Value) == "join" {
				out.Members = append(out.Members, quinta.UserID(strings.TrimPrefix(e.Key, prefix)))
			}
		}
		return err
	})
	return out, err
}

// Rotate makes the next message to a room begin a new session.
func (m *Machine) Rotate(tx e2ee.Tx, room quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error { return w.discard(room) })
	return err
}
