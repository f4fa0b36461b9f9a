package keysrv

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/cbc"
	"github.com/quinta-chat/quinta/key"
)

// A Suite names the form of the payloads under one key. It is stated by the key
// object and never guessed from the bytes.
type Suite string

// The suites.
const (
	// SuiteGCM is 0x01, a nonce of 12 random bytes, and AES-256-GCM.
	SuiteGCM Suite = "A256GCM"
	// SuiteCBC is a vector of 16 random bytes and AES-256-CBC with the padding
	// of PKCS #7. It is not authenticated, and is only for the legacy profile.
	SuiteCBC Suite = "A256CBC"
)

// Check returns ErrUnsupported for an unsupported suite.
func (s Suite) Check() error {
	if s != SuiteGCM && s != SuiteCBC {
		return fmt.Errorf("%w: the suite %.20q", ErrUnsupported, string(s))
	}
	return nil
}

const (
	payloadVersion = 0x01
	nonceSize      = 12
	tagSize        = 16
	// MaxPayload bounds a payload in bytes.
	MaxPayload = 256 << 10
	// MaxMessages is how many payloads one key may seal: with random nonces of
	// 96 bits, a nonce then repeats with a chance of less than 2^-32 (NIST SP
	// 800-38D, section 8.3).
	MaxMessages = 1 << 32
)

// A Binding is what a payload belongs to; it opens only under the same binding.
type Binding struct {
	// ObjectID is the id of the key object.
	ObjectID string
	// From is the sender's bare JID, also in a room.
	From quinta.UserID
	// To is the recipient's bare JID, or that of the room.
	To string
	// StanzaID is the id attribute of the stanza.
	StanzaID quinta.MessageID
}

// aad is the associated data of a payload.
func (b *Binding) aad() []byte {
	return fields("jabber:encrypted", b.ObjectID, string(b.From), b.To, string(b.StanzaID))
}

func (b *Binding) check() error {
	if err := CheckObjectID(b.ObjectID); err != nil {
		return err
	}
	if err := CheckJID(b.From); err != nil {
		return err
	}
	if err := CheckJID(quinta.UserID(b.To)); err != nil {
		return err
	}
	return checkStanzaID(b.StanzaID)
}

// A Cipher seals and opens the payloads under one key. It may be used by
// several goroutines.
type Cipher struct {
	suite Suite
	gcm   cipher.AEAD
	block cipher.Block
}

// NewCipher returns the cipher of a suite and a key.
func NewCipher(s Suite, k key.ConversationKey) (*Cipher, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	secret := k.Secret()
	defer clear(secret)
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("keysrv: %w", err)
	}
	c := &Cipher{suite: s, block: block}
	if s == SuiteGCM {
		if c.gcm, err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("keysrv: %w", err)
		}
	}
	return c, nil
}

// Seal returns the payload of plain. In the legacy suite, the binding is not
// included.
func (c *Cipher) Seal(rand io.Reader, b Binding, plain []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if len(plain) > MaxPayload-64 {
		return nil, quinta.E(quinta.KindTooLarge, "sealing a message", "the message is too long")
	}
	if c.suite == SuiteCBC {
		return c.sealCBC(rand, plain)
	}
	out := make([]byte, 1+nonceSize, 1+nonceSize+len(plain)+tagSize)
	out[0] = payloadVersion
	nonce := out[1 : 1+nonceSize]
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("keysrv: making a nonce: %w", err)
	}
	return c.gcm.Seal(out, nonce, plain, b.aad()), nil
}

// Open returns what was sealed. A payload with another binding or key, or
// with a changed bit, gives ErrTampered.
func (c *Cipher) Open(b Binding, payload []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("%w: a payload of more than 256 KiB", ErrMalformed)
	}
	if c.suite == SuiteCBC {
		return c.openCBC(payload)
	}
	if len(payload) < 1+nonceSize+tagSize {
		return nil, fmt.Errorf("%w: the payload is too short", ErrMalformed)
	}
	if payload[0] != payloadVersion {
		return nil, fmt.Errorf("%w: version %d of a payload", ErrUnsupported, payload[0])
	}
	plain, err := c.gcm.Open(nil, payload[1:1+nonceSize], payload[1+nonceSize:], b.aad())
	if err != nil {
		return nil, ErrTampered
	}
	return plain, nil
}

func (c *Cipher) sealCBC(rand io.Reader, plain []byte) ([]byte, error) {
	out := make([]byte, aes.BlockSize, aes.BlockSize+cbc.Size(len(plain)))
	if _, err := io.ReadFull(rand, out); err != nil {
		return nil, fmt.Errorf("keysrv: making a vector: %w", err)
	}
	return cbc.Seal(out, c.block, out[:aes.BlockSize], plain), nil
}

// openCBC opens a legacy payload. There is one error for all that can be wrong
// with the padding.
func (c *Cipher) openCBC(payload []byte) ([]byte, error) {
	if len(payload) < 2*aes.BlockSize || len(payload)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: the payload is not a vector and a whole number of blocks", ErrMalformed)
	}
	plain, err := cbc.Open(c.block, payload[:aes.BlockSize], payload[aes.BlockSize:])
	if err != nil {
		return nil, ErrTampered
	}
	return plain, nil
}
