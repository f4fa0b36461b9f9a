package matrix

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// Event types of messages.
const (
	typeMessage   = "m.room.message"
	typeReaction  = "m.reaction"
	typeRedaction = "m.room.redaction"
)

// maxMentions bounds whom a message can mention.
const maxMentions = 1000

// messageContent is the part of a content that has words in quinta.Message.
type messageContent struct {
	MsgType string          `json:"msgtype,omitempty"`
	Body    string          `json:"body,omitempty"`
	Name    string          `json:"filename,omitempty"`
	File    json.RawMessage `json:"file,omitempty"`
	URL     string          `json:"url,omitempty"`
	Info    *fileInfo       `json:"info,omitempty"`
	Relates *relatesTo      `json:"m.relates_to,omitempty"`
	New     json.RawMessage `json:"m.new_content,omitempty"`
	Redacts string          `json:"redacts,omitempty"`
	Mention *mentions       `json:"m.mentions,omitempty"`
}

type mentions struct {
	Users []quinta.UserID `json:"user_ids,omitempty"`
}

type fileInfo struct {
	MediaType string `json:"mimetype,omitempty"`
	Size      *int64 `json:"size,omitempty"`
}

type relatesTo struct {
	Type    string           `json:"rel_type,omitempty"`
	Event   quinta.MessageID `json:"event_id,omitempty"`
	Key     string           `json:"key,omitempty"`
	ReplyTo *struct {
		Event quinta.MessageID `json:"event_id"`
	} `json:"m.in_reply_to,omitempty"`
}

// message returns the outside of an event.
func message(room quinta.RoomID, e roomEvent) quinta.Message {
	return quinta.Message{
		ID: e.ID, Room: room, Sender: e.Sender, Time: time.UnixMilli(e.Time), Txn: e.Unsigned.Txn,
		Kind: quinta.MessageOther, Type: e.Type, Body: e.Content,
	}
}

// describe fills the words that all networks share from Type and Body. A
// content of an unknown shape is MessageOther and has no words.
func describe(m *quinta.Message, redacts quinta.MessageID) {
	m.Kind = quinta.MessageOther
	var c messageContent
	if exactjson.Unmarshal(m.Body, &c) != nil {
		return
	}
	switch m.Type {
	case typeMessage:
		describeMessage(m, c)
	case typeReaction:
		if c.Relates != nil && c.Relates.Type == "m.annotation" && c.Relates.Event != "" {
			m.Kind = quinta.MessageReaction
			m.Relation = quinta.Relation{Kind: quinta.RelationReaction, To: c.Relates.Event, Key: c.Relates.Key}
		}
	case typeRedaction:
		if c.Redacts != "" {
			redacts = quinta.MessageID(c.Redacts)
		}
		if redacts != "" {
			m.Kind, m.Relation = quinta.MessageRedaction, quinta.Relation{Kind: quinta.RelationRedaction, To: redacts}
		}
	}
}

func describeMessage(m *quinta.Message, c messageContent) {
	if r := c.Relates; r != nil {
		var n messageContent
		switch {
		case r.Type == "m.replace" && r.Event != "":
			// Without a new content it is no edit ("Validity of replacement
			// events"), and stands by itself.
			if c.New != nil && exactjson.Unmarshal(c.New, &n) == nil {
				m.Relation, c = quinta.Relation{Kind: quinta.RelationReplace, To: r.Event}, n
			}
		default:
			m.Relation = r.refers()
			if m.Relation.Kind == quinta.RelationReply {
				c.Body = withoutFallback(c.Body)
			}
		}
	}
	m.Text = c.Body
	if c.Mention != nil && len(c.Mention.Users) <= maxMentions {
		m.Mentions = c.Mention.Users
	}
	switch c.MsgType {
	case "m.text":
		m.Kind = quinta.MessageText
	case "m.notice":
		m.Kind = quinta.MessageNotice
	case "m.emote":
		m.Kind = quinta.MessageEmote
	case "m.file", "m.image", "m.audio", "m.video":
		m.Kind = quinta.MessageFile
		m.File = file(c)
		if m.File.Name == c.Body {
			m.Text = ""
		}
		if m.Encrypted && c.File == nil {
			m.Weakness = quinta.WeakUnauthenticated // the server can give out another file
		}
	default:
		m.Text = ""
	}
}

// refers returns the relations that change no text: the answer to a message,
// and the place in a thread.
func (r *relatesTo) refers() quinta.Relation {
	switch {
	case r.Type == "m.thread" && r.Event != "":
		return quinta.Relation{Kind: quinta.RelationThread, To: r.Event}
	case r.ReplyTo != nil && r.ReplyTo.Event != "":
		return quinta.Relation{Kind: quinta.RelationReply, To: r.ReplyTo.Event}
	}
	return quinta.Relation{}
}

// hint takes the relation of the clear part of a sealed message that has none
// of its own: servers need it there, and some programs write it there only. It
// is the server's claim. So it may say what a message answers, which is marked,
// and nothing that would change or cut a text, or make a message of something
// else.
func hint(m *quinta.Message, relation json.RawMessage) {
	var sealed struct {
		Relates json.RawMessage `json:"m.relates_to"`
	}
	var r relatesTo
	if m.Type != typeMessage || relation == nil || exactjson.Unmarshal(m.Body, &sealed) != nil || sealed.Relates != nil || exactjson.Unmarshal(relation, &r) != nil {
		return
	}
	if m.Relation = r.refers(); m.Relation.Kind != "" {
		m.Weakness = quinta.WeakRelation
	}
}

// withoutFallback takes away the quotation that older programs put before an
// answer ("Fallbacks for rich replies").
func withoutFallback(body string) string {
	if !strings.HasPrefix(body, "> <") {
		return body
	}
	quoted, rest, ok := strings.Cut(body, "\n\n")
	if !ok {
		return body
	}
	for line := range strings.SplitSeq(quoted, "\n") {
		if !strings.HasPrefix(line, ">") {
			return body
		}
	}
	return rest
}

// messageTypes are the types of file messages by the kind of medium.
var messageTypes = map[string]string{"image": "m.image", "video": "m.video", "audio": "m.audio"}

// file returns the file of a message. Ref is its EncryptedFile, or for a file
// in clear {"url": ...}.
func file(c messageContent) *quinta.File {
	f := &quinta.File{Name: c.Name, Size: -1, Ref: c.File}
	if f.Name == "" {
		f.Name = c.Body
	}
	if f.Ref == nil && c.URL != "" {
		f.Ref = e2ee.JSON(map[string]string{"url": c.URL})
	}
	if c.Info != nil {
		f.MediaType = c.Info.MediaType
		if c.Info.Size != nil && *c.Info.Size >= 0 {
			f.Size = *c.Info.Size
		}
	}
	return f
}

// render returns the event type and content of a message that is given in the
// words that all networks share.
func render(m quinta.Message) (typ string, content []byte, err error) {
	var c messageContent
	switch m.Kind {
	case quinta.MessageText, "":
		c.MsgType, c.Body = "m.text", m.Text
	case quinta.MessageNotice:
		c.MsgType, c.Body = "m.notice", m.Text
	case quinta.MessageEmote:
		c.MsgType, c.Body = "m.emote", m.Text
	case quinta.MessageFile:
		if m.File == nil || !json.Valid(m.File.Ref) {
			return "", nil, fmt.Errorf("%w: message without its file", ErrMalformed)
		}
		c = renderFile(m)
	case quinta.MessageReaction:
		if m.Relation.To == "" || m.Relation.Key == "" {
			return "", nil, fmt.Errorf("%w: a reaction without a target", ErrMalformed)
		}
		c.Relates = &relatesTo{Type: "m.annotation", Event: m.Relation.To, Key: m.Relation.Key}
		return typeReaction, e2ee.JSON(c), nil
	case quinta.MessageRedaction:
		if m.Relation.To == "" {
			return "", nil, fmt.Errorf("%w: a redaction without a target", ErrMalformed)
		}
		out := map[string]string{}
		if m.Text != "" {
			out["reason"] = m.Text
		}
		return typeRedaction, e2ee.JSON(out), nil
	default:
		return "", nil, fmt.Errorf("%w: a message of this kind needs a type and a body", ErrMalformed)
	}
	if c.Body == "" {
		return "", nil, fmt.Errorf("%w: message without text", ErrMalformed)
	}
	if len(m.Mentions) > 0 {
		c.Mention = &mentions{m.Mentions}
	}
	return typeMessage, renderRelation(m, c), nil
}

func renderFile(m quinta.Message) messageContent {
	c := messageContent{MsgType: "m.file", Body: m.Text, Name: m.File.Name}
	medium, _, _ := strings.Cut(m.File.MediaType, "/")
	if t := messageTypes[medium]; t != "" {
		c.MsgType = t
	}
	if c.Body == "" {
		c.Body = m.File.Name
	}
	c.Info = &fileInfo{MediaType: m.File.MediaType}
	if m.File.Size >= 0 {
		c.Info.Size = &m.File.Size
	}
	var clear struct {
		URL string          `json:"url"`
		Key json.RawMessage `json:"key"`
	}
	if exactjson.Unmarshal(m.File.Ref, &clear) == nil && clear.Key == nil {
		c.URL = clear.URL
	} else {
		c.File = m.File.Ref
	}
	return c
}

func renderRelation(m quinta.Message, c messageContent) []byte {
	reply := func(to quinta.MessageID) *relatesTo {
		r := &relatesTo{}
		r.ReplyTo = &struct {
			Event quinta.MessageID `json:"event_id"`
		}{to}
		return r
	}
	switch m.Relation.Kind {
	case quinta.RelationReplace:
		c.New = e2ee.JSON(c)
		c.Body = "* " + c.Body
		c.Relates = &relatesTo{Type: "m.replace", Event: m.Relation.To}
	case quinta.RelationReply:
		c.Relates = reply(m.Relation.To)
	case quinta.RelationThread:
		c.Relates = reply(m.Relation.To)
		c.Relates.Type, c.Relates.Event = "m.thread", m.Relation.To
	}
	return e2ee.JSON(c)
}
