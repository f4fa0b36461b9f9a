package keysrv

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/key"
)

// An outRecord is a message of this device that the XMPP server has not
// confirmed. It is sealed once; the same bytes are repeated.
type outRecord struct {
	Room quinta.RoomID    `json:"room"`
	ID   quinta.MessageID `json:"id"`
	Txn  quinta.TxnID     `json:"txn"`
	Body json.RawMessage  `json:"body"`
	// Time is when it was sealed, in Unix milliseconds, and Sealed that it was.
	Time   int64 `json:"time,omitempty"`
	Sealed bool  `json:"sealed,omitempty"`
	// Told says that the user knows that it waits.
	Told bool `json:"told,omitempty"`
	// After is when it is tried again, in Unix milliseconds.
	After int64 `json:"after,omitempty"`
	// ForDevices says that it waits for devices of its members.
	ForDevices bool `json:"forDevices,omitempty"`
	// Tries counts the key objects that the server refused in a row.
	Tries int `json:"tries,omitempty"`
}

// maxTries is how many key objects in a row may be refused.
const maxTries = 12

// Send takes a message for the conversation Room: either Type and the JSON of
// Body, or the members that all networks share. Txn, if it is set, must be
// one that was never used; it is in the EventSent or EventFailed.
//
// The message leaves when there is a key for the devices of all members, in the
// order of its conversation, and always in the mode of the conversation.
func (m *Machine) Send(tx e2ee.Tx, msg quinta.Message) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.conv(msg.Room)
		if err != nil {
			return err
		}
		if c == nil || c.Left {
			return ErrUnknownConversation
		}
		b, err := render(&msg)
		if err != nil {
			return err
		}
		raw := e2ee.JSON(b)
		if len(raw) > maxBody {
			return quinta.E(quinta.KindTooLarge, "sending", "the message is too large: send it as a file")
		}
		for _, id := range w.members(msg.Room) {
			u, err := w.user(id)
			if err != nil {
				return err
			}
			if u.blocked() {
				return fmt.Errorf("%w: %s", ErrKeyChanged, id)
			}
		}
		id, err := w.newID()
		if err != nil {
			return err
		}
		o := outRecord{Room: msg.Room, ID: quinta.MessageID(id), Txn: msg.Txn, Body: raw}
		if o.Txn == "" {
			o.Txn = quinta.TxnID(id)
		}
		_, err = w.out.Put(o)
		return err
	})
	return err
}

// planOutbox seals the oldest message of each conversation. There is one on its
// way per conversation, so that the order holds.
func (w *work) planOutbox() error {
	busy := map[quinta.RoomID]bool{}
	for o, err := range w.out.All() {
		if err != nil {
			return err
		}
		if busy[o.Value.Room] {
			continue
		}
		busy[o.Value.Room] = true
		if err := w.planMessage(o.Name, o.Value); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) planMessage(name string, o outRecord) error {
	there, err := w.asked(func(r *reqRecord) bool { return r.Out == name })
	if err != nil || there || w.early(o.After) || !w.meta.Approved {
		return err
	}
	c, err := w.conv(o.Room)
	if err != nil {
		return err
	}
	if c == nil || c.Left {
		return w.failed(name, &o, Ans{Code: CodeNotFound, Detail: "the conversation was left"})
	}
	if ok, err := w.knownMembers(o.Room, c); err != nil || !ok {
		return err
	}
	a, err := w.audience(o.Room, name, &o)
	if err != nil || a == nil {
		return err
	}
	w.retire(c, a)
	if c.Out == nil {
		return w.create(name, o.Room, c, a)
	}
	if !c.Out.Ready {
		return nil
	}
	if c.Mode == ModeSealed {
		if waits, err := w.wrapMissing(c, a); err != nil || waits {
			return err
		}
	}
	return w.seal(name, &o, c)
}

// An audience is the devices that a message is for.
type audience struct {
	devices []*Device
	names   []string // "user device", sorted
}

// audience returns the devices of all members that get keys, or nil as long as
// something must be asked for or decided by the user.
func (w *work) audience(room quinta.RoomID, name string, o *outRecord) (*audience, error) {
	a := &audience{}
	for _, id := range w.members(room) {
		u, err := w.fresh(id)
		if err != nil || u == nil {
			return nil, err
		}
		if u.blocked() {
			return nil, w.waits(name, o, "the user "+string(id)+" has a device that nothing vouches for: accept or reject it first")
		}
		n := 0
		for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
			d := u.Devices[device]
			if self := id == w.m.user && device == w.meta.Device; self || w.receives(d) {
				a.devices = append(a.devices, &d.Device)
				a.names = append(a.names, string(id)+" "+string(device))
				n++
			}
		}
		// In a room those who have no device yet get copies when they have one.
		if n == 0 && w.group(room) == nil {
			return nil, w.waits(name, o, "the user "+string(id)+" has no device that may get keys")
		}
	}
	return a, nil
}

// waits keeps a message until it is tried again, and tells once why.
func (w *work) waits(name string, o *outRecord, why string) error {
	o.After, o.ForDevices = w.in(again), true
	if !o.Told {
		o.Told = true
		msg := w.ownMessage(o)
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Message: msg, Detail: "a message waits: " + why})
	}
	for _, id := range w.members(o.Room) {
		if err := w.outdate(id); err != nil {
			return err
		}
		u, err := w.user(id)
		if err != nil {
			return err
		}
		u.After = o.After
	}
	return w.out.Set(name, *o)
}

// wakeOutbox lets the messages for a user leave whose devices are known better
// now.
func (w *work) wakeOutbox(id quinta.UserID) error {
	for o, err := range w.out.All() {
		if err != nil {
			return err
		}
		if !o.Value.ForDevices || !slices.Contains(w.members(o.Value.Room), id) {
			continue
		}
		o.Value.After, o.Value.ForDevices = 0, false
		if err := w.out.Set(o.Name, o.Value); err != nil {
			return err
		}
	}
	return nil
}

// retire ends the key of a conversation that has done its time, or that a
// device has which is to get nothing any more.
func (w *work) retire(c *convRecord, a *audience) {
	k := c.Out
	if k == nil {
		return
	}
	age := w.now.Sub(time.UnixMilli(k.Created))
	gone := slices.ContainsFunc(k.For, func(n string) bool { return !slices.Contains(a.names, n) })
	if k.Count >= w.m.policy.messages() || age >= w.m.policy.life() || age < 0 || gone {
		c.Out, c.dirty = nil, true
	}
}

// create has a new key object made.
func (w *work) create(name string, room quinta.RoomID, c *convRecord, a *audience) error {
	var raw [16]byte
	if _, err := io.ReadFull(w.m.env.Rand, raw[:]); err != nil {
		return fmt.Errorf("keysrv: making an id: %w", err)
	}
	id := base64.RawURLEncoding.EncodeToString(raw[:])
	created := w.now.UTC().Truncate(time.Second)
	// It is retired before the server's expiry, so that a message on its way is
	// still in time.
	req := &Create{ID: id, With: quinta.UserID(room), Mode: c.Mode, Suite: SuiteGCM, Created: created, Expires: created.Add(w.m.policy.life() + 2*skew)}
	if c.Group != nil {
		req.With, req.Room = "", room
	}
	out := &outKey{ID: id, Created: w.now.UnixMilli()}
	if c.Mode == ModeSealed {
		if err := w.makeKey(req, room, a); err != nil {
			return err
		}
		out.For = a.names
	}
	c.Out, c.dirty = out, true
	return w.enqueue(reqRecord{Req: Req{Kind: ReqCreate, Room: room, Create: req}, Out: name})
}

// makeKey makes a key, signs its statement, wraps it for an audience, and keeps
// it.
func (w *work) makeKey(req *Create, room quinta.RoomID, a *audience) error {
	k, err := key.GenerateSymmetric[key.Conversation](w.m.env.Rand)
	if err != nil {
		return err
	}
	signing, err := w.signing()
	if err != nil {
		return err
	}
	s := &Statement{ObjectID: req.ID, Conversation: w.convID(room), Suite: req.Suite, Creator: w.m.user, Device: w.meta.Device,
		Created: req.Created.UnixMilli(), Expires: req.Expires.UnixMilli()}
	s.Check = s.Commit(k)
	req.Check, req.Signature = s.Check, s.Sign(signing)
	if len(a.devices) > MaxCopies {
		return quinta.E(quinta.KindTooLarge, "making a key", "too many devices")
	}
	for _, d := range a.devices {
		c, err := Wrap(s, k, d)
		if err != nil {
			return err
		}
		req.Wrapped = append(req.Wrapped, *c)
	}
	return w.keepKey(room, ModeSealed, s, k)
}

// doneCreate learns what became of a new key object.
func (w *work) doneCreate(r *reqRecord, ans Ans) error {
	c, err := w.conv(r.Req.Room)
	if err != nil || c == nil || c.Out == nil || c.Out.ID != r.Req.Create.ID {
		return err
	}
	c.dirty = true
	if ans.Code == "" {
		if r.Req.Create.Mode == ModeEscrow {
			if err := w.takeEscrow(r, ans.Object); err != nil {
				c.Out = nil
				return w.refusedKey(r, Ans{Code: CodeMode, Detail: err.Error()})
			}
		}
		c.Out.Ready = true
		return nil
	}
	c.Out = nil
	if err := w.tx.Delete(keyKey(r.Req.Create.ID)); err != nil {
		return err
	}
	return w.refusedKey(r, ans)
}

// refusedKey has another key object made later, or gives the message up.
func (w *work) refusedKey(r *reqRecord, ans Ans) error {
	o, found, err := w.out.Get(r.Out)
	if err != nil || !found {
		return err
	}
	if o.Tries++; o.Tries > maxTries || ans.Code == CodeMode || ans.Code == CodeNotFound {
		return w.failed(r.Out, &o, ans)
	}
	if err := w.outdateRoom(o.Room); err != nil {
		return err
	}
	if ans.Code == CodeUnapproved {
		w.meta.Approved, w.meta.After = false, 0
	}
	for _, id := range w.members(o.Room) {
		if err := w.outdate(id); err != nil {
			return err
		}
	}
	w.trouble("a key is not made", ans)
	if ans.Code != CodeConflict && ans.Code != CodeStale || o.Tries > 1 {
		o.After = w.in(again)
	}
	return w.out.Set(r.Out, o)
}

// wrapMissing has copies made for devices that came since the key was made. It
// reports whether the message waits for that.
func (w *work) wrapMissing(c *convRecord, a *audience) (bool, error) {
	id := c.Out.ID
	busy, err := w.asked(func(r *reqRecord) bool { return r.Req.Kind == ReqWrap && r.Req.ObjectID == id })
	if err != nil || busy {
		return busy, err
	}
	var missing []*Device
	for i, n := range a.names {
		if !slices.Contains(c.Out.For, n) {
			missing = append(missing, a.devices[i])
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	k, err := w.loadKey(id)
	if err != nil || k == nil {
		return true, err
	}
	if err := w.enqueueWrap(k, missing); err != nil {
		return true, err
	}
	c.Out.For, c.dirty = slices.Clone(a.names), true
	return true, nil
}

// seal seals a message and puts it on its way.
func (w *work) seal(name string, o *outRecord, c *convRecord) error {
	k, err := w.loadKey(c.Out.ID)
	if err != nil || k == nil {
		return err
	}
	cipher, err := k.cipher()
	if err != nil {
		return err
	}
	c.Out.Count++
	c.dirty = true
	o.Time, o.Sealed = w.now.UnixMilli(), true
	payload, err := Seal(cipher, w.m.env.Rand, Binding{ObjectID: k.ID, From: w.m.user, To: string(o.Room), StanzaID: o.ID},
		Envelope{Device: w.meta.Device, Time: o.Time, Content: o.Body})
	if err != nil {
		return err
	}
	p := &Packet{ObjectID: k.ID, Payload: payload}
	// The archive and other devices bring it back: it is known then.
	if err := w.remember(o.Room, o.ID, midRecord{From: w.m.user, Sum: p.sum()}); err != nil {
		return err
	}
	if err := w.out.Set(name, *o); err != nil {
		return err
	}
	return w.enqueue(reqRecord{Req: Req{Kind: ReqMessage, Room: o.Room, Group: c.Group != nil, StanzaID: o.ID, Packet: p}, Out: name, For: c.Out.For})
}

// doneMessage learns what became of a message.
func (w *work) doneMessage(r *reqRecord, ans Ans) error {
	o, found, err := w.out.Get(r.Out)
	if err != nil || !found {
		return err
	}
	if ans.Code != "" {
		return w.failed(r.Out, &o, ans)
	}
	w.emit(e2ee.Event{Kind: e2ee.EventSent, Message: w.ownMessage(&o)})
	return w.out.Done(r.Out)
}

// failed tells that a message will not be sent.
func (w *work) failed(name string, o *outRecord, ans Ans) error {
	detail := strings.TrimSpace(ans.Code + " " + ans.Detail)
	w.emit(e2ee.Event{Kind: e2ee.EventFailed, Message: w.ownMessage(o), Reason: quinta.ReasonNotPermitted, Detail: detail})
	return w.out.Done(name)
}

// ownMessage is a message of this device.
func (w *work) ownMessage(o *outRecord) quinta.Message {
	msg := quinta.Message{ID: o.ID, Room: o.Room, Sender: w.m.user, Device: w.meta.Device, Txn: o.Txn, Time: w.now, Encrypted: true, Trust: quinta.TrustVerified}
	if o.Time != 0 {
		msg.Time = time.UnixMilli(o.Time).UTC()
	}
	if b, err := parseBody(o.Body); err == nil {
		b.message(&msg)
	}
	return msg
}

// Restored says that the store was restored from an old copy, or is a copy. No
// key under which it sealed is used again; what was sent since comes back from
// the archive.
func (m *Machine) Restored(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		for r, err := range e2ee.Records[convRecord](tx, "conv/") {
			if err != nil {
				return err
			}
			c, err := w.conv(quinta.RoomID(r.Name))
			if err != nil {
				return err
			}
			if err := w.rotate(c); err != nil {
				return err
			}
		}
		w.meta.Published, w.meta.After = false, 0
		return nil
	})
	return err
}
