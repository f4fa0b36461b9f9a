package secretchat

import (
	"errors"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// maxGap is how many messages may be missing or held at once.
const maxGap = 1000

// A heldRecord is a message that came before one that is missing.
type heldRecord struct {
	Body []byte    `json:"body"`
	ID   int64     `json:"id"` // outside of the seal
	Date int64     `json:"date"`
	File *Location `json:"file,omitempty"`
	// Under is the fingerprint of the key that it came under.
	Under int64 `json:"under"`
	// Resent says that what it asks for was sent when it came.
	Resent bool `json:"resent,omitempty"`
}

// unreadable reports a packet that cannot be opened. The chat lives: otherwise
// a server could end it with one byte.
func (w *work) unreadable(c *chat, p *Packet, reason quinta.Reason, detail string) {
	w.events = append(w.events, e2ee.Event{Kind: e2ee.EventUndecryptable, Reason: reason, Detail: detail, Message: quinta.Message{
		ID: messageID(p.RandomID), Room: c.room(), Sender: c.peerID(), Time: seconds(p.Date), Encrypted: true}})
}

// packet takes in one sealed message: first what anyone can see, then the
// seal, then the object, then its place in the order.
func (w *work) packet(p *Packet) error {
	c, err := w.chat(p.Chat)
	if err != nil {
		return err
	}
	if c == nil || c.State == StateClosed {
		return w.dead(p.Chat)
	}
	if c.Key == nil {
		return nil
	}
	under, err := Under(p.Data)
	if err != nil {
		w.unreadable(c, p, quinta.ReasonMalformed, "")
		return nil
	}
	body, err := w.unseal(c, under, p.Data)
	switch {
	case errors.Is(err, ErrOtherKey):
		for _, old := range c.Retired {
			if old == under {
				return nil // a late double
			}
		}
		w.unreadable(c, p, quinta.ReasonNoKeyYet, "")
		return nil
	case errors.Is(err, ErrTampered):
		w.unreadable(c, p, quinta.ReasonTampered, "")
		return nil
	case err != nil:
		return err
	}
	return w.place(c, p, heldRecord{Body: body, ID: p.RandomID, Date: p.Date, File: p.File, Under: under})
}

// dead tells the server, and by it the peer, that a chat in which the peer
// still writes has no key on this device: it was closed here, or the files of
// the device were put back to a copy from before it. Otherwise the peer would
// never learn that no one reads its messages.
func (w *work) dead(id ChatID) error {
	for r, err := range w.queue.All() {
		if err != nil {
			return err
		}
		if r.Value.Method == MethodDiscard && r.Value.Chat == id {
			return nil
		}
	}
	_, err := w.queue.Put(Req{Method: MethodDiscard, Chat: id})
	return err
}

// unseal opens a packet with the one of the chat's keys that it names.
func (w *work) unseal(c *chat, under int64, data []byte) ([]byte, error) {
	for _, raw := range [][]byte{c.Key, c.Old, c.Next} {
		if raw == nil {
			continue
		}
		key, err := ParseKey(raw)
		if err != nil {
			return nil, e2ee.Damaged(preChat + c.ID.String())
		}
		if key.Fingerprint() == under {
			return Open(key, c.Side.Peer(), data)
		}
	}
	return nil, ErrOtherKey
}

// place puts an authentic message into the order of the chat. What is
// authentic and wrong ends the chat: the peer, or its program, broke the rules.
func (w *work) place(c *chat, p *Packet, h heldRecord) error {
	head, m, err := Parse(h.Body)
	if err != nil && head.Layer == 0 {
		w.unreadable(c, p, quinta.ReasonMalformed, "")
		return w.end(c, whySequence, true)
	}
	from := c.Side.Peer()
	n := head.OutSeq / 2
	if head.OutSeq != c.outSeq(from, n) || head.InSeq%2 != int(from) || head.InSeq/2 > c.Out {
		return w.end(c, whySequence, true)
	}
	switch {
	case n < c.In:
		return nil // a double, not looked into
	case n == c.In:
		if err := w.take(c, h); err != nil {
			return err
		}
		return w.drain(c)
	case n-c.In > maxGap:
		return w.end(c, whySequence, true)
	}
	if _, held, err := e2ee.Load[heldRecord](w.tx, c.heldKey(n)); err != nil || held {
		return err
	}
	// Messages that the peer requests are sent at once: they may fill the gap
	// on the other side.
	if s, ok := m.(*schema.DecryptedMessageService); ok {
		if r, ok := s.Action.(*schema.DecryptedMessageActionResend); ok {
			h.Resent = true
			if err := w.resend(c, r); err != nil || c.State == StateClosed {
				return err
			}
		}
	}
	if err := e2ee.Store(w.tx, c.heldKey(n), h); err != nil {
		return err
	}
	return w.askMissing(c, n)
}

// askAgainAfter is when a hole that is still there is requested again: what
// was sent again can be lost again.
const askAgainAfter = time.Minute

// askMissing asks once for each hole below message n.
func (w *work) askMissing(c *chat, n int) error {
	if w.now.UnixMilli()-c.AskedAt > askAgainAfter.Milliseconds() {
		c.Wanted = c.In
	}
	from := max(c.In, c.Wanted)
	for from < n {
		if _, held, err := e2ee.Load[heldRecord](w.tx, c.heldKey(from)); err != nil {
			return err
		} else if held {
			from++
			continue
		}
		to := from
		for to+1 < n {
			if _, held, err := e2ee.Load[heldRecord](w.tx, c.heldKey(to+1)); err != nil {
				return err
			} else if held {
				break
			}
			to++
		}
		peer := c.Side.Peer()
		if err := w.action(c, &schema.DecryptedMessageActionResend{StartSeqNo: c.outSeq(peer, from), EndSeqNo: c.outSeq(peer, to)}); err != nil {
			return err
		}
		c.AskedAt = w.now.UnixMilli()
		from = to + 1
	}
	c.Wanted = max(c.Wanted, n+1)
	return nil
}

// drain takes what was held and follows now.
func (w *work) drain(c *chat) error {
	for c.State == StateOpen || c.State == StateAccepting {
		key := c.heldKey(c.In)
		h, found, err := e2ee.Load[heldRecord](w.tx, key)
		if err != nil || !found {
			return err
		}
		if err := w.tx.Delete(key); err != nil {
			return err
		}
		if err := w.take(c, h); err != nil {
			return err
		}
	}
	return nil
}

// take works through the message that is next.
func (w *work) take(c *chat, h heldRecord) error {
	head, m, err := Parse(h.Body)
	if have := head.InSeq / 2; have < c.Have || have > c.Out {
		return w.end(c, whySequence, true)
	}
	if err := w.acknowledged(c, head.InSeq/2); err != nil {
		return err
	}
	c.In++
	c.Uses++
	if head.Layer >= FirstLayer && head.Layer > c.Remote {
		c.Remote = head.Layer
	}
	if err := w.underNewKey(c, h.Under); err != nil {
		return err
	}
	p := &Packet{Chat: c.ID, RandomID: h.ID, Date: h.Date, File: h.File}
	if err != nil {
		reason := quinta.ReasonMalformed
		detail := ""
		if errors.Is(err, ErrNewer) {
			reason, detail = quinta.ReasonUnsupported, fmt.Sprintf("layer %d; this version reads up to %d: update it", head.Layer, Layer)
		}
		w.unreadable(c, p, reason, detail)
		return nil
	}
	switch m := m.(type) {
	case *schema.DecryptedMessage:
		return w.message(c, p, m)
	case *schema.DecryptedMessage46:
		return w.message(c, p, &schema.DecryptedMessage{RandomID: m.RandomID, TTL: m.TTL, Message: m.Message, Media: m.Media, Entities: m.Entities, ViaBotName: m.ViaBotName, ReplyToRandomID: m.ReplyToRandomID})
	case *schema.DecryptedMessageService:
		return w.act(c, p, m.RandomID, m.Action, h.Resent)
	case *schema.DecryptedMessageService8:
		return w.act(c, p, m.RandomID, m.Action, h.Resent)
	default:
		w.unreadable(c, p, quinta.ReasonUnsupported, "an object from before layer 46")
	}
	return nil
}

// message reports what the peer wrote.
func (w *work) message(c *chat, p *Packet, d *schema.DecryptedMessage) error {
	m := quinta.Message{Room: c.room(), Sender: c.peerID(), Time: seconds(p.Date), Encrypted: true, Trust: c.trust()}
	content(&m, d, p.File)
	w.events = append(w.events, e2ee.Event{Kind: e2ee.EventMessage, Message: m})
	return w.timed(c, m.ID, timerRecord{TTL: d.TTL, Media: m.File != nil, Date: p.Date})
}

// acknowledged erases what the peer has.
func (w *work) acknowledged(c *chat, have int) error {
	for ; c.Have < have; c.Have++ {
		key := c.sentKey(c.Have)
		s, found, err := e2ee.Load[sentRecord](w.tx, key)
		if err != nil {
			return err
		}
		// Messages that the server has not answered yet still have to be reported.
		if found && s.Draft != nil {
			s.Data = nil
			if err := e2ee.Store(w.tx, key, s); err != nil {
				return err
			}
			continue
		}
		if err := w.tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
