package keysrv

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/key"
)

// A keyRecord is a key that this device has.
type keyRecord struct {
	ID   string        `json:"id"`
	Room quinta.RoomID `json:"room"`
	Mode Mode          `json:"mode"`
	// Statement is that of a sealed key; of an escrow key only the times and
	// the suite are set.
	Statement Statement `json:"statement"`
	Key       []byte    `json:"key"`
	// Imported says that it came from a file, without its creator's signature.
	Imported bool `json:"imported,omitempty"`
}

// Format hides the key.
func (k keyRecord) Format(s fmt.State, _ rune) { fmt.Fprint(s, "the key ", k.ID) }

func keyKey(id string) string { return "key/" + id }

// loadKey returns a key, or nil.
func (w *work) loadKey(id string) (*keyRecord, error) {
	k, found, err := e2ee.Load[keyRecord](w.tx, keyKey(id))
	if err != nil || !found {
		return nil, err
	}
	return &k, nil
}

func (k *keyRecord) secret() (key.ConversationKey, error) {
	s, err := key.NewSymmetric[key.Conversation](k.Key)
	if err != nil {
		return s, e2ee.Damaged(keyKey(k.ID))
	}
	return s, nil
}

func (k *keyRecord) cipher() (*Cipher, error) {
	s, err := k.secret()
	if err != nil {
		return nil, err
	}
	return NewCipher(k.Statement.Suite, s)
}

// keepKey keeps a key.
func (w *work) keepKey(room quinta.RoomID, mode Mode, s *Statement, k key.ConversationKey) error {
	w.retry(waitKey + s.ObjectID)
	return e2ee.Store(w.tx, keyKey(s.ObjectID), &keyRecord{ID: s.ObjectID, Room: room, Mode: mode, Statement: *s, Key: k.Secret()})
}

// A needRecord is a key object that items wait for.
type needRecord struct {
	// After is when it is asked for next, in Unix milliseconds, and Wait how
	// long it was waited last, in milliseconds.
	After int64 `json:"after,omitempty"`
	Wait  int64 `json:"wait,omitempty"`
	// Reason is why it did not come last time.
	Reason quinta.Reason `json:"reason,omitempty"`
	// Waits is how many items wait for it; stores of older versions have none.
	Waits int `json:"waits,omitempty"`
}

func needKey(id string) string { return "need/" + id }

// need has a key object asked for. It returns the reason for which the object
// did not come before, if it was requested.
func (w *work) need(id string) (quinta.Reason, error) {
	have, found, err := e2ee.Load[needRecord](w.tx, needKey(id))
	if err != nil {
		return "", err
	}
	if found && have.Waits == 0 {
		return have.Reason, nil // of a store that did not count
	}
	have.Waits++
	return have.Reason, e2ee.Store(w.tx, needKey(id), &have)
}

// needLess notes that an item no longer waits for a key object. One that no item
// waits for is not asked for again.
func (w *work) needLess(id string) error {
	have, found, err := e2ee.Load[needRecord](w.tx, needKey(id))
	if err != nil || !found || have.Waits == 0 {
		return err
	}
	if have.Waits--; have.Waits == 0 {
		return w.tx.Delete(needKey(id))
	}
	return e2ee.Store(w.tx, needKey(id), &have)
}

// planObjects asks for the key objects that items wait for.
func (w *work) planObjects() error {
	if !w.meta.Published {
		return nil
	}
	busy, err := w.asked(func(r *reqRecord) bool { return r.Req.Kind == ReqObjects })
	if err != nil || busy {
		return err
	}
	var ids []string
	for n, err := range e2ee.Records[needRecord](w.tx, "need/") {
		if err != nil {
			return err
		}
		if !w.early(n.Value.After) && len(ids) < MaxBatch {
			ids = append(ids, n.Name)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return w.enqueue(reqRecord{Req: Req{Kind: ReqObjects, IDs: ids}})
}

// doneObjects takes key objects. Whatever does not bring the key is requested
// again, ever more rarely.
func (w *work) doneObjects(r *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.trouble("keys", ans)
	}
	for _, id := range r.Req.IDs {
		n, found, err := e2ee.Load[needRecord](w.tx, needKey(id))
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		n.Wait = min(max(2*n.Wait, again.Milliseconds()), againAtMost.Milliseconds())
		n.After = w.now.UnixMilli() + n.Wait
		if err := e2ee.Store(w.tx, needKey(id), &n); err != nil {
			return err
		}
	}
	for i := range ans.Objects {
		o := &ans.Objects[i]
		if !slices.Contains(r.Req.IDs, o.ID) {
			continue
		}
		if err := w.takeObject(o); err != nil {
			return err
		}
	}
	var refused []string
	for _, id := range ans.Refused {
		if slices.Contains(r.Req.IDs, id) {
			refused = append(refused, id)
		}
	}
	return w.tellWaiting(ErrNotPermitted, refused...)
}

// takeObject takes a key object that items wait for, and tells of those items
// if the object brings no key for them.
func (w *work) takeObject(o *Object) error {
	room, waits, err := w.roomOf(o)
	if err == nil && waits {
		err = w.openObject(o, room)
	}
	switch {
	case err == nil:
		return w.tx.Delete(needKey(o.ID))
	case errors.Is(err, errLater):
		return nil
	case !isReason(err):
		return err // the store failed
	}
	return w.tellWaiting(err, o.ID)
}

// errLater: the object is requested again when its creator is known.
var errLater = errors.New("keysrv: the creator of the key is being looked up")

// roomOf returns the conversation in which items wait for an object, which must
// be the object's own; waits is false if none does.
func (w *work) roomOf(o *Object) (room quinta.RoomID, waits bool, err error) {
	if err := o.CheckForm(); err != nil {
		return "", true, err
	}
	for r, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
		if err != nil {
			return "", false, err
		}
		if r.Value.Item.ObjectID != o.ID {
			continue
		}
		waits = true
		if w.convID(r.Value.Item.Room) == o.Conversation {
			return r.Value.Item.Room, true, nil
		}
	}
	if waits {
		err = fmt.Errorf("%w: the key object belongs to another conversation", ErrMismatch)
	}
	return "", waits, err
}

// openObject takes the key out of an object.
func (w *work) openObject(o *Object, room quinta.RoomID) error {
	if w.group(room) == nil && !slices.Contains(w.members(room), o.Creator) {
		return fmt.Errorf("%w: the key was made by someone else", ErrMismatch)
	}
	c, err := w.conv(room)
	if err != nil {
		return err
	}
	if c != nil && c.Mode != o.Mode {
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, Message: quinta.Message{Room: room}, User: o.Creator, Detail: ErrDowngrade.Error()})
		return fmt.Errorf("%w: a key in the mode %s", ErrDowngrade, o.Mode)
	}
	if o.Suite != SuiteGCM {
		return fmt.Errorf("%w: the suite %s in a conversation of the default profile", ErrDowngrade, o.Suite)
	}
	s := o.Statement()
	if o.Mode == ModeEscrow {
		k, err := o.ConversationKey()
		if err != nil {
			return err
		}
		if _, err := w.begin(room, ModeEscrow); err != nil {
			return err
		}
		return w.keepKey(room, ModeEscrow, &s, k)
	}
	k, err := w.unwrap(o, &s)
	if err != nil {
		return err
	}
	if _, err := w.begin(room, ModeSealed); err != nil {
		return err
	}
	return w.keepKey(room, ModeSealed, &s, k)
}

// unwrap verifies the statement of a sealed object and opens this device's copy.
func (w *work) unwrap(o *Object, s *Statement) (key.ConversationKey, error) {
	var none key.ConversationKey
	u, err := w.user(o.Creator)
	if err != nil {
		return none, err
	}
	d := u.Devices[o.Device]
	if d == nil && u.Listed == 0 || d == nil && w.now.UnixMilli()-u.Listed > again.Milliseconds() {
		if err := w.outdate(o.Creator); err != nil {
			return none, err
		}
		return none, errLater
	}
	if d == nil || !d.known() {
		return none, fmt.Errorf("%w: the creator of the key", ErrUntrusted)
	}
	if err := s.Verify(d.Device.Signing, o.Signature); err != nil {
		return none, err
	}
	if o.Wrapped == nil {
		return none, ErrNoKey
	}
	private, err := w.agreement()
	if err != nil {
		return none, err
	}
	return Unwrap(s, o.Wrapped, w.m.user, w.meta.Device, private)
}

// takeEscrow takes the key that the server made for this device.
func (w *work) takeEscrow(r *reqRecord, o *Object) error {
	if o == nil {
		return ErrMalformed
	}
	if err := o.CheckForm(); err != nil {
		return err
	}
	c := r.Req.Create
	if o.ID != c.ID || o.Mode != ModeEscrow || o.Suite != c.Suite || o.Conversation != w.convID(r.Req.Room) || o.Creator != w.m.user {
		return fmt.Errorf("%w: the server made another key", ErrMismatch)
	}
	k, err := o.ConversationKey()
	if err != nil {
		return err
	}
	s := o.Statement()
	return w.keepKey(r.Req.Room, ModeEscrow, &s, k)
}

// planWants asks now and then which copies other devices wait for.
func (w *work) planWants() error {
	if !w.meta.Approved {
		return nil
	}
	if !w.early(w.meta.WantsAfter) {
		if err := w.askOnce(Req{Kind: ReqWants}); err != nil {
			return err
		}
	}
	return w.serveWants()
}

// wantsEvery is how often wants are asked for without a hint.
const wantsEvery = time.Minute

// doneWants keeps the wants that this device can serve.
func (w *work) doneWants(_ *reqRecord, ans Ans) error {
	w.meta.WantsAfter = w.in(wantsEvery)
	if ans.Code != "" {
		w.trouble("the copies that other devices wait for", ans)
		return nil
	}
	for _, want := range ans.Wants[:min(len(ans.Wants), maxWants)] {
		if CheckObjectID(want.ObjectID) != nil || CheckJID(want.User) != nil || !isDeviceID(want.Device) {
			continue
		}
		k, err := w.loadKey(want.ObjectID)
		if err != nil {
			return err
		}
		if k == nil || k.Mode != ModeSealed || !slices.Contains(w.members(k.Room), want.User) {
			continue
		}
		if err := w.hold(w.wantsBound(), want.User, wantKey(&want)); err != nil {
			return err
		}
		if err := e2ee.Store(w.tx, wantKey(&want), &wantRecord{Want: want}); err != nil {
			return err
		}
	}
	return nil
}

// A wantRecord is a copy that another device waits for.
type wantRecord struct {
	Want Want `json:"want"`
	// Looked says that the devices of the user were asked for because of it.
	Looked bool `json:"looked,omitempty"`
}

func wantKey(n *Want) string {
	return "want/" + n.ObjectID + " " + string(n.User) + " " + string(n.Device)
}

// serveWants wraps keys for devices that wait for them, if they are known. One
// that is not known after its user's list was asked for gets nothing.
func (w *work) serveWants() error {
	copies := map[string][]*Device{}
	var order []string
	for r, err := range e2ee.Records[wantRecord](w.tx, "want/") {
		if err != nil {
			return err
		}
		n := &r.Value.Want
		u, err := w.user(n.User)
		if err != nil {
			return err
		}
		d := u.Devices[n.Device]
		switch {
		case d != nil && w.receives(d):
			if copies[n.ObjectID] == nil {
				order = append(order, n.ObjectID)
			}
			copies[n.ObjectID] = append(copies[n.ObjectID], &d.Device)
		case !r.Value.Looked:
			r.Value.Looked = true
			if err := w.outdate(n.User); err != nil {
				return err
			}
			if err := e2ee.Store(w.tx, r.Key, &r.Value); err != nil {
				return err
			}
			if err := w.planLists(); err != nil {
				return err
			}
			continue
		case u.Outdated:
			continue
		}
		if err := w.wantsBound().Drop(r.Key); err != nil {
			return err
		}
		if err := w.tx.Delete(r.Key); err != nil {
			return err
		}
	}
	for _, id := range order {
		k, err := w.loadKey(id)
		if err != nil {
			return err
		}
		if k == nil {
			continue
		}
		if err := w.enqueueWrap(k, copies[id]); err != nil {
			return err
		}
	}
	return nil
}

// enqueueWrap makes copies of a key for devices.
func (w *work) enqueueWrap(k *keyRecord, devices []*Device) error {
	secret, err := k.secret()
	if err != nil {
		return err
	}
	var list []Wrapped
	for _, d := range devices[:min(len(devices), MaxCopies)] {
		c, err := Wrap(&k.Statement, secret, d)
		if err != nil {
			return err
		}
		list = append(list, *c)
	}
	return w.enqueue(reqRecord{Req: Req{Kind: ReqWrap, ObjectID: k.ID, Wrapped: list}})
}

// doneWrap learns what became of copies. What was refused is wanted again.
func (w *work) doneWrap(_ *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.trouble("copies for other devices", ans)
	}
	return nil
}

// sum names the bytes of a packet.
func (p *Packet) sum() string {
	h := sha256.Sum256(fields("quinta-keysrv-packet/1", p.ObjectID, string(p.Payload)))
	return hex.EncodeToString(h[:16])
}
