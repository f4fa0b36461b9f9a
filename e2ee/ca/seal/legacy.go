package seal

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// The legacy profile, as published: what it does not protect is described in
// doc/security.md, and every message read in it is marked as weak. Section and
// step numbers are those of the specification, "Key negotiation" (1.2) and
// "Message encryption" (1.3).

// A LegacyPadding is how a symmetric key is wrapped. The specification does
// not say; both sides must have the same configuration.
type LegacyPadding string

// The paddings.
const (
	// LegacyOAEP is RSAES-OAEP with SHA-1, the default.
	LegacyOAEP LegacyPadding = "oaep"
	// LegacyPKCS1 is RSAES-PKCS1-v1_5, unwrapped with implicit rejection.
	LegacyPKCS1 LegacyPadding = "pkcs1"
)

// A LegacySecret is a symmetric key of 128 bits. It does not print.
type LegacySecret struct {
	_   [0]func()
	key [16]byte
}

// NewLegacySecret makes a symmetric key (step 4).
func NewLegacySecret(rand io.Reader) (*LegacySecret, error) {
	s := &LegacySecret{}
	if _, err := io.ReadFull(rand, s.key[:]); err != nil {
		return nil, fmt.Errorf("ca: making a symmetric key: %w", err)
	}
	return s, nil
}

// ParseLegacySecret takes the 16 bytes that Bytes gave, from a device's own
// store.
func ParseLegacySecret(raw []byte) (*LegacySecret, error) {
	if len(raw) != 16 {
		return nil, cert.ErrMalformed
	}
	return &LegacySecret{key: [16]byte(raw)}, nil
}

// Bytes returns the 16 bytes of the key, to be saved (1.3, step 3).
func (s *LegacySecret) Bytes() []byte { return append([]byte(nil), s.key[:]...) }

// String hides the key.
func (s *LegacySecret) String() string { return "[redacted]" }

// GoString hides the key.
func (s *LegacySecret) GoString() string { return "[redacted]" }

// MarshalJSON hides the key.
func (s *LegacySecret) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Wipe overwrites the key.
func (s *LegacySecret) Wipe() { clear(s.key[:]) }

// KID returns the name of the key: the first 8 bytes of its SHA-256, in hex.
func (s *LegacySecret) KID() string {
	sum := sha256.Sum256(s.key[:])
	return hex.EncodeToString(sum[:8])
}

// A LegacyRecord is what the authority reports about a user's key.
type LegacyRecord struct {
	Username quinta.UserID
	KeyID    cert.Fingerprint
	Key      *rsa.PublicKey
	// NotBefore and Expires limit its validity. Revoked says that it must not
	// be used at all.
	NotBefore, Expires time.Time
	Revoked            bool
}

// Check is the check of validity (steps 3 and 9).
func (r *LegacyRecord) Check(user quinta.UserID, now time.Time) error {
	switch {
	case r == nil || r.Key == nil || r.Username != user:
		return fmt.Errorf("%w: the key record is another user's", cert.ErrMismatch)
	case r.Revoked || now.Before(r.NotBefore.Add(-cert.MaxAhead)) || now.After(r.Expires):
		return fmt.Errorf("%w: the key record is not valid now", cert.ErrExpired)
	}
	return nil
}

// A LegacyMessage is a message with its extension: the wrapped key, where the
// message announces one, its signature, and the names of the keys. The body is the initialization vector and the ciphertext.
type LegacyMessage struct {
	From quinta.UserID `json:"from"`
	To   quinta.UserID `json:"to"`
	Type string        `json:"type"`
	Body []byte        `json:"body"`
	Ext  struct {
		E2EE LegacyExt `json:"e2ee"`
	} `json:"ext"`
}

// A LegacyExt is the extension. EK and Sig come with the first message of a
// negotiation; later ones have only KID.
type LegacyExt struct {
	V      int              `json:"v"`
	EK     []byte           `json:"ek,omitempty"`
	Sig    []byte           `json:"sig,omitempty"`
	KeyID  cert.Fingerprint `json:"keyId,omitempty"`
	RKeyID cert.Fingerprint `json:"rkeyId,omitempty"`
	KID    string           `json:"kid"`
}

// maxLegacy bounds a message in bytes.
const maxLegacy = 2 << 20

// ParseLegacyMessage reads a message.
func ParseLegacyMessage(raw []byte) (*LegacyMessage, error) {
	m := &LegacyMessage{}
	if len(raw) > maxLegacy || canonicaljson.Valid(raw) != nil || exactjson.Unmarshal(raw, m) != nil {
		return nil, fmt.Errorf("%w: not a message of the legacy profile", cert.ErrMalformed)
	}
	e := &m.Ext.E2EE
	switch {
	case e.V != 0:
		return nil, fmt.Errorf("%w: version %d of the extension", cert.ErrUnsupported, e.V)
	case m.From == "" || m.To == "" || len(e.KID) != 16 || (len(e.EK) == 0) != (len(e.Sig) == 0):
		return nil, fmt.Errorf("%w: a member of the message is missing", cert.ErrMalformed)
	case len(m.Body) < 2*aes.BlockSize || len(m.Body)%aes.BlockSize != 0:
		return nil, fmt.Errorf("%w: the body is not a whole number of blocks", cert.ErrMalformed)
	}
	return m, nil
}

// SealLegacy makes a message under a symmetric key that the peer has: AES-128
// in CBC mode with PKCS #7 padding and a random vector in front.
func SealLegacy(rand io.Reader, from, to quinta.UserID, s *LegacySecret, plain []byte) (*LegacyMessage, error) {
	if len(plain) > MaxContent {
		return nil, fmt.Errorf("%w: the text is too long", cert.ErrMalformed)
	}
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		return nil, err
	}
	n := aes.BlockSize - len(plain)%aes.BlockSize
	body := make([]byte, aes.BlockSize+len(plain)+n)
	if _, err := io.ReadFull(rand, body[:aes.BlockSize]); err != nil {
		return nil, fmt.Errorf("ca: making a vector: %w", err)
	}
	copy(body[aes.BlockSize:], plain)
	for i := len(body) - n; i < len(body); i++ {
		body[i] = byte(n)
	}
	cipher.NewCBCEncrypter(block, body[:aes.BlockSize]).CryptBlocks(body[aes.BlockSize:], body[aes.BlockSize:])
	m := &LegacyMessage{From: from, To: to, Type: "txt", Body: body}
	m.Ext.E2EE.KID = s.KID()
	return m, nil
}

// Announce makes m the first message of a negotiation: it wraps the symmetric
// key for the peer (step 5), signs its SHA-256 (step 6) and attaches both
// (step 7). The record must be valid now (step 3).
func (m *LegacyMessage) Announce(rand io.Reader, s *LegacySecret, own *rsa.PrivateKey, peer *LegacyRecord, p LegacyPadding, now time.Time) error {
	if err := peer.Check(m.To, now); err != nil {
		return err
	}
	ek, err := wrapLegacy(rand, s, peer.Key, p)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(s.key[:])
	sig, err := rsa.SignPKCS1v15(nil, own, crypto.SHA256, sum[:])
	if err != nil {
		return fmt.Errorf("ca: signing: %w", err)
	}
	spki, err := cert.LegacySPKI(&own.PublicKey)
	if err != nil {
		return err
	}
	m.Ext.E2EE = LegacyExt{EK: ek, Sig: sig, KeyID: cert.FingerprintOf(spki), RKeyID: peer.KeyID, KID: s.KID()}
	return nil
}

func wrapLegacy(rand io.Reader, s *LegacySecret, pub *rsa.PublicKey, p LegacyPadding) ([]byte, error) {
	var ek []byte
	var err error
	switch p {
	case LegacyOAEP:
		ek, err = rsa.EncryptOAEP(sha1.New(), rand, pub, s.key[:], nil)
	case LegacyPKCS1:
		//lint:ignore SA1019 the padding of the published scheme; see doc/security.md
		ek, err = rsa.EncryptPKCS1v15(rand, pub, s.key[:])
	default:
		return nil, cert.ErrUnsupported
	}
	if err != nil {
		return nil, fmt.Errorf("ca: wrapping a key: %w", err)
	}
	return ek, nil
}

// A LegacyReader has what a device needs to open messages.
type LegacyReader struct {
	Self quinta.UserID
	// Own are the device's key pairs by id, including old ones that are still
	// kept.
	Own map[cert.Fingerprint]*rsa.PrivateKey
	// Saved are the symmetric keys of the peer by KID.
	Saved   map[string]*LegacySecret
	Padding LegacyPadding
}

// Open opens a message that the transport says is from a user, whose record
// the authority gave (step 8); the record is not needed for a message that
// announces no key. It returns the text, and the symmetric key if the message
// announced it. Every mismatch gives ErrTampered, after the same work.
func (r *LegacyReader) Open(m *LegacyMessage, from quinta.UserID, sender *LegacyRecord, now time.Time) (plain []byte, announced *LegacySecret, err error) {
	if m.From != from || m.To != r.Self {
		return nil, nil, fmt.Errorf("%w: the sender or the recipient", cert.ErrMismatch)
	}
	e := &m.Ext.E2EE
	if len(e.EK) == 0 {
		s := r.Saved[e.KID]
		if s == nil {
			return nil, nil, fmt.Errorf("%w: its symmetric key is not on this device", ErrNotRecipient)
		}
		plain, ok := s.open(m.Body)
		if ok != 1 {
			return nil, nil, ErrTampered
		}
		return plain, nil, nil
	}
	if err := sender.Check(from, now); err != nil { // step 9
		return nil, nil, err
	}
	if sender.KeyID != e.KeyID {
		return nil, nil, fmt.Errorf("%w: the sender's key", cert.ErrMismatch)
	}
	own := r.Own[e.RKeyID]
	if own == nil {
		return nil, nil, ErrNotRecipient
	}
	s, ok, err := unwrapLegacy(e.EK, own, r.Padding) // steps 10 and 11
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(s.key[:])                                           // step 12
	if rsa.VerifyPKCS1v15(sender.Key, crypto.SHA256, sum[:], e.Sig) != nil { // step 13
		ok = 0
	}
	ok &= subtle.ConstantTimeCompare([]byte(s.KID()), []byte(e.KID))
	plain, padded := s.open(m.Body) // step 14
	if ok&padded != 1 {
		return nil, nil, ErrTampered
	}
	return plain, s, nil
}

// unwrapLegacy unwraps a symmetric key. Of a wrapped key that is not one, it
// makes a key that depends on the private key and on what was given, so that
// all that follows runs the same and fails the same (implicit rejection).
func unwrapLegacy(ek []byte, own *rsa.PrivateKey, p LegacyPadding) (*LegacySecret, int, error) {
	if len(ek) != own.Size() {
		return nil, 0, ErrTampered
	}
	seed := sha256.Sum256(own.D.Bytes())
	mac := hmac.New(sha256.New, seed[:])
	mac.Write(ek)
	s := &LegacySecret{key: [16]byte(mac.Sum(nil)[:16])}
	switch p {
	case LegacyOAEP:
		raw, err := rsa.DecryptOAEP(sha1.New(), nil, own, ek, nil)
		ok := 0
		if err == nil && len(raw) == len(s.key) {
			s.key, ok = [16]byte(raw), 1
		}
		return s, ok, nil
	case LegacyPKCS1:
		//lint:ignore SA1019 the padding of the published scheme; a wrong one leaves the key as it is
		err := rsa.DecryptPKCS1v15SessionKey(nil, own, ek, s.key[:])
		if err != nil && !errors.Is(err, rsa.ErrDecryption) {
			return nil, 0, ErrTampered
		}
		return s, 1, nil
	}
	return nil, 0, cert.ErrUnsupported
}

// open decrypts a body; ok is 1 if its padding is right, looked at without
// branches on it.
func (s *LegacySecret) open(body []byte) (plain []byte, ok int) {
	if len(body) < 2*aes.BlockSize || len(body)%aes.BlockSize != 0 {
		return nil, 0
	}
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		return nil, 0
	}
	out := make([]byte, len(body)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, body[:aes.BlockSize]).CryptBlocks(out, body[aes.BlockSize:])
	n := int(out[len(out)-1])
	ok = subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, aes.BlockSize)
	for i := range aes.BlockSize {
		in := subtle.ConstantTimeLessOrEq(i+1, n) // this byte belongs to the padding
		same := subtle.ConstantTimeByteEq(out[len(out)-1-i], byte(n))
		ok &= subtle.ConstantTimeSelect(in, same, 1)
	}
	return out[:len(out)-subtle.ConstantTimeSelect(ok, n, 0)], ok
}
