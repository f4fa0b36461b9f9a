package rocketchatserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// maxText bounds a text in clear, as Message_MaxAllowedSize says.
const maxText = 5000

var idForm = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

func (s *rcServer) messageCalls() {
	s.post("chat.sendMessage", func(c *call) (any, error) {
		var q struct {
			Message json.RawMessage `json:"message"`
			Preview bool            `json:"previewUrls"`
		}
		if err := c.decode(&q); err != nil {
			return nil, err
		}
		m, err := c.sendMessage(q.Message)
		return answer{"message": m}, err
	})
	s.ddp("sendMessage", func(c *call) (any, error) {
		if len(c.params) == 0 {
			return nil, invalid("no message was given")
		}
		return c.sendMessage(c.params[0])
	})
	s.post("chat.update", (*call).updateMessage)
	s.post("chat.delete", (*call).deleteMessage)
	s.post("chat.react", (*call).react)
	s.get("chat.getMessage", (*call).getMessage)
}

// A draft is a message as clients send it.
type draft struct {
	ID       quinta.MessageID `json:"_id"`
	Room     quinta.RoomID    `json:"rid"`
	Type     string           `json:"t"`
	Msg      string           `json:"msg"`
	Content  json.RawMessage  `json:"content"`
	E2E      string           `json:"e2e"`
	Mentions json.RawMessage  `json:"e2eMentions"`
	Thread   quinta.MessageID `json:"tmid"`
	Show     bool             `json:"tshow"`
	TS       json.RawMessage  `json:"ts"`
	User     json.RawMessage  `json:"u"`
	Updated  json.RawMessage  `json:"_updatedAt"`
}

// checkSealed refuses what is not a sealed message in one of its forms.
func checkSealed(msg string, content json.RawMessage) error {
	if len(content) > 0 && string(content) != "null" {
		if _, err := rocketchat.ParseContent(content); err != nil {
			return invalid("content is not a sealed message")
		}
		if msg != "" { // mobile clients repeat the ciphertext there
			if _, err := rocketchat.StringKeyID(msg); err != nil {
				return invalid("msg is not a sealed message")
			}
		}
		return nil
	}
	if _, err := rocketchat.StringKeyID(msg); err != nil {
		return invalid("msg is not a sealed message")
	}
	return nil
}

// checkBody refuses a message that does not belong in a room: an encrypted
// room takes only sealed ones.
func checkBody(r *roomRow, kind, msg string, content json.RawMessage) error {
	switch {
	case r.Encrypted && kind != rocketchat.TypeE2E:
		return refused(wire.CodeForbidden, "this room takes encrypted messages only")
	case kind == rocketchat.TypeE2E && !r.Encrypted:
		return refused(wire.CodeForbidden, "this room is not encrypted")
	case kind == rocketchat.TypeE2E:
		return checkSealed(msg, content)
	case kind != "":
		return invalid("clients can send only messages without a type or with the type e2e")
	case len(content) > 0 && string(content) != "null":
		return invalid("content is for encrypted messages only")
	case msg == "" || len(msg) > 4*maxText:
		return refused("error-message-size-exceeded", "a message has 1 to 5000 characters")
	}
	return nil
}

// sendMessage takes a message. The same one again is the same message.
func (c *call) sendMessage(raw json.RawMessage) (*rocketchat.Message, error) {
	var d draft
	if err := strict(raw, &d); err != nil {
		return nil, err
	}
	if d.ID == "" {
		id, err := rocketchat.NewID(c.Rand)
		if err != nil {
			return nil, err
		}
		d.ID = quinta.MessageID(id)
	}
	if !idForm.MatchString(string(d.ID)) || len(d.Mentions) > 4096 {
		return nil, invalid("the id of a message must consist of letters and digits")
	}
	if d.Type == rocketchat.TypeOTR {
		return c.sendOTR(d)
	}
	var m *rocketchat.Message
	err := c.Update(c.ctx, func(tx *db.Tx) (err error) {
		r, _, err := c.mine(tx, d.Room)
		if err != nil {
			return err
		}
		if err := checkBody(r, d.Type, d.Msg, d.Content); err != nil {
			return err
		}
		m = &rocketchat.Message{ID: d.ID, Room: d.Room, Type: d.Type, Msg: d.Msg, Content: d.Content, E2E: d.E2E, Thread: d.Thread}
		m, err = c.store(tx, r, m)
		return err
	})
	return m, err
}

// store keeps a new message of the caller's and tells the members.
func (c *call) store(tx *db.Tx, r *roomRow, m *rocketchat.Message) (*rocketchat.Message, error) {
	sum := sumOf(m)
	have, haveSum, err := getMessage(tx, m.ID)
	if err == nil {
		if have.User.ID != c.me.ID || have.Room != m.Room || !bytes.Equal(haveSum, sum) {
			return nil, refused("error-duplicate-message-id", "this id belongs to another message")
		}
		return have, nil
	}
	if !errors.Is(err, errNoMessage) {
		return nil, err
	}
	if m.Thread != "" {
		if of, _, err := getMessage(tx, m.Thread); err != nil || of.Room != m.Room {
			return nil, invalid("the thread does not belong to a message in this room")
		}
	}
	m.User, m.TS, m.Updated = c.me.author(), rocketchat.Date(tx.Millis()), rocketchat.Date(tx.Millis())
	if err := putMessage(tx, m, sum, 0); err != nil {
		return nil, err
	}
	return m, c.announce(tx, r, m)
}

// sumOf names what a client asked for, so that the same again is known.
func sumOf(m *rocketchat.Message) []byte {
	h := sha256.New()
	for _, part := range []string{string(m.Room), m.Type, m.Msg, string(m.Content), string(m.Thread)} {
		h.Write([]byte(part + "\x00"))
	}
	return h.Sum(nil)
}

// announce counts a new message and tells the members of it.
func (s *rcServer) announce(tx *db.Tx, r *roomRow, m *rocketchat.Message) error {
	r.Last, r.Messages = int64(m.TS), r.Messages+1
	if err := tx.Queue(`UPDATE rocketchat_room SET last = $2, messages = messages + 1, updated = $2 WHERE id = $1`, r.ID, int64(m.TS)); err != nil {
		return err
	}
	if err := tx.Queue(`UPDATE rocketchat_sub SET unread = unread + 1 WHERE room = $1 AND user_id <> $2`, r.ID, m.User.ID); err != nil {
		return err
	}
	if err := s.notePush(tx, m); err != nil {
		return err
	}
	return keepEvent(tx, m.User.ID, "", scopeRoom(r.ID), "stream-room-messages", string(r.ID), []any{m})
}

// system writes a message of the server's own.
func (s *rcServer) system(tx *db.Tx, r *roomRow, by person, kind, text string) error {
	id, err := rocketchat.NewID(s.Rand)
	if err != nil {
		return err
	}
	m := &rocketchat.Message{ID: quinta.MessageID(id), Room: r.ID, Type: kind, Msg: text, User: by.author(), TS: rocketchat.Date(tx.Millis()), Updated: rocketchat.Date(tx.Millis())}
	if err := putMessage(tx, m, nil, 0); err != nil {
		return err
	}
	return s.announce(tx, r, m)
}

var errNoMessage = &quinta.Error{Kind: quinta.KindNotFound, Op: "message", Err: wire.NewError(http.StatusBadRequest, wire.CodeNoMessage, "there is no such message")}

// getMessage returns a message that was not taken back, and its sum.
func getMessage(tx *db.Tx, id quinta.MessageID) (*rocketchat.Message, []byte, error) {
	var body, sum []byte
	var gone bool
	err := tx.Row(`SELECT body, sum, gone FROM rocketchat_message WHERE id = $1`, id).Scan(&body, &sum, &gone)
	if errors.Is(err, db.ErrNoRows) || err == nil && gone {
		return nil, nil, errNoMessage
	}
	if err != nil {
		return nil, nil, err
	}
	m := &rocketchat.Message{}
	return m, sum, json.Unmarshal(body, m)
}

// putMessage stores a message in place of one whose body had so many bytes, 0 if
// there is none.
func putMessage(tx *db.Tx, m *rocketchat.Message, sum []byte, before int64) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if sum == nil {
		sum = []byte{}
	}
	if before == 0 {
		before = -db.RowBytes // a new row
	}
	tx.Count(db.UserOf(name, quinta.UserID(m.User.ID)), db.ClassMessages, int64(len(body))-before)
	return tx.Queue(`INSERT INTO rocketchat_message (id, room, user_id, thread, at, updated, gone, sum, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET updated = excluded.updated, body = excluded.body`,
		m.ID, m.Room, m.User.ID, m.Thread, int64(m.TS), int64(m.Updated), false, sum, body)
}

// bodyBytes is how long the stored body of a message is.
func bodyBytes(tx *db.Tx, id quinta.MessageID) (int64, error) {
	var n int64
	err := tx.Row(`SELECT LENGTH(body) FROM rocketchat_message WHERE id = $1`, id).Scan(&n)
	return n, err
}

// ours returns a message of one of the caller's rooms.
func (c *call) ours(tx *db.Tx, id quinta.MessageID) (*roomRow, *subRow, *rocketchat.Message, []byte, error) {
	m, sum, err := getMessage(tx, id)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	r, s, err := c.mine(tx, m.Room)
	if quinta.KindOf(err) == quinta.KindNotFound {
		err = errNoMessage
	}
	return r, s, m, sum, err
}

// change keeps a new form of a message and tells the members.
func (c *call) change(tx *db.Tx, m *rocketchat.Message, sum []byte) error {
	m.Updated = rocketchat.Date(tx.Millis())
	before, err := bodyBytes(tx, m.ID)
	if err != nil {
		return err
	}
	if err := putMessage(tx, m, sum, before); err != nil {
		return err
	}
	return c.event(tx, scopeRoom(m.Room), "stream-room-messages", string(m.Room), m)
}

func (c *call) updateMessage() (any, error) {
	var q struct {
		Room     quinta.RoomID    `json:"roomId"`
		ID       quinta.MessageID `json:"msgId"`
		Text     string           `json:"text"`
		Content  json.RawMessage  `json:"content"`
		Mentions json.RawMessage  `json:"e2eMentions"`
		Preview  []string         `json:"previewUrls"`
		Custom   json.RawMessage  `json:"customFields"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	var m *rocketchat.Message
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		r, _, have, sum, err := c.ours(tx, q.ID)
		if err != nil {
			return err
		}
		if have.Room != q.Room || have.User.ID != c.me.ID || have.Type != "" && have.Type != rocketchat.TypeE2E {
			return refused(wire.CodeForbidden, "only the author can change a message")
		}
		if have.Type == "" && r.Encrypted {
			return refused(wire.CodeForbidden, "this room takes encrypted messages only")
		}
		if err := checkBody(r, have.Type, q.Text, q.Content); err != nil {
			return err
		}
		m = have
		m.Msg, m.Content, m.Edited = q.Text, q.Content, rocketchat.Date(tx.Millis())
		return c.change(tx, m, sum)
	})
	return answer{"message": m}, err
}

// deleteMessage takes a message back, and the file that came with it.
func (c *call) deleteMessage() (any, error) {
	var q struct {
		Room   quinta.RoomID    `json:"roomId"`
		ID     quinta.MessageID `json:"msgId"`
		AsUser bool             `json:"asUser"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	at := int64(0)
	err := c.UpdateAlways(c.ctx, func(tx *db.Tx) error {
		r, s, m, _, err := c.ours(tx, q.ID)
		if err != nil {
			return err
		}
		if m.Room != q.Room || m.User.ID != c.me.ID && (s.Role == "" || r.Type == typeDirect) {
			return refused(wire.CodeForbidden, "only the author or an owner of the room can delete a message")
		}
		at = tx.Millis()
		n, err := bodyBytes(tx, q.ID)
		if err != nil {
			return err
		}
		tx.Count(db.UserOf(name, quinta.UserID(m.User.ID)), db.ClassMessages, -n)
		if err := tx.Queue(`UPDATE rocketchat_message SET gone = $2, updated = $3, body = $4 WHERE id = $1`, q.ID, true, at, []byte{}); err != nil {
			return err
		}
		var files []string
		for row, err := range tx.Query(`SELECT id FROM rocketchat_upload WHERE message = $1`, string(q.ID)) {
			if err != nil {
				return err
			}
			var id string
			if err := row.Scan(&id); err != nil {
				return err
			}
			files = append(files, id)
		}
		for _, id := range files {
			if err := removeUpload(tx, id); err != nil {
				return err
			}
		}
		return c.event(tx, scopeRoom(m.Room), "stream-notify-room", string(m.Room)+"/deleteMessage", answer{"_id": q.ID})
	})
	return answer{"_id": q.ID, "ts": rocketchat.Date(at), "message": answer{"_id": q.ID, "rid": q.Room, "u": c.me.author()}}, err
}

// maxReactions bounds the kinds of reaction to one message.
const maxReactions = 100

var emojiForm = regexp.MustCompile(`^:[0-9a-z_+-]{1,62}:$`)

// react adds the caller's reaction, or takes it back. Reactions are in clear in
// every version of this network.
func (c *call) react() (any, error) {
	var q struct {
		Emoji    string           `json:"emoji"`
		Reaction string           `json:"reaction"`
		ID       quinta.MessageID `json:"messageId"`
		Should   *bool            `json:"shouldReact"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Emoji == "" {
		q.Emoji = q.Reaction
	}
	if len(q.Emoji) > 0 && q.Emoji[0] != ':' {
		q.Emoji = ":" + q.Emoji + ":"
	}
	if !emojiForm.MatchString(q.Emoji) {
		return nil, refused("error-not-allowed", "a reaction must be the name of an emoji, such as :wave:")
	}
	return answer{}, c.Update(c.ctx, func(tx *db.Tx) error {
		_, _, m, sum, err := c.ours(tx, q.ID)
		if err != nil {
			return err
		}
		by := m.Reactions[q.Emoji].Users
		has := slices.Contains(by, string(c.me.Name))
		add := !has
		if q.Should != nil {
			add = *q.Should
		}
		switch {
		case add == has:
			return nil
		case add:
			by = append(by, string(c.me.Name))
		default:
			by = slices.DeleteFunc(by, func(u string) bool { return u == string(c.me.Name) })
		}
		if m.Reactions == nil {
			m.Reactions = map[string]rocketchat.Reactors{}
		}
		if m.Reactions[q.Emoji] = (rocketchat.Reactors{Users: by}); len(by) == 0 {
			delete(m.Reactions, q.Emoji)
		}
		if len(m.Reactions) > maxReactions {
			return quinta.E(quinta.KindTooLarge, "message", "too many kinds of reaction")
		}
		return c.change(tx, m, sum)
	})
}

func (c *call) getMessage() (any, error) {
	var m *rocketchat.Message
	err := c.View(c.ctx, func(tx *db.Tx) (err error) {
		_, _, m, _, err = c.ours(tx, quinta.MessageID(c.query.Get("msgId")))
		return err
	})
	return answer{"message": m}, err
}
