package matrixserver

import (
	"encoding/json"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// A clientEvent is an event in the form that clients get (client-server API,
// "Room Event Format").
type clientEvent struct {
	Content  json.RawMessage  `json:"content"`
	ID       quinta.MessageID `json:"event_id,omitempty"`
	Time     int64            `json:"origin_server_ts"`
	Redacts  quinta.MessageID `json:"redacts,omitempty"`
	Room     quinta.RoomID    `json:"room_id,omitempty"`
	Sender   quinta.UserID    `json:"sender"`
	StateKey *string          `json:"state_key,omitempty"`
	Type     string           `json:"type"`
	Unsigned *unsigned        `json:"unsigned,omitempty"`
}

// appendChunk writes {"chunk": list}, of which the contents are copied as they
// were kept: a large room has thousands.
func appendChunk(list []*clientEvent) (json.RawMessage, error) {
	size := 16
	for _, e := range list {
		size += 256 + len(e.Content)
	}
	b := append(make([]byte, 0, size), `{"chunk":[`...)
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = e.append(b); err != nil {
			return nil, err
		}
	}
	return append(b, `]}`...), nil
}

// append writes an event as encode does.
func (e *clientEvent) append(b []byte) ([]byte, error) {
	if !e.Unsigned.ageOnly() || len(e.Content) == 0 {
		raw, err := encode(e)
		return append(b, raw...), err
	}
	text := func(name, s string) { b = appendText(appendMember(b, name), s) }
	b = append(b, '{')
	b = append(appendMember(b, "content"), e.Content...)
	if e.ID != "" {
		text("event_id", string(e.ID))
	}
	b = strconv.AppendInt(appendMember(b, "origin_server_ts"), e.Time, 10)
	if e.Redacts != "" {
		text("redacts", string(e.Redacts))
	}
	if e.Room != "" {
		text("room_id", string(e.Room))
	}
	text("sender", string(e.Sender))
	if e.StateKey != nil {
		text("state_key", *e.StateKey)
	}
	text("type", e.Type)
	if e.Unsigned != nil {
		b = append(appendMember(b, "unsigned"), `{"age":`...)
		b = append(strconv.AppendInt(b, e.Unsigned.Age, 10), '}')
	}
	return append(b, '}'), nil
}

// unsigned is what the server adds to an event for the one who reads it.
type unsigned struct {
	Age         int64            `json:"age"`
	Membership  string           `json:"membership,omitempty"`
	PrevContent json.RawMessage  `json:"prev_content,omitempty"`
	PrevSender  quinta.UserID    `json:"prev_sender,omitempty"`
	Replaces    quinta.MessageID `json:"replaces_state,omitempty"`
	RedactedBy  *clientEvent     `json:"redacted_because,omitempty"`
	Relations   map[string]any   `json:"m.relations,omitempty"`
	Txn         quinta.TxnID     `json:"transaction_id,omitempty"`
}

// ageOnly reports whether there is nothing but the age, or nothing at all.
func (u *unsigned) ageOnly() bool {
	return u == nil || u.Membership == "" && u.PrevContent == nil && u.PrevSender == "" && u.Replaces == "" &&
		u.RedactedBy == nil && len(u.Relations) == 0 && u.Txn == ""
}

// A reader is the device that events are written for.
type reader struct {
	user   quinta.UserID
	device quinta.DeviceID
	// sight, if not nil, gives the membership that the user had at each
	// event, and hides related events that the user may not read.
	sight *sight
	// noRoom leaves room_id out, as /sync does.
	noRoom bool
	// plain leaves out the relations to the event, which cost queries for
	// each; bare leaves out also what state an event replaced.
	plain, bare bool
}

// render writes an event for a reader.
func (r *reader) render(tx *db.Tx, e *room.Event) (*clientEvent, error) {
	out, err := r.renderAll(tx, []*room.Event{e})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// renderAll writes a list of events of one room, never nil. What they refer
// to is loaded for all of them at once.
func (r *reader) renderAll(tx *db.Tx, list []*room.Event) ([]*clientEvent, error) {
	out := make([]*clientEvent, 0, len(list))
	if len(list) == 0 {
		return out, nil
	}
	replaced, redactions, err := r.referred(tx, list)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		ce := r.write(tx.Millis(), e, replaced[e.Replaces], redactions[e.RedactedBy])
		if e.Related && !r.plain && e.RedactedBy == "" {
			if ce.Unsigned.Relations, err = r.relations(tx, e); err != nil {
				return nil, err
			}
		}
		out = append(out, ce)
	}
	return out, nil
}

// referred loads the state that the events replaced and the redactions of
// them.
func (r *reader) referred(tx *db.Tx, list []*room.Event) (map[quinta.Pos]*room.Event, map[quinta.MessageID]*room.Event, error) {
	var ps []quinta.Pos
	var ids []quinta.MessageID
	for _, e := range list {
		if e.Replaces != 0 && !r.bare {
			ps = append(ps, e.Replaces)
		}
		if e.RedactedBy != "" {
			ids = append(ids, e.RedactedBy)
		}
	}
	replaced, err := room.ByPositions(tx, list[0].Room, ps)
	if err != nil {
		return nil, nil, err
	}
	redactions, err := room.ByIDs(tx, list[0].Room, ids)
	return replaced, redactions, err
}

// write writes an event with the state event old that it replaced and its
// redaction by, each nil if there is none.
func (r *reader) write(now int64, e, old, by *room.Event) *clientEvent {
	out := &clientEvent{Content: e.Content, ID: e.ID, Time: e.Time, Redacts: e.Redacts, Room: e.Room, Sender: e.Sender,
		StateKey: e.StateKey, Type: e.Type, Unsigned: &unsigned{Age: max(now-e.Time, 0)}}
	if r.noRoom {
		out.Room = ""
	}
	u := out.Unsigned
	if e.Txn != "" && e.Sender == r.user && e.Device == r.device {
		u.Txn = e.Txn
	}
	if r.sight != nil {
		if u.Membership = at(r.sight.membership, e.Pos); u.Membership == "" {
			u.Membership = "leave"
		}
	}
	if old != nil {
		u.Replaces = old.ID
		if r.sight == nil || r.sight.sees(old) || e.IsState(eventauth.TypeMember, string(r.user)) {
			u.PrevContent, u.PrevSender = old.Content, old.Sender
		}
	}
	if by != nil {
		u.RedactedBy = &clientEvent{Content: by.Content, ID: by.ID, Time: by.Time, Redacts: by.Redacts, Room: out.Room, Sender: by.Sender, Type: by.Type}
	}
	return out
}

// visible keeps the events that the reader may read.
func (s *sight) visible(list []*room.Event) []*room.Event {
	out := list[:0:0]
	for _, e := range list {
		if s.sees(e) {
			out = append(out, e)
		}
	}
	return out
}

// relations gathers what stands in relation to an event (client-server API,
// "Server-side aggregation of relationships").
func (r *reader) relations(tx *db.Tx, e *room.Event) (map[string]any, error) {
	out := map[string]any{}
	query := func(rel string, limit int) ([]*room.Event, error) {
		list, _, err := room.Relations(tx, room.RelationQuery{Room: e.Room, To: e.ID, RelType: rel, Range: room.Range{To: 1 << 62}, Limit: limit})
		if r.sight != nil {
			list = r.sight.visible(list)
		}
		return list, err
	}
	edits, err := query("m.replace", 8)
	if err != nil {
		return nil, err
	}
	bare := &reader{user: r.user, device: r.device, noRoom: r.noRoom, plain: true}
	for _, x := range edits {
		// Only the sender edits; the type stays; state is not edited.
		if x.Sender != e.Sender || x.Type != e.Type || e.StateKey != nil || x.StateKey != nil {
			continue
		}
		ce, err := bare.render(tx, x)
		if err != nil {
			return nil, err
		}
		out["m.replace"] = ce
		break
	}
	refs, err := query("m.reference", 50)
	if err != nil {
		return nil, err
	}
	if len(refs) > 0 {
		chunk := make([]map[string]any, 0, len(refs))
		for i := len(refs) - 1; i >= 0; i-- {
			chunk = append(chunk, map[string]any{"event_id": refs[i].ID})
		}
		out["m.reference"] = map[string]any{"chunk": chunk}
	}
	if err := r.thread(tx, e, out); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// thread adds the summary of the thread that begins at e, if one does.
func (r *reader) thread(tx *db.Tx, e *room.Event, out map[string]any) error {
	n, took, err := room.CountRelations(tx, e.Room, e.ID, "m.thread", r.user)
	if err != nil || n == 0 {
		return err
	}
	list, _, err := room.Relations(tx, room.RelationQuery{Room: e.Room, To: e.ID, RelType: "m.thread", Range: room.Range{To: 1 << 62}, Limit: 1})
	if err != nil || len(list) == 0 || r.sight != nil && !r.sight.sees(list[0]) {
		return err
	}
	bare := &reader{user: r.user, device: r.device, noRoom: r.noRoom, plain: true}
	latest, err := bare.render(tx, list[0])
	if err != nil {
		return err
	}
	out["m.thread"] = map[string]any{"count": n, "current_user_participated": took || e.Sender == r.user, "latest_event": latest}
	return nil
}

// strippedState lists the types of state that an invited or knocking user
// gets to see (client-server API, "Stripped state").
var strippedState = []string{eventauth.TypeCreate, "m.room.name", "m.room.avatar", "m.room.topic", eventauth.TypeJoinRules, "m.room.canonical_alias", "m.room.encryption"}

// stripped returns the state of a room as a user who is invited or knocks gets
// to see it, with the sender's membership and the user's own at the end.
func stripped(tx *db.Tx, id quinta.RoomID, user quinta.UserID) ([]strippedEvent, error) {
	keys := make([]eventauth.Key, 0, len(strippedState)+2)
	for _, t := range strippedState {
		keys = append(keys, eventauth.Key{Type: t})
	}
	own, err := room.StateOf(tx, id, eventauth.TypeMember, string(user))
	if err != nil {
		return nil, err
	}
	if own != nil && own.Sender != user {
		keys = append(keys, eventauth.Key{Type: eventauth.TypeMember, StateKey: string(own.Sender)})
	}
	keys = append(keys, eventauth.Key{Type: eventauth.TypeMember, StateKey: string(user)})
	out := []strippedEvent{}
	for _, k := range keys {
		e, err := room.StateOf(tx, id, k.Type, k.StateKey)
		if err != nil {
			return nil, err
		}
		if e != nil {
			out = append(out, strippedEvent{Content: e.Content, Sender: e.Sender, StateKey: *e.StateKey, Type: e.Type})
		}
	}
	return out, nil
}

// A strippedEvent is a state event without what only members get.
type strippedEvent struct {
	Content  json.RawMessage `json:"content"`
	Sender   quinta.UserID   `json:"sender"`
	StateKey string          `json:"state_key"`
	Type     string          `json:"type"`
}
