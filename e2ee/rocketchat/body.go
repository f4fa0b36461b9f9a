package rocketchat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// maxAttachments bounds the attachments of one message.
const maxAttachments = 50

// A Body is the opened content of a message.
type Body struct {
	Text        string
	Attachments []Attachment
	// Notice says that a program wrote it, which other programs do not answer.
	Notice bool
	// ID, Sender and Time appear only in bodies of the string form, where the
	// sender repeats them under the seal.
	ID     quinta.MessageID
	Sender quinta.UserID
	Time   time.Time
}

// An Attachment is a file or a quotation in the body of a message.
type Attachment struct {
	Title       string
	Description string
	// Link is the path of the sealed file on the server, such as
	// "/file-upload/ID/NAME".
	Link string
	// MediaType and Size are what the sender claims; Size is -1 if they do not.
	MediaType string
	Size      int64
	// File is nil if the attachment is no sealed file.
	File *FileKey
	// QuoteLink is the permalink of a quoted message, if the attachment quotes one.
	QuoteLink string
}

// A wireBody is a body as clients write it.
type wireBody struct {
	Msg         *string           `json:"msg,omitempty"`
	Text        *string           `json:"text,omitempty"`
	Attachments []json.RawMessage `json:"attachments,omitempty"`
	Files       []wireFile        `json:"files,omitempty"`
	File        *wireFile         `json:"file,omitempty"`
	ID          string            `json:"_id,omitempty"`
	UserID      string            `json:"userId,omitempty"`
	TS          *ejsonDate        `json:"ts,omitempty"`
	Bot         json.RawMessage   `json:"bot,omitempty"`
}

type wireFile struct {
	ID     string `json:"_id"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	Format string `json:"format,omitempty"`
}

type ejsonDate struct {
	Date int64 `json:"$date"` // Unix milliseconds
}

type wireAttachment struct {
	Title       string          `json:"title,omitempty"`
	Type        string          `json:"type,omitempty"`
	Description string          `json:"description,omitempty"`
	TitleLink   string          `json:"title_link,omitempty"`
	Download    bool            `json:"title_link_download,omitempty"`
	Encryption  json.RawMessage `json:"encryption,omitempty"`
	Hashes      *wireHashes     `json:"hashes,omitempty"`
	ImageURL    string          `json:"image_url,omitempty"`
	ImageType   string          `json:"image_type,omitempty"`
	ImageSize   *int64          `json:"image_size,omitempty"`
	AudioURL    string          `json:"audio_url,omitempty"`
	AudioType   string          `json:"audio_type,omitempty"`
	AudioSize   *int64          `json:"audio_size,omitempty"`
	VideoURL    string          `json:"video_url,omitempty"`
	VideoType   string          `json:"video_type,omitempty"`
	VideoSize   *int64          `json:"video_size,omitempty"`
	Size        *int64          `json:"size,omitempty"`
	Format      string          `json:"format,omitempty"`
	MessageLink string          `json:"message_link,omitempty"`
}

type wireHashes struct {
	SHA256 string `json:"sha256"`
}

// ParseBody reads an opened content: the JSON of 6.10 and later, or the EJSON of
// the string form. "msg" counts before "text". An attachment that cannot be read
// makes the body malformed: a file must not vanish from a message.
func ParseBody(plaintext []byte) (Body, error) {
	var w wireBody
	if len(plaintext) > MaxContent {
		return Body{}, fmt.Errorf("%w: a body of %d bytes", ErrMalformed, len(plaintext))
	}
	if p := bytes.TrimSpace(plaintext); len(p) == 0 || p[0] != '{' || exactjson.Unmarshal(p, &w) != nil {
		return Body{}, fmt.Errorf("%w: a body that is not a JSON object", ErrMalformed)
	}
	if len(w.Attachments) > maxAttachments {
		return Body{}, fmt.Errorf("%w: a body with %d attachments", ErrMalformed, len(w.Attachments))
	}
	b := Body{ID: quinta.MessageID(w.ID), Sender: quinta.UserID(w.UserID), Notice: len(w.Bot) > 0 && w.Bot[0] == '{'}
	switch {
	case w.Msg != nil:
		b.Text = *w.Msg
	case w.Text != nil:
		b.Text = *w.Text
	case len(w.Attachments) == 0:
		return Body{}, fmt.Errorf("%w: a body without a text", ErrMalformed)
	}
	if w.TS != nil {
		b.Time = time.UnixMilli(w.TS.Date).UTC()
	}
	for _, raw := range w.Attachments {
		a, err := parseAttachment(raw)
		if err != nil {
			return Body{}, err
		}
		b.Attachments = append(b.Attachments, a)
	}
	return b, nil
}

func parseAttachment(raw []byte) (Attachment, error) {
	var w wireAttachment
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' || exactjson.Unmarshal(raw, &w) != nil {
		return Attachment{}, fmt.Errorf("%w: an attachment that is not a JSON object", ErrMalformed)
	}
	a := Attachment{Title: w.Title, Description: w.Description, Link: w.TitleLink, Size: -1, QuoteLink: w.MessageLink}
	for _, kind := range []struct {
		url, media string
		size       *int64
	}{{w.ImageURL, w.ImageType, w.ImageSize}, {w.AudioURL, w.AudioType, w.AudioSize}, {w.VideoURL, w.VideoType, w.VideoSize}, {"", "", w.Size}} {
		if a.Link == "" {
			a.Link = kind.url
		}
		if a.MediaType == "" {
			a.MediaType = kind.media
		}
		if a.Size < 0 && kind.size != nil && *kind.size >= 0 {
			a.Size = *kind.size
		}
	}
	if w.Encryption == nil {
		return a, nil
	}
	if w.Hashes == nil {
		return Attachment{}, fmt.Errorf("%w: a sealed file without a hash", ErrMalformed)
	}
	k, err := ParseFileKey(w.Encryption, w.Hashes.SHA256)
	if err != nil {
		return Attachment{}, err
	}
	a.File = &k
	return a, nil
}

// TextBody returns the plaintext of a text message.
func TextBody(text string) []byte {
	return append(append([]byte(`{"msg":`), jsonText(text)...), '}')
}

// NoticeBody returns the plaintext of a text that a program wrote. It carries the
// member with which Rocket.Chat marks what its integrations write; other clients
// show it as a text.
func NoticeBody(text string) []byte {
	return append(append([]byte(`{"msg":`), jsonText(text)...), `,"bot":{"i":"quinta"}}`...)
}

// StringBody returns the plaintext of the string form, as the specification has
// it: an EJSON object with the id, text, sender and time of the message.
func StringBody(id quinta.MessageID, text string, sender quinta.UserID, at time.Time) []byte {
	return fmt.Appendf(nil, `{"_id":%s,"text":%s,"userId":%s,"ts":{"$date":%d}}`, jsonText(string(id)), jsonText(text), jsonText(string(sender)), at.UnixMilli())
}

// An UploadedFile is a sealed file on the server: what it is, and how it opens.
type UploadedFile struct {
	ID        string
	Name      string
	MediaType string
	Size      int64 // of the plaintext
	Link      string
	Key       FileKey
}

// FileBody returns the plaintext of a message that carries a file, with the
// members that the official clients read.
func FileBody(text string, f UploadedFile) []byte {
	a := wireAttachment{Title: f.Name, Type: "file", TitleLink: f.Link, Download: true, Encryption: f.Key.encryption(), Hashes: &wireHashes{f.Key.hash()}}
	switch mediaGroup(f.MediaType) {
	case "image":
		a.ImageURL, a.ImageType, a.ImageSize = f.Link, f.MediaType, &f.Size
	case "audio":
		a.AudioURL, a.AudioType, a.AudioSize = f.Link, f.MediaType, &f.Size
	case "video":
		a.VideoURL, a.VideoType, a.VideoSize = f.Link, f.MediaType, &f.Size
	default:
		a.Size, a.Format = &f.Size, fileFormat(f.Name)
	}
	file := wireFile{ID: f.ID, Name: f.Name, Type: f.MediaType, Size: f.Size, Format: a.Format}
	return mustJSON(wireBody{Msg: &text, Attachments: []json.RawMessage{mustJSON(a)}, Files: []wireFile{file}, File: &file})
}

// UploadBody returns the plaintext that goes with the upload of a file.
func UploadBody(name, mediaType string, k FileKey) []byte {
	return mustJSON(struct {
		Type       string          `json:"type"`
		Group      string          `json:"typeGroup"`
		Name       string          `json:"name"`
		Encryption json.RawMessage `json:"encryption"`
		Hashes     wireHashes      `json:"hashes"`
	}{mediaType, mediaGroup(mediaType), name, k.encryption(), wireHashes{k.hash()}})
}

// mustJSON encodes a value of ours, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("rocketchat: internal error: " + err.Error())
	}
	return b
}
