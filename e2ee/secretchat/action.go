package secretchat

import (
	"fmt"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// act carries out what a service message says.
func (w *work) act(c *chat, p *Packet, id int64, action schema.Action, resent bool) error {
	base := quinta.Message{ID: messageID(id), Room: c.room(), Sender: c.peerID(), Time: seconds(p.Date), Encrypted: true, Trust: c.trust()}
	switch a := action.(type) {
	case *schema.DecryptedMessageActionNotifyLayer:
		if a.Layer > c.Remote {
			c.Remote = a.Layer
		}
	case *schema.DecryptedMessageActionResend:
		if !resent {
			return w.resend(c, a)
		}
	case *schema.DecryptedMessageActionDeleteMessages:
		for i, gone := range a.RandomIDs {
			m := base
			m.ID = quinta.MessageID(fmt.Sprintf("%s-%d", base.ID, i))
			m.Kind, m.Relation = quinta.MessageRedaction, quinta.Relation{Kind: quinta.RelationRedaction, To: messageID(gone)}
			w.events = append(w.events, e2ee.Event{Kind: e2ee.EventMessage, Message: m})
		}
	case *schema.DecryptedMessageActionScreenshotMessages:
		m := base
		m.Kind, m.Text = quinta.MessageNotice, "took a screenshot"
		w.events = append(w.events, e2ee.Event{Kind: e2ee.EventMessage, Message: m})
	case *schema.DecryptedMessageActionReadMessages:
		if err := w.start(c, func(id quinta.MessageID, t timerRecord) bool { return t.Own && named(a.RandomIDs, id) }, false); err != nil {
			return err
		}
		if n := len(a.RandomIDs); n > 0 {
			w.events = append(w.events, e2ee.Event{Kind: e2ee.EventReceipt, Message: quinta.Message{Room: c.room(), ID: messageID(a.RandomIDs[n-1])}, User: c.peerID()})
		}
	case *schema.DecryptedMessageActionSetMessageTTL:
		if a.TTLSeconds >= 0 {
			c.TTL = a.TTLSeconds
			w.tell(c)
		}
	case *schema.DecryptedMessageActionRequestKey:
		return w.requestKey(c, a)
	case *schema.DecryptedMessageActionAcceptKey:
		return w.acceptKey(c, a)
	case *schema.DecryptedMessageActionCommitKey:
		return w.commitKey(c, a)
	case *schema.DecryptedMessageActionAbortKey:
		return w.abortKey(c, a)
	}
	return nil
}

func named(ids []int64, id quinta.MessageID) bool {
	n, ok := randomID(id)
	return ok && slices.Contains(ids, n)
}

// resend sends stored packets again, the same bytes. The outer random_id is
// another one, since a server delivers each only once.
func (w *work) resend(c *chat, a *schema.DecryptedMessageActionResend) error {
	from, to := a.StartSeqNo/2, a.EndSeqNo/2
	if a.StartSeqNo < 0 || a.StartSeqNo != c.outSeq(c.Side, from) || a.EndSeqNo != c.outSeq(c.Side, to) || from > to || to >= c.Out || to-from >= maxUnacknowledged {
		return w.end(c, whyResend, true)
	}
	onWay, err := w.sentAgain(c)
	if err != nil {
		return err
	}
	for n := from; n <= to; n++ {
		s, found, err := e2ee.Load[sentRecord](w.tx, c.sentKey(n))
		if err != nil {
			return err
		}
		if !found || s.Data == nil {
			return w.end(c, whyResend, true)
		}
		if onWay[n] {
			continue
		}
		id, err := w.random64()
		if err != nil {
			return err
		}
		if _, err := w.queue.Put(Req{Method: s.Method, Chat: c.ID, Access: c.Access, RandomID: id, Data: s.Data, Silent: s.Silent, Upload: s.Upload, File: s.File, Out: n, Again: true}); err != nil {
			return err
		}
	}
	return nil
}
