package ca

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A body is the content of a message: from a person, or from one device to
// another. Kind distinguishes the two, and a delivery of one kind never counts
// as one of another.
type body struct {
	// Kind is a quinta.MessageKind, or one of the kinds below.
	Kind     quinta.MessageKind `json:"kind"`
	Text     string             `json:"text,omitempty"`
	File     *fileBody          `json:"file,omitempty"`
	Relation *quinta.Relation   `json:"relation,omitempty"`
	Mentions []quinta.UserID    `json:"mentions,omitempty"`
	// Type and Data are a message of another type, in JSON.
	Type string          `json:"type,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`
	// Session offers session mode.
	Session *sessionOffer `json:"session,omitempty"`
	// Unread are the messages that no device could read (kind "unread").
	Unread []quinta.MessageID `json:"unread,omitempty"`
	// Keys are for the devices of one user (kind "keys").
	Keys *keyring `json:"keys,omitempty"`
}

// The kinds of what devices say to each other.
const (
	bodyUnread quinta.MessageKind = "unread"
	bodyKeys   quinta.MessageKind = "keys"
)

// spoken are the kinds of what people say.
var spoken = map[quinta.MessageKind]bool{quinta.MessageText: true, quinta.MessageNotice: true, quinta.MessageEmote: true,
	quinta.MessageFile: true, quinta.MessageReaction: true, quinta.MessageRedaction: true, quinta.MessageOther: true}

// A fileBody is a file with the reference that opens it.
type fileBody struct {
	Name      string `json:"name"`
	MediaType string `json:"mediaType,omitempty"`
	Size      int64  `json:"size"`
	Ref       []byte `json:"ref,omitempty"`
}

// The bounds of a body.
const (
	maxMentions = 1000
	maxUnread   = 500
	maxType     = 255
)

// render makes the body of a message: Type with the JSON object Body, or the
// words that all networks share.
func render(m *quinta.Message) (*body, error) {
	if m.Type != "" {
		if len(m.Type) > maxType || canonicaljson.Valid(m.Body) != nil {
			return nil, fmt.Errorf("%w: the body of a message is JSON with whole numbers", cert.ErrMalformed)
		}
		return &body{Kind: quinta.MessageOther, Type: m.Type, Data: m.Body}, nil
	}
	b := &body{Kind: m.Kind, Text: m.Text, Mentions: m.Mentions}
	if b.Kind == "" {
		b.Kind = quinta.MessageText
	}
	if !spoken[b.Kind] || b.Kind == quinta.MessageOther || len(m.Mentions) > maxMentions {
		return nil, fmt.Errorf("%w: the kind or the mentions of a message", cert.ErrMalformed)
	}
	if m.Relation != (quinta.Relation{}) {
		r := m.Relation
		b.Relation = &r
	}
	if m.File != nil {
		b.File = &fileBody{Name: m.File.Name, MediaType: m.File.MediaType, Size: m.File.Size, Ref: m.File.Ref}
	}
	return b, nil
}

// parseBody reads what was signed. What it does not know it leaves out.
func parseBody(raw []byte) (*body, error) {
	b := &body{}
	if exactjson.Unmarshal(raw, b) != nil || b.Kind == "" || len(b.Mentions) > maxMentions || len(b.Unread) > maxUnread || len(b.Type) > maxType {
		return nil, fmt.Errorf("%w: the body of a message", cert.ErrMalformed)
	}
	return b, nil
}

// message fills the words of a message.
func (b *body) message(m *quinta.Message) {
	m.Kind, m.Text, m.Mentions = b.Kind, b.Text, b.Mentions
	if !spoken[b.Kind] {
		m.Kind = quinta.MessageOther
	}
	if b.Relation != nil {
		m.Relation = *b.Relation
	}
	if f := b.File; f != nil {
		m.File = &quinta.File{Name: f.Name, MediaType: f.MediaType, Size: f.Size, Ref: f.Ref}
	}
	m.Type, m.Body = b.Type, b.Data
}

// claimed is what the envelope of an item says in clear.
func (it *Item) claimed() quinta.Message {
	return quinta.Message{ID: it.ID, Room: it.Conv, Sender: it.From, Device: it.Device, Time: it.Received, Kind: quinta.MessageOther, Encrypted: true}
}

// messageTime is a signed time.
func messageTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
