package secretchat

import (
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// maxUnacknowledged is how many of its own messages a device keeps until the
// peer has them; as many can be requested at once.
const maxUnacknowledged = 1000

// A draft is a message that waits for its chat to open. File.Ref is beside
// the message, whose own JSON leaves it out.
type draft struct {
	Message quinta.Message `json:"message"`
	Ref     []byte         `json:"ref,omitempty"`
}

func newDraft(m quinta.Message) draft {
	d := draft{Message: m}
	if m.File != nil {
		d.Ref = m.File.Ref
	}
	return d
}

func (d draft) message() quinta.Message {
	m := d.Message
	if m.File != nil {
		f := *m.File
		f.Ref = d.Ref
		m.File = &f
	}
	return m
}

// A sentRecord is a message of this device that the peer may ask for again.
type sentRecord struct {
	RandomID int64     `json:"random_id"`
	InSeq    int       `json:"in_seq"` // of the wire
	Method   Method    `json:"method"`
	Data     []byte    `json:"data"`
	Silent   bool      `json:"silent,omitempty"`
	TTL      int       `json:"ttl,omitempty"` // seconds
	Upload   *Upload   `json:"upload,omitempty"`
	File     *Location `json:"file,omitempty"`
	// Draft is what the user wrote, until the server has it.
	Draft *draft `json:"draft,omitempty"`
	// Message is the draft with its File.Ref.
	Message *quinta.Message `json:"-"`
}

// loadSent reads the record of a message that was sent.
func (w *work) loadSent(c *chat, n int) (sentRecord, bool, error) {
	s, found, err := e2ee.Load[sentRecord](w.tx, c.sentKey(n))
	if err == nil && s.Draft != nil {
		m := s.Draft.message()
		s.Message = &m
	}
	return s, found, err
}

// Send takes a message for Room. Text, replies, files and redactions have a
// form in secret chats; anything else is ErrNoSuchForm. It is sealed at once if
// the chat is open, and with the first messages of the chat if it will be.
func (m *Machine) Send(tx e2ee.Tx, msg quinta.Message) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.room(msg.Room)
		if err != nil {
			return err
		}
		if _, err := render(&msg, c.Remote, c.TTL); err != nil {
			return err
		}
		switch c.State {
		case StateClosed:
			return fmt.Errorf("%w: %s", ErrClosed, c.Why)
		case StateRequested:
			return ErrNotOpen
		case StateOpen:
			return w.sendMessage(c, msg)
		}
		return e2ee.Store(w.tx, c.draftPrefix()+w.meta.Seq.Next(), newDraft(msg))
	})
	return err
}

// sendMessage seals what the user wrote.
func (w *work) sendMessage(c *chat, msg quinta.Message) error {
	content, err := render(&msg, c.Remote, c.TTL)
	if err != nil {
		return err
	}
	id, err := w.random64()
	if err != nil {
		return err
	}
	msg.ID = messageID(id)
	s := sentRecord{RandomID: id, Method: MethodSend}
	d := newDraft(msg)
	s.Draft = &d
	switch v := content.(type) {
	case *schema.DecryptedMessage:
		v.RandomID = id
		s.Silent, s.TTL = v.Silent, v.TTL
	case *schema.DecryptedMessageService:
		v.RandomID = id
		s.Method = MethodService
		if del, ok := v.Action.(*schema.DecryptedMessageActionDeleteMessages); ok {
			if err := w.forget(c, del.RandomIDs); err != nil {
				return err
			}
		}
	}
	if msg.File != nil {
		var ref FileRef
		if err := exactjson.Unmarshal(msg.File.Ref, &ref); err != nil || ref.Upload == nil {
			return fmt.Errorf("%w: the file was not uploaded", ErrMalformed)
		}
		s.Method, s.Upload = MethodFile, ref.Upload
	}
	return w.push(c, s, content)
}

// action seals a message of the machine's own.
func (w *work) action(c *chat, a schema.Action) error {
	id, err := w.random64()
	if err != nil {
		return err
	}
	return w.push(c, sentRecord{RandomID: id, Method: MethodService}, &schema.DecryptedMessageService{RandomID: id, Action: a})
}

// push gives a message the next number, seals it and puts it on its way. The
// bytes are kept until the peer says that it has them.
func (w *work) push(c *chat, s sentRecord, content schema.Message) error {
	n := c.Out
	s.InSeq = 2*c.In + int(c.Side)
	var err error
	if s.Data, err = w.seal(c, n, s.InSeq, content); err != nil {
		return err
	}
	c.Out++
	if err := e2ee.Store(w.tx, c.sentKey(n), s); err != nil {
		return err
	}
	if old := n - maxUnacknowledged; old >= 0 {
		if err := w.tx.Delete(c.sentKey(old)); err != nil {
			return err
		}
	}
	_, err = w.queue.Put(Req{Method: s.Method, Chat: c.ID, Access: c.Access, RandomID: s.RandomID, Data: s.Data, Silent: s.Silent, Upload: s.Upload, File: s.File, Out: n, Local: s.Draft != nil})
	return err
}

// seal makes the packet of message n.
func (w *work) seal(c *chat, n, inSeq int, content schema.Message) ([]byte, error) {
	body, err := Marshal(w.m.env.Rand, Header{Layer: writeLayer(c.Remote), InSeq: inSeq, OutSeq: c.outSeq(c.Side, n)}, content)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(c.Key)
	if err != nil {
		return nil, e2ee.Damaged(preChat + c.ID.String())
	}
	defer key.Wipe()
	c.Uses++
	return Seal(w.m.env.Rand, key, c.Side, body)
}

// outSeq is the number of message n of a side on the wire: the creator's are
// odd.
func (c *chat) outSeq(from Side, n int) int { return 2*n + 1 - int(from) }

// forget destroys what is kept of messages that are deleted before the peer
// has them: in their place, under the same number, it keeps the deletion.
func (w *work) forget(c *chat, ids []int64) error {
	for r, err := range e2ee.Records[sentRecord](w.tx, c.sentPrefix()) {
		if err != nil {
			return err
		}
		for _, id := range ids {
			if r.Value.RandomID == id {
				var n int
				if _, err := fmt.Sscanf(r.Name, "%x", &n); err != nil {
					return e2ee.Damaged(r.Key)
				}
				if _, err := w.replace(c, n, r.Value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// replace seals the deletion of a message under the number that the message
// has, and keeps it in its place.
func (w *work) replace(c *chat, n int, s sentRecord) (sentRecord, error) {
	id, err := w.random64()
	if err != nil {
		return s, err
	}
	gone := sentRecord{RandomID: id, InSeq: s.InSeq, Method: MethodService}
	gone.Data, err = w.seal(c, n, s.InSeq, &schema.DecryptedMessageService{RandomID: id, Action: &schema.DecryptedMessageActionDeleteMessages{RandomIDs: []int64{s.RandomID}}})
	if err != nil {
		return s, err
	}
	return gone, e2ee.Store(w.tx, c.sentKey(n), gone)
}

// sent takes the answer to a packet.
func (w *work) sent(c *chat, r Req, ans Ans) error {
	if c.State == StateClosed {
		return nil
	}
	s, kept, err := w.loadSent(c, r.Out)
	if err != nil {
		return err
	}
	kept = kept && s.RandomID == r.RandomID
	switch ans.Code {
	case "":
		if !kept || r.Again {
			return nil
		}
		return w.taken(c, r, s, ans)
	case "ENCRYPTION_DECLINED", "ENCRYPTION_ID_INVALID", "CHAT_ID_INVALID", "USER_DELETED":
		if kept && s.Message != nil && r.Local {
			w.failed(*s.Message, whyPeer)
		}
		return w.end(c, whyPeer, false)
	}
	if !r.Local || !kept || s.Message == nil {
		return w.end(c, whyRefused+": "+ans.Code, true)
	}
	// The peer waits for the number of the message, so a deletion takes it.
	w.failed(*s.Message, "the server refused the message: "+ans.Code)
	gone, err := w.replace(c, r.Out, s)
	if err != nil {
		return err
	}
	_, err = w.queue.Put(Req{Method: gone.Method, Chat: c.ID, Access: c.Access, RandomID: gone.RandomID, Data: gone.Data, Out: r.Out})
	return err
}

// taken records that the server has a message, and tells the user.
func (w *work) taken(c *chat, r Req, s sentRecord, ans Ans) error {
	if s.Upload != nil && ans.File != nil {
		s.Upload, s.File = nil, ans.File
	}
	m := s.Message
	s.Draft = nil
	if r.Out < c.Have {
		if err := w.tx.Delete(c.sentKey(r.Out)); err != nil {
			return err
		}
	} else if err := e2ee.Store(w.tx, c.sentKey(r.Out), s); err != nil {
		return err
	}
	if m == nil {
		return nil
	}
	if err := w.timed(c, m.ID, timerRecord{TTL: s.TTL, Own: true, Date: ans.Date}); err != nil {
		return err
	}
	if m.File != nil && s.File != nil {
		var ref FileRef
		if err := exactjson.Unmarshal(m.File.Ref, &ref); err != nil {
			return e2ee.Damaged(c.sentKey(r.Out))
		}
		ref.Upload, ref.Location = nil, s.File
		m.File.Ref = e2ee.JSON(ref)
	}
	m.Sender, m.Device, m.Time, m.Encrypted, m.Trust = UserID(w.m.user), w.m.device, seconds(ans.Date), true, quinta.TrustVerified
	w.events = append(w.events, e2ee.Event{Kind: e2ee.EventSent, Message: *m})
	c.Recent = append(c.Recent, dated{m.ID, ans.Date})
	if over := len(c.Recent) - maxRecent; over > 0 {
		c.Recent = c.Recent[over:]
	}
	return nil
}

// MarkRead tells the server, and by it the peer, that everything up to the
// time of a message was read.
func (m *Machine) MarkRead(tx e2ee.Tx, room quinta.RoomID, maxDate int64) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.room(room)
		if err != nil || c.State != StateOpen {
			return err
		}
		if err := w.startRead(c, maxDate); err != nil {
			return err
		}
		_, err = w.queue.Put(Req{Method: MethodRead, Chat: c.ID, Access: c.Access, MaxDate: maxDate})
		return err
	})
	return err
}

// read reports up to which message of this device the peer has read.
func (w *work) read(r *Read) error {
	c, err := w.chat(r.Chat)
	if err != nil || c == nil || c.State != StateOpen {
		return err
	}
	for i := len(c.Recent) - 1; i >= 0; i-- {
		if c.Recent[i].Date <= r.MaxDate {
			w.events = append(w.events, e2ee.Event{Kind: e2ee.EventReceipt, Message: quinta.Message{Room: c.room(), ID: c.Recent[i].ID}, User: c.peerID()})
			c.Recent = c.Recent[i+1:]
			return nil
		}
	}
	return nil
}
