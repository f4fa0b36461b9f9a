package matrix

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/key"
)

// An outboundRecord is the session with which this device sends to a room.
type outboundRecord struct {
	State   []byte `json:"state"`
	ID      string `json:"id"`
	Created int64  `json:"created"`
	Count   int64  `json:"count"`
	// Shared says that the receivers may pass the key on to later members.
	Shared bool `json:"shared,omitempty"`
	// Pending counts the requests that carry the key and are not answered.
	Pending int `json:"pending,omitempty"`
	// Epoch is the state of the lists at which all who are entitled had the
	// key.
	Epoch uint64 `json:"epoch,omitempty"`
	// VerifiedOnly is that of the machine that worked this out: the other kind
	// has to do it again.
	VerifiedOnly bool `json:"verified_only,omitempty"`
	// GiveAfter is when the key may be given again after the server refused
	// more than once to deliver it.
	GiveAfter int64 `json:"give_after,omitempty"`
	Refusals  int   `json:"refusals,omitempty"`
}

// A shareRecord says who was given a session, and who was told why not.
type shareRecord struct {
	// Given holds Curve25519 keys by user and device.
	Given map[quinta.UserID]map[quinta.DeviceID]key.IdentityPublic `json:"given"`
	// Again holds those of them who are given it once more, as it may not have
	// come to them. They count as having it: who is lost needs a new session.
	Again map[quinta.UserID]map[quinta.DeviceID]key.IdentityPublic `json:"again,omitempty"`
	// Told holds codes.
	Told map[quinta.UserID]map[quinta.DeviceID]string `json:"told,omitempty"`
}

// set notes something of a device in one of the maps of a shareRecord.
func set[V any](m *map[quinta.UserID]map[quinta.DeviceID]V, t target, v V) {
	if *m == nil {
		*m = map[quinta.UserID]map[quinta.DeviceID]V{}
	}
	if (*m)[t.User] == nil {
		(*m)[t.User] = map[quinta.DeviceID]V{}
	}
	(*m)[t.User][t.Device] = v
}

// An audience is who gets a room key and who does not.
type audience struct {
	give []target
	deny []denied
	// unknown are members whose devices are not known yet.
	unknown bool
	// partial: the list of a member could not be had, and may be old.
	partial bool
	// blocked is a member whose verified identity changed.
	blocked quinta.UserID
}

type denied struct {
	target
	code string
}

// audience looks at every device of every member.
func (w *work) audience(room quinta.RoomID) (audience, error) {
	var a audience
	members, err := w.members(room)
	if err != nil {
		return a, err
	}
	if !slices.Contains(members, w.m.user) {
		members = append(members, w.m.user)
	}
	for _, id := range members {
		u, err := w.user(id)
		if err != nil {
			return a, err
		}
		if !u.Tracked {
			if err := w.track(id); err != nil {
				return a, err
			}
		}
		// A list that is not available now does not stop the message: devices
		// that are missing get the key as soon as the list is available.
		if u.Outdated && u.RetryAt == 0 {
			a.unknown = true
			continue
		}
		a.partial = a.partial || u.Outdated
		if u.Changed && u.Verified && id != w.m.user || id == w.m.user && u.Changed && w.meta.MasterTrusted {
			a.blocked = id
		}
		for device, d := range u.Devices {
			if d.Gone || id == w.m.user && device == w.m.device {
				continue
			}
			t := target{id, device, d.Curve}
			trust := w.trust(id, u, d)
			switch {
			case trust == quinta.TrustRejected:
				a.deny = append(a.deny, denied{t, codeBlacklisted})
			case d.Changed || !w.m.admit(u, trust):
				a.deny = append(a.deny, denied{t, codeUnverified})
			default:
				a.give = append(a.give, t)
			}
		}
	}
	order.By(a.give, compareTargets)
	order.By(a.deny, func(x, y denied) int { return compareTargets(x.target, y.target) })
	return a, nil
}

func compareTargets(a, b target) int {
	if c := strings.Compare(string(a.User), string(b.User)); c != 0 {
		return c
	}
	return strings.Compare(string(a.Device), string(b.Device))
}

// share brings the key of the room's session to all who are entitled to it.
// It reports whether all of them have it, and the message may leave.
func (w *work) share(room quinta.RoomID, r *roomRecord) (*outboundRecord, bool, error) {
	var s shareRecord
	o, have, err := e2ee.Load[outboundRecord](w.tx, "out/"+string(room))
	if err != nil {
		return nil, false, err
	}
	if have && !w.worn(&o, r) && o.Epoch == w.meta.Epoch && o.VerifiedOnly == w.m.verifiedOnly {
		return &o, o.Pending == 0, nil
	}
	a, err := w.audience(room)
	if err != nil {
		return nil, false, err
	}
	if a.blocked != "" || a.unknown {
		return nil, false, nil
	}
	if have {
		if s, _, err = e2ee.Load[shareRecord](w.tx, "given/"+string(room)); err != nil {
			return nil, false, err
		}
	}
	if !have || w.worn(&o, r) || s.lost(a.give) {
		if err := w.newOutbound(room, r, &o); err != nil {
			return nil, false, err
		}
		s = shareRecord{}
	}
	if o.GiveAfter > w.now.UnixMilli() {
		return nil, false, nil
	}
	ready, all, err := w.give(room, &o, &s, a)
	if err != nil {
		return nil, false, err
	}
	if o.Epoch = 0; all && !a.partial {
		o.Epoch, o.VerifiedOnly = w.meta.Epoch, w.m.verifiedOnly
	}
	if err := e2ee.Store(w.tx, "given/"+string(room), &s); err != nil {
		return nil, false, err
	}
	if err := e2ee.Store(w.tx, "out/"+string(room), &o); err != nil {
		return nil, false, err
	}
	return &o, ready && o.Pending == 0, nil
}

// worn reports whether a session is to be rotated for its age, its count, or
// because someone left.
func (w *work) worn(o *outboundRecord, r *roomRecord) bool {
	return r.Rotate || o.Count >= r.RotationMessages || w.now.UnixMilli()-o.Created >= r.RotationMS || o.Shared != shareable(r.History)
}

// lost reports whether someone has the key who is not entitled any more.
func (s *shareRecord) lost(entitled []target) bool {
	n := 0
	for _, t := range entitled {
		if s.Given[t.User][t.Device] == t.Curve {
			n++
		}
	}
	total := 0
	for _, devices := range s.Given {
		total += len(devices)
	}
	return n < total
}

// newOutbound makes a new session; the device gives itself the key at once.
func (w *work) newOutbound(room quinta.RoomID, r *roomRecord, o *outboundRecord) error {
	s, err := megolm.NewOutbound(w.m.env.Rand)
	if err != nil {
		return err
	}
	defer s.Wipe()
	*o = outboundRecord{State: s.Encode(), ID: string(s.ID()), Created: w.now.UnixMilli(), Shared: shareable(r.History)}
	if r.Rotate {
		r.Rotate = false
		if err := e2ee.Store(w.tx, "room/"+string(room), r); err != nil {
			return err
		}
	}
	raw := s.SessionKey()
	defer clear(raw)
	in, err := megolm.NewInbound(raw)
	if err != nil {
		return err
	}
	defer in.Wipe()
	_, err = w.storeInbound(room, in, claim{
		Source: fromOlm, Owner: w.m.user, Curve: w.acc.Identity().String(), Ed25519: w.acc.Signing().String(), Shared: o.Shared,
	})
	return err
}

// give sends the key to those who lack it and have an Olm session, and the
// word of refusal to the others. It reports whether no one is left for whom a
// session is still to be made, and whether everyone has the key.
func (w *work) give(room quinta.RoomID, o *outboundRecord, s *shareRecord, a audience) (done, all bool, err error) {
	var need, ready []target
	left := 0
	var refused []deviceMessage
	refuse := func(t target, code string) {
		if s.Told[t.User][t.Device] != code {
			set(&s.Told, t, code)
			refused = append(refused, w.withhold(t, room, o.ID, code))
		}
	}
	for _, t := range a.give {
		if s.Given[t.User][t.Device] == t.Curve && s.Again[t.User][t.Device] != t.Curve {
			continue
		}
		u, err := w.user(t.User)
		if err != nil {
			return false, false, err
		}
		d := u.Devices[t.Device]
		p, err := w.peers.get(d.Curve)
		if err != nil {
			return false, false, err
		}
		switch {
		case p.current() != nil:
			ready = append(ready, t)
		case d.ClaimAfter > w.now.UnixMilli():
			// It gave no one-time key. It is told once and asked again later; the
			// message does not wait for it.
			left++
			if !d.NoOlm {
				d.NoOlm, u.dirty = true, true
				refuse(t, codeNoOlm)
			}
		default:
			need = append(need, t)
		}
	}
	for _, d := range a.deny {
		refuse(d.target, d.code)
	}
	if len(need) > 0 {
		if err := e2ee.Store(w.tx, "claim/"+string(room), need); err != nil {
			return false, false, err
		}
	}
	if _, err := w.toDevice(typeWithheld, refused, record{}); err != nil {
		return false, false, err
	}
	return len(need) == 0, len(need) == 0 && left == 0, w.giveTo(room, o, s, ready)
}

// giveTo seals the key for devices that have a session.
func (w *work) giveTo(room quinta.RoomID, o *outboundRecord, s *shareRecord, ts []target) error {
	if len(ts) == 0 {
		return nil
	}
	session, err := megolm.DecodeOutbound(o.State)
	if err != nil {
		return err
	}
	defer session.Wipe()
	raw := session.SessionKey()
	defer clear(raw)
	l := w.letter(typeRoomKey, fmt.Appendf(nil, `{"algorithm":"%s","room_id":%s,"session_id":"%s","session_key":"%s","shared_history":%t,"m.shared_history":%t}`,
		algorithmMegolm, e2ee.JSON(room), o.ID, base64text.EncodeSecret(raw), o.Shared, o.Shared))
	defer clear(l.head)
	out, err := w.sealAll(l, ts)
	if err != nil {
		return err
	}
	for _, t := range ts {
		set(&s.Given, t, t.Curve)
		delete(s.Again[t.User], t.Device)
	}
	n, err := w.toDevice(typeEncrypted, out, record{Room: room, Session: o.ID})
	o.Pending += n
	return err
}

// doneToDevice counts the answered parts of a share. What a server refused is
// given again, from the second time on after a while; messages wait for that.
func (w *work) doneToDevice(r *record, ans Ans) error {
	if r.Session == "" {
		return nil
	}
	o, found, err := e2ee.Load[outboundRecord](w.tx, "out/"+string(r.Room))
	if err != nil || !found || o.ID != r.Session {
		return err
	}
	o.Pending--
	if ans.Failure == Refused {
		s, _, err := e2ee.Load[shareRecord](w.tx, "given/"+string(r.Room))
		if err != nil {
			return err
		}
		for _, t := range r.Targets {
			set(&s.Again, t, t.Curve)
		}
		o.Epoch = 0
		if o.Refusals++; o.Refusals > 1 {
			o.GiveAfter = w.now.Add(refusedWait).UnixMilli()
		}
		if err := e2ee.Store(w.tx, "given/"+string(r.Room), &s); err != nil {
			return err
		}
	}
	return e2ee.Store(w.tx, "out/"+string(r.Room), &o)
}

// giveAgain has the next message to each room bring a device the key once
// more, as the device says that messages to it did not open: the key may have
// been in one of them. It gets the key from the present index on.
func (w *work) giveAgain(from origin) error {
	for e, err := range e2ee.Records[shareRecord](w.tx, "given/") {
		if err != nil {
			return err
		}
		s := e.Value
		if s.Given[from.User][from.Device] != from.Curve {
			continue
		}
		o, found, err := e2ee.Load[outboundRecord](w.tx, "out/"+e.Name)
		if err != nil {
			return err
		}
		if !found {
			continue // it was discarded: the next one goes to all
		}
		set(&s.Again, target{User: from.User, Device: from.Device}, from.Curve)
		o.Epoch = 0
		if err := e2ee.Store(w.tx, e.Key, &s); err != nil {
			return err
		}
		if err := e2ee.Store(w.tx, "out/"+e.Name, &o); err != nil {
			return err
		}
	}
	return nil
}

// discard throws the session of a room away, so that the next message begins
// a new one.
func (w *work) discard(room quinta.RoomID) error { return w.tx.Delete("out/" + string(room)) }

// sealRoom seals one message of a room and returns the content of its event.
// The session is stored at its next index in the same transaction.
func (w *work) sealRoom(room quinta.RoomID, o *outboundRecord, typ string, content json.RawMessage) ([]byte, error) {
	s, err := megolm.DecodeOutbound(o.State)
	if err != nil {
		return nil, err
	}
	defer s.Wipe()
	text := e2ee.JSON(map[string]any{"type": typ, "content": content, "room_id": room})
	defer clear(text)
	sealed, err := s.Seal(text)
	if err != nil {
		return nil, err
	}
	o.State = s.Encode()
	o.Count++
	if err := e2ee.Store(w.tx, "out/"+string(room), o); err != nil {
		return nil, err
	}
	// The ciphertext goes into the event as it is encoded: through a string and
	// the JSON encoder it would be copied three times more.
	out := make([]byte, 0, len(sealed)*4/3+512)
	out = fmt.Appendf(out, `{"algorithm":"%s","ciphertext":"`, algorithmMegolm)
	out = base64text.Append(out, sealed)
	out = fmt.Appendf(out, `","device_id":%s`, e2ee.JSON(w.m.device))
	var c struct {
		RelatesTo json.RawMessage `json:"m.relates_to"`
	}
	if exactjson.Unmarshal(content, &c) == nil && c.RelatesTo != nil {
		out = fmt.Appendf(out, `,"m.relates_to":%s`, e2ee.JSON(c.RelatesTo))
	}
	return fmt.Appendf(out, `,"sender_key":"%s","session_id":"%s"}`, w.acc.Identity(), o.ID), nil
}
