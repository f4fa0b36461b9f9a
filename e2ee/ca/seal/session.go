package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// Session mode: after one message of the secure profile that carries an offer,
// small packets under keys derived from it. A session is for a conversation of
// two users: everyone who holds it could write as anyone who holds it, and of
// two people each only as the other, and only for themselves to read.
//
// Each sending device has a key of its own, HKDF of the secret over the
// conversation, the sending device, the recipient and the session's id, so
// that no two devices ever use one nonce.

// The limits of a session. Beyond them, a new one is negotiated.
const (
	SessionMessages = 1000
	SessionLife     = 24 * time.Hour
)

// ErrSessionOver says that a session has reached its limit: offer a new one.
var ErrSessionOver = errors.New("ca: the session has ended: negotiate a new one")

// An Offer is what the content of a message carries to begin a session. It is
// a secret: it appears only inside signed and sealed content.
type Offer struct {
	KID    string `json:"kid"`
	Secret []byte `json:"secret"`
}

// String hides the secret.
func (o Offer) String() string { return "[redacted]" }

// GoString hides the secret.
func (o Offer) GoString() string { return "[redacted]" }

// A Session is one device's end of a session. Its exported members are its
// state, to be stored with the device's secrets; store it before a packet
// leaves.
type Session struct {
	Offer Offer           `json:"offer"`
	Conv  quinta.RoomID   `json:"conv"`
	Self  quinta.UserID   `json:"self"`
	Peer  quinta.UserID   `json:"peer"`
	Dev   quinta.DeviceID `json:"dev"`
	// Began is the time of the message with the offer, in Unix milliseconds.
	Began int64 `json:"began"`
	// Sent counts the packets of this device, Seen has the last counter of
	// every other device as "user device".
	Sent uint64            `json:"sent"`
	Seen map[string]uint64 `json:"seen"`
}

// String hides the secret.
func (s *Session) String() string { return "[redacted]" }

// GoString hides the secret.
func (s *Session) GoString() string { return "[redacted]" }

// NewOffer makes the secret of a new session.
func NewOffer(rand io.Reader) (Offer, error) {
	raw := make([]byte, 48)
	if _, err := io.ReadFull(rand, raw); err != nil {
		return Offer{}, fmt.Errorf("ca: making a session: %w", err)
	}
	return Offer{KID: base64.RawURLEncoding.EncodeToString(raw[32:]), Secret: raw[:32:32]}, nil
}

// NewSession begins a session from an offer, on either side: after the message
// that carries it was sealed and committed, or was opened. began is the time
// in that message.
func NewSession(o Offer, conv quinta.RoomID, self quinta.UserID, dev quinta.DeviceID, peer quinta.UserID, began time.Time) (*Session, error) {
	kid, err := base64.RawURLEncoding.DecodeString(o.KID)
	if err != nil || len(kid) != 16 || len(o.Secret) != 32 {
		return nil, fmt.Errorf("%w: the offer of a session", cert.ErrMalformed)
	}
	if conv == "" || self == "" || dev == "" || peer == "" || self == peer {
		return nil, fmt.Errorf("%w: a session is between two users", cert.ErrMalformed)
	}
	return &Session{Offer: o, Conv: conv, Self: self, Dev: dev, Peer: peer, Began: began.UnixMilli(), Seen: map[string]uint64{}}, nil
}

// A packet is: version 1, the session's id (16), the sender's counter (8), the
// length of the device's name (1) and the name, and the sealed content. All
// that precedes the sealed content is authenticated with it.
const (
	packetVersion = 1
	packetFixed   = 1 + 16 + 8 + 1
	MaxPacket     = 64 << 10
)

// aead returns the cipher of what a device sends to a user in the session.
func (s *Session) aead(from quinta.UserID, dev quinta.DeviceID, to quinta.UserID) (cipher.AEAD, error) {
	info := strings.Join([]string{"quinta-ca-session/1", string(s.Conv), string(from), string(dev), string(to), s.Offer.KID}, "\x00")
	k, err := hkdf.Key(sha256.New, s.Offer.Secret, nil, info, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is the counter in the last 8 of 12 bytes. It is safe, since the key is
// that of one sending device and no counter comes twice.
func nonce(counter uint64) []byte {
	n := make([]byte, 12)
	binary.BigEndian.PutUint64(n[4:], counter)
	return n
}

// A Small is the content of a packet.
type Small struct {
	ID   quinta.MessageID `json:"mid"`
	Time int64            `json:"ts"` // Unix milliseconds
	Body json.RawMessage  `json:"content"`
}

// Seal makes a packet and counts it. The state must be committed before the
// packet leaves; a packet that was made but not sent cannot be made again.
func (s *Session) Seal(m Small) ([]byte, error) {
	if s.Sent >= SessionMessages || m.Time-s.Began >= SessionLife.Milliseconds() || m.Time < s.Began-cert.MaxAhead.Milliseconds() {
		return nil, ErrSessionOver
	}
	plain, err := json.Marshal(m)
	if err != nil || m.ID == "" || len(plain) > MaxPacket/2 {
		return nil, fmt.Errorf("%w: the content of a packet", cert.ErrMalformed)
	}
	kid, err := base64.RawURLEncoding.DecodeString(s.Offer.KID)
	if err != nil {
		return nil, cert.ErrMalformed
	}
	a, err := s.aead(s.Self, s.Dev, s.Peer)
	if err != nil {
		return nil, err
	}
	s.Sent++
	head := append([]byte{packetVersion}, kid...)
	head = binary.BigEndian.AppendUint64(head, s.Sent)
	head = append(head, byte(len(s.Dev)))
	head = append(head, s.Dev...)
	return a.Seal(head, nonce(s.Sent), plain, head), nil
}

// PacketSession returns the session that a packet belongs to.
func PacketSession(raw []byte) (kid string, err error) {
	if len(raw) < packetFixed || len(raw) > MaxPacket {
		return "", fmt.Errorf("%w: not a packet", cert.ErrMalformed)
	}
	if raw[0] != packetVersion {
		return "", fmt.Errorf("%w: version %d of a packet", cert.ErrUnsupported, raw[0])
	}
	return base64.RawURLEncoding.EncodeToString(raw[1:17]), nil
}

// Open opens a packet that the transport says is from a device, which must be
// one of the peer or another one of this user, and counts it: packets must
// arrive in order, each once. received is when the server received it.
func (s *Session) Open(raw []byte, from quinta.UserID, dev quinta.DeviceID, received time.Time) (*Small, error) {
	kid, err := PacketSession(raw)
	if err != nil {
		return nil, err
	}
	n := packetFixed + int(raw[packetFixed-1])
	if len(raw) < n+16 {
		return nil, fmt.Errorf("%w: the packet is cut off", cert.ErrMalformed)
	}
	to := s.Self
	if from == s.Self {
		to = s.Peer
	}
	switch {
	case kid != s.Offer.KID || from != s.Peer && from != s.Self || string(raw[packetFixed:n]) != string(dev):
		return nil, fmt.Errorf("%w: the session or the device", cert.ErrMismatch)
	case from == s.Self && dev == s.Dev:
		return nil, fmt.Errorf("%w: it is this device's own", cert.ErrMismatch)
	}
	a, err := s.aead(from, dev, to)
	if err != nil {
		return nil, err
	}
	counter := binary.BigEndian.Uint64(raw[17:25])
	plain, err := a.Open(nil, nonce(counter), raw[n:], raw[:n])
	if err != nil {
		return nil, ErrTampered
	}
	var m Small
	if exactjson.Unmarshal(plain, &m) != nil || m.ID == "" {
		return nil, cert.ErrMalformed
	}
	at, who := time.UnixMilli(m.Time), string(from)+" "+string(dev)
	switch {
	case counter == 0 || counter > SessionMessages || m.Time-s.Began >= SessionLife.Milliseconds() || m.Time < s.Began-cert.MaxAhead.Milliseconds():
		return nil, fmt.Errorf("%w: the session had ended", cert.ErrReplayed)
	case !received.IsZero() && (at.After(received.Add(cert.MaxAhead)) || at.Before(received.Add(-MaxBackdate))):
		return nil, fmt.Errorf("%w: its time is not the time at which it was sent", cert.ErrReplayed)
	case counter <= s.Seen[who]:
		return nil, cert.ErrReplayed
	case len(s.Seen) >= 1000 && s.Seen[who] == 0:
		return nil, fmt.Errorf("%w: too many devices in a session", cert.ErrMalformed)
	}
	if s.Seen == nil {
		s.Seen = map[string]uint64{}
	}
	s.Seen[who] = counter
	return &m, nil
}
