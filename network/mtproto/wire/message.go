package wire

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/tl"
)

// Errors of messages.
var (
	// ErrMessage: the encrypted bytes are not a message.
	ErrMessage = errors.New("mtproto: malformed message")
	// ErrBomb: a packed object is too large.
	ErrBomb = errors.New("mtproto: a packed object is too large")
)

// CodeKeyUnknown is the error code, a packet of four bytes, for an
// authorization key that the server does not have.
const CodeKeyUnknown = -404

// ErrorPacket is the packet of an error code.
func ErrorPacket(code int32) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(code)) }

// A Side says who sent a message.
const (
	FromClient = secretchat.Creator
	FromServer = secretchat.Other
)

// A Message is one message under an authorization key. "Encrypted Message".
type Message struct {
	Salt    int64
	Session int64
	ID      int64
	SeqNo   int32
	Body    []byte
}

// NeedsAck reports whether the other side acknowledges the message.
func (m *Message) NeedsAck() bool { return m.SeqNo&1 == 1 }

const messageHead = 8 + 8 + 8 + 4 + 4

// Seal encrypts a message that from sends.
func (m *Message) Seal(rand io.Reader, k *secretchat.Key, from secretchat.Side) ([]byte, error) {
	n := messageHead + len(m.Body)
	b := make([]byte, 0, n+12+15)
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(m.Salt))
	b = le.AppendUint64(b, uint64(m.Session))
	b = le.AppendUint64(b, uint64(m.ID))
	b = le.AppendUint32(b, uint32(m.SeqNo))
	b = le.AppendUint32(b, uint32(len(m.Body)))
	b = append(b, m.Body...)
	b = b[:n+12+(16-(n+12)%16)%16]
	if _, err := io.ReadFull(rand, b[n:]); err != nil {
		return nil, fmt.Errorf("mtproto: drawing padding: %w", err)
	}
	return secretchat.SealPadded(k, from, b)
}

// OpenMessage decrypts a packet that from sent. A fault in authentic bytes
// gives ErrMessage; all other errors are those of package secretchat.
func OpenMessage(k *secretchat.Key, from secretchat.Side, packet []byte) (*Message, error) {
	b, err := secretchat.OpenPadded(k, from, packet)
	if err != nil {
		return nil, err
	}
	if len(b) < messageHead+12 {
		return nil, ErrMessage
	}
	le := binary.LittleEndian
	m := &Message{Salt: int64(le.Uint64(b)), Session: int64(le.Uint64(b[8:])), ID: int64(le.Uint64(b[16:])), SeqNo: int32(le.Uint32(b[24:]))}
	n := int(int32(le.Uint32(b[28:])))
	if padding := len(b) - messageHead - n; n < 4 || n%4 != 0 || padding < 12 || padding > 1024 {
		return nil, ErrMessage
	}
	m.Body = b[messageHead : messageHead+n : messageHead+n]
	return m, nil
}

// QuickAckToken is the token of a packet of the client.
func QuickAckToken(k *secretchat.Key, packet []byte) uint32 {
	data, err := secretchat.OpenPadded(k, FromClient, packet)
	if err != nil {
		return 0
	}
	h := sha256.New()
	h.Write(k.Bytes()[88:120])
	h.Write(data)
	return binary.LittleEndian.Uint32(h.Sum(nil)) &^ (1 << 31)
}

// Plain makes the packet of an unencrypted message, for the key exchange.
func Plain(id int64, body []byte) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 8, 20+len(body)), uint64(id))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// ParsePlain reads an unencrypted message.
func ParsePlain(packet []byte) ([]byte, error) {
	if len(packet) < 24 || binary.LittleEndian.Uint64(packet) != 0 {
		return nil, ErrMessage
	}
	n := int64(binary.LittleEndian.Uint32(packet[16:]))
	if n < 4 || n > int64(len(packet)-20) {
		return nil, ErrMessage
	}
	return packet[20 : 20+n], nil
}

// maxContained bounds the messages of a container.
const maxContained = 1020

// Contained returns the messages of a container, or m itself. A container in a
// container is refused.
func (m *Message) Contained() ([]Message, error) {
	b := m.Body
	if tl.Peek(b) != ContainerID {
		return []Message{*m}, nil
	}
	if len(b) < 8 {
		return nil, ErrMessage
	}
	n := binary.LittleEndian.Uint32(b[4:])
	b = b[8:]
	if n > maxContained {
		return nil, ErrMessage
	}
	var out []Message
	for range n {
		if len(b) < 16 {
			return nil, ErrMessage
		}
		c := Message{Salt: m.Salt, Session: m.Session, ID: int64(binary.LittleEndian.Uint64(b)), SeqNo: int32(binary.LittleEndian.Uint32(b[8:]))}
		size := int64(binary.LittleEndian.Uint32(b[12:]))
		if b = b[16:]; size < 4 || size%4 != 0 || size > int64(len(b)) {
			return nil, ErrMessage
		}
		c.Body, b = b[:size:size], b[size:]
		if tl.Peek(c.Body) == ContainerID {
			return nil, ErrMessage
		}
		out = append(out, c)
	}
	if len(b) != 0 {
		return nil, ErrMessage
	}
	return out, nil
}

// Container makes the body of a container.
func Container(messages []Message) []byte {
	b := binary.LittleEndian.AppendUint32(nil, ContainerID)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(messages)))
	for _, m := range messages {
		b = binary.LittleEndian.AppendUint64(b, uint64(m.ID))
		b = binary.LittleEndian.AppendUint32(b, uint32(m.SeqNo))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Body)))
		b = append(b, m.Body...)
	}
	return b
}

// MaxUnpacked is the length of the longest object that is unpacked in bytes.
const MaxUnpacked = 10 << 20

// Unpack opens what is in gzip_packed: gzip, as the specification says, or
// zlib, as TDLib packs.
func Unpack(packed []byte) ([]byte, error) {
	var r io.Reader
	var err error
	if len(packed) > 0 && packed[0] == 0x78 {
		r, err = zlib.NewReader(bytes.NewReader(packed))
	} else {
		r, err = gzip.NewReader(bytes.NewReader(packed))
	}
	if err != nil {
		return nil, ErrMessage
	}
	out, err := io.ReadAll(io.LimitReader(r, MaxUnpacked+1))
	switch {
	case err != nil:
		return nil, ErrMessage
	case len(out) > MaxUnpacked:
		return nil, ErrBomb
	}
	return out, nil
}
