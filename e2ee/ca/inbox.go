package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// What an item may wait for. A name that ends with a colon is followed by the
// details.
const (
	waitKeys    = "keys"   // a key to decrypt with
	waitStatus  = "status" // a revocation list that is not out of date
	waitRoots   = "roots"
	waitClock   = "clock"
	waitUser    = "user:"
	waitConv    = "conv:"
	waitSession = "session:"
	waitTurn    = "turn:" // what came before it of the same device
)

// A waitRecord is an item that cannot be opened yet.
type waitRecord struct {
	Item Item `json:"item"`
	// For is what it waits for.
	For string `json:"for"`
	// Told says that the user knows of it, Asked that its sender was asked to
	// seal it again.
	Told  bool `json:"told,omitempty"`
	Asked bool `json:"asked,omitempty"`
	// Late says that it came out of its order: it is from the history.
	Late bool `json:"late,omitempty"`
}

// retry notes that something came that items may wait for.
func (w *work) retry(what string) {
	if w.again == nil {
		w.again = map[string]bool{}
	}
	w.again[what] = true
}

// Receive takes a page of the mailbox. Its events, its changes and the new
// position in the mailbox are one commit; the page is acknowledged to the
// server afterwards. A page that does not continue from the last position is
// ErrOutOfOrder.
//
// An item that cannot be opened is an event with its reason, and one that may
// be opened later is kept.
func (m *Machine) Receive(tx e2ee.Tx, in In) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if in.After != w.meta.Pos {
			return ErrOutOfOrder
		}
		if err := w.unshelve(); err != nil {
			return err
		}
		for i := range in.Items {
			it := &in.Items[i]
			if it.Pos <= w.meta.Pos {
				continue // it was taken in before
			}
			w.meta.Pos = it.Pos
			if err := w.receive(it); err != nil {
				return err
			}
			// This item may make waiting ones readable, before the next is taken.
			if err := w.tryAgain(); err != nil {
				return err
			}
		}
		w.meta.Pos = max(w.meta.Pos, in.Next)
		if w.meta.ClockWaits {
			w.meta.ClockWaits = false
			w.retry(waitClock)
		}
		return w.tryAgain()
	})
}

// planAck tells the server how far the mailbox was taken in.
func (w *work) planAck() error {
	if w.meta.Pos <= w.meta.Acked {
		return nil
	}
	there, err := w.reqs.any(func(r *reqRecord) bool { return r.Req.Kind == ReqAck })
	if err != nil || there {
		return err
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqAck, UpTo: w.meta.Pos}})
}

// doneAck notes what the server knows.
func (w *work) doneAck(r *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.trouble("the mailbox", ans)
	}
	// A refusal is not repeated without end: the next page asks again.
	w.meta.Acked = max(w.meta.Acked, r.Req.UpTo)
	return nil
}

// receive takes one item.
func (w *work) receive(it *Item) error {
	if it.Kind == KindKeys {
		return w.receiveKeyChange(it)
	}
	if at := it.Received.UnixMilli(); at > w.meta.Heard {
		w.meta.Heard = at
	}
	if same, err := w.expected(it); err != nil || same {
		return err
	}
	return w.take(&waitRecord{Item: *it}, "")
}

// take opens an item, keeps it if it may be opened later, or says why it never
// will be. key is where it is kept, if it is.
func (w *work) take(r *waitRecord, key string) error {
	wait, err := w.open(r, key)
	switch {
	case err == nil && wait == "":
		return w.unwait(r, key)
	case wait != "":
		return w.wait(r, key, wait, err)
	case !isReason(err):
		return err // the store failed
	}
	e := e2ee.Event{Kind: e2ee.EventUndecryptable, Message: r.Item.claimed(), Reason: ReasonOf(err), Detail: err.Error()}
	w.emit(e)
	if errors.Is(err, ErrDowngrade) {
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: r.Item.From, Device: r.Item.Device, Message: r.Item.claimed(), Detail: err.Error()})
	}
	return w.unwait(r, key)
}

// reasons are the errors that say something of a message.
var reasons = []error{cert.ErrMalformed, cert.ErrUnsupported, seal.ErrTampered, cert.ErrReplayed, cert.ErrMismatch, cert.ErrExpired, cert.ErrUntrusted, seal.ErrNotRecipient, cert.ErrNoStatus, ErrDowngrade, ErrClock, seal.ErrSessionOver}

func isReason(err error) bool {
	return slices.ContainsFunc(reasons, func(r error) bool { return errors.Is(err, r) })
}

// wait keeps an item. The user is told once, and not where an answer is already
// on its way.
func (w *work) wait(r *waitRecord, key, what string, why error) error {
	r.For = what
	if why != nil && !r.Told && r.Item.Kind == KindMessage && (what != waitKeys || w.backupKnown()) {
		r.Told = true
		reason := ReasonOf(why)
		switch {
		case what == waitKeys:
			reason = w.missingKey()
		case strings.HasPrefix(what, waitSession):
			reason = quinta.ReasonNoKeyYet
		}
		w.emit(e2ee.Event{Kind: e2ee.EventUndecryptable, Message: r.Item.claimed(), Reason: reason, Detail: why.Error()})
	}
	if what == waitClock {
		w.meta.ClockWaits = true
	}
	if key == "" {
		key = fmt.Sprintf("wait/%016x-%s", uint64(r.Item.Pos), w.next())
		if err := w.holdWaiting(r.Item.From, key); err != nil {
			return err
		}
		w.meta.Waiting++
	}
	if r.Item.Kind == KindMessage {
		if err := w.tx.Put(waitIDKey(r.Item.Conv, r.Item.ID), []byte(key)); err != nil {
			return err
		}
	}
	if what == waitKeys || strings.HasPrefix(what, waitSession) {
		// It may never be opened: what comes after it does not wait with it.
		if err := w.passTurn(r, key); err != nil {
			return err
		}
	} else if err := w.tx.Put(heldKey(&r.Item, key), []byte{1}); err != nil {
		return err
	}
	return e2ee.Store(w.tx, key, r)
}

// turnOf names the items of one device in one conversation.
func turnOf(it *Item) string {
	return waitTurn + string(it.Conv) + " " + string(it.From) + " " + string(it.Device)
}

// heldKey is where it is noted that an item holds up those after it.
func heldKey(it *Item, key string) string { return "held/" + turnOf(it) + "\x00" + key }

// firstHeld returns the item of the same device in the same conversation that
// holds up the others, or "".
func (w *work) firstHeld(it *Item) (string, error) {
	if w.meta.Waiting == 0 {
		return "", nil
	}
	prefix := "held/" + turnOf(it) + "\x00"
	for e, err := range w.tx.All(prefix) {
		if err != nil {
			return "", err
		}
		return strings.TrimPrefix(e.Key, prefix), nil
	}
	return "", nil
}

// passTurn lets the items continue that this one held up.
func (w *work) passTurn(r *waitRecord, key string) error {
	mark := heldKey(&r.Item, key)
	if have, err := w.tx.Get(mark); err != nil || have == nil {
		return err
	}
	w.retry(turnOf(&r.Item))
	return w.tx.Delete(mark)
}

// backupKnown reports whether the server was asked for a backup. Until it has
// answered, the reason for a missing key is not known.
func (w *work) backupKnown() bool { return w.meta.Backup.Asked || w.meta.Backup.After != 0 }

// missingKey is the reason for which there is no key to decrypt with.
func (w *work) missingKey() quinta.Reason {
	if w.meta.Backup.Exists && !w.meta.Backup.Enabled {
		return quinta.ReasonBackupLocked
	}
	return quinta.ReasonBeforeThisDevice
}

// unwait forgets an item that was kept.
func (w *work) unwait(r *waitRecord, key string) error {
	if key == "" {
		return nil
	}
	if r.Item.Kind == KindMessage {
		if err := w.tx.Delete(waitIDKey(r.Item.Conv, r.Item.ID)); err != nil {
			return err
		}
	}
	if err := w.passTurn(r, key); err != nil {
		return err
	}
	w.meta.Waiting--
	if err := w.waitingBound().Drop(key); err != nil {
		return err
	}
	return w.tx.Delete(key)
}

func waitIDKey(conv quinta.RoomID, id quinta.MessageID) string {
	return "waitid/" + string(conv) + "\x00" + string(id)
}

// anyWaiting reports whether items wait that an old key may be needed for.
func (w *work) anyWaiting() (bool, error) {
	for r, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
		if err != nil {
			return false, err
		}
		if r := r.Value; r.For != waitKeys && !strings.HasPrefix(r.For, waitSession) {
			return true, nil
		}
	}
	return false, nil
}

// tryAgain opens what waited for what came, in the order of the server. What it
// opens may bring more.
func (w *work) tryAgain() error {
	for range 20 {
		if len(w.again) == 0 {
			return nil
		}
		came := w.again
		w.again = nil
		for e, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
			if err != nil {
				return err
			}
			r := e.Value
			// An item may also make those after it readable, in their order.
			if !came[r.For] && !w.again[r.For] {
				continue
			}
			if err := w.take(&r, e.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// failWaiting gives up on items that wait for what does not come.
func (w *work) failWaiting(what string) error {
	for e, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
		if err != nil {
			return err
		}
		r := e.Value
		if r.For != what {
			continue
		}
		w.emit(e2ee.Event{Kind: e2ee.EventUndecryptable, Message: r.Item.claimed(), Reason: quinta.ReasonNotAMemberThen, Detail: "this user is in no such conversation"})
		if err := w.unwait(&r, e.Key); err != nil {
			return err
		}
	}
	return nil
}

// open opens an item and acts on it. If it cannot be opened now, wait says what
// for; then err, if it is not nil, is what the user is told meanwhile. Any
// other error is the reason for which it never will be, or of the store.
func (w *work) open(r *waitRecord, key string) (wait string, err error) {
	it := &r.Item
	if err := it.check(); err != nil {
		return "", err
	}
	c, err := w.knownConv(it.Conv)
	if err != nil {
		return "", err
	}
	if c == nil {
		return waitConv + string(it.Conv), nil
	}
	if err := c.admits(it, w.m.user); err != nil {
		return "", err
	}
	if c.Left || !slices.Contains(c.Members, it.From) {
		// Someone came or went: the next message must be for the right people.
		if err := w.refresh(it.Conv, c); err != nil {
			return "", err
		}
	}
	if !it.Received.IsZero() && it.Received.After(w.now.Add(cert.MaxAhead)) {
		return waitClock, fmt.Errorf("%w: it is slow by %s or more", ErrClock, it.Received.Sub(w.now).Truncate(time.Minute))
	}
	late := key != "" || r.Late
	if first, err := w.firstHeld(it); err != nil {
		return "", err
	} else if first != "" && first != key {
		return turnOf(it), nil
	}
	switch it.Form {
	case FormSession:
		return w.openPacket(it)
	case FormLegacy:
		return w.openLegacy(r)
	}
	return w.openCMS(r, late)
}

// maxItem bounds the body of an item in bytes.
const maxItem = 4 << 20

// check looks at the outside of an item.
func (it *Item) check() error {
	switch {
	case !CheckConv(it.Conv) || it.ID == "" || len(it.ID) > 255 || len(it.Body) == 0 || len(it.Body) > maxItem:
		return fmt.Errorf("%w: the unencrypted part of a message", cert.ErrMalformed)
	case (cert.Identity{User: it.From, Device: it.Device, Use: cert.UseSign}).Check() != nil:
		return fmt.Errorf("%w: the sender's name", cert.ErrMalformed)
	case it.Kind != KindMessage && it.Kind != KindNotice && it.Kind != KindReseal && it.Kind != KindApproval:
		return fmt.Errorf("%w: the kind of delivery %.20q", cert.ErrUnsupported, it.Kind)
	case it.Form != FormCMS && it.Form != FormSession && it.Form != FormLegacy:
		return fmt.Errorf("%w: the form %.20q", cert.ErrUnsupported, it.Form)
	case it.Form != FormCMS && it.Kind != KindMessage:
		return fmt.Errorf("%w: only a message can have a format other than cms", cert.ErrMalformed)
	}
	return nil
}

// admits compares an item with what the conversation is.
func (c *convRecord) admits(it *Item, self quinta.UserID) error {
	direct := IsDirect(it.Conv)
	switch {
	case c.Profile == cert.ProfileSecure && it.Form == FormLegacy:
		return fmt.Errorf("%w: a legacy message in a secure conversation", ErrDowngrade)
	case c.Profile == cert.ProfileLegacy && !c.Chose:
		return fmt.Errorf("%w: this user did not choose the legacy profile", ErrDowngrade)
	case c.Profile == cert.ProfileLegacy && it.Form != FormLegacy:
		return fmt.Errorf("%w: a message in another format in a legacy conversation", cert.ErrMismatch)
	case direct && it.Conv != Direct(self, it.From, c.Profile) && it.From != self:
		return fmt.Errorf("%w: the sender is not in this conversation of two", cert.ErrMismatch)
	}
	return nil
}

// openCMS opens a message of the secure profile.
func (w *work) openCMS(r *waitRecord, late bool) (wait string, err error) {
	it := &r.Item
	self, err := w.self()
	if err != nil {
		return "", err
	}
	v, err := w.verifier()
	if err != nil {
		return "", err
	}
	if v == nil {
		return waitRoots, nil
	}
	x := seal.Expect{From: it.From, Conv: it.Conv, Self: w.m.user, Now: w.now, Received: it.Received}
	if it.Kind == KindReseal {
		// Its own time is that of the first delivery, which is known of what
		// waits; and it comes from anyone who could open it.
		x.Received = time.Time{}
	}
	o, err := seal.Open(it.Body, self, v, x)
	switch {
	case errors.Is(err, seal.ErrNotRecipient):
		if it.Kind != KindMessage {
			return "", err
		}
		return waitKeys, err
	case errors.Is(err, cert.ErrNoStatus):
		w.meta.CRLDue = true
		return waitStatus, err
	case err != nil:
		return "", err
	}
	if it.Kind == KindReseal {
		return w.openReseal(r, o)
	}
	if o.Device != it.Device {
		return "", fmt.Errorf("%w: the sending device", cert.ErrMismatch)
	}
	if it.Kind == KindMessage && o.Content.ID != it.ID {
		return "", fmt.Errorf("%w: the id of the message", cert.ErrMismatch)
	}
	return w.accept(r, o, late)
}

// accept judges the sender's key by the pins, counts the message and acts on
// it.
func (w *work) accept(r *waitRecord, o *seal.Opened, late bool) (wait string, err error) {
	c, it := &o.Content, &r.Item
	if c.From == w.m.user && o.Device == w.m.device {
		return "", fmt.Errorf("%w: it is this device's own", cert.ErrReplayed)
	}
	trust, line, wait, err := w.sender(r, o.Cert, o.Device)
	if wait != "" || err != nil {
		return wait, err
	}
	b, err := parseBody(c.Body)
	if err != nil {
		return "", err
	}
	want := map[Kind]bool{KindMessage: spoken[b.Kind], KindNotice: b.Kind == bodyUnread, KindApproval: b.Kind == bodyKeys}
	if !want[it.Kind] {
		return "", fmt.Errorf("%w: the content does not fit this kind of delivery", cert.ErrMismatch)
	}
	seen := midRecord{From: c.From, Device: o.Device, Time: c.Time}
	if r.Late {
		seen.Sum = sumOf(it.Body)
	}
	count := w.mem.numbered
	if it.Kind != KindMessage {
		count = w.mem.counted // what is not shown has no id that comes again
	}
	if err := count(c, seen, line, late); err != nil {
		return "", err
	}
	switch it.Kind {
	case KindNotice:
		return "", w.takeNotice(c, o.Device, b)
	case KindApproval:
		return "", w.takeKeyring(c, o.Device, b)
	}
	if b.Session != nil {
		if err := w.takeOffer(c, b.Session); err != nil {
			return "", err
		}
	}
	w.show(c.ID, c.Conv, c.From, o.Device, c.Time, trust, b)
	return "", nil
}

// show reports a message that was opened.
func (w *work) show(id quinta.MessageID, conv quinta.RoomID, from quinta.UserID, device quinta.DeviceID, at int64, trust quinta.Trust, b *body) {
	msg := quinta.Message{ID: id, Room: conv, Sender: from, Device: device, Time: messageTime(at), Encrypted: true, Trust: trust}
	b.message(&msg)
	w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: msg})
}

// sender judges the key that signed an item by what is pinned of its device.
// What the authority has certified and does not list is not believed, once it
// was asked.
func (w *work) sender(r *waitRecord, signer *x509.Certificate, device quinta.DeviceID) (t quinta.Trust, line, wait string, err error) {
	from := r.Item.From
	u, err := w.user(from)
	if err != nil {
		return 0, "", "", err
	}
	t, first, known := u.trustOf(device, cert.KeyID(signer))
	if known {
		return t, string(first), "", nil
	}
	wait = waitUser + string(from)
	if r.For == wait {
		return 0, "", "", fmt.Errorf("%w: the authority does not list the key that signed it", cert.ErrUntrusted)
	}
	return 0, "", wait, w.outdate(from)
}

// maxChange bounds what a server says of changed keys, in bytes.
const maxChange = 16 << 10

// receiveKeyChange handles the server's claim that keys have changed: it is only
// a reason to look.
func (w *work) receiveKeyChange(it *Item) error {
	var k struct {
		Username quinta.UserID `json:"username"`
		Change   string        `json:"change"`
	}
	if len(it.Body) > maxChange || exactjson.Unmarshal(it.Body, &k) != nil {
		return nil // the server's own word, and none that can be read
	}
	if k.Change != "enrolled" {
		w.meta.CRLDue = true
	}
	u, err := w.user(k.Username)
	if err != nil || u.Fetched == 0 && !u.Outdated && k.Username != w.m.user {
		return err // no one whose keys are needed yet
	}
	return w.outdate(k.Username)
}
