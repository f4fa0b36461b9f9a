package matrix

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

const (
	// Defaults of m.room.encryption, and the bounds within which a room's
	// wishes are followed: a session that is never rotated protects little.
	defaultRotation = 7 * 24 * time.Hour
	defaultMessages = 100
	maxRotation     = 30 * 24 * time.Hour
	minRotation     = time.Minute
	maxMessages     = 10_000

	// maxEvent bounds one event of a room, as servers do, with some room.
	maxEvent = 128 << 10
)

// A roomRecord is what is known of one room.
type roomRecord struct {
	// Encrypted says that the room is encrypted. It never becomes false again.
	Encrypted bool   `json:"encrypted,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	// RotationMS and RotationMessages never grow.
	RotationMS       int64  `json:"rotation_ms,omitempty"`
	RotationMessages int64  `json:"rotation_messages,omitempty"`
	History          string `json:"history,omitempty"`
	// Complete says that all members are known; FetchingMembers that they are
	// being asked for.
	Complete        bool  `json:"complete,omitempty"`
	FetchingMembers bool  `json:"fetching_members,omitempty"`
	FetchAfter      int64 `json:"fetch_after,omitempty"`
	// Changes grows with each membership that is seen, so that an answer that
	// was overtaken does not count as complete.
	Changes  uint64 `json:"changes,omitempty"`
	Fetching uint64 `json:"fetching,omitempty"`
	// Rotate says that someone left, or the history became visible to others.
	Rotate bool `json:"rotate,omitempty"`
	// Joined is when this user joined, in server time; 0 if not seen.
	Joined int64  `json:"joined,omitempty"`
	Name   string `json:"name,omitempty"`
	// Left: this user is not in the room. Invited: not yet.
	Left    bool `json:"left,omitempty"`
	Invited bool `json:"invited,omitempty"`
}

func (w *work) room(id quinta.RoomID) (roomRecord, bool, error) {
	return e2ee.Load[roomRecord](w.tx, "room/"+string(id))
}

func memberKey(room quinta.RoomID, user quinta.UserID) string {
	return "member/" + string(room) + "\x00" + string(user)
}

// members returns the users who get the keys of a room: who is in it, and who
// is invited to it.
func (w *work) members(room quinta.RoomID) ([]quinta.UserID, error) {
	prefix := "member/" + string(room) + "\x00"
	entries, err := e2ee.Entries(w.tx, prefix)
	if err != nil {
		return nil, err
	}
	var out []quinta.UserID
	for _, e := range entries {
		if m := string(e.Value); m == "join" || m == "invite" {
			out = append(out, quinta.UserID(strings.TrimPrefix(e.Key, prefix)))
		}
	}
	return out, nil
}

// receiveRoom takes one room of a sync.
func (w *work) receiveRoom(in InRoom) error {
	if !plain(in.ID) || in.ID[0] != '!' {
		return nil
	}
	r, _, err := w.room(in.ID)
	if err != nil {
		return err
	}
	before := r
	r.Left, r.Invited = in.Left, in.Invited
	if in.Limited || in.Left {
		// Members may come and go unseen.
		r.Complete = false
	}
	if in.Left {
		r.Rotate = true
	}
	state := in.State
	if in.HasStateAfter {
		state = in.StateAfter
	}
	for _, raw := range state {
		if err := w.stateEvent(in.ID, &r, raw, in.Limited); err != nil {
			return err
		}
	}
	if err := e2ee.Store(w.tx, "room/"+string(in.ID), &r); err != nil {
		return err
	}
	for _, raw := range in.Timeline {
		var e roomEvent
		if len(raw) > maxEvent || exactjson.Unmarshal(raw, &e) != nil || !plain(e.Sender) || e.Type == "" {
			continue
		}
		if e.StateKey != nil {
			if !in.HasStateAfter {
				if err := w.stateEvent(in.ID, &r, raw, in.Limited); err != nil {
					return err
				}
				if err := e2ee.Store(w.tx, "room/"+string(in.ID), &r); err != nil {
					return err
				}
			}
			continue
		}
		if err := w.timelineEvent(in.ID, &r, e); err != nil {
			return err
		}
	}
	if before.Encrypted != r.Encrypted || before.Name != r.Name || before.Left != r.Left || before.Invited != r.Invited || before.Changes != r.Changes {
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: in.ID}, Detail: r.standing()})
	}
	w.receipts(in)
	return nil
}

// standing says what this account is in the room.
func (r *roomRecord) standing() string {
	switch {
	case r.Invited:
		return "invite"
	case r.Left:
		return "leave"
	}
	return "join"
}

// receipts tells who read up to where.
func (w *work) receipts(in InRoom) {
	for _, raw := range in.Ephemeral {
		var e struct {
			Type    string                                                            `json:"type"`
			Content map[quinta.MessageID]map[string]map[quinta.UserID]json.RawMessage `json:"content"`
		}
		if len(raw) > maxEvent || exactjson.Unmarshal(raw, &e) != nil || e.Type != "m.receipt" {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(e.Content)) {
			for _, user := range slices.Sorted(maps.Keys(e.Content[id]["m.read"])) {
				w.emit(e2ee.Event{Kind: e2ee.EventReceipt, User: user, Message: quinta.Message{Room: in.ID, ID: id}})
			}
		}
	}
}

// timelineEvent takes a message of a room.
func (w *work) timelineEvent(room quinta.RoomID, r *roomRecord, e roomEvent) error {
	if e.Unsigned.Redacted != nil {
		msg := message(room, e)
		msg.Kind, msg.Body = quinta.MessageRedaction, nil
		w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: msg})
		return nil
	}
	if e.Type != typeEncrypted {
		msg := message(room, e)
		describe(&msg, e.Redacts)
		if r.Encrypted && e.Type != typeRedaction {
			msg.Weakness = quinta.WeakPlain
		}
		w.deliver(msg)
		return nil
	}
	if !plain(e.ID) {
		return nil
	}
	msg, f, err := w.decrypt(room, e)
	if err != nil {
		return err
	}
	if f != nil && f.kept {
		var c megolmContent
		if err := exactjson.Unmarshal(e.Content, &c); err != nil {
			return ErrMalformed
		}
		if err := w.keep(room, c.SessionID, e); err != nil {
			return err
		}
	}
	if f == nil && !r.Encrypted {
		if err := w.mustBeEncrypted(room, r); err != nil {
			return err
		}
	}
	w.report(msg, f)
	return nil
}

// mustBeEncrypted notes that a room is encrypted in which a sealed message
// opened, though the server did not say so: nothing leaves for it in clear any
// more.
func (w *work) mustBeEncrypted(room quinta.RoomID, r *roomRecord) error {
	if err := w.encryption(room, r, e2ee.JSON(map[string]string{"algorithm": algorithmMegolm})); err != nil {
		return err
	}
	return e2ee.Store(w.tx, "room/"+string(room), r)
}

// stateEvent takes one state event.
func (w *work) stateEvent(room quinta.RoomID, r *roomRecord, raw json.RawMessage, limited bool) error {
	var e roomEvent
	if len(raw) > maxEvent || exactjson.Unmarshal(raw, &e) != nil || e.StateKey == nil {
		return nil
	}
	switch {
	case e.Type == typeEncryption && *e.StateKey == "":
		return w.encryption(room, r, e.Content)
	case e.Type == typeHistory && *e.StateKey == "":
		var c struct {
			Visibility string `json:"history_visibility"`
		}
		if exactjson.Unmarshal(e.Content, &c) == nil && c.Visibility != r.History {
			r.Rotate = r.Rotate || shareable(c.Visibility) != shareable(r.History)
			r.History = c.Visibility
		}
	case e.Type == "m.room.name" && *e.StateKey == "":
		var c struct {
			Name string `json:"name"`
		}
		if exactjson.Unmarshal(e.Content, &c) == nil {
			r.Name = clip(c.Name)
		}
	case e.Type == typeMember:
		return w.member(room, r, e, limited)
	}
	return nil
}

// shareable reports whether members who join later may read what was sent
// under a history visibility.
func shareable(visibility string) bool {
	return visibility == "shared" || visibility == "world_readable" || visibility == ""
}

// encryption takes an m.room.encryption event. The first one counts; later
// ones can only make a room rotate its keys more often.
func (w *work) encryption(room quinta.RoomID, r *roomRecord, content json.RawMessage) error {
	var c struct {
		Algorithm string `json:"algorithm"`
		MS        int64  `json:"rotation_period_ms"`
		Messages  int64  `json:"rotation_period_msgs"`
	}
	if exactjson.Unmarshal(content, &c) != nil {
		c.Algorithm, c.MS, c.Messages = "", 0, 0
	}
	if c.MS <= 0 {
		c.MS = defaultRotation.Milliseconds()
	}
	if c.Messages <= 0 {
		c.Messages = defaultMessages
	}
	c.MS = min(max(c.MS, minRotation.Milliseconds()), maxRotation.Milliseconds())
	c.Messages = min(c.Messages, maxMessages)
	if r.Encrypted {
		r.RotationMS, r.RotationMessages = min(r.RotationMS, c.MS), min(r.RotationMessages, c.Messages)
		if r.Algorithm != algorithmMegolm && c.Algorithm == algorithmMegolm {
			r.Algorithm = algorithmMegolm
		}
		return nil
	}
	r.Encrypted, r.Algorithm, r.RotationMS, r.RotationMessages = true, c.Algorithm, c.MS, c.Messages
	if err := w.recall(room); err != nil {
		return err
	}
	members, err := w.members(room)
	if err != nil {
		return err
	}
	for _, id := range members {
		// Also those who are tracked: what they changed while no encrypted room
		// was shared was never told.
		u, err := w.user(id)
		if err != nil {
			return err
		}
		u.Tracked = true
		w.outdate(u)
	}
	return nil
}

// recall takes back the messages that were to leave in clear, so that they
// are sealed. One that was on its way already comes twice, which is the lesser
// evil.
func (w *work) recall(room quinta.RoomID) error {
	for q, err := range w.reqs.all() {
		if err != nil {
			return err
		}
		r := &q.Value
		if r.Kind != ReqRoomSend || r.Room != room || r.Sealed || r.Type == typeRedaction {
			continue
		}
		if err := e2ee.Store(w.tx, "outbox/"+q.Name, &outboxItem{room, r.Type, r.Content, r.Txn}); err != nil {
			return err
		}
		if err := w.reqs.drop(q.Name); err != nil {
			return err
		}
	}
	return nil
}

// member takes a membership.
func (w *work) member(room quinta.RoomID, r *roomRecord, e roomEvent, limited bool) error {
	var c struct {
		Membership string `json:"membership"`
	}
	user := quinta.UserID(*e.StateKey)
	if exactjson.Unmarshal(e.Content, &c) != nil || !plain(user) {
		return nil
	}
	key := memberKey(room, user)
	old, err := w.tx.Get(key)
	if err != nil {
		return err
	}
	if c.Membership != "join" && (limited || c.Membership != "invite" || string(old) == "join") {
		r.Rotate = true
	}
	if user == w.m.user && c.Membership == "join" && string(old) != "join" {
		r.Joined = e.Time
	}
	if string(old) == c.Membership {
		return nil
	}
	r.Changes++
	w.meta.Epoch++
	if err := w.tx.Put(key, []byte(c.Membership)); err != nil {
		return err
	}
	if r.Encrypted && (c.Membership == "join" || c.Membership == "invite") {
		return w.track(user)
	}
	return nil
}

// fetchMembers asks for all members of a room.
func (w *work) fetchMembers(room quinta.RoomID, r *roomRecord) error {
	if r.FetchingMembers || r.FetchAfter > w.now.UnixMilli() {
		return nil
	}
	r.FetchingMembers, r.Fetching = true, r.Changes
	if err := e2ee.Store(w.tx, "room/"+string(room), r); err != nil {
		return err
	}
	return w.reqs.add(&record{Kind: ReqMembers, Method: "GET", Path: path("rooms", string(room), "members"), Room: room})
}

// doneMembers takes the list of members. Memberships that a sync brought while
// the request was on its way are newer than the list.
func (w *work) doneMembers(rec *record, ans Ans) error {
	r, _, err := w.room(rec.Room)
	if err != nil {
		return err
	}
	r.FetchingMembers = false
	var a struct {
		Chunk []json.RawMessage `json:"chunk"`
	}
	if ans.Failure == Refused || exactjson.Unmarshal(ans.Body, &a) != nil {
		r.FetchAfter = w.now.Add(refusedWait).UnixMilli()
		return e2ee.Store(w.tx, "room/"+string(rec.Room), &r)
	}
	if r.Changes != r.Fetching {
		return e2ee.Store(w.tx, "room/"+string(rec.Room), &r) // overtaken: asked again
	}
	listed := map[string]bool{}
	for _, raw := range a.Chunk {
		var e roomEvent
		if exactjson.Unmarshal(raw, &e) != nil || e.StateKey == nil || e.Type != typeMember {
			continue
		}
		listed[*e.StateKey] = true
		if err := w.member(rec.Room, &r, e, false); err != nil {
			return err
		}
	}
	members, err := w.members(rec.Room)
	if err != nil {
		return err
	}
	for _, id := range members {
		if listed[string(id)] {
			continue
		}
		if err := w.tx.Put(memberKey(rec.Room, id), []byte("leave")); err != nil {
			return err
		}
		r.Rotate = true
		w.meta.Epoch++
	}
	r.Complete, r.FetchAfter = true, 0
	return e2ee.Store(w.tx, "room/"+string(rec.Room), &r)
}
