package roomview

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// A Reader is the device that events are written for.
type Reader struct {
	User   quinta.UserID
	Device quinta.DeviceID
	// Sight, if not nil, gives the membership that the user had at each
	// event, and hides related events that the user may not read.
	Sight *Sight
	// NoRoom leaves room_id out, as /sync does.
	NoRoom bool
	// Plain leaves out the relations to the event, which cost queries for
	// each; Bare leaves out also what state an event replaced.
	Plain, Bare bool
}

// Render writes an event for a reader.
func (r *Reader) Render(tx *db.Tx, e *room.Event) (*wire.Event, error) {
	out, err := r.RenderAll(tx, []*room.Event{e})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// RenderAll writes a list of events of one room, never nil. What they refer
// to is loaded for all of them at once.
func (r *Reader) RenderAll(tx *db.Tx, list []*room.Event) ([]*wire.Event, error) {
	out := make([]*wire.Event, 0, len(list))
	if len(list) == 0 {
		return out, nil
	}
	replaced, redactions, err := r.referred(tx, list)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		ce := r.write(tx.Millis(), e, replaced[e.Replaces], redactions[e.RedactedBy])
		if e.Related && !r.Plain && e.RedactedBy == "" {
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
func (r *Reader) referred(tx *db.Tx, list []*room.Event) (map[quinta.Pos]*room.Event, map[quinta.MessageID]*room.Event, error) {
	var ps []quinta.Pos
	var ids []quinta.MessageID
	for _, e := range list {
		if e.Replaces != 0 && !r.Bare {
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
func (r *Reader) write(now int64, e, old, by *room.Event) *wire.Event {
	out := &wire.Event{Content: e.Content, ID: e.ID, Time: e.Time, Redacts: e.Redacts, Room: e.Room, Sender: e.Sender,
		StateKey: e.StateKey, Type: e.Type, Unsigned: &wire.Unsigned{Age: max(now-e.Time, 0)}}
	if r.NoRoom {
		out.Room = ""
	}
	u := out.Unsigned
	if e.Txn != "" && e.Sender == r.User && e.Device == r.Device {
		u.Txn = e.Txn
	}
	if r.Sight != nil {
		if u.Membership = at(r.Sight.membership, e.Pos); u.Membership == "" {
			u.Membership = "leave"
		}
	}
	if old != nil {
		u.Replaces = old.ID
		if r.Sight == nil || r.Sight.Sees(old) || e.IsState(eventauth.TypeMember, string(r.User)) {
			u.PrevContent, u.PrevSender = old.Content, old.Sender
		}
	}
	if by != nil {
		u.RedactedBy = &wire.Event{Content: by.Content, ID: by.ID, Time: by.Time, Redacts: by.Redacts, Room: out.Room, Sender: by.Sender, Type: by.Type}
	}
	return out
}

// Visible keeps the events that the reader may read.
func (s *Sight) Visible(list []*room.Event) []*room.Event {
	out := list[:0:0]
	for _, e := range list {
		if s.Sees(e) {
			out = append(out, e)
		}
	}
	return out
}

// relations gathers what relates to an event (client-server API,
// "Server-side aggregation of relationships").
func (r *Reader) relations(tx *db.Tx, e *room.Event) (map[string]any, error) {
	out := map[string]any{}
	query := func(rel string, limit int) ([]*room.Event, error) {
		list, _, err := room.Relations(tx, room.RelationQuery{Room: e.Room, To: e.ID, RelType: rel, Range: room.Range{To: 1 << 62}, Limit: limit})
		if r.Sight != nil {
			list = r.Sight.Visible(list)
		}
		return list, err
	}
	edits, err := query("m.replace", 8)
	if err != nil {
		return nil, err
	}
	bare := &Reader{User: r.User, Device: r.Device, NoRoom: r.NoRoom, Plain: true}
	for _, x := range edits {
		// Only the sender edits; the type stays; state is not edited.
		if x.Sender != e.Sender || x.Type != e.Type || e.StateKey != nil || x.StateKey != nil {
			continue
		}
		ce, err := bare.Render(tx, x)
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
func (r *Reader) thread(tx *db.Tx, e *room.Event, out map[string]any) error {
	n, took, err := room.CountRelations(tx, e.Room, e.ID, "m.thread", r.User)
	if err != nil || n == 0 {
		return err
	}
	list, _, err := room.Relations(tx, room.RelationQuery{Room: e.Room, To: e.ID, RelType: "m.thread", Range: room.Range{To: 1 << 62}, Limit: 1})
	if err != nil || len(list) == 0 || r.Sight != nil && !r.Sight.Sees(list[0]) {
		return err
	}
	bare := &Reader{User: r.User, Device: r.Device, NoRoom: r.NoRoom, Plain: true}
	latest, err := bare.Render(tx, list[0])
	if err != nil {
		return err
	}
	out["m.thread"] = map[string]any{"count": n, "current_user_participated": took || e.Sender == r.User, "latest_event": latest}
	return nil
}

// strippedState lists the types of state that an invited or knocking user
// gets to see (client-server API, "Stripped state").
var strippedState = []string{eventauth.TypeCreate, "m.room.name", "m.room.avatar", "m.room.topic", eventauth.TypeJoinRules, "m.room.canonical_alias", "m.room.encryption"}

// Stripped returns the state of a room as a user who is invited or knocks gets
// to see it, with the sender's membership and the user's own at the end.
func Stripped(tx *db.Tx, id quinta.RoomID, user quinta.UserID) ([]wire.StrippedEvent, error) {
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
	out := []wire.StrippedEvent{}
	for _, k := range keys {
		e, err := room.StateOf(tx, id, k.Type, k.StateKey)
		if err != nil {
			return nil, err
		}
		if e != nil {
			out = append(out, wire.StrippedEvent{Content: e.Content, Sender: e.Sender, StateKey: e.StateKey, Type: e.Type})
		}
	}
	return out, nil
}
