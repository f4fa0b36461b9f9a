package rocketchat

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/internal/order"
)

// A seenRecord is what is remembered of a message: which ciphertext it had, from
// whom, and which reactions.
type seenRecord struct {
	Hash string `json:"hash"`
	User string `json:"user"`
	// Edited is the time of the last edit that was taken in.
	Edited Date `json:"edited,omitempty"`
	// Gone says that it was taken back.
	Gone bool `json:"gone,omitempty"`
	// Reactions are "emoji/user" in order.
	Reactions []string `json:"reactions,omitempty"`
}

func seenKey(room quinta.RoomID, id quinta.MessageID) string {
	return "seen/" + string(room) + "/" + string(id)
}

// A waitRecord is a message that waits for a room key.
type waitRecord struct {
	Message Message `json:"message"`
}

func waitPrefix(room quinta.RoomID) string { return "wait/" + string(room) + "/" }

// Receive takes in what came from the server.
func (m *Machine) Receive(tx e2ee.Tx, in In) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if err := w.keptEvents(); err != nil {
			return err
		}
		if in.Version != "" {
			w.meta.Version = in.Version
		}
		if in.Asked {
			w.meta.OfferAfter = 0
		}
		for _, s := range in.Rooms {
			if err := w.takeRoom(s); err != nil {
				return err
			}
		}
		for i := range in.Messages {
			if err := w.takeMessage(&in.Messages[i]); err != nil {
				return err
			}
		}
		for _, d := range in.Deleted {
			if err := w.takeDeleted(d); err != nil {
				return err
			}
		}
		if in.Complete {
			missing, err := w.missing(in.Rooms)
			if err != nil {
				return err
			}
			in.Gone = append(in.Gone, missing...)
		}
		for _, id := range in.Gone {
			if err := w.gone(id); err != nil {
				return err
			}
		}
		w.meta.Since = max(w.meta.Since, in.Since)
		return nil
	})
}

// missing returns the rooms that are known and not among those of a list.
func (w *work) missing(list []RoomState) ([]quinta.RoomID, error) {
	ids, err := w.roomIDs()
	return slices.DeleteFunc(ids, func(id quinta.RoomID) bool {
		return slices.ContainsFunc(list, func(s RoomState) bool { return s.ID == id })
	}), err
}

// hash names the ciphertext of a message.
func (m *Message) hash() string {
	text := m.Msg
	if c, err := ParseContent(m.Content); err == nil {
		text = c.KeyID + "\x00" + c.IV + "\x00" + c.Ciphertext
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// remember keeps where a ciphertext was seen, so that it cannot be said again.
func (w *work) remember(m *Message, by Author) error {
	return w.tx.Put("cipher/"+m.hash(), []byte(string(m.Room)+" "+string(m.ID)+" "+by.ID))
}

// offRecord are the types of what is said off the record, and about it.
var offRecord = []string{TypeOTR, "otr-ack", "user_joined_otr", "user_requested_otr_key_refresh", "user_key_refreshed_successfully"}

// takeMessage takes in one message.
func (w *work) takeMessage(m *Message) error {
	if slices.Contains(offRecord, m.Type) {
		return nil // nothing of it is kept: see OTR
	}
	if !validID(string(m.ID)) || !validID(string(m.Room)) || !validID(m.User.ID) {
		return nil
	}
	if err := w.learnName(m.User); err != nil {
		return err
	}
	r, err := w.room(m.Room)
	if err != nil {
		return err
	}
	if r == nil {
		// The room itself comes later; until then nothing is sent to it.
		if err := w.holdRoom(m); err != nil {
			return err
		}
		r = &room{State: RoomState{ID: m.Room, Encrypted: m.Type == TypeE2E}, Claimed: true}
		w.rooms[m.Room] = r
		if err := w.ask(Req{Kind: ReqRoom, Room: m.Room}); err != nil {
			return err
		}
	}
	switch m.Type {
	case "", TypeE2E:
	case TypeDeleted:
		return w.takeDeleted(Deleted{Room: m.Room, ID: m.ID})
	default:
		return w.takeSystem(r, m)
	}
	seen, found, err := e2ee.Load[seenRecord](w.tx, seenKey(m.Room, m.ID))
	if err != nil {
		return err
	}
	if seen.Gone {
		return nil
	}
	next := seen
	next.User = m.User.ID
	switch hash := m.hash(); {
	case !found:
		next.Hash = hash
		if err := w.show(r, m, false); err != nil {
			return err
		}
	case seen.User != m.User.ID:
		w.cannotRead(m, quinta.ReasonSenderMismatch, "the server names a different sender than before")
		return nil
	case seen.Hash != hash && (m.Type == TypeE2E || m.Edited != 0):
		// A text that was sent in clear may come back with another spelling, without an
		// edit.
		next.Hash, next.Edited = hash, max(m.Edited, seen.Edited+1)
		if err := w.show(r, m, true); err != nil {
			return err
		}
	}
	next.Reactions = w.reactions(r, m, seen.Reactions)
	if found && next.Hash == seen.Hash && slices.Equal(next.Reactions, seen.Reactions) {
		return nil
	}
	return e2ee.Store(w.tx, seenKey(m.Room, m.ID), next)
}

// takeSystem takes in a message that the server wrote itself.
func (w *work) takeSystem(r *room, m *Message) error {
	if done, found, err := e2ee.Load[seenRecord](w.tx, seenKey(m.Room, m.ID)); err != nil || found && done.Hash == m.Type {
		return err
	}
	if err := e2ee.Store(w.tx, seenKey(m.Room, m.ID), seenRecord{Hash: m.Type, User: m.User.ID}); err != nil {
		return err
	}
	ev := e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: m.Room, Sender: quinta.UserID(m.User.Name), Time: m.TS.Time()}, Detail: m.Type}
	switch m.Type {
	case TypeLeft, TypeRemoved:
		who := m.Msg
		if m.Type == TypeLeft {
			who = m.User.Name
		}
		ev.User = quinta.UserID(who)
		if who != w.m.self.Name && (w.meta.Since == 0 || m.TS >= w.meta.Since-Date(again.Milliseconds())) {
			w.rotate(r)
		}
	case TypeJoined, TypeAdded:
		w.meta.OfferAfter = 0
	case TypeOn:
		r.State.Encrypted = true
	case TypeOff:
		ev.Detail = "the server says that encryption was switched off: it stays on here"
	}
	w.emit(ev)
	return nil
}

// claimed is what a message says in clear.
func (m *Message) claimed() quinta.Message {
	out := quinta.Message{ID: m.ID, Room: m.Room, Sender: quinta.UserID(m.User.Name), Time: m.TS.Time(), Kind: quinta.MessageText, Encrypted: m.Type == TypeE2E}
	if out.Sender == "" {
		out.Sender = quinta.UserID(m.User.ID)
	}
	if m.Thread != "" {
		out.Relation = quinta.Relation{Kind: quinta.RelationThread, To: m.Thread}
	}
	return out
}

func (w *work) cannotRead(m *Message, why quinta.Reason, detail string) {
	w.emit(e2ee.Event{Kind: e2ee.EventUndecryptable, Message: m.claimed(), Reason: why, Detail: detail})
}

// show opens a message and tells of it, or keeps it until its key comes.
func (w *work) show(r *room, m *Message, edit bool) error {
	msg := m.claimed()
	if edit {
		msg.ID = quinta.MessageID(fmt.Sprintf("%s@%d", m.ID, max(m.Edited, m.Updated, m.TS)))
		msg.Time = max(m.Edited, m.TS).Time()
		msg.Relation = quinta.Relation{Kind: quinta.RelationReplace, To: m.ID}
	}
	if m.Type != TypeE2E {
		msg.Text = m.Msg
		if r.State.Encrypted {
			msg.Weakness = quinta.WeakPlain
		}
		w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: msg})
		return nil
	}
	r.State.Encrypted = true
	// A ciphertext under a second id, from a second sender or in a second room is
	// an old one that someone says again.
	at := string(m.Room) + " " + string(m.ID) + " " + m.User.ID
	if have, err := w.tx.Get("cipher/" + m.hash()); err != nil {
		return err
	} else if string(have) == pendingAt(m.Room, w.m.self.ID) && m.User.ID == w.m.self.ID {
		return w.remember(m, m.User) // the user's own message, which comes as EventSent
	} else if have != nil && string(have) != at {
		w.cannotRead(m, quinta.ReasonReplayed, "this ciphertext was in another message")
		return nil
	}
	plain, form, err := w.open(r, m)
	if errors.Is(err, errWait) {
		return w.wait(m, edit)
	}
	if err == nil {
		var b Body
		if b, err = ParseBody(plain); err == nil {
			if err := w.remember(m, m.User); err != nil {
				return err
			}
			return w.tell(r, m, msg, b, form)
		}
	}
	if isForm(err) {
		w.cannotRead(m, ReasonOf(err), err.Error())
		return nil
	}
	return err
}

// isForm reports whether an error is of the forms, and not of the store.
func isForm(err error) bool {
	return errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnsupported) || errors.Is(err, ErrTampered) || errors.Is(err, ErrOtherKey)
}

// errWait: the key of a message is not here.
var errWait = fmt.Errorf("%w: its key has not arrived yet", ErrOtherKey)

// inContent reports whether a sealed message has the newer form.
func (m *Message) inContent() bool { return len(m.Content) > 0 && string(m.Content) != "null" }

// keyID returns the id of the room key that a message is sealed with.
func (m *Message) keyID() (string, error) {
	if !m.inContent() {
		return StringKeyID(m.Msg)
	}
	c, err := ParseContent(m.Content)
	if err != nil {
		return "", err
	}
	return c.RoomKeyID(), nil
}

// open opens a message with the room key that it names, never with another.
func (w *work) open(r *room, m *Message) ([]byte, Form, error) {
	id, err := m.keyID()
	if err != nil {
		return nil, 0, err
	}
	list, err := w.keys(r, id)
	if err != nil {
		return nil, 0, err
	}
	if len(list) == 0 {
		return nil, 0, errWait
	}
	var plain []byte
	for _, k := range slices.Backward(list) {
		if !m.inContent() {
			plain, err = OpenString(k, m.Msg)
		} else if c, cerr := ParseContent(m.Content); cerr != nil {
			err = cerr
		} else {
			plain, err = OpenContent(k, c)
		}
		if err == nil {
			return plain, k.Form(), nil
		}
	}
	return nil, 0, err
}

// quotation takes the quotation off a text. Clients write it in front, as a
// link without a text whose query names the quoted message in msg.
func quotation(text string) (id, rest string, ok bool) {
	const spaces = "\t\n\f\r "
	after, ok := strings.CutPrefix(text, "[ ](")
	end := strings.IndexAny(after, "()"+spaces)
	if !ok || end < 0 || after[end] != ')' {
		return "", "", false
	}
	for link := after[:end]; ; {
		at := max(strings.LastIndex(link, "?msg="), strings.LastIndex(link, "&msg="))
		if at < 0 {
			return "", "", false
		}
		id = after[at+len("?msg=") : end]
		if n := len(id) - len(strings.TrimLeft(id, form.Upper+form.Lower+form.Digits)); n > 0 {
			return id[:min(n, 64)], strings.TrimLeft(after[end+1:], spaces), true
		}
		link = link[:at]
	}
}

// tell hands out an opened message.
func (w *work) tell(r *room, m *Message, msg quinta.Message, b Body, form Form) error {
	if b.ID != "" && b.ID != m.ID || b.Sender != "" && string(b.Sender) != m.User.ID {
		w.cannotRead(m, quinta.ReasonSenderMismatch, "the sealed message names another id or sender")
		return nil
	}
	msg.Text = b.Text
	if b.Notice {
		msg.Kind = quinta.MessageNotice
	}
	if id, rest, ok := quotation(b.Text); ok && msg.Relation.Kind == "" {
		msg.Relation = quinta.Relation{Kind: quinta.RelationReply, To: quinta.MessageID(id)}
		msg.Text = rest
	}
	if form == V1 {
		msg.Weakness = quinta.WeakUnauthenticated
		if r.Legacy {
			msg.Weakness = quinta.WeakLegacy
		}
	}
	files := 0
	for _, a := range b.Attachments {
		if a.File == nil || a.Link == "" {
			continue
		}
		files++
		one := msg
		one.Kind, one.File = quinta.MessageFile, &quinta.File{Name: a.Title, MediaType: a.MediaType, Size: a.Size, Ref: fileRef(a.Link, a.File.Secret())}
		if one.Text == "" {
			one.Text = a.Description
		}
		if files > 1 {
			one.ID, one.Text = quinta.MessageID(fmt.Sprintf("%s#%d", msg.ID, files)), ""
		}
		w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: one})
	}
	if files == 0 {
		w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: msg})
	}
	return nil
}

// wait keeps a message until its key comes, and tells of it once.
func (w *work) wait(m *Message, edit bool) error {
	name := waitPrefix(m.Room) + string(m.ID)
	if edit {
		name += "@"
	}
	_, found, err := e2ee.Load[waitRecord](w.tx, name)
	if err != nil {
		return err
	}
	if !found && !edit {
		reason := quinta.ReasonNoKeyYet
		if w.meta.Keys.Phase == PhaseLocked {
			reason = quinta.ReasonBackupLocked
		}
		w.cannotRead(m, reason, "")
	}
	w.meta.Asks = true
	if err := w.holdWaiting(m.User.ID, name); err != nil {
		return err
	}
	return e2ee.Store(w.tx, name, waitRecord{*m})
}

// retryRoom tries again what waits in a room, in the order in which it was said.
func (w *work) retryRoom(id quinta.RoomID) error {
	r, err := w.room(id)
	if err != nil || r == nil {
		return err
	}
	var waiting []e2ee.Record[waitRecord]
	for rec, err := range e2ee.Records[waitRecord](w.tx, waitPrefix(id)) {
		if err != nil {
			return err
		}
		waiting = append(waiting, rec)
	}
	order.By(waiting, func(a, b e2ee.Record[waitRecord]) int {
		x, y := &a.Value.Message, &b.Value.Message
		return cmp.Compare(max(x.TS, x.Edited), max(y.TS, y.Edited))
	})
	for _, rec := range waiting {
		if _, _, err := w.open(r, &rec.Value.Message); errors.Is(err, errWait) {
			continue
		}
		if err := w.release(w.waitingBound(), rec.Key); err != nil {
			return err
		}
		if err := w.show(r, &rec.Value.Message, strings.HasSuffix(rec.Name, "@")); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) retryAll() error {
	ids, err := w.roomIDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := w.retryRoom(id); err != nil {
			return err
		}
	}
	return nil
}

// takeDeleted takes in that a message was taken back.
func (w *work) takeDeleted(d Deleted) error {
	if !validID(string(d.Room)) || !validID(string(d.ID)) {
		return nil
	}
	seen, found, err := e2ee.Load[seenRecord](w.tx, seenKey(d.Room, d.ID))
	if err != nil || seen.Gone {
		return err
	}
	if !found {
		if err := w.hold(w.goneBound(), string(d.Room), seenKey(d.Room, d.ID)); err != nil {
			return err
		}
	}
	seen.Gone = true
	for _, suffix := range []string{"", "@"} {
		if err := w.release(w.waitingBound(), waitPrefix(d.Room)+string(d.ID)+suffix); err != nil {
			return err
		}
	}
	w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: quinta.Message{ID: d.ID + "@gone", Room: d.Room, Sender: w.name(seen.User), Time: w.now, Kind: quinta.MessageRedaction,
		Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: d.ID}}})
	return e2ee.Store(w.tx, seenKey(d.Room, d.ID), seen)
}

// reactions tells of reactions that are new or gone. They are in clear on this
// network, and the server alone says whose they are.
func (w *work) reactions(r *room, m *Message, was []string) []string {
	var now []string
	for emoji, by := range m.Reactions {
		for _, user := range by.Users {
			if len(now) < 1000 && len(emoji) <= 64 && len(user) <= 256 && emoji != "" {
				now = append(now, emoji+"/"+user)
			}
		}
	}
	slices.Sort(now)
	at := max(m.Updated, m.TS).Time()
	for _, x := range now {
		if slices.Contains(was, x) {
			continue
		}
		emoji, user, _ := strings.Cut(x, "/")
		msg := quinta.Message{ID: m.ID + quinta.MessageID("~"+x), Room: m.Room, Sender: quinta.UserID(user), Time: at, Kind: quinta.MessageReaction,
			Relation: quinta.Relation{Kind: quinta.RelationReaction, To: m.ID, Key: emoji}}
		if r.State.Encrypted {
			msg.Weakness = quinta.WeakPlain
		}
		w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: msg})
	}
	for _, x := range was {
		if slices.Contains(now, x) {
			continue
		}
		_, user, _ := strings.Cut(x, "/")
		w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: quinta.Message{ID: m.ID + quinta.MessageID("~-"+x), Room: m.Room, Sender: quinta.UserID(user), Time: at,
			Kind: quinta.MessageRedaction, Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: m.ID + quinta.MessageID("~"+x)}}})
	}
	return now
}
