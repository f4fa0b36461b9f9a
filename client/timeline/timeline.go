// Package timeline keeps messages on the device, by room and time, with
// edits, reactions, redactions and receipts applied.
//
// [Apply] takes the events of a machine, in the transaction that brought
// them; [Read] returns part of a room. A message that cannot be read yet is
// shown in its place with the reason, until it can be opened. An event that
// refers to a message that has not arrived waits for it.
//
// An edit counts only if it comes from the author of the message. A redaction
// removes the text from the device.
package timeline

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// An Item is one message as it stands now.
type Item struct {
	// Message is the message, with the text of its latest edit.
	Message quinta.Message
	// Reason is not empty if the message cannot be read, and Detail is the
	// network's own description of it.
	Reason quinta.Reason
	Detail string
	// Edited is the time of the latest edit; zero if there was none.
	Edited time.Time
	// Redacted says that the message was redacted.
	Redacted bool
	// Reactions are the reactions to the message, ordered by key and sender.
	Reactions []Reaction
}

// A Reaction is one reaction to a message.
type Reaction struct {
	Key    string
	Sender quinta.UserID
	ID     quinta.MessageID
}

// record is how an item is stored. It has the message's own fields as they
// are, and next to them those that JSON leaves out.
type record struct {
	Message  quinta.Message
	FileRef  []byte           `json:",omitempty"`
	Reason   quinta.Reason    `json:",omitempty"`
	Detail   string           `json:",omitempty"`
	Edited   int64            `json:",omitempty"`
	EditID   quinta.MessageID `json:",omitempty"`
	Redacted bool             `json:",omitempty"`
	// Seq is the order of arrival, which decides between messages of one
	// millisecond.
	Seq uint64
}

// The keys. A room or message id is any text without U+0000.
func itemKey(room quinta.RoomID, order string) string {
	return "timeline/m/" + string(room) + "\x00" + order
}
func indexKey(room quinta.RoomID, id quinta.MessageID) string {
	return "timeline/i/" + string(room) + "\x00" + string(id)
}
func reactionPrefix(room quinta.RoomID, to quinta.MessageID) string {
	return "timeline/r/" + string(room) + "\x00" + string(to) + "\x00"
}
func waitingKey(room quinta.RoomID, to, id quinta.MessageID) string {
	return "timeline/w/" + string(room) + "\x00" + string(to) + "\x00" + string(id)
}
func receiptKey(room quinta.RoomID, user quinta.UserID) string {
	return "timeline/p/" + string(room) + "\x00" + string(user)
}

// order sorts messages from the newest to the oldest, so that reading the end
// of a long room is quick: by time, then by arrival, both counted down.
func (r *record) order() string {
	ms := uint64(max(0, r.Message.Time.UnixMilli()))
	return fmt.Sprintf("%016x%016x", math.MaxUint64-ms, math.MaxUint64-r.Seq)
}

// next returns the next number of arrival.
func next(tx e2ee.Tx) (uint64, error) {
	const key = "timeline/n"
	b, err := tx.Get(key)
	if err != nil {
		return 0, err
	}
	n := uint64(1)
	if len(b) == 8 {
		n = binary.BigEndian.Uint64(b) + 1
	}
	return n, tx.Put(key, binary.BigEndian.AppendUint64(nil, n))
}

var errID = errors.New("timeline: an id is empty or holds the character U+0000")

func checkIDs(room quinta.RoomID, id quinta.MessageID) error {
	if room == "" || id == "" || strings.Contains(string(room)+string(id), "\x00") {
		return errID
	}
	return nil
}

// Apply stores what a machine reported. Events that are neither messages nor
// receipts are ignored, and so are those with an id that is empty or contains
// U+0000: no honest server sends such ids, and one such event must not prevent
// the rest from being stored.
func Apply(tx e2ee.Tx, events []e2ee.Event) error {
	for _, e := range events {
		var err error
		switch e.Kind {
		case e2ee.EventMessage, e2ee.EventUndecryptable, e2ee.EventSent:
			err = apply(tx, e)
		case e2ee.EventReceipt:
			err = putReceipt(tx, e)
		}
		if err != nil && !errors.Is(err, errID) {
			return err
		}
	}
	return nil
}

func apply(tx e2ee.Tx, e e2ee.Event) error {
	m := e.Message
	if err := checkIDs(m.Room, m.ID); err != nil {
		return err
	}
	switch m.Relation.Kind {
	case quinta.RelationReplace, quinta.RelationReaction, quinta.RelationRedaction:
		if e.Reason == "" {
			return relate(tx, m)
		}
	}
	old, oldKey, err := find(tx, m.Room, m.ID)
	if err != nil {
		return err
	}
	if old != nil {
		// The same message again, or one that opens now. What was known of
		// it, edits and redaction, stays; an opened message never goes back
		// to an unreadable one.
		if old.Redacted || (old.Reason == "" && e.Reason != "") || (old.Reason == "" && old.Edited != 0) {
			return nil
		}
		if err := tx.Delete(oldKey); err != nil {
			return err
		}
	}
	// A redaction without a target represents a message that was redacted
	// before it arrived.
	r := &record{Message: m, Reason: e.Reason, Detail: e.Detail, Redacted: m.Kind == quinta.MessageRedaction}
	if old != nil {
		r.Seq = old.Seq
	}
	if err := put(tx, r); err != nil {
		return err
	}
	if e.Reason != "" {
		return nil
	}
	return wakeWaiting(tx, m.Room, m.ID)
}

// relate applies a message that refers to another one, or keeps it until the
// other one has come.
func relate(tx e2ee.Tx, m quinta.Message) error {
	to := m.Relation.To
	if err := checkIDs(m.Room, to); err != nil {
		return err
	}
	if m.Relation.Kind == quinta.RelationReaction {
		if strings.Contains(m.Relation.Key+string(m.Sender), "\x00") {
			return errID
		}
		key := reactionPrefix(m.Room, to) + m.Relation.Key + "\x00" + string(m.Sender)
		if err := tx.Put(key, []byte(m.ID)); err != nil {
			return err
		}
		// A reaction can be taken back: its id leads to it.
		return tx.Put(indexKey(m.Room, m.ID), []byte(key))
	}
	target, key, err := find(tx, m.Room, to)
	if err != nil {
		return err
	}
	if target == nil && m.Relation.Kind == quinta.RelationRedaction {
		if done, err := dropReaction(tx, m.Room, to); done || err != nil {
			return err
		}
	}
	if target == nil || (target.Reason != "" && m.Relation.Kind == quinta.RelationReplace) {
		b, err := encode(&record{Message: m})
		if err != nil {
			return err
		}
		return tx.Put(waitingKey(m.Room, to, m.ID), b)
	}
	return change(tx, target, key, m)
}

// change applies an edit or a redaction to a message that is there.
func change(tx e2ee.Tx, target *record, key string, m quinta.Message) error {
	switch m.Relation.Kind {
	case quinta.RelationRedaction:
		t := target.Message
		target.Message = quinta.Message{ID: t.ID, Room: t.Room, Sender: t.Sender, Device: t.Device, Time: t.Time, Encrypted: t.Encrypted, Kind: quinta.MessageRedaction}
		target.Redacted, target.Reason, target.Detail, target.Edited = true, "", "", 0
	case quinta.RelationReplace:
		at := m.Time.UnixMilli()
		older := at < target.Edited || (at == target.Edited && m.ID <= target.EditID)
		if m.Sender != target.Message.Sender || m.Type != target.Message.Type || target.Redacted || older {
			return nil
		}
		// A text that was encrypted is not replaced by one in clear.
		if target.Message.Encrypted && !m.Encrypted {
			return nil
		}
		t := &target.Message
		t.Kind, t.Text, t.File, t.Body, t.Mentions = m.Kind, m.Text, m.File, m.Body, m.Mentions
		t.Trust, t.Weakness = min(t.Trust, m.Trust), worse(t.Weakness, m.Weakness)
		target.Edited, target.EditID = at, m.ID
	}
	if err := tx.Delete(key); err != nil {
		return err
	}
	return put(tx, target)
}

func worse(a, b quinta.Weakness) quinta.Weakness {
	if a == "" {
		return b
	}
	return a
}

// wakeWaiting applies what came before the message that it refers to.
func wakeWaiting(tx e2ee.Tx, room quinta.RoomID, id quinta.MessageID) error {
	var waiting []e2ee.Entry
	for e, err := range tx.All(waitingKey(room, id, "")) {
		if err != nil {
			return err
		}
		waiting = append(waiting, e)
	}
	for _, e := range waiting {
		r, err := decode(e.Value)
		if err != nil {
			return err
		}
		if err := tx.Delete(e.Key); err != nil {
			return err
		}
		if err := relate(tx, r.Message); err != nil {
			return err
		}
	}
	return nil
}

// dropReaction removes a reaction by its own id.
func dropReaction(tx e2ee.Tx, room quinta.RoomID, id quinta.MessageID) (bool, error) {
	key, err := tx.Get(indexKey(room, id))
	if err != nil || key == nil || !strings.HasPrefix(string(key), "timeline/r/") {
		return false, err
	}
	return true, errors.Join(tx.Delete(string(key)), tx.Delete(indexKey(room, id)))
}

// find returns a message and the key under which it stands, or nil.
func find(tx e2ee.Tx, room quinta.RoomID, id quinta.MessageID) (*record, string, error) {
	key, err := tx.Get(indexKey(room, id))
	if err != nil || key == nil || !strings.HasPrefix(string(key), "timeline/m/") {
		return nil, "", err
	}
	b, err := tx.Get(string(key))
	if err != nil || b == nil {
		return nil, "", err
	}
	r, err := decode(b)
	return r, string(key), err
}

func put(tx e2ee.Tx, r *record) error {
	if r.Seq == 0 {
		seq, err := next(tx)
		if err != nil {
			return err
		}
		r.Seq = seq
	}
	b, err := encode(r)
	if err != nil {
		return err
	}
	key := itemKey(r.Message.Room, r.order())
	return errors.Join(tx.Put(key, b), tx.Put(indexKey(r.Message.Room, r.Message.ID), []byte(key)))
}

func encode(r *record) ([]byte, error) {
	if r.Message.File != nil {
		r.FileRef = r.Message.File.Ref
	}
	return json.Marshal(r)
}

func decode(b []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("timeline: a stored message is damaged: %w", err)
	}
	if r.Message.File != nil {
		r.Message.File.Ref = r.FileRef
	}
	return r, nil
}

// A Query says which part of a room Read returns.
type Query struct {
	// After and Before bound the times, both exclusive; zero means open.
	After, Before time.Time
	// Limit is the greatest number of items, of which the newest are
	// returned; zero means 100.
	Limit int
}

// Read returns messages of a room, oldest first.
func Read(tx e2ee.Tx, room quinta.RoomID, q Query) ([]Item, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	var recs []*record
	for e, err := range tx.All(itemKey(room, "")) {
		if err != nil {
			return nil, err
		}
		r, err := decode(e.Value)
		if err != nil {
			return nil, err
		}
		if !q.Before.IsZero() && !r.Message.Time.Before(q.Before) {
			continue
		}
		if len(recs) == q.Limit || !q.After.IsZero() && !r.Message.Time.After(q.After) {
			break
		}
		recs = append(recs, r)
	}
	slices.Reverse(recs)
	items := make([]Item, 0, len(recs))
	for _, r := range recs {
		it, err := item(tx, r)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

// Get returns one message, or an error of KindNotFound.
func Get(tx e2ee.Tx, room quinta.RoomID, id quinta.MessageID) (Item, error) {
	r, _, err := find(tx, room, id)
	if err != nil {
		return Item{}, err
	}
	if r == nil {
		return Item{}, quinta.E(quinta.KindNotFound, "timeline", "there is no such message on this device")
	}
	return item(tx, r)
}

func item(tx e2ee.Tx, r *record) (Item, error) {
	it := Item{Message: r.Message, Reason: r.Reason, Detail: r.Detail, Redacted: r.Redacted}
	if r.Edited != 0 {
		it.Edited = time.UnixMilli(r.Edited)
	}
	if r.Redacted {
		return it, nil
	}
	prefix := reactionPrefix(r.Message.Room, r.Message.ID)
	for e, err := range tx.All(prefix) {
		if err != nil {
			return it, err
		}
		key, sender, _ := strings.Cut(strings.TrimPrefix(e.Key, prefix), "\x00")
		it.Reactions = append(it.Reactions, Reaction{Key: key, Sender: quinta.UserID(sender), ID: quinta.MessageID(e.Value)})
	}
	return it, nil
}

// A Receipt says how far someone has read.
type Receipt struct {
	User quinta.UserID
	ID   quinta.MessageID
	Time time.Time
}

func putReceipt(tx e2ee.Tx, e e2ee.Event) error {
	if err := checkIDs(e.Message.Room, e.Message.ID); err != nil {
		return err
	}
	if e.User == "" || strings.Contains(string(e.User), "\x00") {
		return errID
	}
	b, err := json.Marshal(Receipt{User: e.User, ID: e.Message.ID, Time: e.Message.Time})
	if err != nil {
		return err
	}
	return tx.Put(receiptKey(e.Message.Room, e.User), b)
}

// Receipts returns how far the members of a room have read.
func Receipts(tx e2ee.Tx, room quinta.RoomID) ([]Receipt, error) {
	var out []Receipt
	for e, err := range tx.All(receiptKey(room, "")) {
		if err != nil {
			return nil, err
		}
		var r Receipt
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return nil, fmt.Errorf("timeline: a stored receipt is damaged: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}
