package keysrv

import (
	"encoding/json"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A body is the content of an envelope: what someone said.
type body struct {
	// Kind is a quinta.MessageKind; empty is a text.
	Kind     quinta.MessageKind `json:"kind,omitempty"`
	Text     string             `json:"text,omitempty"`
	File     *fileBody          `json:"file,omitempty"`
	Relation *quinta.Relation   `json:"relation,omitempty"`
	Mentions []quinta.UserID    `json:"mentions,omitempty"`
	// Type and Data are a message of another type, in JSON.
	Type string          `json:"type,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`
}

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
	maxType     = 255
	// maxBody bounds a body in bytes; the stanza is a third longer.
	maxBody = 128 << 10
)

// render makes the body of a message: Type with the JSON object Body, or the
// words that all networks share.
func render(m *quinta.Message) (*body, error) {
	if m.Type != "" {
		if len(m.Type) > maxType || canonicaljson.Valid(m.Body) != nil {
			return nil, fmt.Errorf("%w: the body of a message is JSON with whole numbers", ErrMalformed)
		}
		return &body{Kind: quinta.MessageOther, Type: m.Type, Data: m.Body}, nil
	}
	b := &body{Kind: m.Kind, Text: m.Text, Mentions: m.Mentions}
	if b.Kind == quinta.MessageText {
		b.Kind = ""
	}
	if b.Kind != "" && !spoken[b.Kind] || b.Kind == quinta.MessageOther || len(m.Mentions) > maxMentions {
		return nil, fmt.Errorf("%w: the kind or the mentions of a message", ErrMalformed)
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

// parseBody reads what was sealed. What it does not know it leaves out.
func parseBody(raw []byte) (*body, error) {
	b := &body{}
	if exactjson.Unmarshal(raw, b) != nil || len(b.Mentions) > maxMentions || len(b.Type) > maxType {
		return nil, fmt.Errorf("%w: the body of a message", ErrMalformed)
	}
	return b, nil
}

// message fills the words of a message.
func (b *body) message(m *quinta.Message) {
	m.Kind, m.Text, m.Mentions = b.Kind, b.Text, b.Mentions
	if b.Kind == "" {
		m.Kind = quinta.MessageText
	} else if !spoken[b.Kind] {
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
