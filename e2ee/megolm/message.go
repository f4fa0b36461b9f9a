package megolm

import (
	"fmt"

	"github.com/quinta-chat/quinta/internal/aessha2"
	"github.com/quinta-chat/quinta/internal/tagged"
	"github.com/quinta-chat/quinta/key"
)

// MaxMessage is the longest Megolm message that is read or written, in bytes.
const MaxMessage = 1 << 20

// maxOverhead is more than what a message adds to its plaintext.
const maxOverhead = 128

// version is the first byte of every message.
const version = 3

// trailerSize is the length of MAC and signature at the end of a message.
const trailerSize = aessha2.MACSize + key.SignatureSize

// Tags of the fields (Megolm specification, "Message format").
const (
	tagIndex      = 0x08
	tagCiphertext = 0x12
)

// A Message is a message, parsed and not yet opened.
type Message struct {
	// Index is i, the place of the message in its session. It is authentic
	// once the message was opened.
	Index uint32

	ciphertext []byte
	raw        []byte
}

// ParseMessage reads a message. It keeps a copy of b.
//
// Unknown fields are ignored, as MAC and signature cover them; a field that
// comes twice, a varint that is not in its shortest form, and anything left
// over is refused.
func ParseMessage(b []byte) (*Message, error) {
	switch {
	case len(b) == 0:
		return nil, ErrMalformed
	case b[0] != version:
		return nil, ErrVersion
	case len(b) > MaxMessage:
		return nil, ErrTooLarge
	case len(b) < 1+trailerSize:
		return nil, ErrMalformed
	}
	m := &Message{raw: append([]byte(nil), b...)}
	var seenIndex bool
	for rest := m.raw[1 : len(b)-trailerSize]; len(rest) > 0; {
		f, next, err := tagged.Next(rest)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		rest = next
		switch f.Tag {
		case tagIndex:
			if seenIndex || f.Int > 1<<32-1 {
				return nil, ErrMalformed
			}
			m.Index, seenIndex = uint32(f.Int), true
		case tagCiphertext:
			if m.ciphertext != nil {
				return nil, ErrMalformed
			}
			m.ciphertext = f.Str
		}
	}
	if !seenIndex || len(m.ciphertext) == 0 || len(m.ciphertext)%16 != 0 {
		return nil, ErrMalformed
	}
	return m, nil
}

// Bytes returns the message as it is sent. It must not be changed.
func (m *Message) Bytes() []byte { return m.raw }

// signed returns the bytes that the signature is of, and the signature.
func (m *Message) signed() (message, signature []byte) {
	n := len(m.raw) - key.SignatureSize
	return m.raw[:n], m.raw[n:]
}

// open checks the MAC and decrypts. The signature was checked.
func (m *Message) open(r *ratchet) ([]byte, error) {
	k := r.keys()
	defer k.Wipe()
	n := len(m.raw) - trailerSize
	if !k.Verify(m.raw[:n], m.raw[n:n+aessha2.MACSize]) {
		return nil, ErrBadMAC
	}
	plaintext, err := k.Decrypt(m.ciphertext)
	if err != nil {
		return nil, ErrBadMAC
	}
	return plaintext, nil
}

// seal returns the message of index r.index.
func seal(r *ratchet, signing key.MegolmSessionPrivate, plaintext []byte) []byte {
	k := r.keys()
	defer k.Wipe()
	n := aessha2.CiphertextSize(len(plaintext))
	size := 1 + 1 + tagged.VarintSize(uint64(r.index)) + 1 + tagged.VarintSize(uint64(n)) + n + trailerSize
	b := append(make([]byte, 0, size), version)
	b = tagged.AppendInt(b, tagIndex, uint64(r.index))
	b = tagged.AppendStrHead(b, tagCiphertext, n)
	b = k.Encrypt(b, plaintext)
	mac := k.MAC(b)
	b = append(b, mac[:]...)
	return append(b, signing.Sign(b)...)
}
