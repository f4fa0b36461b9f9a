package matrixserver

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/push"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/room"
)

// A proposal is an event that someone wants to add to a room.
type proposal struct {
	Type string
	// Key is the state key, nil for a message event.
	Key    *string
	Sender quinta.UserID
	// Content is canonical JSON.
	Content json.RawMessage
	// Redacts is the event that a redaction redacts.
	Redacts quinta.MessageID
	// Device and Txn are the sending device and its transaction id.
	Device quinta.DeviceID
	Txn    quinta.TxnID
}

// A roomWriter adds events to one room in one transaction. Each event is held
// against the rules of the room's version and follows the one before.
type roomWriter struct {
	s       *homeserver
	tx      *db.Tx
	id      quinta.RoomID
	version eventauth.Version
	tip     quinta.MessageID
	depth   int64
}

// writeRoom opens a room for writing. A room that does not exist gives
// roomview.ErrNotMember.
func (s *homeserver) writeRoom(tx *db.Tx, id quinta.RoomID) (*roomWriter, error) {
	r, err := room.Get(tx, id)
	if quinta.KindOf(err) == quinta.KindNotFound && err != nil {
		return nil, roomview.ErrNotMember
	}
	if err != nil {
		return nil, err
	}
	w := &roomWriter{s: s, tx: tx, id: id}
	if w.version, err = eventauth.ParseVersion(r.Version); err != nil {
		return nil, err
	}
	w.tip, w.depth, err = room.Tip(tx, id)
	return w, err
}

// state loads what the rules need for e.
func (w *roomWriter) state(e *eventauth.Event) (map[eventauth.Key]*eventauth.Event, []string, error) {
	have := map[eventauth.Key]*eventauth.Event{}
	var refs []string
	for _, k := range eventauth.Needed(e) {
		re, err := room.StateOf(w.tx, w.id, k.Type, k.StateKey)
		if err != nil {
			return nil, nil, err
		}
		if re == nil {
			continue
		}
		se := roomview.AuthEvent(re)
		have[k] = se
		if k.Type != eventauth.TypeCreate || !w.version.RoomIDFromCreate() {
			refs = append(refs, se.ID)
		}
	}
	return have, refs, nil
}

// add judges p, gives it its id and adds it to the log.
func (w *roomWriter) add(p proposal) (*room.Event, error) {
	e := &eventauth.Event{RoomID: string(w.id), Type: p.Type, Sender: string(p.Sender), StateKey: p.Key, Content: p.Content,
		Redacts: string(p.Redacts), OriginServerTS: w.tx.Millis(), Depth: w.depth + 1}
	if w.tip != "" {
		e.PrevEvents = []string{string(w.tip)}
	}
	state, refs, err := w.state(e)
	if err != nil {
		return nil, err
	}
	e.AuthEvents = refs
	if err := eventauth.Measure(e); err != nil {
		return nil, eventError(err)
	}
	if err := eventauth.Check(w.version, e, eventauth.StateOf(state)); err != nil {
		return nil, eventError(err)
	}
	var random [16]byte
	if _, err := io.ReadFull(w.s.Rand, random[:]); err != nil {
		return nil, err
	}
	if e.ID, err = eventauth.NewID(w.version, e, random); err != nil {
		return nil, err
	}
	if p.Type == eventauth.TypeCreate && w.version.RoomIDFromCreate() {
		w.id = quinta.RoomID(eventauth.RoomIDOf(e.ID))
	}
	re := &room.Event{Room: w.id, ID: quinta.MessageID(e.ID), Type: p.Type, StateKey: p.Key, Sender: p.Sender, Time: e.OriginServerTS,
		Depth: e.Depth, Content: p.Content, Device: p.Device, Txn: p.Txn, Redacts: p.Redacts}
	re.RelType, re.RelTo = relation(p.Content)
	if p.Type == eventauth.TypeCreate {
		if err := room.Create(w.tx, room.Room{ID: w.id, Version: w.version.String(), Creator: p.Sender}); err != nil {
			return nil, err
		}
	}
	if err := w.keep(re, e); err != nil {
		return nil, err
	}
	w.tip, w.depth = re.ID, re.Depth
	return re, nil
}

// keep appends the event with what follows from it: the membership that it
// sets, and the wake-ups of those who wait for it.
func (w *roomWriter) keep(re *room.Event, e *eventauth.Event) error {
	var m *room.Membership
	if re.Type == eventauth.TypeMember && re.StateKey != nil {
		m = &room.Membership{Member: quinta.UserID(*re.StateKey), Membership: e.Membership()}
	}
	if err := room.Append(w.tx, re, m); err != nil {
		return err
	}
	w.tx.Count(db.UserOf(network, re.Sender), db.ClassMessages, int64(len(re.Content))+db.RowBytes)
	feed.Bump(w.tx, feed.Room(network, w.id))
	if err := push.Note(w.tx, re); err != nil {
		return err
	}
	if m != nil {
		feed.Bump(w.tx, feed.User(network, m.Member))
	}
	if re.Type == eventauth.TypeRedaction && re.Redacts != "" {
		return w.redact(re)
	}
	return nil
}

// redact carries out a redaction if its sender may; one that may not, or that
// redacts nothing of this room, stays in the log without effect.
func (w *roomWriter) redact(by *room.Event) error {
	target, err := room.ByID(w.tx, w.id, by.Redacts)
	if err != nil && quinta.KindOf(err) == quinta.KindNotFound || err == nil && target.RedactedBy != "" {
		return nil
	}
	if err != nil {
		return err
	}
	levels, err := roomview.Levels(w.tx, w.id, w.version)
	if err != nil {
		return err
	}
	if !eventauth.CanRedact(levels, string(by.Sender), string(target.Sender)) || keepsContent(target) {
		return nil
	}
	left, err := eventauth.Redact(w.version, target.Type, target.Content)
	if err != nil {
		return err
	}
	w.tx.Count(db.UserOf(network, target.Sender), db.ClassMessages, int64(len(left)-len(target.Content)))
	return room.Redact(w.tx, w.id, target.ID, by.ID, left)
}

// keepsContent reports whether an event may not be redacted by anyone: what
// made the room, and that it is encrypted, is never taken back.
func keepsContent(e *room.Event) bool {
	return e.IsState(eventauth.TypeCreate, "") || e.IsState("m.room.encryption", "")
}

// set adds a state event whose content is any value.
func (w *roomWriter) set(typ, key string, sender quinta.UserID, content any) (*room.Event, error) {
	raw, err := canonicaljson.Marshal(content)
	if err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "the content of "+typ+" has no canonical form")
	}
	return w.add(proposal{Type: typ, Key: &key, Sender: sender, Content: raw})
}

// eventError turns an error about a proposed event into the network's.
func eventError(err error) error {
	if r, ok := errors.AsType[*eventauth.Rejected](err); ok {
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, r.Rule+": "+r.Reason)
	}
	switch {
	case errors.Is(err, eventauth.ErrTooLarge):
		return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "the event is too large, or its type or state key is longer than 255 bytes")
	case errors.Is(err, eventauth.ErrBadID):
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the type or state key is not text")
	case errors.Is(err, eventauth.ErrNotJSON):
		return wire.NewError(http.StatusBadRequest, wire.CodeNotJSON, "the content is not JSON")
	case errors.Is(err, eventauth.ErrBadJSON):
		return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "the content is not an object that canonical JSON can hold")
	}
	return err
}

// relation returns what the content of an event says about its relation to
// another (client-server API, "Forming relationships between events").
func relation(content json.RawMessage) (string, quinta.MessageID) {
	rel, ok := wire.Member(content, "m.relates_to")
	if !ok {
		return "", ""
	}
	typ, _ := wire.TextMember(rel, "rel_type")
	to, _ := wire.TextMember(rel, "event_id")
	if typ == "" || to == "" || len(typ) > wire.MaxID || len(to) > wire.MaxID || !plain(typ) || !plain(to) {
		return "", ""
	}
	return typ, quinta.MessageID(to)
}

// newMember returns the content of a membership event for user, with their
// profile.
func (s *homeserver) newMember(tx *db.Tx, user quinta.UserID, membership string, more map[string]any) (map[string]any, error) {
	content := map[string]any{"membership": membership}
	if name := s.accountOf(user); name != "" {
		for _, f := range []string{"displayname", "avatar_url"} {
			v, err := account.ProfileField(tx, name, f)
			if err != nil {
				return nil, err
			}
			var text string
			if v != nil && json.Unmarshal(v, &text) == nil && text != "" {
				content[f] = text
			}
		}
	}
	for k, v := range more {
		content[k] = v
	}
	return content, nil
}
