package rocketchat

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/order"
)

// roomsAtOnce is how many rooms one look at the waiting queue is for.
const roomsAtOnce = 10

// establish makes the key of a room that has none, or asks for one that this
// device lacks. It returns the key if it is here.
func (w *work) establish(r *room) (RoomKey, error) {
	if !w.ready() {
		return RoomKey{}, nil
	}
	k, err := w.current(r)
	if err != nil || !k.IsZero() {
		return k, err
	}
	if r.State.KeyID != "" {
		w.meta.Asks = true
		return RoomKey{}, nil
	}
	if w.early(r.AskAfter) {
		return RoomKey{}, nil
	}
	if r.Pending == nil {
		if !r.Legacy && w.oldServer() {
			return RoomKey{}, ErrOldServer
		}
		if k, err = w.newKey(r.Legacy); err != nil {
			return RoomKey{}, err
		}
		r.Pending = &keyRecord{KeyID: k.ID(), JWK: k.Secret(), At: DateOf(w.now)}
	}
	return RoomKey{}, w.ask(Req{Kind: ReqSetRoomKey, Room: r.State.ID, KeyID: r.Pending.KeyID})
}

// newKey makes a room key, of v1 or of the newest form.
func (w *work) newKey(v1 bool) (RoomKey, error) {
	if v1 {
		return GenerateRoomKeyV1(w.m.env.Rand)
	}
	return GenerateRoomKey(w.m.env.Rand)
}

// doneSetRoomKey learns whose key the room has.
func (w *work) doneSetRoomKey(req Req, ans Ans) error {
	r, err := w.room(req.Room)
	if err != nil || r == nil {
		return err
	}
	switch ans.Code {
	case "":
		if r.Pending != nil && r.Pending.KeyID == req.KeyID {
			r.State.KeyID = req.KeyID
			return w.adoptPending(r)
		}
		return nil
	case CodeRoomKeyExists:
		// It may be the one that was made here, if the answer was lost.
		return w.ask(Req{Kind: ReqRoom, Room: req.Room})
	}
	r.AskAfter = w.later()
	w.trouble("making the key of a room", ans)
	return nil
}

// doneOwnRoomKey has this user's own copy stored again if it was not.
func (w *work) doneOwnRoomKey(_ Req, ans Ans) error {
	if ans.Code != "" {
		w.trouble("storing this user's copy of a room key", ans)
	}
	return nil
}

// planAsking asks the other members for keys that messages wait for.
func (w *work) planAsking() error {
	if !w.meta.Asks || !w.ready() || w.early(w.meta.AskAfter) {
		return nil
	}
	w.meta.Asks, w.meta.AskAfter = false, w.later()
	return w.ask(Req{Kind: ReqRequestKeys})
}

// planOffers looks at the waiting queue of some rooms whose key is here.
func (w *work) planOffers() error {
	if !w.ready() || w.early(w.meta.OfferAfter) {
		return nil
	}
	if busy, err := w.asked(ReqWaiting, ""); err != nil || busy {
		return err
	}
	ids, err := w.roomIDs()
	if err != nil {
		return err
	}
	var held []quinta.RoomID
	for _, id := range ids {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		if r == nil || r.Left || !r.State.Encrypted || r.State.KeyID == "" {
			continue
		}
		b, err := w.tx.Get(keyOf(id, r.State.KeyID))
		if err != nil {
			return err
		}
		if b != nil {
			held = append(held, id)
		}
	}
	w.meta.OfferAfter = w.later()
	if len(held) == 0 {
		return nil
	}
	if held, err = w.sample(held); err != nil {
		return err
	}
	_, err = w.reqs.Put(Req{Kind: ReqWaiting, Rooms: held})
	return err
}

// sample returns up to roomsAtOnce of the rooms, by chance.
func (w *work) sample(ids []quinta.RoomID) ([]quinta.RoomID, error) {
	for i := range min(roomsAtOnce, len(ids)) {
		var b [4]byte
		if _, err := io.ReadFull(w.m.env.Rand, b[:]); err != nil {
			return nil, fmt.Errorf("rocketchat: choosing rooms: %w", err)
		}
		j := i + int(uint64(binary.BigEndian.Uint32(b[:]))*uint64(len(ids)-i)>>32)
		ids[i], ids[j] = ids[j], ids[i]
	}
	return ids[:min(roomsAtOnce, len(ids))], nil
}

// doneWaiting wraps the room keys for those who wait, whose public keys are
// those that were pinned.
func (w *work) doneWaiting(req Req, ans Ans) error {
	if ans.Code != "" {
		w.trouble("the users who wait for a room key", ans)
		return nil
	}
	asked := req.Rooms
	if req.Kind == ReqUsers {
		asked = []quinta.RoomID{req.Room}
	}
	for _, id := range asked {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		if r == nil || r.Left || !r.State.Encrypted || len(ans.Waiting[id]) == 0 {
			continue
		}
		if err := w.offer(r, ans.Waiting[id]); err != nil {
			return err
		}
	}
	return nil
}

// offer wraps the key of a room, and its former ones, for users.
func (w *work) offer(r *room, to []Waiting) error {
	k, err := w.current(r)
	if err != nil || k.IsZero() || !w.ready() || r.Rotate != "" {
		return err // a key that is about to be replaced is offered to no one
	}
	old, err := w.former(r)
	if err != nil {
		return err
	}
	req := Req{Kind: ReqProvide, Room: r.State.ID, KeyID: k.ID(), For: map[string]string{}}
	for _, u := range to[:min(len(to), maxOffers)] {
		if u.User == w.m.self.ID || !validID(u.User) {
			continue
		}
		pub, ok, err := w.pin(u)
		if err != nil {
			return err
		}
		if !ok {
			if !slices.Contains(r.Blocked, u.User) && len(r.Blocked) < maxBlocked {
				r.Blocked = append(r.Blocked, u.User)
			}
			continue
		}
		p := Provided{User: u.User}
		if p.Key, err = k.Wrap(w.m.env.Rand, pub); err != nil {
			return err
		}
		for _, o := range old {
			wrapped, err := o.key.Wrap(w.m.env.Rand, pub)
			if err != nil {
				return err
			}
			p.Old = append(p.Old, OldKey{KeyID: o.key.ID(), TS: o.at, Key: wrapped})
		}
		req.Provide = append(req.Provide, p)
		req.For[u.User] = pub.Fingerprint()
	}
	if len(req.Provide) == 0 {
		return nil
	}
	_, err = w.reqs.Put(req)
	return err
}

// A formerKey is a room key that messages are not sealed with any more.
type formerKey struct {
	key RoomKey
	at  Date
}

// maxOffered is how many former keys a server keeps for one member.
const maxOffered = 10

// former returns the former keys of a room that are here, newest first.
func (w *work) former(r *room) ([]formerKey, error) {
	for _, o := range r.State.Old {
		if o.KeyID != r.State.KeyID && CheckKeyID(o.KeyID) == nil {
			if _, err := w.keys(r, o.KeyID); err != nil {
				return nil, err
			}
		}
	}
	var out []formerKey
	prefix := "key/" + string(r.State.ID) + "/"
	for rec, err := range e2ee.Records[[]keyRecord](w.tx, prefix) {
		if err != nil {
			return nil, err
		}
		if strings.TrimPrefix(rec.Key, prefix) == r.State.KeyID {
			continue
		}
		for _, have := range rec.Value {
			k, err := ParseRoomKey(have.KeyID, have.JWK)
			if err != nil {
				return nil, e2ee.Damaged(rec.Key)
			}
			out = append(out, formerKey{k, have.At})
		}
	}
	order.By(out, func(a, b formerKey) int { return int(min(max(b.at-a.at, -1), 1)) })
	return out[:min(len(out), maxOffered)], nil
}

// rotate has the key of a room replaced as soon as this device may: a member
// left, was removed, or changed their keys.
func (w *work) rotate(r *room) {
	if r.State.Encrypted && r.State.KeyID != "" && r.Rotate == "" && !r.Left {
		r.Rotate, r.RotateWait = r.State.KeyID, 0
		w.meta.Rotating = append(w.meta.Rotating, r.State.ID)
	}
}

// planRotations asks for the resets that are due.
func (w *work) planRotations() error {
	if !w.ready() {
		return nil
	}
	var left []quinta.RoomID
	for _, id := range w.meta.Rotating {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		if r == nil || r.Rotate == "" || slices.Contains(left, id) {
			continue
		}
		left = append(left, id)
		if w.early(r.RotateWait) {
			continue
		}
		if err := w.planRotation(r); err != nil {
			return err
		}
	}
	w.meta.Rotating = left
	return nil
}

func (w *work) planRotation(r *room) error {
	if busy, err := w.asked(ReqReset, r.State.ID); err != nil || busy {
		return err
	}
	if r.Rotate != r.State.KeyID || r.Left {
		r.Rotate = ""
		return nil
	}
	private, err := w.openPrivate()
	if err != nil {
		return err
	}
	var k RoomKey
	if r.Pending != nil {
		if k, err = ParseRoomKey(r.Pending.KeyID, r.Pending.JWK); err != nil {
			return e2ee.Damaged(roomKeyOf(r.State.ID))
		}
	} else {
		v1 := r.Legacy
		if !v1 && w.oldServer() {
			// A room of v1 stays one where the others cannot read v2.
			have, err := w.current(r)
			if err != nil {
				return err
			}
			v1 = !have.IsZero() && have.Form() == V1
		}
		if k, err = w.newKey(v1); err != nil {
			return err
		}
	}
	r.Pending = &keyRecord{KeyID: k.ID(), JWK: k.Secret(), At: DateOf(w.now)}
	wrapped, err := k.Wrap(w.m.env.Rand, private.Public())
	if err != nil {
		return err
	}
	return w.ask(Req{Kind: ReqReset, Room: r.State.ID, KeyID: k.ID(), Key: wrapped})
}

// doneReset learns what became of a reset.
func (w *work) doneReset(req Req, ans Ans) error {
	r, err := w.room(req.Room)
	if err != nil || r == nil {
		return err
	}
	switch ans.Code {
	case "":
		if r.State.KeyID != req.KeyID { // else the room's new state came first
			if r.Pending == nil || r.Pending.KeyID != req.KeyID {
				return w.ask(Req{Kind: ReqRoom, Room: req.Room})
			}
			if err := w.replaced(r, req); err != nil {
				return err
			}
		}
		r.Rotate, w.meta.OfferAfter = "", 0
		_, err = w.reqs.Put(Req{Kind: ReqWaiting, Rooms: []quinta.RoomID{req.Room}})
		return err
	case CodeNotAllowed, CodeUnauthorized:
		// Another member has to do it: until then the key stays as it is.
		r.Pending, r.Rotate = nil, ""
		w.trouble("the key of "+string(req.Room)+" stays the same, because this account may not replace it", ans)
		return nil
	}
	// Another reset is under way, or it failed: the room says which key counts.
	r.RotateWait = w.later()
	return w.ask(Req{Kind: ReqRoom, Room: req.Room})
}

// withdrawReset takes back the reset of a key that the room does not have any more:
// it would replace the key that took its place. If it is under way and succeeds all
// the same, the room's next state brings the copy that it left for this user.
func (w *work) withdrawReset(r *room) error {
	for rec, err := range w.reqs.All() {
		if err != nil {
			return err
		}
		if q := &rec.Value; q.Kind == ReqReset && q.Room == r.State.ID && q.KeyID != r.State.KeyID {
			return w.reqs.Done(rec.Name)
		}
	}
	return nil
}

// replaced makes the key of a reset the room's.
func (w *work) replaced(r *room, req Req) error {
	k, err := ParseRoomKey(r.Pending.KeyID, r.Pending.JWK)
	if err != nil {
		return e2ee.Damaged(roomKeyOf(req.Room))
	}
	if old := r.State.OwnKey; old != "" {
		r.State.Old = mergeOld([]OldKey{{KeyID: r.State.KeyID, TS: DateOf(w.now), Key: old}}, r.State.Old)
	}
	if _, err := w.keepKey(r, k, r.Pending.At); err != nil {
		return err
	}
	r.State.KeyID, r.State.OwnKey, r.Pending = req.KeyID, req.Key, nil
	w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: req.Room}, Detail: "the room has a new key"})
	return nil
}

// Rotate replaces the key of a room, so that who was in it reads nothing that is
// sent from then on.
func (m *Machine) Rotate(tx e2ee.Tx, id quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		switch {
		case r == nil || r.Left:
			return ErrUnknownRoom
		case !r.State.Encrypted:
			return ErrNotEncrypted
		case !w.ready():
			return ErrNoKeys
		}
		w.rotate(r)
		return nil
	})
	return err
}

// SetLegacy chooses the specification's own form for a room that has no key yet,
// or takes the choice back.
func (m *Machine) SetLegacy(tx e2ee.Tx, id quinta.RoomID, on bool) error {
	_, err := m.run(tx, func(w *work) error {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		if r == nil || r.Left {
			return ErrUnknownRoom
		}
		r.Legacy = on
		if k, err := w.current(r); err != nil {
			return err
		} else if !k.IsZero() && (k.Form() == V1) != on {
			w.rotate(r) // to a key of the form that was chosen
		}
		return nil
	})
	return err
}
