package ca

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// An outEntry is a message of this device that the server has not confirmed.
// Its id and number are given once; it is sealed again only when the server has
// refused the seal, or after so long that its time would not be believed.
type outEntry struct {
	Conv quinta.RoomID    `json:"conv"`
	ID   quinta.MessageID `json:"id"`
	Txn  quinta.TxnID     `json:"txn"`
	Body json.RawMessage  `json:"body"`
	// Seq is its number, 0 before it was first sealed, and Time what was sealed
	// last, in Unix milliseconds.
	Seq  uint64 `json:"seq,omitempty"`
	Time int64  `json:"time,omitempty"`
	// Signed is the SignedData that the last seal is around, To whom it names.
	Signed []byte          `json:"signed,omitempty"`
	To     []quinta.UserID `json:"to,omitempty"`
	// Form is that of the last seal.
	Form Form `json:"form,omitempty"`
	// Doubt says that an earlier seal may have been taken in: a conflict then
	// means that it was.
	Doubt bool `json:"doubt,omitempty"`
	// Told says that the user knows that it waits.
	Told bool `json:"told,omitempty"`
	// Tries counts refusals in a row.
	Tries int `json:"tries,omitempty"`
	// After is when it is tried again, in Unix milliseconds.
	After int64 `json:"after,omitempty"`
}

// The bounds of sending.
const (
	// maxTries is how often a server may say that the keys are not right.
	maxTries = 12
	// staleSeal is how long the same seal is repeated; recipients believe a
	// message's time for maxBackdate.
	staleSeal = seal.MaxBackdate - 24*time.Hour
)

// A sentRecord is a message that this device sent, to be sealed again for those
// who could not read it.
type sentRecord struct {
	// Signed is the SignedData; empty for a small packet.
	Signed []byte          `json:"signed,omitempty"`
	To     []quinta.UserID `json:"to"`
	Body   json.RawMessage `json:"body"`
	Txn    quinta.TxnID    `json:"txn"`
	Time   int64           `json:"time"`
}

// Send takes a message for Room: either Type and the JSON of Body, or the
// members that all networks share (Kind, Text, File, Relation, Mentions). Txn,
// if it is set, must be one that was never used; it is in the EventSent or
// EventFailed.
//
// The message leaves when the keys of all members are available and checked,
// in the order of its conversation, and always in the profile of the
// conversation.
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
		if len(raw) > seal.MaxContent-1024 {
			return quinta.E(quinta.KindTooLarge, "sending", "the message is too large: send it as a file")
		}
		if blocked, err := w.blocked(c); err != nil {
			return err
		} else if blocked != "" && c.Profile == cert.ProfileSecure {
			return fmt.Errorf("%w: %s", ErrKeyChanged, blocked)
		}
		id, err := w.newID()
		if err != nil {
			return err
		}
		o := &outEntry{Conv: msg.Room, ID: id, Txn: msg.Txn, Body: raw}
		if o.Txn == "" {
			o.Txn = quinta.TxnID(id)
		}
		return e2ee.Store(w.tx, "outbox/"+w.next(), o)
	})
	return err
}

// blocked returns a member whose verified key changed.
func (w *work) blocked(c *convRecord) (quinta.UserID, error) {
	for _, id := range c.Members {
		u, err := w.user(id)
		if err != nil {
			return "", err
		}
		for _, d := range u.Devices {
			if d.New != nil && d.listed() {
				return id, nil
			}
		}
	}
	return "", nil
}

// planOutbox seals the oldest message of each conversation. There is one on its
// way per conversation, so that the order holds whatever the server refuses.
func (w *work) planOutbox() error {
	busy := map[quinta.RoomID]bool{}
	for e, err := range e2ee.Records[outEntry](w.tx, "outbox/") {
		if err != nil {
			return err
		}
		o := e.Value
		if busy[o.Conv] {
			continue
		}
		busy[o.Conv] = true
		if err := w.planMessage(e.Key, &o); err != nil {
			return err
		}
	}
	return nil
}

// planMessage seals one message if all that it needs is at hand.
func (w *work) planMessage(key string, o *outEntry) error {
	sealed, err := w.reqs.find(func(r *reqRecord) bool { return r.Out == key })
	if err != nil {
		return err
	}
	if sealed != nil {
		return w.renewSeal(key, o, sealed.Req.Deliver)
	}
	if w.early(o.After, again) {
		return nil
	}
	if c, err := w.conv(o.Conv); err != nil {
		return err
	} else if c == nil || c.Left {
		return w.failed(&reqRecord{Out: key}, o, Ans{Code: CodeNotFound, Detail: "this user is in no such conversation"})
	}
	c, err := w.knownConv(o.Conv)
	if err != nil || c == nil || c.Outdated {
		return err
	}
	if c.Profile == cert.ProfileLegacy {
		return w.sealLegacy(key, o, c)
	}
	return w.sealSecure(key, o, c)
}

// renewSeal takes a seal back that was repeated for so long that no one would
// believe its time any more, or that is for a device which is to get nothing any
// more. Whether it was taken in, the server says: then the new one is a conflict.
func (w *work) renewSeal(key string, o *outEntry, d *Deliver) error {
	c, err := w.conv(o.Conv)
	if err != nil {
		return err
	}
	good := c != nil && !c.Left && d != nil && w.now.Sub(time.UnixMilli(o.Time)) < staleSeal
	if good {
		if good, err = w.stillFor(d, c.Members, w.admits); err != nil {
			return err
		}
	}
	if good {
		return nil
	}
	if err := w.reqs.drop(func(r *reqRecord) bool { return r.Out == key }); err != nil {
		return err
	}
	o.Doubt, o.Form = true, ""
	if err := e2ee.Store(w.tx, key, o); err != nil {
		return err
	}
	return w.planMessage(key, o)
}

// sealSecure seals a message of the secure profile.
func (w *work) sealSecure(key string, o *outEntry, c *convRecord) error {
	self, err := w.signing()
	if err != nil || self == nil {
		return err
	}
	a, err := w.audience(c.Members)
	if err != nil || a.wait || a.blocked != "" {
		return err
	}
	if peer, two := w.peerOf(o.Conv, c); two && !a.has(peer) {
		return w.waitForPeer(key, o, peer)
	}
	small, err := w.sealSmall(key, o, c, a)
	if err != nil || small {
		return err
	}
	b, err := w.offerSession(o, c, a)
	if err != nil {
		return err
	}
	if o.Seq == 0 {
		c.Seq++
		o.Seq, c.dirty = c.Seq, true
	}
	o.Time, o.Form = w.now.UnixMilli(), FormCMS
	ct := seal.Content{To: recipientsOf(c.Members, w.m.user), Conv: o.Conv, ID: o.ID, Seq: o.Seq, Time: o.Time, Body: b}
	d, signed, err := w.sealFor(self, ct, a)
	if err != nil {
		return err
	}
	o.Signed, o.To = signed, ct.To
	d.Kind = KindMessage
	if err := e2ee.Store(w.tx, key, o); err != nil {
		return err
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqMessage, Conv: o.Conv, Message: o.ID, Deliver: d}, Out: key})
}

// has reports whether a user has a device that a message would be for, or that
// it is kept from on purpose.
func (a *audience) has(user quinta.UserID) bool {
	return len(a.withheld) > 0 || slices.ContainsFunc(a.recipients, func(r recipient) bool { return r.target.User == user })
}

// waitForPeer keeps a message that no one could read yet. The user is told once,
// and the server says when the peer has a key.
func (w *work) waitForPeer(key string, o *outEntry, peer quinta.UserID) error {
	if o.Told {
		return nil
	}
	o.Told = true
	w.emit(e2ee.Event{Kind: e2ee.EventTrouble, User: peer, Detail: "a message waits until " + string(peer) + " has a key to read it with"})
	return e2ee.Store(w.tx, key, o)
}

// signing returns this device if it can sign now. It cannot while its key is
// being renewed: what the old key signed would come after its end.
func (w *work) signing() (*seal.Self, error) {
	self, err := w.self()
	if err != nil || self.Sign == nil {
		return nil, err
	}
	id := cert.KeyID(self.Sign)
	busy, err := w.reqs.any(func(r *reqRecord) bool { return r.Req.Key == id && (r.Req.Kind == ReqNonce || r.Req.Kind == ReqRenew) })
	if err != nil || busy {
		return nil, err
	}
	return self, nil
}

// recipientsOf returns the recipients that a content names: all members
// except the sender, or only the sender if they write to their own devices.
func recipientsOf(members []quinta.UserID, self quinta.UserID) []quinta.UserID {
	to := slices.DeleteFunc(slices.Clone(members), func(u quinta.UserID) bool { return u == self })
	slices.Sort(to)
	if len(to) == 0 {
		to = []quinta.UserID{self}
	}
	return to
}

// sealFor signs a content and seals it for an audience.
func (w *work) sealFor(self *seal.Self, c seal.Content, a *audience) (*Deliver, []byte, error) {
	signed, err := seal.Sign(w.m.env.Rand, self, c)
	if err != nil {
		return nil, nil, err
	}
	d, err := w.sealSigned(signed, a)
	return d, signed, err
}

// sealSigned seals what was signed for an audience.
func (w *work) sealSigned(signed []byte, a *audience) (*Deliver, error) {
	d := &Deliver{Form: FormCMS, Withheld: a.withheld}
	certs := make([]*x509.Certificate, 0, len(a.recipients))
	for _, r := range a.recipients {
		certs = append(certs, r.cert)
		d.Keys = append(d.Keys, r.id)
	}
	var err error
	d.Body, err = seal.SealSigned(w.m.env.Rand, signed, certs)
	return d, err
}

// doneMessage learns what became of a delivery.
func (w *work) doneMessage(r *reqRecord, ans Ans) error {
	if r.Out == "" {
		return w.doneTask(r, ans)
	}
	o, found, err := e2ee.Load[outEntry](w.tx, r.Out)
	if err != nil || !found {
		return err
	}
	switch {
	case ans.Code == "" && ans.Delivered != nil:
		return w.sent(r, &o, ans.Delivered.Received)
	case ans.Code == CodeConflict && o.Doubt:
		return w.sent(r, &o, messageTime(o.Time))
	case ans.Code == CodeStaleKeys:
		return w.staleKeys(r, &o, ans)
	case ans.Code == CodeState || ans.Code == CodeNotChosen || ans.Code == "":
		// Something must happen first: a key of this device, or a choice.
		w.trouble("a message waits", ans)
		if ans.Code == CodeState {
			if err := w.outdate(w.m.user); err != nil {
				return err
			}
		}
		if c, err := w.conv(o.Conv); err != nil {
			return err
		} else if c != nil && ans.Code == CodeNotChosen {
			if err := w.refresh(o.Conv, c); err != nil {
				return err
			}
		}
		o.After = w.now.Add(again).UnixMilli()
		return e2ee.Store(w.tx, r.Out, &o)
	}
	return w.failed(r, &o, ans)
}

// staleKeys schedules look-ups of the members and of the keys that the server
// names, after which the message is sealed again.
func (w *work) staleKeys(r *reqRecord, o *outEntry, ans Ans) error {
	if o.Tries++; o.Tries > maxTries {
		return w.failed(r, o, ans)
	}
	c, err := w.conv(o.Conv)
	if err != nil || c == nil {
		return err
	}
	if err := w.refresh(o.Conv, c); err != nil {
		return err
	}
	for _, id := range append(slices.Clone(c.Members), w.m.user) {
		if err := w.outdate(id); err != nil {
			return err
		}
	}
	if o.Tries > 1 { // a server that does not mean it is not asked without end
		o.After = w.now.Add(again).UnixMilli()
	}
	w.meta.CRLDue = true
	return e2ee.Store(w.tx, r.Out, o)
}

// sent notes that a message is durable.
func (w *work) sent(r *reqRecord, o *outEntry, at time.Time) error {
	if err := w.tx.Delete(r.Out); err != nil {
		return err
	}
	c, err := w.conv(o.Conv)
	if err != nil || c == nil {
		return err
	}
	if c.Profile == cert.ProfileSecure {
		s := &sentRecord{Signed: o.Signed, To: o.To, Body: o.Body, Txn: o.Txn, Time: o.Time}
		if o.Form != FormCMS {
			s.Signed = nil
		}
		if err := e2ee.Store(w.tx, sentKey(o.Conv, o.ID), s); err != nil {
			return err
		}
		if o.Form == FormCMS && !o.Doubt {
			if err := w.sessionSent(o.Conv, o.ID); err != nil {
				return err
			}
		}
	}
	msg := w.ownMessage(o.Conv, o.ID, o.Txn, o.Body)
	msg.Time = at
	if c.Profile == cert.ProfileLegacy {
		msg.Weakness = quinta.WeakLegacy
		if err := w.legacySent(r); err != nil {
			return err
		}
	}
	w.emit(e2ee.Event{Kind: e2ee.EventSent, Message: msg})
	return nil
}

// failed tells that a message will not be sent.
func (w *work) failed(r *reqRecord, o *outEntry, ans Ans) error {
	if err := w.tx.Delete(r.Out); err != nil {
		return err
	}
	detail := strings.TrimSpace(ans.Code + " " + ans.Detail)
	w.emit(e2ee.Event{Kind: e2ee.EventFailed, Message: w.ownMessage(o.Conv, o.ID, o.Txn, o.Body), Reason: quinta.ReasonNotPermitted, Detail: detail})
	return nil
}

// ownMessage is a message of this device.
func (w *work) ownMessage(conv quinta.RoomID, id quinta.MessageID, txn quinta.TxnID, raw json.RawMessage) quinta.Message {
	msg := quinta.Message{ID: id, Room: conv, Sender: w.m.user, Device: w.m.device, Txn: txn, Time: w.now, Encrypted: true, Trust: quinta.TrustVerified}
	if b, err := parseBody(raw); err == nil {
		b.message(&msg)
	}
	return msg
}

func sentKey(conv quinta.RoomID, id quinta.MessageID) string {
	return "sent/" + string(conv) + "\x00" + string(id)
}
