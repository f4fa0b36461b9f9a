package megolm

import (
	"fmt"
	"io"
	"math"

	"github.com/quinta-chat/quinta/internal/octet"
	"github.com/quinta-chat/quinta/internal/redact"
	"github.com/quinta-chat/quinta/key"
)

// A SessionID names a session: its Ed25519 public key in unpadded base64.
type SessionID string

type manners = redact.Manners

// An Outbound is a session that seals. It prints as "[redacted]".
type Outbound struct {
	manners
	box redact.Box[outbound]
}

type outbound struct {
	ratchet ratchet
	signing key.MegolmSessionPrivate
}

// NewOutbound makes a session from 160 bytes of rand.
func NewOutbound(rand io.Reader) (*Outbound, error) {
	st := &outbound{}
	if _, err := io.ReadFull(rand, st.ratchet.parts[:]); err != nil {
		return nil, fmt.Errorf("megolm: generating a session: %w", err)
	}
	var err error
	if st.signing, err = key.GenerateSigning[key.MegolmSession](rand); err != nil {
		return nil, fmt.Errorf("megolm: %w", err)
	}
	return &Outbound{box: redact.Seal(st)}, nil
}

// ID returns the session's id.
func (s *Outbound) ID() SessionID { return SessionID(s.box().signing.Public().String()) }

// Index returns the index of the next message.
func (s *Outbound) Index() uint32 { return s.box().ratchet.index }

// Seal seals plaintext into the message of the next index. The caller stores
// the session before the message leaves.
func (s *Outbound) Seal(plaintext []byte) ([]byte, error) {
	st := s.box()
	if len(plaintext) > MaxMessage-maxOverhead {
		return nil, ErrTooLarge
	}
	if st.ratchet.index == math.MaxUint32 {
		return nil, ErrExhausted
	}
	out := seal(&st.ratchet, st.signing, plaintext)
	st.ratchet.advanceTo(st.ratchet.index + 1)
	return out, nil
}

// SessionKey returns the session key in the signed form of m.room_key, from
// the next message on: [SessionKeySize] bytes. It is a secret; the caller
// wipes it.
func (s *Outbound) SessionKey() []byte {
	st := s.box()
	b := appendKey(make([]byte, 0, SessionKeySize), sharingVersion, &st.ratchet, st.signing.Public())
	return append(b, st.signing.Sign(b)...)
}

// The first two bytes of a state: what it is, and the version of its form.
const (
	outboundState = 'O'
	inboundState  = 'I'
	stateVersion  = 1
)

// Encode returns the session's whole state in Quinta's own binary form, with
// every secret in clear: the store seals it.
func (s *Outbound) Encode() []byte {
	st := s.box()
	b := append(make([]byte, 0, 2+4+ratchetSize+key.Size), outboundState, stateVersion)
	b = appendRatchet(b, &st.ratchet)
	seed := st.signing.Secret()
	defer clear(seed)
	return append(b, seed...)
}

// DecodeOutbound returns the session that Encode wrote, or [ErrBadState].
func DecodeOutbound(state []byte) (*Outbound, error) {
	r := octet.NewReader(state)
	if r.Byte() != outboundState || r.Byte() != stateVersion {
		return nil, ErrBadState
	}
	st := &outbound{ratchet: readRatchet(r)}
	seed := r.Take(key.Size)
	if r.End() != nil {
		return nil, ErrBadState
	}
	var err error
	if st.signing, err = key.NewSigningPrivate[key.MegolmSession](seed); err != nil {
		return nil, ErrBadState
	}
	return &Outbound{box: redact.Seal(st)}, nil
}

func appendRatchet(b []byte, r *ratchet) []byte {
	return append(octet.AppendUint32(b, r.index), r.parts[:]...)
}

func readRatchet(in *octet.Reader) (r ratchet) {
	r.index = in.Uint32()
	copy(r.parts[:], in.Take(ratchetSize))
	return r
}

// Wipe overwrites the session's secrets. It is of no use afterwards.
func (s *Outbound) Wipe() {
	st := s.box()
	st.ratchet.wipe()
	st.signing.Wipe()
}
