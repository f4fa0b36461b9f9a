package rocketchat

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// The bounds of what is kept of one room.
const (
	maxOldKeys = 20
	maxSameID  = 4 // keys of one id: ids before 7.0 are the same for all keys
)

// A room is what is kept of a room.
type room struct {
	State RoomState `json:"state"`
	// Left says that the user is not in it any more, Legacy that the user chose
	// the specification's own form for it.
	Left   bool `json:"left,omitempty"`
	Legacy bool `json:"legacy,omitempty"`
	// Claimed says that the room is known by a message only: the server was asked
	// about it.
	Claimed bool `json:"claimed,omitempty"`
	// Pending is a key that was made here and that the server has not confirmed
	// as the room's.
	Pending *keyRecord `json:"pending,omitempty"`
	// Rotate is the id of the key that is to be replaced, since a member left
	// or changed their keys.
	Rotate     string `json:"rotate,omitempty"`
	RotateWait int64  `json:"rotateWait,omitempty"` // Unix milliseconds
	// AskAfter is when the room's state is requested again, in Unix milliseconds.
	AskAfter int64 `json:"askAfter,omitempty"`
	// Blocked are the ids of users who were to get the key and whose verified key
	// changed.
	Blocked []string `json:"blocked,omitempty"`

	stored []byte
}

// keyRecord is a room key in the encrypted store.
type keyRecord struct {
	KeyID string `json:"keyId"`
	JWK   string `json:"jwk"`
	At    Date   `json:"at"`
}

// String hides the key.
func (keyRecord) String() string { return "[redacted]" }

// GoString hides the key.
func (keyRecord) GoString() string { return "[redacted]" }

func roomKeyOf(id quinta.RoomID) string { return "room/" + string(id) }

func keyOf(id quinta.RoomID, keyID string) string { return "key/" + string(id) + "/" + keyID }

// room returns the record of a room, or nil.
func (w *work) room(id quinta.RoomID) (*room, error) {
	if r := w.rooms[id]; r != nil {
		return r, nil
	}
	r, found, err := e2ee.Load[room](w.tx, roomKeyOf(id))
	if err != nil || !found {
		return nil, err
	}
	r.stored = e2ee.JSON(&r)
	w.rooms[id] = &r
	return &r, nil
}

// roomIDs returns the ids of all rooms.
func (w *work) roomIDs() ([]quinta.RoomID, error) {
	var ids []quinta.RoomID
	for e, err := range w.tx.All("room/") {
		if err != nil {
			return nil, err
		}
		ids = append(ids, quinta.RoomID(strings.TrimPrefix(e.Key, "room/")))
	}
	for id := range w.rooms {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// validID reports whether a text can be an id of the server's: it becomes a part
// of keys of the store.
func validID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return true
}

// takeRoom takes in what the server says of a room.
func (w *work) takeRoom(s RoomState) error {
	if !validID(string(s.ID)) || s.KeyID != "" && CheckKeyID(s.KeyID) != nil {
		return nil
	}
	r, err := w.room(s.ID)
	if err != nil {
		return err
	}
	fresh := r == nil
	if fresh {
		r = &room{}
		w.rooms[s.ID] = r
	}
	was := r.State
	if was.Encrypted && !s.Encrypted {
		// Once encrypted, always encrypted, whatever the server says later.
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Message: quinta.Message{Room: s.ID}, Detail: "the server says that encryption was switched off in " + string(s.ID) + ": it stays on here"})
		s.Encrypted = true
	}
	if was.KeyID != "" && s.KeyID == "" {
		s.KeyID = was.KeyID
	}
	s.Old = mergeOld(s.Old, was.Old)
	if r.Claimed {
		if err := w.claimedBound().Drop(string(s.ID)); err != nil {
			return err
		}
	}
	r.State, r.Left, r.Claimed = s, false, false
	for _, p := range s.Peers {
		if err := w.learnName(p); err != nil {
			return err
		}
	}
	if was.KeyID != "" && was.KeyID != s.KeyID {
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: s.ID}, Detail: "the room has a new key"})
		r.Rotate = ""
		if err := w.withdrawReset(r); err != nil {
			return err
		}
	}
	if fresh || was.Name != s.Name || was.Encrypted != s.Encrypted {
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: s.ID}})
	}
	if err := w.adoptPending(r); err != nil {
		return err
	}
	if err := w.judgeSuggested(r); err != nil {
		return err
	}
	if w.ready() && (s.OwnKey != was.OwnKey || len(s.Old) != len(was.Old)) {
		return w.retryRoom(s.ID)
	}
	return nil
}

// mergeOld puts former keys together, newest first as the server gives them.
func mergeOld(now, was []OldKey) []OldKey {
	out := slices.Clone(now)
	for _, o := range was {
		if !slices.ContainsFunc(out, func(h OldKey) bool { return h.Key == o.Key }) {
			out = append(out, o)
		}
	}
	return out[:min(len(out), maxOldKeys)]
}

// adoptPending makes a key that was made here the room's, if the server has it.
func (w *work) adoptPending(r *room) error {
	p := r.Pending
	if p == nil || r.State.KeyID == "" {
		return nil
	}
	if busy, err := w.asked(ReqReset, r.State.ID); err != nil || busy && p.KeyID != r.State.KeyID {
		return err // a reset is on its way: its answer decides
	}
	r.Pending = nil
	if p.KeyID != r.State.KeyID {
		return nil // another member was faster
	}
	k, err := ParseRoomKey(p.KeyID, p.JWK)
	if err != nil {
		return e2ee.Damaged(roomKeyOf(r.State.ID))
	}
	if _, err := w.keepKey(r, k, p.At); err != nil {
		return err
	}
	private, err := w.openPrivate()
	if err != nil {
		return err
	}
	wrapped, err := k.Wrap(w.m.env.Rand, private.Public())
	if err != nil {
		return err
	}
	r.State.OwnKey = wrapped
	if err := w.ask(Req{Kind: ReqOwnRoomKey, Room: r.State.ID, Key: wrapped}); err != nil {
		return err
	}
	return w.ask(Req{Kind: ReqUsers, Room: r.State.ID})
}

// keyPrint names the bytes of a room key without giving them away.
func keyPrint(k RoomKey) string {
	sum := sha256.Sum256(append([]byte("quinta-rocketchat-roomkey/1\x00"), k.secret().key...))
	return hex.EncodeToString(sum[:16])
}

// keepKey keeps a room key and reports whether it may be used: one that is that
// of another room may not, since what was said there could then be said again
// here.
func (w *work) keepKey(r *room, k RoomKey, at Date) (bool, error) {
	use := "keyuse/" + keyPrint(k)
	other, err := w.tx.Get(use)
	if err != nil {
		return false, err
	}
	if other != nil && string(other) != string(r.State.ID) {
		return false, nil
	}
	name := keyOf(r.State.ID, k.ID())
	list, _, err := e2ee.Load[[]keyRecord](w.tx, name)
	if err != nil {
		return false, err
	}
	for _, have := range list {
		if h, err := ParseRoomKey(have.KeyID, have.JWK); err == nil && h.Equal(k) {
			return true, nil
		}
	}
	if len(list) >= maxSameID {
		return false, nil
	}
	if err := w.holdKey(r.State.ID, name); err != nil {
		return false, err
	}
	if err := w.tx.Put(use, []byte(r.State.ID)); err != nil {
		return false, err
	}
	list = append(list, keyRecord{KeyID: k.ID(), JWK: k.Secret(), At: at})
	return true, e2ee.Store(w.tx, name, list)
}

// keys returns the room keys of an id. What the server keeps wrapped for this
// user is opened when it is first needed, once.
func (w *work) keys(r *room, keyID string) ([]RoomKey, error) {
	list, found, err := e2ee.Load[[]keyRecord](w.tx, keyOf(r.State.ID, keyID))
	if err != nil {
		return nil, err
	}
	if !found {
		if err := w.unwrap(r, keyID); err != nil {
			return nil, err
		}
		if list, _, err = e2ee.Load[[]keyRecord](w.tx, keyOf(r.State.ID, keyID)); err != nil {
			return nil, err
		}
	}
	var out []RoomKey
	for _, rec := range list {
		k, err := ParseRoomKey(rec.KeyID, rec.JWK)
		if err != nil {
			return nil, e2ee.Damaged(keyOf(r.State.ID, keyID))
		}
		out = append(out, k)
	}
	return out, nil
}

// unwrap opens the copies of a room key that the server keeps for this user.
func (w *work) unwrap(r *room, keyID string) error {
	private, err := w.openPrivate()
	if err != nil || private.IsZero() || !w.ready() {
		return err
	}
	for _, o := range append([]OldKey{{Key: r.State.OwnKey}}, r.State.Old...) {
		if id, _, err := SplitWrapped(o.Key); err != nil || id != keyID {
			continue
		}
		k, err := Unwrap(private, o.Key)
		if err != nil {
			continue // it stays unread, and is requested
		}
		if _, err := w.keepKey(r, k, o.TS); err != nil {
			return err
		}
	}
	return nil
}

// current returns the key to seal with, or the zero key if it is not here.
func (w *work) current(r *room) (RoomKey, error) {
	if r.State.KeyID == "" {
		return RoomKey{}, nil
	}
	list, err := w.keys(r, r.State.KeyID)
	if err != nil || len(list) == 0 {
		return RoomKey{}, err
	}
	return list[len(list)-1], nil
}

// judgeSuggested accepts a key that a member offers, or rejects it: it must open,
// have the id that the room's key has, belong to no other room, and not stand
// against one that is here already.
func (w *work) judgeSuggested(r *room) error {
	s := &r.State
	if s.Suggested == "" || !w.ready() || !s.Encrypted {
		return nil
	}
	private, err := w.openPrivate()
	if err != nil {
		return err
	}
	offer := s.Suggested
	s.Suggested = ""
	good := false
	k, err := Unwrap(private, offer)
	if err == nil && k.ID() == s.KeyID {
		have, err := w.current(r)
		if err != nil {
			return err
		}
		if good = have.IsZero() || have.Equal(k); good {
			if good, err = w.keepKey(r, k, DateOf(w.now)); err != nil {
				return err
			}
		}
	}
	if !good {
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Message: quinta.Message{Room: s.ID}, Detail: "a room key that was offered in " + string(s.ID) + " was rejected"})
		s.SuggestedOld = nil
		return w.ask(Req{Kind: ReqReject, Room: s.ID})
	}
	s.OwnKey = offer
	s.Old, s.SuggestedOld = mergeOld(s.Old, s.SuggestedOld), nil
	if err := w.ask(Req{Kind: ReqAccept, Room: s.ID}); err != nil {
		return err
	}
	w.meta.OfferAfter = 0
	return w.retryRoom(s.ID)
}

// doneRoom takes in the state of one room.
func (w *work) doneRoom(r Req, ans Ans) error {
	if ans.Code != "" {
		w.trouble("looking at a room", ans)
		return nil
	}
	if ans.Room == nil {
		return w.gone(r.Room)
	}
	return w.takeRoom(*ans.Room)
}

// gone marks a room that this user is not in any more.
func (w *work) gone(id quinta.RoomID) error {
	r, err := w.room(id)
	if err != nil || r == nil || r.Left {
		return err
	}
	if r.Claimed {
		if err := w.claimedBound().Drop(string(id)); err != nil {
			return err
		}
		return w.forgetRoom(id)
	}
	r.Left = true
	w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: id}, Detail: "this account is no longer in the room"})
	return nil
}

// oldRelease reports whether a release of the server is one whose clients read no v2:
// less than 7.13.
func oldRelease(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major < 7 || major == 7 && minor < 13)
}

func (w *work) oldServer() bool { return oldRelease(w.meta.Version) }

// OldServer reports whether the server announces a release whose clients read no v2,
// on which a new encrypted room needs the legacy profile.
func (m *Machine) OldServer(tx e2ee.Tx) (bool, error) {
	have, _, err := e2ee.Load[meta](tx, "meta")
	return oldRelease(have.Version), err
}

// A RoomInfo is a room as this device knows it.
type RoomInfo struct {
	quinta.Room
	Type, Topic string
	// Left says that this account is not in it any more.
	Left bool
	// Legacy says that the user chose the specification's own form for it.
	Legacy bool
	// HasKey says that this device can seal for it now, Form with which suite.
	HasKey bool
	Form   Form
	// Peers are the two people of a direct conversation.
	Peers []Author
}

// Rooms returns the rooms of this user, those that they left included, in the
// order of their ids.
func (m *Machine) Rooms(tx e2ee.Tx) ([]RoomInfo, error) {
	var out []RoomInfo
	for rec, err := range e2ee.Records[room](tx, "room/") {
		if err != nil {
			return nil, err
		}
		info, err := infoOf(tx, &rec.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

// Room returns one room, or [ErrUnknownRoom].
func (m *Machine) Room(tx e2ee.Tx, id quinta.RoomID) (RoomInfo, error) {
	r, found, err := e2ee.Load[room](tx, roomKeyOf(id))
	if err != nil {
		return RoomInfo{}, err
	}
	if !found {
		return RoomInfo{}, ErrUnknownRoom
	}
	return infoOf(tx, &r)
}

func infoOf(tx e2ee.Tx, r *room) (RoomInfo, error) {
	s := r.State
	info := RoomInfo{Room: quinta.Room{ID: s.ID, Name: s.Name, Encrypted: s.Encrypted}, Type: s.Type, Topic: s.Topic, Left: r.Left, Legacy: r.Legacy, Peers: s.Peers}
	for _, p := range s.Peers {
		info.Members = append(info.Members, quinta.UserID(p.Name))
	}
	if s.KeyID != "" {
		list, _, err := e2ee.Load[[]keyRecord](tx, keyOf(s.ID, s.KeyID))
		if err != nil || len(list) == 0 {
			return info, err
		}
		k, err := ParseRoomKey(s.KeyID, list[len(list)-1].JWK)
		if err != nil {
			return info, e2ee.Damaged(keyOf(s.ID, s.KeyID))
		}
		info.HasKey, info.Form = true, k.Form()
	}
	return info, nil
}
