package rocketchat

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/redact"
)

// TypeOTR is the type of a message off the record.
const TypeOTR = "otr"

// The bounds of what goes off the record.
const (
	maxOTRKey     = 1 << 10
	maxOTR        = 64 << 10
	maxOTRText    = 8 << 10
	maxOTRSeen    = 10_000 // messages of one session
	p256Size      = 32
	otrKeySize    = 16
	safetyGroups  = 6
	safetyDigits  = 5
	safetyModulus = 100_000
)

// ErrOTREnd: a session off the record has carried as many messages as it may.
var ErrOTREnd = errors.New("rocketchat: this conversation off the record needs new keys")

// An OTRKey is one side's key of a session off the record. It is made for one session
// and is never stored. The zero value is not a key.
type OTRKey struct {
	redact.Manners
	secret redact.Box[ecdh.PrivateKey]
}

// GenerateOTRKey makes a key of ECDH on P-256.
func GenerateOTRKey(rand io.Reader) (OTRKey, error) {
	for range 100 {
		var b [p256Size]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return OTRKey{}, fmt.Errorf("rocketchat: making a key: %w", err)
		}
		k, err := ecdh.P256().NewPrivateKey(b[:])
		clear(b[:])
		if err == nil {
			return OTRKey{secret: redact.Seal(k)}, nil
		}
	}
	return OTRKey{}, errors.New("rocketchat: the source of randomness is broken")
}

// Public returns the public key as clients exchange it: a JWK in a string.
func (k OTRKey) Public() string { return otrJWK(k.secret().PublicKey()) }

func otrJWK(p *ecdh.PublicKey) string {
	b := p.Bytes() // 4, x, y
	enc := base64.RawURLEncoding.EncodeToString
	return `{"crv":"P-256","ext":true,"key_ops":[],"kty":"EC","x":"` + enc(b[1:1+p256Size]) + `","y":"` + enc(b[1+p256Size:]) + `"}`
}

// parseOTRKey reads a public key. It must be a point of the curve.
func parseOTRKey(text string) (*ecdh.PublicKey, error) {
	if len(text) > maxOTRKey {
		return nil, fmt.Errorf("%w: a key of %d bytes", ErrMalformed, len(text))
	}
	k, err := parseJWK(text)
	if err != nil {
		return nil, err
	}
	x, y := k.bytes("x"), k.bytes("y")
	if k.text("kty") != "EC" || k.text("crv") != "P-256" || len(x) != p256Size || len(y) != p256Size {
		return nil, fmt.Errorf("%w: a key that is not on P-256", ErrUnsupported)
	}
	p, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, fmt.Errorf("%w: a key that is not a point on P-256", ErrMalformed)
	}
	return p, nil
}

// CheckOTRKey reports whether a text is a public key for a session off the record.
func CheckOTRKey(text string) error {
	_, err := parseOTRKey(text)
	return err
}

// An OTR is a session off the record: both sides' keys in memory, and which messages
// were opened. It is not safe for concurrent use.
type OTR struct {
	aead   cipher.AEAD
	safety []string
	self   quinta.UserID
	peer   quinta.UserID
	seen   map[[sha256.Size]byte]bool
	sealed int
}

// String hides the keys.
func (*OTR) String() string { return "[redacted]" }

// GoString hides the keys.
func (*OTR) GoString() string { return "[redacted]" }

// NewOTR makes the session of a key and the peer's public key, as clients to 7.x do:
// AES-128-GCM under the first half of the SHA-256 of the x-coordinate. self and peer are
// the ids of the two users. The peer's key must not be one's own.
func NewOTR(k OTRKey, peerKey string, self, peer quinta.UserID) (*OTR, error) {
	p, err := parseOTRKey(peerKey)
	if err != nil {
		return nil, err
	}
	mine := k.secret().PublicKey().Bytes()
	if subtle.ConstantTimeCompare(mine, p.Bytes()) == 1 {
		return nil, fmt.Errorf("%w: the user's own key came back as the other user's", ErrTampered)
	}
	shared, err := k.secret().ECDH(p)
	if err != nil {
		return nil, fmt.Errorf("%w: an unusable key", ErrMalformed)
	}
	sum := sha256.Sum256(shared)
	clear(shared)
	defer clear(sum[:])
	return &OTR{aead: newGCM(sum[:otrKeySize]), safety: safetyNumber(mine, p.Bytes()), self: self, peer: peer, seen: map[[sha256.Size]byte]bool{}}, nil
}

// safetyNumber is 30 digits of a hash over both public keys, the same on both sides.
func safetyNumber(a, b []byte) []string {
	list := []string{string(a), string(b)}
	slices.Sort(list)
	sum := sha256.Sum256([]byte("quinta-rocketchat-otr/1\x00" + list[0] + list[1]))
	n, m := new(big.Int).SetBytes(sum[:]), big.NewInt(safetyModulus)
	var out []string
	for range safetyGroups {
		var digits big.Int
		n.DivMod(n, m, &digits)
		out = append(out, fmt.Sprintf("%0*d", safetyDigits, digits.Int64()))
	}
	return out
}

// SafetyNumber returns the six groups of five digits that two people compare: without
// that, whoever carries the messages may be between them.
func (s *OTR) SafetyNumber() []string { return slices.Clone(s.safety) }

// An OTRBody is what a message off the record says.
type OTRBody struct {
	ID   quinta.MessageID
	Text string
	// Ack is what the reader sends back, sealed, when they have it.
	Ack  string
	Time time.Time
}

type wireOTR struct {
	ID   quinta.MessageID `json:"_id"`
	Text string           `json:"text"`
	User quinta.UserID    `json:"userId"`
	Ack  json.RawMessage  `json:"ack"`
	TS   *ejsonDate       `json:"ts"`
}

// Seal seals a text for the peer and returns the "msg" of the message.
func (s *OTR) Seal(rand io.Reader, b OTRBody) (string, error) {
	if len(b.Text) > maxOTRText {
		return "", quinta.E(quinta.KindTooLarge, "sending off the record", "the text is too long")
	}
	return s.seal(rand, mustJSON(wireOTR{ID: b.ID, Text: b.Text, User: s.self, Ack: jsonText(b.Ack), TS: &ejsonDate{b.Time.UnixMilli()}}))
}

// SealAck seals the acknowledgement of a message.
func (s *OTR) SealAck(rand io.Reader, ack string) (string, error) {
	return s.seal(rand, mustJSON(map[string]string{"text": ack, "ack": ack}))
}

func (s *OTR) seal(rand io.Reader, plain []byte) (string, error) {
	if s.sealed >= maxOTRSeen {
		return "", ErrOTREnd
	}
	s.sealed++
	iv := make([]byte, gcmIV, gcmIV+len(plain)+gcmTag)
	if _, err := io.ReadFull(rand, iv); err != nil {
		return "", fmt.Errorf("rocketchat: making an IV: %w", err)
	}
	return `{"$binary":"` + base64.StdEncoding.EncodeToString(s.aead.Seal(iv, iv, plain, nil)) + `"}`, nil
}

// CheckOTR reports whether a text has the form of a message off the record.
func CheckOTR(msg string) error {
	_, err := parseOTR(msg)
	return err
}

func parseOTR(msg string) ([]byte, error) {
	bad := fmt.Errorf("%w: a malformed message off the record", ErrMalformed)
	if len(msg) > maxOTR {
		return nil, bad
	}
	list, err := canonicaljson.Members([]byte(msg))
	if err != nil || len(list) != 1 || list[0].Name != "$binary" {
		return nil, bad
	}
	var text string
	if exactjson.Unmarshal(list[0].Value, &text) != nil {
		return nil, bad
	}
	raw, err := decode64(base64.StdEncoding, text)
	if err != nil || len(raw) < gcmIV+gcmTag+1 {
		return nil, bad
	}
	return raw, nil
}

// open opens a ciphertext once: the same one again is refused.
func (s *OTR) open(msg string) ([]byte, error) {
	raw, err := parseOTR(msg)
	if err != nil {
		return nil, err
	}
	name := sha256.Sum256(raw)
	if s.seen[name] {
		return nil, fmt.Errorf("%w: a message off the record arrived twice", ErrTampered)
	}
	if len(s.seen) >= maxOTRSeen {
		return nil, ErrOTREnd
	}
	plain, err := s.aead.Open(nil, raw[:gcmIV], raw[gcmIV:], nil)
	if err != nil {
		return nil, ErrTampered
	}
	s.seen[name] = true
	return plain, nil
}

// Open opens the "msg" of a message of the peer's with that id. It is refused if it was
// opened before, or names another id or sender.
func (s *OTR) Open(id quinta.MessageID, msg string) (OTRBody, error) {
	plain, err := s.open(msg)
	if err != nil {
		return OTRBody{}, err
	}
	var w wireOTR
	if exactjson.Unmarshal(plain, &w) != nil || w.TS == nil {
		return OTRBody{}, fmt.Errorf("%w: a malformed message off the record", ErrMalformed)
	}
	if w.User != s.peer || w.ID != id {
		return OTRBody{}, fmt.Errorf("%w: the sealed message names another id or sender", ErrTampered)
	}
	b := OTRBody{ID: w.ID, Text: w.Text, Time: time.UnixMilli(w.TS.Date).UTC()}
	if exactjson.Unmarshal(w.Ack, &b.Ack) != nil {
		var bytes struct { // web clients write bytes
			Binary string `json:"$binary"`
		}
		if exactjson.Unmarshal(w.Ack, &bytes) != nil {
			return OTRBody{}, fmt.Errorf("%w: a malformed message off the record", ErrMalformed)
		}
		b.Ack = bytes.Binary
	}
	return b, nil
}

// OpenAck opens the acknowledgement of a message.
func (s *OTR) OpenAck(msg string) (ack string, err error) {
	plain, err := s.open(msg)
	if err != nil {
		return "", err
	}
	var w struct {
		Text string `json:"text"`
	}
	if exactjson.Unmarshal(plain, &w) != nil {
		return "", fmt.Errorf("%w: a malformed acknowledgement", ErrMalformed)
	}
	return w.Text, nil
}
