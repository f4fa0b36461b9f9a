package ca

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/internal/order"
)

// Devices say three things to each other: that a message could not be read,
// that message sealed again, and the keys that one device of a user gives
// another. Each is a task until the server has taken it.

// A taskRecord is such a thing that is to be said.
type taskRecord struct {
	// Kind is KindNotice, KindReseal or KindApproval.
	Kind Kind          `json:"kind"`
	Conv quinta.RoomID `json:"conv"`
	// To and, but for a notice, Device is who gets it.
	To     quinta.UserID   `json:"to"`
	Device quinta.DeviceID `json:"device,omitempty"`
	// Messages are those that could not be read, or the one to be sealed again.
	Messages []quinta.MessageID `json:"messages,omitempty"`
	Tries    int                `json:"tries,omitempty"`
	After    int64              `json:"after,omitempty"` // Unix milliseconds
}

// planTasks seals what is to be said and can be.
func (w *work) planTasks() error {
	for e, err := range e2ee.Records[taskRecord](w.tx, "task/") {
		if err != nil {
			return err
		}
		t := e.Value
		there, err := w.taskLeaves(e.Key, &t)
		if err != nil {
			return err
		}
		if there || w.early(t.After, again) {
			continue
		}
		if err := w.planTask(e.Key, &t); err != nil {
			return err
		}
	}
	return nil
}

// taskLeaves reports whether a task is sealed and on its way, and takes back what
// is for a device that is not to get it any more.
func (w *work) taskLeaves(key string, t *taskRecord) (bool, error) {
	fits := func(r *reqRecord) bool { return r.Job == key }
	sealed, err := w.reqs.find(fits)
	if err != nil || sealed == nil {
		return false, err
	}
	ok, err := w.stillFor(sealed.Req.Deliver, []quinta.UserID{t.To}, func(id quinta.UserID, d *deviceRecord) bool {
		switch t.Kind {
		case KindReseal:
			return w.admits(id, d) && w.reseals(d)
		case KindApproval:
			return d.takesKeys()
		}
		return w.admits(id, d)
	})
	if err != nil || ok {
		return true, err
	}
	return false, w.reqs.drop(fits)
}

// takesKeys reports whether a device of this user may be given the keys that
// this one has.
func (d *deviceRecord) takesKeys() bool {
	return d.trust() == quinta.TrustVerified && d.New == nil
}

// planTask seals one thing that is to be said.
func (w *work) planTask(key string, t *taskRecord) error {
	self, err := w.signing()
	if err != nil || self == nil {
		return err
	}
	c, err := w.knownConv(t.Conv)
	if err != nil || c == nil {
		return err
	}
	a, over, err := w.taskAudience(t)
	if err != nil || a == nil && !over {
		return err
	}
	if over {
		return w.tx.Delete(key)
	}
	var d *Deliver
	switch t.Kind {
	case KindNotice:
		d, err = w.saySigned(self, c, t, a, &body{Kind: bodyUnread, Unread: t.Messages})
	case KindApproval:
		var ring *keyring
		if ring, err = w.keyring(); err == nil {
			d, err = w.saySigned(self, c, t, a, &body{Kind: bodyKeys, Keys: ring})
		}
	case KindReseal:
		d, err = w.sayAgain(self, c, t, a)
	}
	if err != nil {
		return err
	}
	if d == nil {
		return w.tx.Delete(key) // it is not here any more
	}
	d.Kind, d.Withheld = t.Kind, nil
	for _, r := range a.recipients {
		d.Only = append(d.Only, r.target)
	}
	id, err := w.newID()
	if err != nil {
		return err
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqMessage, Conv: t.Conv, Message: id, Deliver: d}, Job: key})
}

// taskAudience returns the devices that a task is for; over says that there are
// none. It is nil as long as something must be looked up, or decided by the
// user.
func (w *work) taskAudience(t *taskRecord) (a *audience, over bool, err error) {
	u, ok, err := w.known(t.To)
	if err != nil || !ok {
		return nil, false, err
	}
	v, err := w.verifier()
	if err != nil {
		return nil, false, err
	}
	a = &audience{}
	for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
		d := u.Devices[device]
		if t.Device != "" && t.Device != device {
			continue
		}
		if t.Kind == KindReseal && !w.reseals(d) {
			return nil, d.trust() == quinta.TrustRejected || w.m.policy.Resealing == ResealNever, nil
		}
		if t.Kind == KindApproval && !d.takesKeys() {
			return nil, true, nil // it did when the user gave them
		}
		if err := w.admitDevice(a, v, t.To, device, d); err != nil {
			return nil, false, err
		}
	}
	if a.wait || a.blocked != "" {
		return nil, false, nil
	}
	order.By(a.recipients, func(x, y recipient) int { return cmp.Compare(x.id, y.id) })
	return a, len(a.recipients) == 0, nil
}

// reseals reports whether the policy lets messages be sealed again for a
// device.
func (w *work) reseals(d *deviceRecord) bool {
	switch w.m.policy.Resealing {
	case ResealNever:
		return false
	case ResealPinned:
		return d.trust() != quinta.TrustRejected && d.New == nil
	}
	return d.trust() == quinta.TrustVerified && d.New == nil
}

// saySigned signs and seals what this device says.
func (w *work) saySigned(self *seal.Self, c *convRecord, t *taskRecord, a *audience, b *body) (*Deliver, error) {
	id, err := w.newID()
	if err != nil {
		return nil, err
	}
	c.Seq++
	c.dirty = true
	d, _, err := w.sealFor(self, seal.Content{To: []quinta.UserID{t.To}, Conv: t.Conv, ID: id, Seq: c.Seq, Time: w.now.UnixMilli(), Body: e2ee.JSON(b)}, a)
	return d, err
}

// sayAgain seals a message of this device again. What it signed stays as it is;
// a small packet, which no one has signed, is signed now.
func (w *work) sayAgain(self *seal.Self, c *convRecord, t *taskRecord, a *audience) (*Deliver, error) {
	s, found, err := e2ee.Load[sentRecord](w.tx, sentKey(t.Conv, t.Messages[0]))
	if err != nil || !found {
		return nil, err
	}
	if s.Signed != nil {
		return w.sealSigned(s.Signed, a)
	}
	c.Seq++
	c.dirty = true
	d, _, err := w.sealFor(self, seal.Content{To: s.To, Conv: t.Conv, ID: t.Messages[0], Seq: c.Seq, Time: w.now.UnixMilli(), Body: s.Body}, a)
	return d, err
}

// doneTask learns what became of something that was said.
func (w *work) doneTask(r *reqRecord, ans Ans) error {
	t, found, err := e2ee.Load[taskRecord](w.tx, r.Job)
	if err != nil || !found {
		return err
	}
	if ans.Code == "" {
		return w.tx.Delete(r.Job)
	}
	if t.Tries++; t.Tries > maxTries {
		w.trouble("a "+string(t.Kind)+" for "+string(t.To)+" could not be delivered", ans)
		return w.tx.Delete(r.Job)
	}
	t.After = w.now.Add(again).UnixMilli()
	if err := w.outdate(t.To); err != nil {
		return err
	}
	return e2ee.Store(w.tx, r.Job, &t)
}

// AskSenders tells the senders of all messages that no key of this device opens
// that they could not be read, so that the senders re-encrypt them. It returns
// how many messages these are.
func (m *Machine) AskSenders(tx e2ee.Tx) (int, error) {
	n := 0
	_, err := m.run(tx, func(w *work) error {
		tasks := map[string]*taskRecord{}
		for e, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
			if err != nil {
				return err
			}
			r := e.Value
			it := &r.Item
			if r.Asked || it.Kind != KindMessage || it.Form == FormLegacy || r.For != waitKeys && !strings.HasPrefix(r.For, waitSession) {
				continue
			}
			r.Asked = true
			if err := e2ee.Store(w.tx, e.Key, &r); err != nil {
				return err
			}
			key := string(it.Conv) + " " + string(it.From)
			t := tasks[key]
			if t == nil || len(t.Messages) == maxUnread {
				if t != nil {
					if err := e2ee.Store(w.tx, "task/"+w.next(), t); err != nil {
						return err
					}
				}
				t = &taskRecord{Kind: KindNotice, Conv: it.Conv, To: it.From}
				tasks[key] = t
			}
			t.Messages = append(t.Messages, it.ID)
			n++
		}
		for _, key := range slices.Sorted(maps.Keys(tasks)) {
			if err := e2ee.Store(w.tx, "task/"+w.next(), tasks[key]); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// Pending returns how many messages cannot be opened yet.
func (m *Machine) Pending(tx e2ee.Tx) (int, error) {
	n := 0
	_, err := m.run(tx, func(w *work) error {
		entries, err := e2ee.Entries(w.tx, "wait/")
		n = len(entries)
		return err
	})
	return n, err
}

// takeNotice learns that a device could not read messages of this one: the user
// is told, and they are sealed again if the policy lets them be.
func (w *work) takeNotice(c *seal.Content, device quinta.DeviceID, b *body) error {
	for _, id := range b.Unread {
		s, found, err := e2ee.Load[sentRecord](w.tx, sentKey(c.Conv, id))
		if err != nil {
			return err
		}
		if !found || c.From != w.m.user && !slices.Contains(s.To, c.From) {
			continue
		}
		mark := "answered/" + string(c.Conv) + "\x00" + string(id) + "\x00" + string(c.From) + " " + string(device)
		if done, err := w.tx.Get(mark); err != nil || done != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := e2ee.Store(w.tx, mark, map[string]int64{"time": w.now.UnixMilli()}); err != nil {
			return err
		}
		if w.m.policy.Resealing != ResealNever {
			if err := e2ee.Store(w.tx, "task/"+w.next(), &taskRecord{Kind: KindReseal, Conv: c.Conv, To: c.From, Device: device, Messages: []quinta.MessageID{id}}); err != nil {
				return err
			}
		}
		msg := w.ownMessage(c.Conv, id, s.Txn, s.Body)
		msg.Time = messageTime(s.Time)
		w.emit(e2ee.Event{Kind: e2ee.EventUnread, Message: msg, User: c.From, Device: device})
	}
	return nil
}

// openReseal takes a message that was sealed again. Only one that waits here is
// taken, and only as what the first delivery said: its sender and its time.
func (w *work) openReseal(r *waitRecord, o *seal.Opened) (wait string, err error) {
	c := &o.Content
	key, err := w.tx.Get(waitIDKey(c.Conv, c.ID))
	if err != nil {
		return "", err
	}
	if key == nil {
		seen, err := w.mem.seen(c.Conv, c.ID)
		if err == nil && !seen {
			err = fmt.Errorf("%w: it was sealed again, and none of it is waiting", cert.ErrMismatch)
		}
		return "", err
	}
	p, found, err := e2ee.Load[waitRecord](w.tx, string(key))
	if err != nil || !found {
		return "", err
	}
	first := p.Item.Received
	if p.Item.Form != FormCMS {
		first = r.Item.Received // it was signed now
	}
	if p.Item.From != c.From || p.Item.Device != o.Device || p.Item.Conv != c.Conv {
		return "", fmt.Errorf("%w: it is not from the sender of the first delivery", cert.ErrMismatch)
	}
	if err := seal.SentNear(messageTime(c.Time), first); err != nil {
		return "", err
	}
	as := p
	as.For = r.For
	if wait, err = w.accept(&as, o, true); wait != "" || err != nil {
		return wait, err
	}
	return "", w.unwait(&p, string(key))
}

// GiveKeys gives another device of this user, which the user has verified, the
// keys with which this one opens messages, so that it can read unread messages.
func (m *Machine) GiveKeys(tx e2ee.Tx, device quinta.DeviceID) error {
	conv, err := m.Direct(tx, m.user)
	if err != nil {
		return err
	}
	_, err = m.run(tx, func(w *work) error {
		u, err := w.user(w.m.user)
		if err != nil {
			return err
		}
		d := u.Devices[device]
		if d == nil || device == w.m.device {
			return ErrUnknownDevice
		}
		if !d.takesKeys() {
			return fmt.Errorf("%w: the device must be verified first", cert.ErrUntrusted)
		}
		return e2ee.Store(w.tx, "task/"+w.next(), &taskRecord{Kind: KindApproval, Conv: conv, To: w.m.user, Device: device})
	})
	return err
}

// Approve signs that another device of this user may enrol keys in place of
// expired or revoked ones. The user must have compared the ids with those that
// the device shows.
func (m *Machine) Approve(tx e2ee.Tx, device quinta.DeviceID, keyIDs ...cert.Fingerprint) error {
	_, err := m.run(tx, func(w *work) error {
		k, err := w.current(cert.ProfileSecure, cert.UseSign)
		if err != nil {
			return err
		}
		if k == nil || device == w.m.device {
			return fmt.Errorf("%w: only another device with a valid key approves", cert.ErrExpired)
		}
		key, err := k.signer()
		if err != nil {
			return err
		}
		for _, id := range keyIDs {
			if !form.Is(string(id), form.Digits+"abcdef", 64, 64) {
				return fmt.Errorf("%w: the id of a key is 64 hex digits", cert.ErrMalformed)
			}
			a, err := cert.NewApproval(w.m.env.Rand, cert.ApprovalStatement{Username: w.m.user, Device: device, KeyID: id, By: k.ID, Time: w.now.UnixMilli()}, key)
			if err != nil {
				return err
			}
			if err := w.reqs.add(reqRecord{Req: Req{Kind: ReqApprove, Key: id, Approval: a}}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// doneApprove learns what became of an approval.
func (w *work) doneApprove(_ *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.trouble("the approval", ans)
	}
	return nil
}
