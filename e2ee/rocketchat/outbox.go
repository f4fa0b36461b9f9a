package rocketchat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// An outEntry is a message of this device that the server has not confirmed. Its
// id is made once; it is sealed once, when its request is made.
type outEntry struct {
	Message quinta.Message `json:"message"`
	// Clear says that the user allowed it to leave in clear.
	Clear bool `json:"clear,omitempty"`
	// File is the upload that the message confirms, with its key.
	File *outFile `json:"file,omitempty"`
	// Req is the request that carries it, once it is made.
	Req string `json:"req,omitempty"`
	// Told says that the user knows that it waits.
	Told bool `json:"told,omitempty"`
}

// An outFile is an uploaded file of the outbox. It holds a key and is in the
// encrypted store.
type outFile struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"`
	Link      string `json:"link"`
	Key       []byte `json:"key"`
}

// String hides the key.
func (outFile) String() string { return "[redacted]" }

// GoString hides the key.
func (outFile) GoString() string { return "[redacted]" }

// An Outgoing is a message to be sent.
type Outgoing struct {
	quinta.Message
	// Clear allows it to leave in clear where the room is not encrypted, and a
	// reaction, which has no other form, in a room that is.
	Clear bool
	// File is an upload that was sealed before, if the message carries one.
	File *UploadedFile
}

// Send takes a text for Room. It leaves when the room's key is at hand.
func (m *Machine) Send(tx e2ee.Tx, msg quinta.Message) error {
	return m.Put(tx, Outgoing{Message: msg})
}

// Put takes a message for Room: a text, a file that is uploaded already, a new
// text for a message (RelationReplace), a redaction or a reaction. A room in clear
// is refused unless Clear allows it.
func (m *Machine) Put(tx e2ee.Tx, o Outgoing) error {
	_, err := m.run(tx, func(w *work) error {
		r, err := w.room(o.Room)
		if err != nil {
			return err
		}
		if r == nil || r.Left {
			return ErrUnknownRoom
		}
		if err := w.mayPut(r, o); err != nil {
			return err
		}
		e := outEntry{Message: o.Message, Clear: o.Clear}
		id, err := NewID(w.m.env.Rand)
		if err != nil {
			return err
		}
		e.Message.ID, e.Message.File = quinta.MessageID(id), nil
		if e.Message.Txn == "" {
			e.Message.Txn = quinta.TxnID(id)
		}
		if f := o.File; f != nil {
			e.File = &outFile{ID: f.ID, Name: f.Name, MediaType: f.MediaType, Size: f.Size, Link: f.Link, Key: f.Key.Secret()}
			e.Message.Kind = quinta.MessageFile
		}
		_, err = w.out.Put(e)
		return err
	})
	return err
}

// mayPut refuses what must not leave.
func (w *work) mayPut(r *room, o Outgoing) error {
	if o.Relation.Kind == quinta.RelationReaction {
		if !o.Clear {
			return fmt.Errorf("%w: reactions have no encrypted form", ErrClear)
		}
		return nil
	}
	if o.Relation.Kind == quinta.RelationRedaction {
		return nil
	}
	if len(o.Text) > MaxPlaintext/6 {
		return quinta.E(quinta.KindTooLarge, "sending", "the message is too large: send it as a file")
	}
	if !r.State.Encrypted {
		if !o.Clear {
			return ErrNotEncrypted
		}
		if o.File != nil {
			return fmt.Errorf("%w: files are sent to encrypted rooms only", ErrNotEncrypted)
		}
		return nil
	}
	if w.meta.Keys.Phase == PhaseLocked {
		return ErrNoKeys
	}
	who, err := w.blocked(r)
	if err == nil && who != "" {
		err = fmt.Errorf("%w: %s", ErrKeyChanged, who)
	}
	return err
}

// planOutbox makes the request of the oldest message of each room. There is one
// on its way per room, so that their order holds. A room whose key is being replaced,
// or wrapped for its members, waits until they have it: a client that hears a message
// whose key it cannot fetch may make a key of its own.
func (w *work) planOutbox() error {
	busy, err := w.wrapping()
	if err != nil {
		return err
	}
	for rec, err := range w.out.All() {
		if err != nil {
			return err
		}
		e := rec.Value
		if busy[e.Message.Room] {
			continue
		}
		busy[e.Message.Room] = true
		if e.Req != "" {
			continue
		}
		if err := w.planMessage(rec.Name, &e); err != nil {
			return err
		}
	}
	return nil
}

// wrapping returns the rooms whose key is being replaced or on its way to members:
// this user's own copy, the list of those who lack it, or the copies for them.
func (w *work) wrapping() (map[quinta.RoomID]bool, error) {
	rooms := map[quinta.RoomID]bool{}
	for rec, err := range w.reqs.All() {
		if err != nil {
			return nil, err
		}
		switch r := &rec.Value; r.Kind {
		case ReqReset, ReqOwnRoomKey, ReqUsers, ReqProvide:
			rooms[r.Room] = true
		case ReqWaiting:
			for _, id := range r.Rooms {
				rooms[id] = true
			}
		}
	}
	return rooms, nil
}

func (w *work) planMessage(name string, e *outEntry) error {
	r, err := w.room(e.Message.Room)
	if err != nil {
		return err
	}
	if r == nil || r.Left {
		return w.fail(name, e, "this account is no longer in the room")
	}
	req, wait, err := w.render(r, e)
	switch {
	case errors.Is(err, ErrOldServer) || errors.Is(err, ErrNotEncrypted) || errors.Is(err, ErrUnsupported):
		return w.fail(name, e, err.Error())
	case err != nil:
		return err
	case wait != "":
		if e.Told {
			return nil
		}
		e.Told = true
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Message: quinta.Message{Room: e.Message.Room, Txn: e.Message.Txn}, Detail: wait})
		return w.out.Set(name, *e)
	}
	if req.Message != nil && req.Message.Type == TypeE2E {
		at := w.m.self
		if req.Kind == ReqConfirm {
			// The server gives the message its id.
			err = w.tx.Put("cipher/"+req.Message.hash(), []byte(pendingAt(req.Message.Room, at.ID)))
		} else {
			err = w.remember(req.Message, at)
		}
		if err != nil {
			return err
		}
	}
	if req.Kind == ReqSend {
		// When the server returns this message, it is not reported again.
		if err := w.markSeen(req.Message, 0); err != nil {
			return err
		}
	}
	if e.Req, err = w.reqs.Put(req); err != nil {
		return err
	}
	return w.out.Set(name, *e)
}

// render makes the request for a message, or says what it waits for.
func (w *work) render(r *room, e *outEntry) (req Req, wait string, err error) {
	m := &e.Message
	out := &Message{ID: m.ID, Room: m.Room}
	req = Req{Kind: ReqSend, Room: m.Room, Message: out}
	switch m.Relation.Kind {
	case quinta.RelationReaction:
		return Req{Kind: ReqReact, Room: m.Room, Message: &Message{ID: m.Relation.To, Room: m.Room}, Emoji: m.Relation.Key}, "", nil
	case quinta.RelationRedaction:
		return Req{Kind: ReqDelete, Room: m.Room, Message: &Message{ID: m.Relation.To, Room: m.Room}}, "", nil
	case quinta.RelationReplace:
		req.Kind, out.ID = ReqUpdate, m.Relation.To
	case quinta.RelationThread:
		out.Thread = m.Relation.To
	}
	if e.File != nil {
		req.Kind, req.File = ReqConfirm, e.File.ID
	}
	if !r.State.Encrypted {
		if !e.Clear || e.File != nil {
			return req, "", ErrNotEncrypted
		}
		out.Msg = m.Text
		return req, "", nil
	}
	if who, err := w.blocked(r); err != nil || who != "" {
		return req, "a verified key of " + string(who) + " has changed: accept it first", err
	}
	if r.Rotate != "" {
		return req, "the room gets a new key first", nil
	}
	k, err := w.establish(r)
	if err != nil || k.IsZero() {
		wait = "the room's key has not arrived yet"
		if !w.ready() {
			wait = "the E2E keys of this account are not open on this device"
		}
		return req, wait, err
	}
	out.Type = TypeE2E
	if r.Legacy && e.File == nil && req.Kind == ReqSend {
		out.Msg, err = SealString(w.m.env.Rand, k, StringBody(m.ID, m.Text, quinta.UserID(w.m.self.ID), w.now))
		return req, "", err
	}
	plain := TextBody(m.Text)
	if m.Kind == quinta.MessageNotice {
		plain = NoticeBody(m.Text)
	}
	if f := e.File; f != nil {
		key, err := ParseFileKeyText(f.Key)
		if err != nil {
			return req, "", e2ee.Damaged("out/")
		}
		plain = FileBody(m.Text, UploadedFile{ID: f.ID, Name: f.Name, MediaType: f.MediaType, Size: f.Size, Link: f.Link, Key: key})
	}
	c, err := SealContent(w.m.env.Rand, k, plain)
	if err != nil {
		return req, "", err
	}
	out.E2E, out.Content = "pending", e2ee.JSON(c)
	return req, "", nil
}

// fail ends a message that will not be sent.
func (w *work) fail(name string, e *outEntry, why string) error {
	w.emit(e2ee.Event{Kind: e2ee.EventFailed, Message: e.Message, Detail: why})
	return w.out.Done(name)
}

// doneSend learns what became of a message.
func (w *work) doneSend(req Req, ans Ans) error {
	for rec, err := range w.out.All() {
		if err != nil {
			return err
		}
		if rec.Value.Req != req.ID {
			continue
		}
		if ans.Code != "" {
			why := ans.Code
			if ans.Detail != "" && !strings.Contains(ans.Detail, ans.Code) {
				why += ": " + ans.Detail
			}
			return w.fail(rec.Name, &rec.Value, why)
		}
		if a := ans.Message; req.Kind == ReqConfirm && a != nil && validID(string(a.ID)) {
			own := *req.Message
			own.ID = a.ID
			if err := errors.Join(w.markSeen(&own, 0), w.remember(&own, w.m.self)); err != nil {
				return err
			}
		}
		if a := ans.Message; req.Kind == ReqSend && a != nil && a.ID == req.Message.ID && a.Type == TypeE2E && a.hash() != req.Message.hash() {
			// An earlier seal of it was taken in.
			own := *a
			own.Room = req.Room
			if err := w.markSeen(&own, 0); err != nil {
				return err
			}
		}
		if req.Kind == ReqUpdate {
			if err := w.markSeen(req.Message, DateOf(w.now)); err != nil {
				return err
			}
		}
		return w.sent(rec.Name, &rec.Value, ans)
	}
	return nil
}

// pendingAt is where a ciphertext of this user's is seen whose message has no id
// yet.
func pendingAt(room quinta.RoomID, user string) string { return string(room) + " ? " + user }

// markSeen remembers a message of this device as taken in.
func (w *work) markSeen(m *Message, edited Date) error {
	seen, _, err := e2ee.Load[seenRecord](w.tx, seenKey(m.Room, m.ID))
	if err != nil {
		return err
	}
	seen.Hash, seen.User, seen.Edited = m.hash(), w.m.self.ID, edited
	return e2ee.Store(w.tx, seenKey(m.Room, m.ID), seen)
}

func (w *work) sent(name string, e *outEntry, ans Ans) error {
	m := e.Message
	m.Sender, m.Encrypted = quinta.UserID(w.m.self.Name), true
	if r, err := w.room(m.Room); err != nil {
		return err
	} else if r != nil {
		m.Encrypted = r.State.Encrypted
		if r.Legacy {
			m.Weakness = quinta.WeakLegacy
		}
	}
	if m.Relation.Kind == quinta.RelationReaction {
		m.Encrypted = false
	}
	if e.File != nil && ans.Message != nil && validID(string(ans.Message.ID)) {
		m.ID = ans.Message.ID
	}
	if ans.Message != nil && ans.Message.TS != 0 {
		m.Time = ans.Message.TS.Time()
	} else if m.Time.IsZero() {
		m.Time = w.now
	}
	if f := e.File; f != nil {
		m.File = &quinta.File{Name: f.Name, MediaType: f.MediaType, Size: f.Size, Ref: fileRef(f.Link, f.Key)}
	}
	w.emit(e2ee.Event{Kind: e2ee.EventSent, Message: m})
	return w.out.Done(name)
}

// fileRef is what quinta.File.Ref holds on this network.
func fileRef(link string, key []byte) []byte {
	return e2ee.JSON(struct {
		Link string          `json:"link"`
		Key  json.RawMessage `json:"key"`
	}{link, key})
}

// ParseFileRef reads the Ref of a file: the path below the server, and the key.
func ParseFileRef(ref []byte) (link string, k FileKey, err error) {
	var w struct {
		Link string          `json:"link"`
		Key  json.RawMessage `json:"key"`
	}
	if exactjson.Unmarshal(ref, &w) != nil || w.Link == "" {
		return "", FileKey{}, fmt.Errorf("%w: the reference of a file", ErrMalformed)
	}
	k, err = ParseFileKeyText(w.Key)
	return w.Link, k, err
}

// SealUpload seals what is said of a file with its upload. The room's key must be
// here: see RoomInfo.HasKey.
func (m *Machine) SealUpload(tx e2ee.Tx, id quinta.RoomID, name, mediaType string, k FileKey) (c Content, err error) {
	_, err = m.run(tx, func(w *work) error {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		if r == nil || r.Left {
			return ErrUnknownRoom
		}
		if !r.State.Encrypted {
			return ErrNotEncrypted
		}
		key, err := w.current(r)
		if err != nil {
			return err
		}
		if key.IsZero() {
			return ErrNoKeys
		}
		c, err = SealContent(w.m.env.Rand, key, UploadBody(name, mediaType, k))
		return err
	})
	return c, err
}

// Establish has the key of a room made or asked for, without a message.
func (m *Machine) Establish(tx e2ee.Tx, id quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		switch {
		case r == nil || r.Left:
			return ErrUnknownRoom
		case !r.State.Encrypted:
			return ErrNotEncrypted
		}
		_, err = w.establish(r)
		return err
	})
	return err
}
