package secretchat

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
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
func render(m *quinta.Message, remote, ttl int) (schema.Message, error) {
	out := &schema.DecryptedMessage{TTL: ttl, Message: m.Text}
	switch m.Relation.Kind {
	case "":
	case quinta.RelationReply, quinta.RelationRedaction:
		id, ok := randomID(m.Relation.To)
		if !ok {
			return nil, fmt.Errorf("%w: it refers to a message of another network", ErrNoSuchForm)
		}
		if m.Relation.Kind == quinta.RelationRedaction {
			return &schema.DecryptedMessageService{Action: &schema.DecryptedMessageActionDeleteMessages{RandomIDs: []int64{id}}}, nil
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
func document(m *quinta.Message, remote int) (schema.Media, error) {
	var ref FileRef
	if err := exactjson.Unmarshal(m.File.Ref, &ref); err != nil || ref.Size < 0 || ref.Size > MaxFileSize {
		return nil, fmt.Errorf("%w: the file", ErrMalformed)
	}
	attributes := []schema.Attribute{&schema.DocumentAttributeFilename{FileName: m.File.Name}}
	if remote >= LayerLarge {
		return &schema.DecryptedMessageMediaDocument{MimeType: m.File.MediaType, Size: ref.Size, Key: ref.Key, IV: ref.IV, Attributes: attributes, Caption: m.Text}, nil
	}
	if ref.Size > math.MaxInt32 {
		return nil, fmt.Errorf("%w: the other side cannot read a file of this size", ErrNoSuchForm)
	}
	return &schema.DecryptedMessageMediaDocument46{MimeType: m.File.MediaType, Size: int(ref.Size), Key: ref.Key, IV: ref.IV, Attributes: attributes, Caption: m.Text}, nil
}

// content fills in what the peer wrote.
func content(m *quinta.Message, d *schema.DecryptedMessage, at *Location) {
	m.ID, m.Kind, m.Text = messageID(d.RandomID), quinta.MessageText, d.Message
	if d.ReplyToRandomID != 0 {
		m.Relation = quinta.Relation{Kind: quinta.RelationReply, To: messageID(d.ReplyToRandomID)}
	}
	var f media
	switch v := d.Media.(type) {
	case nil, *schema.DecryptedMessageMediaEmpty, *schema.DecryptedMessageMediaWebPage:
		return // the address is in the text as well
	case *schema.DecryptedMessageMediaDocument:
		f = media{v.Size, v.Key, v.IV, v.Caption, v.MimeType, fileName(v.Attributes)}
	case *schema.DecryptedMessageMediaDocument46:
		f = media{int64(v.Size), v.Key, v.IV, v.Caption, v.MimeType, fileName(v.Attributes)}
	case *schema.DecryptedMessageMediaPhoto:
		f = media{int64(v.Size), v.Key, v.IV, v.Caption, "image/jpeg", "photo.jpg"}
	case *schema.DecryptedMessageMediaVideo:
		f = media{int64(v.Size), v.Key, v.IV, v.Caption, v.MimeType, "video"}
	case *schema.DecryptedMessageMediaAudio:
		f = media{int64(v.Size), v.Key, v.IV, "", v.MimeType, "audio"}
	default:
		m.Kind, m.Type = quinta.MessageOther, schema.Name(v)
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
func fileName(attributes []schema.Attribute) string {
	name := "document"
	for _, a := range attributes {
		switch a := a.(type) {
		case *schema.DocumentAttributeFilename:
			return a.FileName
		case *schema.DocumentAttributeVideo:
			name = "video"
		case *schema.DocumentAttributeAudio:
			name = "audio"
		case *schema.DocumentAttributeSticker:
			name = "sticker"
		}
	}
	return name
}

// describe puts media that are no file into words.
func describe(v schema.Media) string {
	point := func(lat, long float64) string {
		return "geo:" + strconv.FormatFloat(lat, 'f', 6, 64) + "," + strconv.FormatFloat(long, 'f', 6, 64)
	}
	switch v := v.(type) {
	case *schema.DecryptedMessageMediaGeoPoint:
		return point(v.Lat, v.Long)
	case *schema.DecryptedMessageMediaVenue:
		return v.Title + ", " + v.Address + " (" + point(v.Lat, v.Long) + ")"
	case *schema.DecryptedMessageMediaContact:
		return v.FirstName + " " + v.LastName + " " + v.PhoneNumber
	case *schema.DecryptedMessageMediaExternalDocument:
		for _, a := range v.Attributes {
			if s, ok := a.(*schema.DocumentAttributeSticker); ok {
				return s.Alt
			}
		}
	}
	return ""
}
