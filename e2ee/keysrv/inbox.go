package keysrv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// What an item may wait for; the details follow the name.
const (
	waitKey  = "key:"
	waitUser = "user:"
)

// A waitRecord is an item that cannot be opened yet.
type waitRecord struct {
	Item Item `json:"item"`
	// Told is the reason that the user was told last.
	Told quinta.Reason `json:"told,omitempty"`
}

// A midRecord is a stanza id that was seen in a conversation.
type midRecord struct {
	From quinta.UserID `json:"from"`
	// Sum names the packet: the same stanza comes from the archive, as a
	// carbon and from offline storage.
	Sum string `json:"sum"`
}

func midKey(room quinta.RoomID, id quinta.MessageID) string {
	return "mid/" + string(room) + "\x00" + string(id)
}

func (w *work) remember(room quinta.RoomID, id quinta.MessageID, r midRecord) error {
	return e2ee.Store(w.tx, midKey(room, id), &r)
}

// retry notes that something came that items may wait for.
func (w *work) retry(what string) {
	if w.came == nil {
		w.came = map[string]bool{}
	}
	w.came[what] = true
}

// Receive takes input from the network. Its events, its changes and the new
// position in the archive are one commit. An item that was received before is
// silently dropped, wherever it comes from; one that cannot be opened is an
// event with its reason, and kept if it may be opened later.
func (m *Machine) Receive(tx e2ee.Tx, in In) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if err := w.keptEvents(); err != nil {
			return err
		}
		for i := range in.Items {
			if err := w.receive(&in.Items[i]); err != nil {
				return err
			}
		}
		for room, id := range in.Archives {
			c, err := w.conv(room)
			if err != nil {
				return err
			}
			if c != nil && c.Group != nil && id != "" {
				c.Group.Archive, c.dirty = id, true
			}
		}
		for _, i := range in.Invitations {
			if err := w.invited(i); err != nil {
				return err
			}
		}
		for _, room := range in.Rooms {
			if err := w.outdateRoom(room); err != nil {
				return err
			}
		}
		if in.Archive != "" {
			w.meta.Archive = in.Archive
		}
		if in.Wants {
			w.meta.WantsAfter = 0
		}
		for _, id := range in.Changed {
			if CheckJID(id) != nil {
				continue
			}
			if w.group(quinta.RoomID(id)) != nil {
				if err := w.outdateRoom(quinta.RoomID(id)); err != nil {
					return err
				}
				continue
			}
			// Only of someone this device has to do with.
			if u, err := w.user(id); err != nil {
				return err
			} else if u.Listed != 0 {
				u.After, u.dirty = 0, true
				if err := w.outdate(id); err != nil {
					return err
				}
			}
			if id == m.user {
				w.meta.After = 0
			}
			if err := w.needAgain(); err != nil {
				return err
			}
		}
		return w.tryAgain()
	})
}

// needAgain asks at once for the keys that did not come.
func (w *work) needAgain() error {
	for n, err := range e2ee.Records[needRecord](w.tx, "need/") {
		if err != nil {
			return err
		}
		if n.Value.After != 0 {
			if err := e2ee.Store(w.tx, n.Key, &needRecord{Reason: n.Value.Reason, Waits: n.Value.Waits}); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive takes one item.
func (w *work) receive(it *Item) error {
	p, err := w.checkItem(it)
	if err != nil {
		w.refuse(it, err)
		return nil
	}
	have, seen, err := e2ee.Load[midRecord](w.tx, midKey(it.Room, it.StanzaID))
	if err != nil {
		return err
	}
	if seen {
		if it.From != "" && have.From != it.From || have.Sum != p.sum() {
			w.refuse(it, fmt.Errorf("%w: another message has this id", ErrReplayed))
		}
		return nil
	}
	// The very same stanza waits already, or was refused.
	same := itemKey(it, &p)
	if there, err := w.tx.Get(same); err != nil || there != nil {
		return err
	}
	return w.open(&waitRecord{Item: *it}, "")
}

// itemKey is where it is noted that a stanza waits or was refused.
func itemKey(it *Item, p *Packet) string {
	return "item/" + string(it.Room) + "\x00" + string(it.StanzaID) + "\x00" + string(it.From) + "\x00" + p.sum()
}

// checkItem looks at the outside of an item.
func (w *work) checkItem(it *Item) (Packet, error) {
	for _, id := range []quinta.UserID{it.From, quinta.UserID(it.Room)} {
		if err := CheckJID(id); err != nil && (id != "" || !it.Group) {
			return Packet{}, err
		}
	}
	if err := checkStanzaID(it.StanzaID); err != nil {
		return Packet{}, err
	}
	// Who was in a room when a message was sent is the room's affair: the list
	// of today does not have those who left since.
	if (w.group(it.Room) != nil) != it.Group {
		return Packet{}, fmt.Errorf("%w: a room is no conversation of two", ErrMismatch)
	}
	if !it.Group && !slices.Contains(w.members(it.Room), it.From) {
		return Packet{}, fmt.Errorf("%w: the sender is not in this conversation", ErrMismatch)
	}
	return ParsePacket(it.ObjectID, it.Text)
}

// refuse tells that an item will never be opened.
func (w *work) refuse(it *Item, err error) {
	w.emit(e2ee.Event{Kind: e2ee.EventUndecryptable, Message: it.claimed(), Reason: ReasonOf(err), Detail: err.Error()})
}

// claimed is what the stanza says in clear.
func (it *Item) claimed() quinta.Message {
	return quinta.Message{ID: it.StanzaID, Room: it.Room, Sender: it.From, Time: it.Received, Kind: quinta.MessageOther, Encrypted: true}
}

// open opens an item, keeps it if it may be opened later, or says why it never
// will be. waiting is where it is kept, if it is.
func (w *work) open(r *waitRecord, waiting string) error {
	it := &r.Item
	p, err := ParsePacket(it.ObjectID, it.Text)
	if err != nil {
		return err
	}
	k, err := w.loadKey(it.ObjectID)
	if err != nil {
		return err
	}
	if k == nil {
		if waiting != "" {
			return nil
		}
		return w.keep(r, &p)
	}
	if waiting != "" {
		w.meta.Waiting--
		if err := w.waitingBound().Drop(waiting); err != nil {
			return err
		}
		if err := w.tx.Delete(waiting); err != nil {
			return err
		}
		_, seen, err := e2ee.Load[midRecord](w.tx, midKey(it.Room, it.StanzaID))
		if err != nil {
			return err
		}
		if seen {
			w.refuse(it, fmt.Errorf("%w: another message has this id", ErrReplayed))
			return w.noteRefused(it, &p)
		}
	}
	msg, err := w.openWith(it, k)
	if err != nil {
		if !isReason(err) {
			return err
		}
		w.refuse(it, err)
		return w.noteRefused(it, &p)
	}
	if err := w.tx.Delete(itemKey(it, &p)); err != nil {
		return err
	}
	if err := w.remember(it.Room, it.StanzaID, midRecord{From: msg.Sender, Sum: p.sum()}); err != nil {
		return err
	}
	c, err := w.begin(it.Room, k.Mode)
	if err != nil {
		return err
	}
	if c.Left {
		c.Left, c.dirty = false, true
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: it.Room}})
	}
	w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: *msg})
	return nil
}

// openWith opens an item with a key.
func (w *work) openWith(it *Item, k *keyRecord) (*quinta.Message, error) {
	if k.Room != it.Room {
		return nil, fmt.Errorf("%w: the key belongs to another conversation", ErrMismatch)
	}
	// A sealed key is that of one device, whose user alone seals under it.
	from := it.From
	if from == "" {
		if k.Mode != ModeSealed || !slices.Contains(w.senders(it), k.Statement.Creator) {
			return nil, fmt.Errorf("%w: no one vouches for the sender", ErrUntrusted)
		}
		from = k.Statement.Creator
	}
	if k.Mode == ModeSealed && k.Statement.Creator != from {
		return nil, fmt.Errorf("%w: the key is another user's", ErrMismatch)
	}
	p, err := ParsePacket(it.ObjectID, it.Text)
	if err != nil {
		return nil, err
	}
	cipher, err := k.cipher()
	if err != nil {
		return nil, err
	}
	to := string(it.Room)
	if from != w.m.user && !it.Group {
		to = string(w.m.user)
	}
	e, err := Open(cipher, Binding{ObjectID: it.ObjectID, From: from, To: to, StanzaID: it.StanzaID}, p.Payload)
	if err != nil {
		return nil, err
	}
	if e.Time > k.Statement.Expires+skew.Milliseconds() {
		return nil, fmt.Errorf("%w: it was sealed after that", ErrExpired)
	}
	b, err := parseBody(e.Content)
	if err != nil {
		return nil, err
	}
	msg := &quinta.Message{ID: it.StanzaID, Room: it.Room, Sender: from, Device: e.Device, Time: time.UnixMilli(e.Time).UTC(), Encrypted: true}
	if msg.Trust, msg.Device, err = w.trustOf(from, k, e.Device); err != nil {
		return nil, err
	}
	if it.From == "" {
		msg.Trust = quinta.TrustUnknown // any member has the key
	}
	if k.Imported {
		msg.Trust = quinta.TrustUnknown
	}
	if k.Mode == ModeEscrow || k.Imported {
		msg.Weakness = quinta.WeakKeySource
	}
	b.message(msg)
	return msg, nil
}

// trustOf says how far the sender is known. A sealed key is that of one device;
// an escrow key proves no one.
func (w *work) trustOf(from quinta.UserID, k *keyRecord, claimed quinta.DeviceID) (quinta.Trust, quinta.DeviceID, error) {
	if k.Mode == ModeEscrow {
		return quinta.TrustUnknown, claimed, nil
	}
	if claimed != k.Statement.Device {
		return 0, "", fmt.Errorf("%w: the key is another device's", ErrMismatch)
	}
	if from == w.m.user && claimed == w.meta.Device {
		return quinta.TrustVerified, claimed, nil
	}
	u, err := w.user(from)
	if err != nil {
		return 0, "", err
	}
	if d := u.Devices[claimed]; d != nil {
		return d.trust(), claimed, nil
	}
	return quinta.TrustUnknown, claimed, nil
}

// keep keeps an item until its key comes.
func (w *work) keep(r *waitRecord, p *Packet) error {
	at := "wait/" + w.meta.Seq.Next()
	evicted, err := w.waitingBound().Add(string(r.Item.From), at)
	if err != nil {
		return err
	}
	for _, old := range evicted {
		if err := w.giveUp(old); err != nil {
			return err
		}
	}
	w.meta.Waiting++
	reason, err := w.need(r.Item.ObjectID)
	if err != nil {
		return err
	}
	if reason != "" {
		r.Told = reason
		w.emit(e2ee.Event{Kind: e2ee.EventUndecryptable, Message: r.Item.claimed(), Reason: reason})
	}
	if err := w.tx.Put(itemKey(&r.Item, p), []byte{1}); err != nil {
		return err
	}
	return e2ee.Store(w.tx, at, r)
}

// giveUp forgets an item that waits, and its key object if no other item waits
// for it.
func (w *work) giveUp(at string) error {
	r, found, err := e2ee.Load[waitRecord](w.tx, at)
	if err != nil {
		return err
	}
	p, err := ParsePacket(r.Item.ObjectID, r.Item.Text)
	if err != nil || !found {
		return e2ee.Damaged(at)
	}
	w.meta.Waiting--
	if err := w.needLess(r.Item.ObjectID); err != nil {
		return err
	}
	if err := w.tx.Delete(at); err != nil {
		return err
	}
	return w.tx.Delete(itemKey(&r.Item, &p))
}

// tellWaiting tells why the items that wait for objects cannot be read, unless
// the user knows. They keep waiting. It looks at the items once, however many
// objects there are.
func (w *work) tellWaiting(why error, ids ...string) error {
	reason := ReasonOf(why)
	of := map[string]bool{}
	for _, id := range ids {
		of[id] = true
		n, found, err := e2ee.Load[needRecord](w.tx, needKey(id))
		if err != nil {
			return err
		}
		if found && n.Reason != reason {
			n.Reason = reason
			if err := e2ee.Store(w.tx, needKey(id), &n); err != nil {
				return err
			}
		}
	}
	if len(of) == 0 {
		return nil
	}
	for r, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
		if err != nil {
			return err
		}
		if !of[r.Value.Item.ObjectID] || r.Value.Told == reason {
			continue
		}
		r.Value.Told = reason
		w.refuse(&r.Value.Item, why)
		if err := e2ee.Store(w.tx, r.Key, &r.Value); err != nil {
			return err
		}
	}
	return nil
}

// tryAgain opens what waited for what came.
func (w *work) tryAgain() error {
	came := w.came
	w.came = nil
	if len(came) == 0 {
		return nil
	}
	for what := range came {
		if strings.HasPrefix(what, waitUser) {
			// The creator of a key is known better now: its object is requested
			// again, and its copy opened.
			if err := w.needAgain(); err != nil {
				return err
			}
			break
		}
	}
	for r, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
		if err != nil {
			return err
		}
		if !came[waitKey+r.Value.Item.ObjectID] {
			continue
		}
		if err := w.open(&r.Value, r.Key); err != nil {
			return err
		}
	}
	return nil
}

// Pending returns how many messages cannot be opened yet.
func (m *Machine) Pending(tx e2ee.Tx) (n int, err error) {
	_, err = m.run(tx, func(w *work) error { n = w.meta.Waiting; return nil })
	return n, err
}

// reasons are the errors that say something of a message or key.
var reasons = []error{ErrMalformed, ErrUnsupported, ErrTampered, ErrReplayed, ErrMismatch, ErrNotPermitted, ErrNoKey, ErrExpired, ErrDowngrade, ErrUntrusted}

func isReason(err error) bool {
	return slices.ContainsFunc(reasons, func(r error) bool { return errors.Is(err, r) })
}
