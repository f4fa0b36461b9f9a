package keysrv

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/key"
)

// WrapX25519 is HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256 and AES-256-GCM. A hybrid suite would get another name.
const WrapX25519 = "HPKE-X25519-A256GCM"

// wrappedSize is an encapsulated key of 32 bytes, a key and a tag.
const wrappedSize = 32 + key.Size + tagSize

// A Wrapped is a copy of a key for one device.
type Wrapped struct {
	User   quinta.UserID   `json:"user"`
	Device quinta.DeviceID `json:"device"`
	// Suite names how it is wrapped.
	Suite string `json:"suite"`
	// Sealed is the encapsulated key and the sealed key.
	Sealed []byte `json:"sealed"`
}

func (w *Wrapped) check() error {
	switch {
	case w.Suite != WrapX25519:
		return fmt.Errorf("%w: the wrapping suite %.30q", ErrUnsupported, w.Suite)
	case len(w.Sealed) != wrappedSize || !isDeviceID(w.Device):
		return fmt.Errorf("%w: a wrapped key", ErrMalformed)
	}
	return CheckJID(w.User)
}

// CheckWrapped reports whether a copy has the right form.
func CheckWrapped(w *Wrapped) error { return w.check() }

// wrapInfo binds a copy to its key object, conversation and device.
func wrapInfo(s *Statement, user quinta.UserID, device quinta.DeviceID) []byte {
	return fields("quinta-keysrv-wrap/1", s.ObjectID, s.Conversation, string(user), string(device))
}

// Wrap makes a copy of the key of a statement for a device. Whether the device
// may have it is for the caller to decide.
//
// It draws on the randomness of crypto/hpke, which takes no reader.
func Wrap(s *Statement, k key.ConversationKey, d *Device) (*Wrapped, error) {
	pub, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(d.Agreement.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: the key of a device", ErrMalformed)
	}
	secret := k.Secret()
	defer clear(secret)
	sealed, err := hpke.Seal(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), wrapInfo(s, d.User, d.ID), secret)
	if err != nil {
		return nil, fmt.Errorf("%w: the key of a device", ErrMalformed)
	}
	return &Wrapped{User: d.User, Device: d.ID, Suite: WrapX25519, Sealed: sealed}, nil
}

// Unwrap opens a copy with the device's private key. A copy for another
// object, conversation or device, and a key that does not match the statement,
// give ErrTampered.
func Unwrap(s *Statement, w *Wrapped, user quinta.UserID, device quinta.DeviceID, private key.IdentityPrivate) (key.ConversationKey, error) {
	var none key.ConversationKey
	if err := w.check(); err != nil {
		return none, err
	}
	if w.User != user || w.Device != device {
		return none, fmt.Errorf("%w: the copy is for another device", ErrMismatch)
	}
	secret := private.Secret()
	defer clear(secret)
	priv, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(secret)
	if err != nil {
		return none, fmt.Errorf("%w: the key of this device", ErrMalformed)
	}
	raw, err := hpke.Open(priv, hpke.HKDFSHA256(), hpke.AES256GCM(), wrapInfo(s, user, device), w.Sealed)
	if err != nil {
		return none, fmt.Errorf("%w: a wrapped key", ErrTampered)
	}
	defer clear(raw)
	k, err := key.NewSymmetric[key.Conversation](raw)
	if err != nil || !s.Holds(k) {
		return none, fmt.Errorf("%w: the wrapped key does not match the statement", ErrTampered)
	}
	return k, nil
}
