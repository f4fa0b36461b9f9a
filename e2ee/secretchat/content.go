package secretchat

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gotd/td/tg/e2e"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A FileRef is the Ref of a quinta.File in JSON: how to open the file, and
// where it is. One of Upload and Location is set.
type FileRef struct {
	Key  []byte `json:"key"`
	IV   []byte `json:"iv"`
	Size int64  `json:"size"`
	// Room and ID are those of the message with which the file came.
	Room     quinta.RoomID    `json:"room,omitempty"`
	ID       quinta.MessageID `json:"id,omitempty"`
	Upload   *Upload          `json:"upload,omitempty"`
	Location *Location        `json:"location,omitempty"`
}

// MaxFileSize is the length of the longest file in bytes.
const MaxFileSize = 4000 << 20

func seconds(unix int64) time.Time { return time.Unix(unix, 0) }

// render makes the object of a message for a peer that reads remote. Its
// random_id is left at 0.
func render(m *quinta.Message, remote, ttl int) (e2e.DecryptedMessageClass, error) {
	out := &e2e.DecryptedMessage{TTL: ttl, Message: m.Text}
	switch m.Relation.Kind {
	case "":
	case quinta.RelationReply, quinta.RelationRedaction:
		id, ok := randomID(m.Relation.To)
		if !ok {
			return nil, fmt.Errorf("%w: it refers to a message of another network", ErrNoSuchForm)
		}
		if m.Relation.Kind == quinta.RelationRedaction {
			return &e2e.DecryptedMessageService{Action: &e2e.DecryptedMessageActionDeleteMessages{RandomIDs: []int64{id}}}, nil
		}
		out.ReplyToRandomID = id
	default:
		return nil, fmt.Errorf("%w: no edits, reactions or threads", ErrNoSuchForm)
	}
	switch {
	case m.Type != "":
		return nil, fmt.Errorf("%w: type %q", ErrNoSuchForm, m.Type)
	case m.Kind == quinta.MessageFile && m.File != nil:
		media, err := document(m, remote)
		out.Message, out.Media = "", media
		return out, err
	case m.Kind == quinta.MessageText || m.Kind == quinta.MessageNotice:
		if m.Text == "" {
			return nil, fmt.Errorf("%w: the text is empty", ErrNoSuchForm)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: kind %q", ErrNoSuchForm, m.Kind)
}

// document makes the media of a file. A peer below layer 143 gets the form
// with a size of 31 bits.
func document(m *quinta.Message, remote int) (e2e.DecryptedMessageMediaClass, error) {
	var ref FileRef
	if err := exactjson.Unmarshal(m.File.Ref, &ref); err != nil || ref.Size < 0 || ref.Size > MaxFileSize {
		return nil, fmt.Errorf("%w: the file", ErrMalformed)
	}
	attributes := []e2e.DocumentAttributeClass{&e2e.DocumentAttributeFilename{FileName: m.File.Name}}
	if remote >= LayerLarge {
		return &e2e.DecryptedMessageMediaDocument{MimeType: m.File.MediaType, Size: ref.Size, Key: ref.Key, Iv: ref.IV, Attributes: attributes, Caption: m.Text}, nil
	}
	if ref.Size > math.MaxInt32 {
		return nil, fmt.Errorf("%w: the other side cannot read a file of this size", ErrNoSuchForm)
	}
	return &e2e.DecryptedMessageMediaDocument46{MimeType: m.File.MediaType, Size: int(ref.Size), Key: ref.Key, Iv: ref.IV, Attributes: attributes, Caption: m.Text}, nil
}

// content fills in what the peer wrote.
func content(m *quinta.Message, d *e2e.DecryptedMessage, at *Location) {
	m.ID, m.Kind, m.Text = messageID(d.RandomID), quinta.MessageText, d.Message
	if d.ReplyToRandomID != 0 {
		m.Relation = quinta.Relation{Kind: quinta.RelationReply, To: messageID(d.ReplyToRandomID)}
	}
	var f media
	switch v := d.Media.(type) {
	case nil, *e2e.DecryptedMessageMediaEmpty, *e2e.DecryptedMessageMediaWebPage:
		return // the address is in the text as well
	case *e2e.DecryptedMessageMediaDocument:
		f = media{v.Size, v.Key, v.Iv, v.Caption, v.MimeType, fileName(v.Attributes)}
	case *e2e.DecryptedMessageMediaDocument46:
		f = media{int64(v.Size), v.Key, v.Iv, v.Caption, v.MimeType, fileName(v.Attributes)}
	case *e2e.DecryptedMessageMediaPhoto:
		f = media{int64(v.Size), v.Key, v.Iv, v.Caption, "image/jpeg", "photo.jpg"}
	case *e2e.DecryptedMessageMediaVideo:
		f = media{int64(v.Size), v.Key, v.Iv, v.Caption, v.MimeType, "video"}
	case *e2e.DecryptedMessageMediaAudio:
		f = media{int64(v.Size), v.Key, v.Iv, "", v.MimeType, "audio"}
	default:
		m.Kind, m.Type = quinta.MessageOther, v.TypeName()
		m.Text = describe(v)
		return
	}
	m.Kind = quinta.MessageFile
	if m.Text == "" {
		m.Text = f.caption
	}
	m.File = &quinta.File{Name: f.name, MediaType: f.mime, Size: f.size, Ref: e2ee.JSON(FileRef{Key: f.key, IV: f.iv, Size: f.size, Location: at, Room: m.Room, ID: m.ID})}
}

// media is what all kinds of files have.
type media struct {
	size                int64
	key, iv             []byte
	caption, mime, name string
}

// fileName is the name that a file came with, or what it is.
func fileName(attributes []e2e.DocumentAttributeClass) string {
	name := "document"
	for _, a := range attributes {
		switch a := a.(type) {
		case *e2e.DocumentAttributeFilename:
			return a.FileName
		case *e2e.DocumentAttributeVideo:
			name = "video"
		case *e2e.DocumentAttributeAudio:
			name = "audio"
		case *e2e.DocumentAttributeSticker:
			name = "sticker"
		}
	}
	return name
}

// describe puts media that are no file into words.
func describe(v e2e.DecryptedMessageMediaClass) string {
	point := func(lat, long float64) string {
		return "geo:" + strconv.FormatFloat(lat, 'f', 6, 64) + "," + strconv.FormatFloat(long, 'f', 6, 64)
	}
	switch v := v.(type) {
	case *e2e.DecryptedMessageMediaGeoPoint:
		return point(v.Lat, v.Long)
	case *e2e.DecryptedMessageMediaVenue:
		return v.Title + ", " + v.Address + " (" + point(v.Lat, v.Long) + ")"
	case *e2e.DecryptedMessageMediaContact:
		return v.FirstName + " " + v.LastName + " " + v.PhoneNumber
	case *e2e.DecryptedMessageMediaExternalDocument:
		for _, a := range v.Attributes {
			if s, ok := a.(*e2e.DocumentAttributeSticker); ok {
				return s.Alt
			}
		}
	}
	return ""
}
