package keysrv

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A Packet is what a stanza carries: the element "encrypted" of the namespace
// jabber:encrypted.
type Packet struct {
	// ObjectID is the attribute objectid.
	ObjectID string
	// Payload is the text, decoded.
	Payload []byte
}

// ParsePacket reads the attribute and the text of the element. White space
// around the base64 is ignored, because servers keep it; white space within
// it is refused.
func ParsePacket(objectID, text string) (Packet, error) {
	if err := CheckObjectID(objectID); err != nil {
		return Packet{}, err
	}
	if len(text) > base64.StdEncoding.EncodedLen(MaxPayload)+1024 {
		return Packet{}, fmt.Errorf("%w: a payload of more than 256 KiB", ErrMalformed)
	}
	text = strings.Trim(text, " \t\r\n")
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return Packet{}, fmt.Errorf("%w: the payload is not base64", ErrMalformed)
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Packet{}, fmt.Errorf("%w: the payload is not base64", ErrMalformed)
	}
	return Packet{ObjectID: objectID, Payload: payload}, nil
}

// Text is the text of the element.
func (p Packet) Text() string { return base64.StdEncoding.EncodeToString(p.Payload) }

// An Envelope is the plaintext of a payload, modelled on XEP-0420: the
// message, with the sender, the time and padding inside.
type Envelope struct {
	// From is the sender's bare JID, the same as in the binding.
	From quinta.UserID `json:"from"`
	// Device is the sender's device as the sender claims.
	Device quinta.DeviceID `json:"device,omitempty"`
	// Time is when it was sealed, in Unix milliseconds.
	Time int64 `json:"time"`
	// Content is the message, a JSON object.
	Content json.RawMessage `json:"content"`
	// Pad hides the exact length.
	Pad string `json:"rpad,omitempty"`
}

// padTo is the multiple of bytes to which envelopes are filled up.
const padTo = 32

// Seal seals an envelope. The envelope is padded to a multiple of 32 bytes.
func Seal(c *Cipher, rand io.Reader, b Binding, e Envelope) ([]byte, error) {
	e.From, e.Pad = b.From, ""
	raw, err := json.Marshal(&e)
	if err != nil {
		return nil, fmt.Errorf("%w: the content is not JSON", ErrMalformed)
	}
	const member = len(`,"rpad":""`)
	fill := padTo - (len(raw)+member)%padTo
	if fill == padTo {
		fill = 0
	}
	raw = append(raw[:len(raw)-1], `,"rpad":"`...)
	for range fill {
		raw = append(raw, '0')
	}
	raw = append(raw, `"}`...)
	return c.Seal(rand, b, raw)
}

// Open opens an envelope and compares it with the binding.
func Open(c *Cipher, b Binding, payload []byte) (*Envelope, error) {
	raw, err := c.Open(b, payload)
	if err != nil {
		return nil, err
	}
	e := &Envelope{}
	if canonicaljson.Valid(raw) != nil || exactjson.Unmarshal(raw, e) != nil || len(e.Content) == 0 || e.Content[0] != '{' {
		if c.suite == SuiteCBC { // most changes of an unauthenticated text end here
			return nil, ErrTampered
		}
		return nil, fmt.Errorf("%w: the envelope of a message", ErrMalformed)
	}
	if e.From != b.From {
		return nil, fmt.Errorf("%w: the envelope names another sender", ErrMismatch)
	}
	e.Pad = ""
	return e, nil
}

// At is the time of an envelope.
func (e *Envelope) At() time.Time { return time.UnixMilli(e.Time).UTC() }
