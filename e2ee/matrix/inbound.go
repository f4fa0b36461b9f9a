package matrix

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/internal/sessiondata"
	"github.com/quinta-chat/quinta/key"
)

// A source says how an inbound session came.
type source int

// The sources, the better the greater.
const (
	fromImport  source = iota // export file or backup: nothing proves the owner
	fromForward               // a verified device of the user's own says whose it is
	fromOlm                   // the owner sent it
)

func inboundKey(room quinta.RoomID, session string) string {
	return "in/" + string(room) + "\x00" + session
}

// roomKey is the content of m.room_key and of m.forwarded_room_key.
type roomKey struct {
	Algorithm   string        `json:"algorithm"`
	Room        quinta.RoomID `json:"room_id"`
	SessionID   string        `json:"session_id"`
	SessionKey  string        `json:"session_key"`
	Shared      bool          `json:"shared_history"`
	SharedM     bool          `json:"m.shared_history"`
	SharedOld   bool          `json:"org.matrix.msc3061.shared_history"`
	SenderKey   string        `json:"sender_key"`
	ClaimedKey  string        `json:"sender_claimed_ed25519_key"`
	Chain       []string      `json:"forwarding_curve25519_key_chain"`
	WithheldFor *withheld     `json:"withheld"`
}

// receiveRoomKey takes a room key that its owner sent.
func (w *work) receiveRoomKey(content json.RawMessage, from origin) error {
	var k roomKey
	if exactjson.Unmarshal(content, &k) != nil || k.Algorithm != algorithmMegolm || !plain(k.Room) {
		return nil
	}
	raw, err := base64text.DecodeSecret(k.SessionKey)
	if err != nil {
		return nil
	}
	defer clear(raw)
	s, err := megolm.NewInbound(raw)
	if err != nil || string(s.ID()) != k.SessionID {
		return nil
	}
	defer s.Wipe()
	_, err = w.storeInbound(k.Room, s, claim{
		Source: fromOlm, Owner: from.User, Curve: from.Curve.String(), Ed25519: from.Ed25519.String(),
		Shared: k.Shared || k.SharedM || k.SharedOld,
	})
	return err
}

// storeInbound keeps a claim on a session. It reports whether anything got
// better, and opens the messages that waited.
func (w *work) storeInbound(room quinta.RoomID, s *megolm.Inbound, c claim) (bool, error) {
	id := string(s.ID())
	r, found, err := e2ee.Load[inboundRecord](w.tx, inboundKey(room, id))
	if err != nil {
		return false, err
	}
	if !found {
		if err := w.stray(room, id, c.Owner); err != nil {
			return false, err
		}
		c.State = s.Encode()
		r.claim = c
	} else if better, err := r.add(s, c); err != nil || !better {
		return false, err
	}
	if err := e2ee.Store(w.tx, inboundKey(room, id), &r); err != nil {
		return false, err
	}
	if err := w.tx.Put(unsavedKey(room, id), []byte{1}); err != nil {
		return false, err
	}
	said, err := e2ee.Entries(w.tx, withheldKey(room, id))
	if err != nil {
		return false, err
	}
	for _, e := range said {
		if err := w.release(w.withheldBound(), e.Key); err != nil {
			return false, err
		}
	}
	if err := w.cancelKeyRequest(room, id); err != nil {
		return false, err
	}
	return true, w.retry(room, id)
}

// A roomEvent is an event of a timeline.
type roomEvent struct {
	Type     string           `json:"type"`
	Sender   quinta.UserID    `json:"sender"`
	ID       quinta.MessageID `json:"event_id"`
	Time     int64            `json:"origin_server_ts"`
	StateKey *string          `json:"state_key,omitempty"`
	Content  json.RawMessage  `json:"content"`
	Redacts  quinta.MessageID `json:"redacts,omitempty"`
	Unsigned struct {
		Txn quinta.TxnID `json:"transaction_id,omitempty"`
		// Redacted is there if the event was taken back and its content is gone.
		Redacted json.RawMessage `json:"redacted_because,omitempty"`
	} `json:"unsigned"`
}

// megolmContent is the content of a Megolm event.
type megolmContent struct {
	Algorithm  string          `json:"algorithm"`
	SessionID  string          `json:"session_id"`
	SenderKey  string          `json:"sender_key"`
	Device     quinta.DeviceID `json:"device_id"`
	Ciphertext json.RawMessage `json:"ciphertext"`
	RelatesTo  json.RawMessage `json:"m.relates_to"`
}

// A failure is why an event cannot be read. Kept says that a key may help,
// told that it can be read and its user was told of it before.
type failure struct {
	reason quinta.Reason
	detail string
	kept   bool
	told   bool
}

// decrypt opens an encrypted event of a room.
func (w *work) decrypt(room quinta.RoomID, e roomEvent) (quinta.Message, *failure, error) {
	msg := message(room, e)
	var c megolmContent
	if exactjson.Unmarshal(e.Content, &c) != nil {
		return msg, &failure{reason: quinta.ReasonMalformed}, nil
	}
	if c.Algorithm != algorithmMegolm {
		return msg, &failure{reason: quinta.ReasonUnsupported, detail: "algorithm"}, nil
	}
	var ciphertext string
	if exactjson.Unmarshal(c.Ciphertext, &ciphertext) != nil || !plain(c.SessionID) || len(ciphertext) > megolm.MaxMessage*4/3+4 {
		return msg, &failure{reason: quinta.ReasonMalformed}, nil
	}
	body, err := base64text.Decode(ciphertext)
	if err != nil {
		return msg, &failure{reason: quinta.ReasonMalformed}, nil
	}
	m, err := megolm.ParseMessage(body)
	if errors.Is(err, megolm.ErrVersion) {
		return msg, &failure{reason: quinta.ReasonUnsupported, detail: "version"}, nil
	}
	if err != nil {
		return msg, &failure{reason: quinta.ReasonMalformed}, nil
	}
	r, found, err := e2ee.Load[inboundRecord](w.tx, inboundKey(room, c.SessionID))
	if err != nil {
		return msg, nil, err
	}
	if !found {
		f, err := w.noKey(room, c.SessionID, e)
		return msg, f, err
	}
	claims, err := w.fitting(&r, e.Sender)
	if err != nil {
		return msg, nil, err
	}
	if len(claims) == 0 {
		// The sender's own claim may still come.
		return msg, &failure{reason: quinta.ReasonSenderMismatch, detail: "a session of another user", kept: true}, nil
	}
	text, under, err := openUnder(claims, m)
	switch {
	case errors.Is(err, megolm.ErrUnknownIndex):
		return msg, &failure{reason: quinta.ReasonKeyTooNew, kept: true}, w.requestKey(room, c.SessionID, e)
	case errors.Is(err, errNotOpened):
		return msg, &failure{reason: quinta.ReasonTampered}, nil
	case err != nil:
		return msg, nil, err
	}
	var p struct {
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
		Room    quinta.RoomID   `json:"room_id"`
	}
	if exactjson.Unmarshal(text, &p) != nil || p.Type == "" || p.Content == nil {
		return msg, &failure{reason: quinta.ReasonMalformed}, nil
	}
	if p.Room != room {
		return msg, &failure{reason: quinta.ReasonSenderMismatch, detail: "a message of another room"}, nil
	}
	use, err := w.firstUse(under.replay(c.SessionID), m.Index, e)
	if err != nil {
		return msg, nil, err
	}
	if use == usedByAnother {
		return msg, &failure{reason: quinta.ReasonReplayed}, nil
	}
	if use == toldBefore && !w.reading {
		return msg, &failure{told: true}, nil
	}
	if err := w.opened(room, c.SessionID, r, under); err != nil {
		return msg, nil, err
	}
	msg.Type, msg.Body, msg.Encrypted = p.Type, p.Content, true
	describe(&msg, "")
	hint(&msg, c.RelatesTo)
	return msg, nil, w.attribute(&msg, under, r.contested())
}

// errNotOpened says that a message is not authentic.
var errNotOpened = errors.New("matrix: the message is not authentic")

// openUnder opens a message under the first of the claims that has its index.
func openUnder(claims []claim, m *megolm.Message) ([]byte, claim, error) {
	for _, c := range claims {
		s, err := megolm.DecodeInbound(c.State)
		if err != nil {
			return nil, c, err
		}
		text, err := s.Open(m)
		s.Wipe()
		switch {
		case err == nil:
			return text, c, nil
		case !errors.Is(err, megolm.ErrUnknownIndex):
			return nil, c, errNotOpened
		}
	}
	return nil, claim{}, megolm.ErrUnknownIndex
}

// attribute says which device a message is from and how far it is known.
func (w *work) attribute(msg *quinta.Message, c claim, contested bool) error {
	u, err := w.user(msg.Sender)
	if err != nil {
		return err
	}
	id, d := u.madeBy(c)
	if d != nil && d.Ed25519.String() == c.Ed25519 {
		msg.Device, msg.Trust = id, w.trust(msg.Sender, u, d)
	}
	if c.Source == fromImport && msg.Trust > quinta.TrustUnknown {
		msg.Trust = quinta.TrustUnknown
	}
	switch {
	case contested:
		msg.Weakness = quinta.WeakOwner
	case c.Source == fromOlm:
	case d == nil:
		msg.Weakness = quinta.WeakUnknownDevice
	default:
		// One of this user's devices, or a file, says whose it is, not the owner.
		msg.Weakness = quinta.WeakKeySource
	}
	return nil
}

// madeBy finds the device of a user that made a session, by what a claim
// says.
func (u *userRecord) madeBy(c claim) (quinta.DeviceID, *deviceRecord) {
	curve, err := key.ParseAgreementPublic[key.Identity](c.Curve)
	if err != nil {
		return "", nil
	}
	return u.byCurve(curve)
}

// A use says what is known of the index of a session.
type use int

const (
	fresh         use = iota // no event used it
	seenBefore               // this event did, out of the history
	toldBefore               // this event did, and its user was told of it
	usedByAnother            // another event did
)

// firstUse notes that an index was used by an event, where line is the place of
// the claim that it is an index of, and reports whether another event used it,
// or this one before. A server that brings an event twice must not have it
// count twice; out of the history it may be read as often as someone looks.
func (w *work) firstUse(line string, index uint32, e roomEvent) (use, error) {
	key := line + hex32(index)
	read, told := e2ee.JSON([]any{e.ID, e.Time}), e2ee.JSON([]any{e.ID, e.Time, true})
	old, err := w.tx.Get(key)
	if err != nil {
		return fresh, err
	}
	u := fresh
	switch string(old) {
	case "":
	case string(read):
		u = seenBefore
	case string(told):
		return toldBefore, nil
	default:
		return usedByAnother, nil
	}
	if w.reading {
		return u, w.tx.Put(key, read)
	}
	return u, w.tx.Put(key, told)
}

// hex32 writes an index so that it sorts like the number.
func hex32(n uint32) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 8)
	for i := range b {
		b[i] = digits[n>>(28-4*i)&15]
	}
	return string(b)
}

// keep stores an event that a key may open later.
func (w *work) keep(room quinta.RoomID, session string, e roomEvent) error {
	place := "kept/" + string(room) + "\x00" + session + "\x00" + string(e.ID)
	if err := w.hold(w.keptBound(), e.Sender, place); err != nil {
		return err
	}
	return e2ee.Store(w.tx, place, e)
}

// retry opens the kept events of a session.
func (w *work) retry(room quinta.RoomID, session string) error {
	var events []roomEvent
	for e, err := range e2ee.Records[roomEvent](w.tx, "kept/"+string(room)+"\x00"+session+"\x00") {
		if err != nil {
			return err
		}
		events = append(events, e.Value)
	}
	order.By(events, func(a, b roomEvent) int { return cmp.Compare(a.Time, b.Time) })
	for _, e := range events {
		msg, f, err := w.decrypt(room, e)
		if err != nil {
			return err
		}
		if f != nil && f.kept {
			continue
		}
		if err := w.release(w.keptBound(), "kept/"+string(room)+"\x00"+session+"\x00"+string(e.ID)); err != nil {
			return err
		}
		if f == nil {
			r, _, err := w.room(room)
			if err == nil && !r.Encrypted {
				err = w.mustBeEncrypted(room, &r)
			}
			if err != nil {
				return err
			}
		}
		w.report(msg, f)
	}
	return nil
}

// report tells of an event that was opened, or why it was not.
func (w *work) report(msg quinta.Message, f *failure) {
	if f != nil && f.told {
		return
	}
	if f != nil {
		msg.Body = nil // sealed, and kept where it is needed
		w.emit(e2ee.Event{Kind: e2ee.EventUndecryptable, Message: msg, Reason: f.reason, Detail: f.detail})
		return
	}
	w.deliver(msg)
}

// deliver tells of a message, or of a step of a verification in a room.
func (w *work) deliver(msg quinta.Message) {
	kind := e2ee.EventMessage
	var c messageContent
	if strings.HasPrefix(msg.Type, "m.key.verification.") ||
		msg.Type == typeMessage && exactjson.Unmarshal(msg.Body, &c) == nil && c.MsgType == "m.key.verification.request" {
		kind = e2ee.EventVerification
	}
	w.emit(e2ee.Event{Kind: kind, Message: msg})
}

// Import takes sessions of an export file or a key backup. Nothing proves
// whose they are: messages that they open are marked so. It returns how many
// were new or better; the events are messages that waited for them.
func (m *Machine) Import(tx e2ee.Tx, sessions []sessiondata.Session) (imported int, events []e2ee.Event, err error) {
	events, err = m.run(tx, func(w *work) error {
		for _, d := range sessions {
			raw, err := base64text.DecodeSecret(d.SessionKey)
			if err != nil || d.RoomID == "" {
				continue
			}
			s, err := megolm.Import(raw)
			clear(raw)
			if err != nil || string(s.ID()) != d.SessionID {
				continue
			}
			better, err := w.storeInbound(quinta.RoomID(d.RoomID), s, claim{
				Source: fromImport, Curve: d.SenderKey, Ed25519: d.SenderClaimedKeys["ed25519"], Chain: d.ForwardingChain, Shared: d.SharedHistory,
			})
			s.Wipe()
			if err != nil {
				return err
			}
			if better {
				imported++
			}
		}
		return nil
	})
	return imported, events, err
}

// Export returns the inbound sessions of this device, for a key export file or
// the key backup. They are secrets.
func (m *Machine) Export(tx e2ee.Tx) ([]sessiondata.Session, error) {
	var out []sessiondata.Session
	_, err := m.run(tx, func(w *work) error {
		for e, err := range e2ee.Records[inboundRecord](w.tx, "in/") {
			if err != nil {
				return err
			}
			room, id, _ := strings.Cut(e.Name, "\x00")
			d, err := exported(room, id, e.Value.claim)
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

// exported returns a session in the form of exports.
func exported(room, id string, r claim) (sessiondata.Session, error) {
	s, err := megolm.DecodeInbound(r.State)
	if err != nil {
		return sessiondata.Session{}, err
	}
	defer s.Wipe()
	raw, err := s.Export(s.FirstIndex())
	if err != nil {
		return sessiondata.Session{}, err
	}
	defer clear(raw)
	return sessiondata.Session{
		RoomID: room, SessionID: id, SessionKey: base64text.EncodeSecret(raw), SenderKey: r.Curve,
		SenderClaimedKeys: map[string]string{"ed25519": r.Ed25519}, ForwardingChain: r.Chain, SharedHistory: r.Shared,
	}, nil
}
