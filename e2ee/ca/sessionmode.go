package ca

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// Session mode in the machine. A session belongs to all devices that its offer
// was sealed for. It is used only while these are just the devices that a
// message would be sealed for; when one comes or goes, or when a limit is
// reached, the next message is one of the secure profile again and carries a
// new offer. So falling back never weakens anything, and a user with several
// devices reads on all of them.

// A sessionOffer is an offer inside of a message, with the ids of all keys that
// the message is sealed for.
type sessionOffer struct {
	seal.Offer
	Keys []cert.Fingerprint `json:"keys"`
}

// String hides the secret.
func (o sessionOffer) String() string { return "[redacted]" }

// GoString hides the secret.
func (o sessionOffer) GoString() string { return "[redacted]" }

// A sessionRecord is a session as it is stored.
type sessionRecord struct {
	Session seal.Session `json:"session"`
	// Keys are the ids of the keys that the offer was sealed for, in order.
	Keys []cert.Fingerprint `json:"keys"`
	// Message is the one that carries the offer, Ready that it is durable.
	Message quinta.MessageID `json:"message"`
	Ready   bool             `json:"ready"`
	// ReadOnly says that the session came out of a keyring: this device may have
	// counted in it before it lost its state, and does not write in it.
	ReadOnly bool  `json:"readOnly,omitempty"`
	Time     int64 `json:"time"` // Unix milliseconds
}

// String hides the secret.
func (s *sessionRecord) String() string { return "[redacted]" }

// GoString hides the secret.
func (s *sessionRecord) GoString() string { return "[redacted]" }

func sessionKey(conv quinta.RoomID, kid string) string {
	return "session/" + string(conv) + "\x00" + kid
}

// sessions returns the sessions of a conversation.
func (w *work) sessions(conv quinta.RoomID) ([]*sessionRecord, error) {
	return sessionsOf(w.tx, "session/"+string(conv)+"\x00")
}

// sessionsOf returns the sessions below a prefix.
func sessionsOf(tx e2ee.Tx, prefix string) ([]*sessionRecord, error) {
	var out []*sessionRecord
	for e, err := range e2ee.Records[sessionRecord](tx, prefix) {
		if err != nil {
			return nil, err
		}
		out = append(out, &e.Value)
	}
	return out, nil
}

// peerOf returns the other user of a direct conversation.
func (w *work) peerOf(id quinta.RoomID, c *convRecord) (quinta.UserID, bool) {
	if !IsDirect(id) || len(c.Members) != 2 {
		return "", false
	}
	for _, u := range c.Members {
		if u != w.m.user {
			return u, true
		}
	}
	return "", false
}

// talks reports whether session mode is on in a conversation.
func (w *work) talks(id quinta.RoomID, c *convRecord) bool {
	_, two := w.peerOf(id, c)
	on := w.m.policy.Sessions
	if c.Sessions != nil {
		on = *c.Sessions
	}
	return two && on
}

// keyIDs are the ids of the keys of an audience, in order.
func (a *audience) keyIDs() []cert.Fingerprint {
	var ids []cert.Fingerprint
	for _, r := range a.recipients {
		ids = append(ids, r.id)
	}
	slices.Sort(ids)
	return ids
}

// usable returns the newest of a conversation's sessions that a message for some
// keys can go in, or nil.
func usable(sessions []*sessionRecord, keys []cert.Fingerprint, now time.Time) *sessionRecord {
	var best *sessionRecord
	for _, s := range sessions {
		if s.Ready && !s.ReadOnly && slices.Equal(s.Keys, keys) && s.Session.Sent < seal.SessionMessages && s.young(now) &&
			(best == nil || s.Session.Began > best.Session.Began) {
			best = s
		}
	}
	return best
}

// young reports whether the time of a session has begun and not ended.
func (s *sessionRecord) young(now time.Time) bool {
	age := now.UnixMilli() - s.Session.Began
	return age >= 0 && age < seal.SessionLife.Milliseconds()
}

// sealSmall seals a message as a small packet, if there is a session for it.
func (w *work) sealSmall(key string, o *outEntry, c *convRecord, a *audience) (bool, error) {
	if !w.talks(o.Conv, c) || len(o.Body) > seal.MaxPacket/4 {
		return false, nil
	}
	list, err := w.sessions(o.Conv)
	if err != nil {
		return false, err
	}
	s := usable(list, a.keyIDs(), w.now)
	if s == nil {
		return false, nil
	}
	packet, err := s.Session.Seal(seal.Small{ID: o.ID, Time: w.now.UnixMilli(), Body: o.Body})
	if err != nil {
		return false, err
	}
	if err := e2ee.Store(w.tx, sessionKey(o.Conv, s.Session.Offer.KID), s); err != nil {
		return false, err
	}
	o.Time, o.Form, o.Signed, o.To = w.now.UnixMilli(), FormSession, nil, recipientsOf(c.Members, w.m.user)
	if err := e2ee.Store(w.tx, key, o); err != nil {
		return false, err
	}
	d := &Deliver{Kind: KindMessage, Form: FormSession, Body: packet, Keys: a.keyIDs(), Withheld: a.withheld}
	return true, w.reqs.add(reqRecord{Req: Req{Kind: ReqMessage, Conv: o.Conv, Message: o.ID, Deliver: d}, Out: key})
}

// offerSession puts an offer into a message, where session mode is on.
func (w *work) offerSession(o *outEntry, c *convRecord, a *audience) (json.RawMessage, error) {
	if !w.talks(o.Conv, c) || o.Doubt {
		// Where an earlier seal may have been taken in, its offer is the one that
		// the others have.
		return o.Body, nil
	}
	list, err := w.sessions(o.Conv)
	if err != nil {
		return nil, err
	}
	for _, s := range list { // an earlier seal of the same message was refused
		if s.Message == o.ID {
			if err := w.tx.Delete(sessionKey(o.Conv, s.Session.Offer.KID)); err != nil {
				return nil, err
			}
		}
	}
	b, err := parseBody(o.Body)
	if err != nil {
		return nil, err
	}
	offer, err := seal.NewOffer(w.m.env.Rand)
	if err != nil {
		return nil, err
	}
	peer, _ := w.peerOf(o.Conv, c)
	s, err := seal.NewSession(offer, o.Conv, w.m.user, w.m.device, peer, w.now)
	if err != nil {
		return nil, err
	}
	b.Session = &sessionOffer{Offer: offer, Keys: a.keyIDs()}
	r := &sessionRecord{Session: *s, Keys: b.Session.Keys, Message: o.ID, Time: s.Began}
	return e2ee.JSON(b), e2ee.Store(w.tx, sessionKey(o.Conv, offer.KID), r)
}

// sessionSent makes the session ready that a message offered, now that every
// device has it before any packet.
func (w *work) sessionSent(conv quinta.RoomID, id quinta.MessageID) error {
	list, err := w.sessions(conv)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Message != id || s.Ready {
			continue
		}
		s.Ready = true
		if err := e2ee.Store(w.tx, sessionKey(conv, s.Session.Offer.KID), s); err != nil {
			return err
		}
	}
	return nil
}

// takeOffer begins the session that a message offers. A session that is known
// stays as it is.
func (w *work) takeOffer(c *seal.Content, o *sessionOffer) error {
	conv, err := w.conv(c.Conv)
	if err != nil || conv == nil {
		return err
	}
	peer, two := w.peerOf(c.Conv, conv)
	if !two || len(o.Keys) > maxKeys {
		return fmt.Errorf("%w: a session in a group", cert.ErrMalformed)
	}
	s, err := seal.NewSession(o.Offer, c.Conv, w.m.user, w.m.device, peer, time.UnixMilli(c.Time))
	if err != nil {
		return err
	}
	key := sessionKey(c.Conv, o.KID)
	if have, err := w.tx.Get(key); err != nil || have != nil {
		return err
	}
	if err := w.hold(w.sessionsBound(), c.From, key); err != nil {
		return err
	}
	keys := slices.Clone(o.Keys)
	slices.Sort(keys)
	w.retry(waitSession + o.KID)
	return e2ee.Store(w.tx, key, &sessionRecord{Session: *s, Keys: keys, Message: c.ID, Ready: true, Time: c.Time})
}

// openPacket opens a small packet.
func (w *work) openPacket(it *Item) (wait string, err error) {
	kid, err := seal.PacketSession(it.Body)
	if err != nil {
		return "", err
	}
	s, found, err := e2ee.Load[sessionRecord](w.tx, sessionKey(it.Conv, kid))
	if err != nil {
		return "", err
	}
	if !found {
		return waitSession + kid, fmt.Errorf("%w: its session is unknown", seal.ErrNotRecipient)
	}
	small, err := s.Session.Open(it.Body, it.From, it.Device, it.Received)
	if err != nil {
		return "", err
	}
	if small.ID != it.ID {
		return "", fmt.Errorf("%w: the id of the message", cert.ErrMismatch)
	}
	u, err := w.user(it.From)
	if err != nil {
		return "", err
	}
	d := u.Devices[it.Device]
	if err := w.inForce(d, small.Time); err != nil {
		wait := ""
		if ReasonOf(err) == quinta.ReasonExpired && w.meta.CRLDue {
			wait = waitStatus
		}
		return wait, err
	}
	b, err := parseBody(small.Body)
	if err != nil || !spoken[b.Kind] || b.Session != nil {
		return "", fmt.Errorf("%w: the content of a packet", cert.ErrMalformed)
	}
	if err := w.mem.message(it.Conv, small.ID, midRecord{From: it.From, Device: it.Device, Time: small.Time}); err != nil {
		return "", err
	}
	if err := e2ee.Store(w.tx, sessionKey(it.Conv, kid), &s); err != nil {
		return "", err
	}
	trust := d.trust()
	if d != nil && d.New != nil {
		trust = quinta.TrustUnknown
	}
	w.show(small.ID, it.Conv, it.From, it.Device, small.Time, trust, b)
	return "", nil
}

// inForce reports whether the key of a device was in force at a time, as it is
// asked of the signer of a message.
func (w *work) inForce(d *deviceRecord, at int64) error {
	if d == nil || d.Sign == nil {
		return nil // nothing of it was ever listed: it is shown as unknown
	}
	c, err := d.Sign.cert()
	if err != nil {
		return err
	}
	v, err := w.verifier()
	if err != nil {
		return err
	}
	when := time.UnixMilli(at)
	if when.Before(c.NotBefore) {
		when = c.NotBefore // it was renewed since
	}
	_, err = v.Verify(c, cert.UseSign, when, w.now)
	if ok, serr := w.status(); serr == nil && !ok {
		w.meta.CRLDue = true
	}
	return err
}

// SetSessions turns session mode on or off for a conversation, whatever the
// policy says. It is used between two users only.
func (m *Machine) SetSessions(tx e2ee.Tx, conv quinta.RoomID, on bool) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.conv(conv)
		if err != nil {
			return err
		}
		if c == nil {
			return ErrUnknownConversation
		}
		c.Sessions, c.dirty = &on, true
		return nil
	})
	return err
}
