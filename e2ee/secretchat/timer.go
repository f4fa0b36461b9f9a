package secretchat

import (
	"fmt"
	"math"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// A timerRecord is a message that ends some time after it was read.
type timerRecord struct {
	TTL int  `json:"ttl"` // seconds
	Own bool `json:"own,omitempty"`
	// Media is read when it is opened.
	Media bool `json:"media,omitempty"`
	// Date is the server's, in Unix seconds; Due is when the message ends, in
	// Unix milliseconds, or 0 before it was read.
	Date int64 `json:"date"`
	Due  int64 `json:"due,omitempty"`
}

const preTimer = "secretchat/timer/"

func timerKey(c *chat, id quinta.MessageID) string {
	return preTimer + c.ID.String() + "/" + string(id)
}

// maxTTL is the longest timer that this side sets.
const maxTTL = 7 * 24 * time.Hour

// SetTimer sets the timer of a chat for both sides, to a whole number of
// seconds up to a week; 0 turns it off. Messages of before keep what they had.
func (m *Machine) SetTimer(tx e2ee.Tx, room quinta.RoomID, d time.Duration) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		c, err := w.room(room)
		switch {
		case err != nil:
			return err
		case c.State == StateClosed:
			return ErrClosed
		case c.State != StateOpen:
			return ErrNotOpen
		case d < 0 || d > maxTTL || d%time.Second != 0:
			return fmt.Errorf("%w: a timer is whole seconds, up to a week", ErrNoSuchForm)
		}
		c.TTL = int(d / time.Second)
		w.tell(c)
		return w.action(c, &schema.DecryptedMessageActionSetMessageTTL{TTLSeconds: c.TTL})
	})
}

// timed notes the timer of a message.
func (w *work) timed(c *chat, id quinta.MessageID, t timerRecord) error {
	if t.TTL <= 0 || t.TTL == math.MaxInt32 {
		return nil
	}
	return e2ee.Store(w.tx, timerKey(c, id), t)
}

// startRead starts the timers of the peer's messages up to a date, and tells
// the peer, whose own copies end as well. Media wait until they are opened.
func (w *work) startRead(c *chat, maxDate int64) error {
	return w.start(c, func(_ quinta.MessageID, t timerRecord) bool { return !t.Own && !t.Media && t.Date <= maxDate }, true)
}

// Opened starts the timer of a file that the user opens.
func (m *Machine) Opened(tx e2ee.Tx, room quinta.RoomID, id quinta.MessageID) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.room(room)
		if err != nil {
			return err
		}
		return w.start(c, func(at quinta.MessageID, t timerRecord) bool { return at == id && !t.Own }, c.State == StateOpen)
	})
	return err
}

// start starts the timers that match and are not started; one that runs is
// left as it is.
func (w *work) start(c *chat, match func(quinta.MessageID, timerRecord) bool, tell bool) error {
	var read []int64
	for r, err := range e2ee.Records[timerRecord](w.tx, timerKey(c, "")) {
		if err != nil {
			return err
		}
		t := r.Value
		if t.Due != 0 || !match(quinta.MessageID(r.Name), t) {
			continue
		}
		t.Due = w.now.Add(time.Duration(t.TTL) * time.Second).UnixMilli()
		if err := e2ee.Store(w.tx, r.Key, t); err != nil {
			return err
		}
		if id, ok := randomID(quinta.MessageID(r.Name)); ok {
			read = append(read, id)
		}
	}
	if !tell || len(read) == 0 {
		return nil
	}
	return w.action(c, &schema.DecryptedMessageActionReadMessages{RandomIDs: read})
}

// expire takes back the messages whose time has come.
func (w *work) expire() error {
	for r, err := range e2ee.Records[timerRecord](w.tx, preTimer) {
		if err != nil {
			return err
		}
		if r.Value.Due == 0 || r.Value.Due > w.now.UnixMilli() {
			continue
		}
		room, id := splitTimer(r.Name)
		m := quinta.Message{ID: id + "-expired", Room: room, Sender: UserID(w.m.user), Time: w.now, Encrypted: true, Kind: quinta.MessageRedaction,
			Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: id}}
		w.events = append(w.events, e2ee.Event{Kind: e2ee.EventMessage, Message: m})
		if err := w.tx.Delete(r.Key); err != nil {
			return err
		}
	}
	return nil
}

func splitTimer(name string) (quinta.RoomID, quinta.MessageID) {
	for i := range len(name) {
		if name[i] == '/' {
			return quinta.RoomID(name[:i]), quinta.MessageID(name[i+1:])
		}
	}
	return quinta.RoomID(name), ""
}

// Expires returns when the next message ends, or the zero time. The caller
// then gives an empty In to Receive, which takes the message back.
func (m *Machine) Expires(tx e2ee.Tx) (at time.Time, err error) {
	_, err = m.run(tx, func(w *work) error {
		first := int64(math.MaxInt64)
		for r, err := range e2ee.Records[timerRecord](w.tx, preTimer) {
			if err != nil {
				return err
			}
			if r.Value.Due != 0 {
				first = min(first, r.Value.Due)
			}
		}
		if first != math.MaxInt64 {
			at = time.UnixMilli(first)
		}
		return nil
	})
	return at, err
}
