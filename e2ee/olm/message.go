package olm

import (
	"fmt"

	"github.com/quinta-chat/quinta/internal/aessha2"
	"github.com/quinta-chat/quinta/internal/tagged"
	"github.com/quinta-chat/quinta/key"
)

// MaxMessage is the longest Olm message that is read or written, in bytes.
const MaxMessage = 1 << 20

// maxOverhead is more than what a pre-key message adds to its plaintext.
const maxOverhead = 256

// version is the first byte of every message.
const version = 3

// A Type is the "type" of an Olm message in an m.room.encrypted event.
type Type int

// The types of message.
const (
	// TypePreKey: the body is a [PreKeyMessage].
	TypePreKey Type = 0
	// TypeNormal: the body is a [Message].
	TypeNormal Type = 1
)

// A Sealed is a message as it is sent.
type Sealed struct {
	Type Type
	Body []byte
}

// Tags of the fields (Olm specification, "Normal messages", "Pre-key
// messages").
const (
	tagRatchetKey = 0x0a
	tagChainIndex = 0x10
	tagCiphertext = 0x22

	tagOneTimeKey = 0x0a
	tagBaseKey    = 0x12
	tagIdentity   = 0x1a
	tagMessage    = 0x22
)

// A Message is a normal message, parsed and not yet opened.
type Message struct {
	// Ratchet is T_i, the ratchet key of the chain.
	Ratchet key.RatchetPublic
	// Index is j, the place in the chain.
	Index uint32

	ciphertext []byte
	raw        []byte
}

// A PreKeyMessage is a message that sets up a session, parsed and not yet
// opened.
type PreKeyMessage struct {
	// OneTime is E_B, the recipient's single-use or fallback key.
	OneTime key.OneTimePublic
	// Base is E_A, the sender's single-use key.
	Base key.BasePublic
	// Identity is I_A, the sender's identity key.
	Identity key.IdentityPublic
	// Message is the message inside.
	Message Message

	raw []byte
}

// ParseMessage reads a normal message. It keeps a copy of b.
//
// Unknown fields are ignored, as the MAC covers them; a field that comes
// twice, a varint that is not in its shortest form, and anything left over is
// refused.
func ParseMessage(b []byte) (*Message, error) {
	if err := checkHead(b); err != nil {
		return nil, err
	}
	m, err := parseMessage(append([]byte(nil), b...))
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// ParsePreKeyMessage reads a pre-key message as strictly as [ParseMessage]
// does. It keeps a copy of b.
func ParsePreKeyMessage(b []byte) (*PreKeyMessage, error) {
	if err := checkHead(b); err != nil {
		return nil, err
	}
	m := &PreKeyMessage{raw: append([]byte(nil), b...)}
	var fields [5][]byte
	if err := parseFields(m.raw[1:], &fields, nil); err != nil {
		return nil, err
	}
	var err error
	if m.OneTime, err = key.NewAgreementPublic[key.OneTime](fields[tagOneTimeKey>>3]); err != nil {
		return nil, malformed(err)
	}
	if m.Base, err = key.NewAgreementPublic[key.Base](fields[tagBaseKey>>3]); err != nil {
		return nil, malformed(err)
	}
	if m.Identity, err = key.NewAgreementPublic[key.Identity](fields[tagIdentity>>3]); err != nil {
		return nil, malformed(err)
	}
	inner := fields[tagMessage>>3]
	if err := checkHead(inner); err != nil {
		return nil, err
	}
	if m.Message, err = parseMessage(inner); err != nil {
		return nil, err
	}
	return m, nil
}

func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }

func checkHead(b []byte) error {
	switch {
	case len(b) == 0:
		return ErrMalformed
	case b[0] != version:
		return ErrVersion
	case len(b) > MaxMessage:
		return ErrTooLarge
	}
	return nil
}

// parseMessage reads a normal message and keeps raw, whose head was checked.
func parseMessage(raw []byte) (Message, error) {
	if len(raw) < 1+aessha2.MACSize {
		return Message{}, ErrMalformed
	}
	m := Message{raw: raw}
	var fields [5][]byte
	var index uint64
	if err := parseFields(raw[1:len(raw)-aessha2.MACSize], &fields, &index); err != nil {
		return Message{}, err
	}
	m.Index = uint32(index)
	m.ciphertext = fields[tagCiphertext>>3]
	if len(m.ciphertext) == 0 || len(m.ciphertext)%16 != 0 {
		return Message{}, ErrMalformed
	}
	var err error
	if m.Ratchet, err = key.NewAgreementPublic[key.Ratchet](fields[tagRatchetKey>>3]); err != nil {
		return Message{}, malformed(err)
	}
	return m, nil
}

// parseFields puts the string with field number n into strs[n], and the
// integer of tagChainIndex into index, which must be there unless it is nil.
// Each comes at most once.
func parseFields(b []byte, strs *[5][]byte, index *uint64) error {
	var seenIndex bool
	for len(b) > 0 {
		f, rest, err := tagged.Next(b)
		if err != nil {
			return malformed(err)
		}
		b = rest
		n := f.Tag >> 3
		switch {
		case f.Tag == tagChainIndex && index != nil:
			if seenIndex || f.Int > 1<<32-1 {
				return ErrMalformed
			}
			*index, seenIndex = f.Int, true
		case f.Tag&7 == 2 && n < uint64(len(strs)):
			if strs[n] != nil {
				return ErrMalformed
			}
			strs[n] = f.Str
		}
	}
	if index != nil && !seenIndex {
		return ErrMalformed
	}
	return nil
}

// Bytes returns the message as it is sent. It must not be changed.
func (m *Message) Bytes() []byte { return m.raw }

// Bytes returns the message as it is sent. It must not be changed.
func (m *PreKeyMessage) Bytes() []byte { return m.raw }

// SessionID returns the id of the session that the message is of.
func (m *PreKeyMessage) SessionID() SessionID { return sessionID(m.Identity, m.Base, m.OneTime) }

// open authenticates and decrypts the message.
func (m *Message) open(messageKey *secret) ([]byte, error) {
	k := messageKeys(messageKey)
	defer k.Wipe()
	signed := len(m.raw) - aessha2.MACSize
	if !k.Verify(m.raw[:signed], m.raw[signed:]) {
		return nil, ErrBadMAC
	}
	plaintext, err := k.Decrypt(m.ciphertext)
	if err != nil {
		return nil, ErrBadMAC
	}
	return plaintext, nil
}

// appendMessage seals plaintext into a normal message with its MAC.
func appendMessage(dst []byte, messageKey *secret, ratchet key.RatchetPublic, index uint32, plaintext []byte) []byte {
	k := messageKeys(messageKey)
	defer k.Wipe()
	start := len(dst)
	dst = append(dst, version)
	dst = tagged.AppendStr(dst, tagRatchetKey, ratchet.Bytes())
	dst = tagged.AppendInt(dst, tagChainIndex, uint64(index))
	dst = tagged.AppendStrHead(dst, tagCiphertext, aessha2.CiphertextSize(len(plaintext)))
	dst = k.Encrypt(dst, plaintext)
	mac := k.MAC(dst[start:])
	return append(dst, mac[:]...)
}

// messageSize returns the length of what appendMessage appends.
func messageSize(index uint32, plaintext int) int {
	n := aessha2.CiphertextSize(plaintext)
	return 1 + 2 + key.Size + 1 + tagged.VarintSize(uint64(index)) + 1 + tagged.VarintSize(uint64(n)) + n + aessha2.MACSize
}
