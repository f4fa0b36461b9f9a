package seal

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// contentVersion is the version of the inner content.
const contentVersion = 1

// MaxAge is how long a message may wait for a recipient who is away.
const MaxAge = 90 * 24 * time.Hour

// MaxContent limits the content of a message in bytes; anything larger is
// sent as a file.
const MaxContent = 256 << 10

// A Content is what is signed and sealed.
type Content struct {
	V    int           `json:"v"`
	From quinta.UserID `json:"from"`
	// FromKey is the fingerprint of the sender's signing key.
	FromKey cert.Fingerprint `json:"fromKey"`
	To      []quinta.UserID  `json:"to"`
	Conv    quinta.RoomID    `json:"conv"`
	// ID is the message's own id, and Seq its number among the messages of
	// the sending device in the conversation, from 1.
	ID      quinta.MessageID `json:"mid"`
	Seq     uint64           `json:"seq"`
	Time    int64            `json:"ts"` // Unix milliseconds
	Profile string           `json:"profile"`
	// Body is the message in the form of the network.
	Body json.RawMessage `json:"content"`
}

// A Self is the device that seals or opens: its two certificates and their
// keys. Older holds old pairs for decryption.
type Self struct {
	Sign       *x509.Certificate
	SignKey    crypto.Signer
	Chain      []*x509.Certificate
	Encrypt    *x509.Certificate
	EncryptKey crypto.Signer
	Older      []Pair
}

// A Pair is an encryption certificate with its private key.
type Pair struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Seal makes a message (DER) for the holders of the certificates, which the
// caller has verified: one for every device of every recipient, and every
// other device of the sender. From, FromKey, V and Profile are set here.
func Seal(rand io.Reader, self *Self, c Content, recipients []*x509.Certificate) ([]byte, error) {
	signed, err := Sign(rand, self, c)
	if err != nil {
		return nil, err
	}
	return SealSigned(rand, signed, recipients)
}

// signContent makes the SignedData of a content.
func Sign(rand io.Reader, self *Self, c Content) ([]byte, error) {
	id, err := cert.IdentityOf(self.Sign)
	if err != nil {
		return nil, err
	}
	c.V, c.From, c.FromKey, c.Profile = contentVersion, id.User, cert.KeyID(self.Sign), cert.ProfileSecure
	if err := c.check(); err != nil {
		return nil, err
	}
	inner, err := canonicaljson.Marshal(&c)
	if err != nil {
		return nil, err
	}
	return cms.Sign(rand, inner, cms.Signer{Certificate: self.Sign, Key: self.SignKey, Chain: self.Chain}, time.UnixMilli(c.Time))
}

// sealSigned seals SignedData for the holders of certificates.
func SealSigned(rand io.Reader, signed []byte, recipients []*x509.Certificate) ([]byte, error) {
	for _, r := range recipients {
		if id, err := cert.IdentityOf(r); err != nil || id.Use != cert.UseEncrypt || cert.CheckKey(r.PublicKey) != nil {
			return nil, fmt.Errorf("%w: a recipient's certificate is not for encryption", cert.ErrUntrusted)
		}
	}
	return cms.Seal(rand, signed, recipients)
}

// maxRecipients bounds the users that a content names.
const maxRecipients = 500

func (c *Content) check() error {
	switch {
	case c.V != contentVersion:
		return fmt.Errorf("%w: version %d of the content", cert.ErrUnsupported, c.V)
	case c.From == "" || c.FromKey == "" || c.Conv == "" || c.ID == "" || c.Seq == 0 || c.Time <= 0 || len(c.To) == 0:
		return fmt.Errorf("%w: a member of the content is missing", cert.ErrMalformed)
	case len(c.To) > maxRecipients || len(c.Conv) > 255 || len(c.ID) > 255:
		return fmt.Errorf("%w: a member of the content is too large", cert.ErrMalformed)
	case len(c.Body) == 0 || len(c.Body) > MaxContent || !json.Valid(c.Body):
		return fmt.Errorf("%w: the content is not JSON of at most %d bytes", cert.ErrMalformed, MaxContent)
	}
	return nil
}

// An Expect is what the receiver knows about a message from outside it.
type Expect struct {
	// From is the sender according to the transport, Conv the conversation in
	// which it arrived, Self this user.
	From quinta.UserID
	Conv quinta.RoomID
	Self quinta.UserID
	// Now is this device's time. Received is when the server reports to have
	// received the message; zero if it does not say.
	Now, Received time.Time
}

// sent returns when the message was sent, as far as that is known before it is
// opened.
func (x *Expect) sent() time.Time {
	if x.Received.IsZero() {
		return x.Now
	}
	return x.Received
}

// An Opened is a message that was opened and is valid in itself. The machine
// checks that it was not seen before and is in order.
type Opened struct {
	Content Content
	// Device is the sending device, Cert its certificate.
	Device quinta.DeviceID
	Cert   *x509.Certificate
}

// Open opens a message and checks all that can be checked without memory: it
// is sealed for this device; signed; the signer's certificate comes from the
// authority, is one to sign with and was valid and not revoked at the time of
// the message; its name is the content's sender and the transport's; this
// user is among the recipients; the conversation, profile and time are right.
// Nothing of the content is returned unless all of it holds.
func Open(raw []byte, self *Self, v *cert.Verifier, x Expect) (*Opened, error) {
	signed, err := self.open(raw)
	if err != nil {
		return nil, err
	}
	s, err := cms.Parse(signed)
	if err != nil {
		return nil, fromCMS(err)
	}
	signer, err := s.Signer()
	if err != nil {
		return nil, ErrTampered
	}
	// Before any work with the signer's key: an authority that this device
	// trusts has signed it.
	if err := v.Vouch(signer, cert.UseSign, x.sent()); err != nil {
		return nil, err
	}
	inner, err := s.Verify(signer)
	if err != nil {
		return nil, fromCMS(err)
	}
	var c Content
	if err := canonicaljson.Valid(inner); err != nil {
		return nil, cert.ErrMalformed
	}
	if exactjson.Strict(inner, &c) != nil {
		return nil, cert.ErrMalformed
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	id, err := v.Verify(signer, cert.UseSign, time.UnixMilli(c.Time), x.Now)
	if err != nil {
		return nil, err
	}
	if err := c.matches(id, cert.KeyID(signer), x); err != nil {
		return nil, err
	}
	return &Opened{Content: c, Device: id.Device, Cert: signer}, nil
}

// matches compares what is signed with who signed it and with what the
// receiver knows.
func (c *Content) matches(id cert.Identity, key cert.Fingerprint, x Expect) error {
	at := time.UnixMilli(c.Time)
	switch {
	case c.Profile != cert.ProfileSecure:
		return fmt.Errorf("%w: the profile %.20q inside a secure message", cert.ErrMismatch, c.Profile)
	case c.From != id.User || c.From != x.From:
		return fmt.Errorf("%w: the sender", cert.ErrMismatch)
	case c.FromKey != key:
		return fmt.Errorf("%w: the sender's key", cert.ErrMismatch)
	case c.Conv != x.Conv:
		return fmt.Errorf("%w: the conversation", cert.ErrMismatch)
	case !slices.Contains(c.To, x.Self) && c.From != x.Self:
		return fmt.Errorf("%w: it is not addressed to this user", cert.ErrMismatch)
	case at.After(x.Now.Add(cert.MaxAhead)) || at.Before(x.Now.Add(-MaxAge)):
		return fmt.Errorf("%w: its time is too far from the server's", cert.ErrReplayed)
	}
	return SentNear(at, x.Received)
}

// sentNear compares the time of a message with the time at which the server
// received it, if known.
func SentNear(at, received time.Time) error {
	if !received.IsZero() && (at.After(received.Add(cert.MaxAhead)) || at.Before(received.Add(-MaxBackdate))) {
		return fmt.Errorf("%w: its time is not the time at which it was sent", cert.ErrReplayed)
	}
	return nil
}

// maxBackdate limits how long a message may wait in its sender's outbox, so
// that a sender whose key was revoked cannot claim an earlier time.
const MaxBackdate = 7 * 24 * time.Hour

// open opens the envelope with the key that it is sealed for.
func (s *Self) open(raw []byte) ([]byte, error) {
	pairs := s.Older
	if s.Encrypt != nil {
		pairs = append([]Pair{{s.Encrypt, s.EncryptKey}}, s.Older...)
	}
	for _, p := range pairs {
		k, err := opener(p.Key)
		if err != nil {
			return nil, err
		}
		signed, err := cms.Open(raw, p.Cert, k)
		if errors.Is(err, cms.ErrNotRecipient) {
			continue
		}
		if err != nil {
			return nil, fromCMS(err)
		}
		return signed, nil
	}
	return nil, ErrNotRecipient
}

// opener gives a private key the form that package cms opens with.
func opener(k crypto.Signer) (any, error) {
	switch p := k.(type) {
	case *ecdsa.PrivateKey:
		e, err := p.ECDH()
		if err != nil {
			return nil, fmt.Errorf("%w: the key cannot agree", cert.ErrUnsupported)
		}
		return e, nil
	case *rsa.PrivateKey:
		return p, nil
	}
	return nil, fmt.Errorf("%w: a key is RSA or P-256", cert.ErrUnsupported)
}

func fromCMS(err error) error {
	switch {
	case errors.Is(err, cms.ErrUnsupported):
		return cert.ErrUnsupported
	case errors.Is(err, cms.ErrMalformed):
		return cert.ErrMalformed
	case errors.Is(err, cms.ErrNotRecipient):
		return ErrNotRecipient
	}
	return ErrTampered
}
