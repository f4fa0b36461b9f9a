package olm

import (
	"crypto/sha256"
	"io"
	"math"
	"slices"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/redact"
	"github.com/quinta-chat/quinta/internal/tagged"
	"github.com/quinta-chat/quinta/key"
)

// A SessionID names a session: the unpadded base64 of SHA-256(I_A, E_A, E_B).
// Both sides have the same.
type SessionID string

func sessionID(identity key.IdentityPublic, base key.BasePublic, oneTime key.OneTimePublic) SessionID {
	var b [3 * key.Size]byte
	copy(b[:], identity.Bytes())
	copy(b[key.Size:], base.Bytes())
	copy(b[2*key.Size:], oneTime.Bytes())
	sum := sha256.Sum256(b[:])
	return SessionID(base64text.Encode(sum[:]))
}

type manners = redact.Manners

// A Session is one ratchet with one other device. It prints as "[redacted]".
type Session struct {
	manners
	box redact.Box[session]
}

// session is the state of a Session.
type session struct {
	// The three keys that name the session: A is who started it.
	identity key.IdentityPublic
	base     key.BasePublic
	oneTime  key.OneTimePublic
	// outbound says that this side is A; received that it opened a message.
	outbound, received bool

	root secret
	// sending is nil from the turn of the ratchet until the next message is
	// sealed.
	sending *sendingChain
	// receiving has the newest chain first.
	receiving []receivingChain
}

func newSession(s *session) *Session { return &Session{box: redact.Seal(s)} }

// ID returns the session's id.
func (s *Session) ID() SessionID {
	st := s.box()
	return sessionID(st.identity, st.base, st.oneTime)
}

// Received reports whether the session has opened a message. Until then it
// seals pre-key messages.
func (s *Session) Received() bool { return s.box().received }

// Matches reports whether m is of this session.
func (s *Session) Matches(m *PreKeyMessage) bool {
	st := s.box()
	return m.Identity == st.identity && m.Base == st.base && m.OneTime == st.oneTime
}

// Seal seals plaintext into the next message. It takes 32 bytes from rand if
// the ratchet turns. The caller stores the session before the message leaves.
func (s *Session) Seal(rand io.Reader, plaintext []byte) (Sealed, error) {
	st := s.box()
	if len(plaintext) > MaxMessage-maxOverhead {
		return Sealed{}, ErrTooLarge
	}
	if st.sending == nil {
		if err := st.turnSending(rand); err != nil {
			return Sealed{}, err
		}
	}
	if st.sending.index == math.MaxUint32 {
		return Sealed{}, ErrExhausted
	}
	mk := st.sending.messageKey()
	defer clear(mk[:])
	out := Sealed{Type: TypeNormal}
	size := messageSize(st.sending.index, len(plaintext))
	if st.outbound && !st.received {
		out.Type = TypePreKey
		out.Body = append(make([]byte, 0, 1+3*(2+key.Size)+1+tagged.VarintSize(uint64(size))+size), version)
		out.Body = tagged.AppendStr(out.Body, tagOneTimeKey, st.oneTime.Bytes())
		out.Body = tagged.AppendStr(out.Body, tagBaseKey, st.base.Bytes())
		out.Body = tagged.AppendStr(out.Body, tagIdentity, st.identity.Bytes())
		out.Body = tagged.AppendStrHead(out.Body, tagMessage, size)
	} else {
		out.Body = make([]byte, 0, size)
	}
	out.Body = appendMessage(out.Body, &mk, st.sending.public, st.sending.index, plaintext)
	st.sending.advance()
	return out, nil
}

// turnSending makes the next ratchet key and its chain.
func (st *session) turnSending(rand io.Reader) error {
	ratchet, err := key.GenerateAgreement[key.Ratchet](rand)
	if err != nil {
		return err
	}
	root, chainKey, err := turn(&st.root, ratchet, st.receiving[0].ratchet)
	if err != nil {
		ratchet.Wipe()
		return err
	}
	st.root = root
	st.sending = &sendingChain{chain: chain{key: chainKey}, ratchet: ratchet, public: ratchet.Public()}
	return nil
}

// Open authenticates and decrypts m. A message is opened once: a second time
// it is [ErrNoMessageKey]. If the error is not nil the session is unchanged.
func (s *Session) Open(m *Message) ([]byte, error) {
	st := s.box()
	plaintext, err := st.open(m)
	if err != nil {
		return nil, err
	}
	st.received = true
	return plaintext, nil
}

func (st *session) open(m *Message) ([]byte, error) {
	for i := range st.receiving {
		if st.receiving[i].ratchet == m.Ratchet {
			return st.receiving[i].open(m)
		}
	}
	return st.openTurned(m)
}

// openTurned opens m, whose ratchet key is new.
func (st *session) openTurned(m *Message) ([]byte, error) {
	if st.sending == nil {
		// The other side turns only after it has seen our ratchet key, and
		// there is none since its last turn.
		return nil, ErrBadMAC
	}
	root, chainKey, err := turn(&st.root, st.sending.ratchet, m.Ratchet)
	if err != nil {
		return nil, err
	}
	rc := receivingChain{chain: chain{key: chainKey}, ratchet: m.Ratchet}
	plaintext, err := rc.open(m)
	if err != nil {
		rc.wipe()
		return nil, err
	}
	st.root = root
	st.receiving = slices.Insert(st.receiving, 0, rc)
	for len(st.receiving) > MaxReceivingChains {
		last := len(st.receiving) - 1
		st.receiving[last].wipe()
		st.receiving[last] = receivingChain{}
		st.receiving = st.receiving[:last]
	}
	st.sending.ratchet.Wipe()
	clear(st.sending.key[:])
	st.sending = nil
	return plaintext, nil
}

// Wipe overwrites the session's secrets. It is of no use afterwards.
func (s *Session) Wipe() {
	st := s.box()
	clear(st.root[:])
	for i := range st.receiving {
		st.receiving[i].wipe()
	}
	if st.sending != nil {
		st.sending.ratchet.Wipe()
		clear(st.sending.key[:])
	}
	*st = session{}
}
