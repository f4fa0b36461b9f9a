package megolm

import (
	"github.com/quinta-chat/quinta/internal/octet"
	"github.com/quinta-chat/quinta/internal/redact"
	"github.com/quinta-chat/quinta/key"
)

// An Inbound is a session that opens. It prints as "[redacted]".
type Inbound struct {
	manners
	box redact.Box[inbound]
}

type inbound struct {
	public key.MegolmSessionPublic
	// first is the earliest ratchet that is known; it is kept, so that every
	// message from there on can be opened. latest is a later one, so that
	// messages in their order cost one step each.
	first, latest ratchet
}

func newInbound(r ratchet, public key.MegolmSessionPublic) *Inbound {
	return &Inbound{box: redact.Seal(&inbound{public: public, first: r, latest: r})}
}

// NewInbound makes a session from a session key in the signed form of
// m.room_key, [SessionKeySize] bytes.
func NewInbound(sessionKey []byte) (*Inbound, error) {
	r, public, err := parseKey(sessionKey, sharingVersion, SessionKeySize)
	if err != nil {
		return nil, err
	}
	defer r.wipe()
	if !public.Verify(sessionKey[:ExportSize], sessionKey[ExportSize:]) {
		return nil, ErrBadSignature
	}
	return newInbound(r, public), nil
}

// Import makes a session from a session key in the unsigned form of exports,
// backups and forwarded keys, [ExportSize] bytes. Nothing says that its
// ratchet is the sender's; see [Inbound.Merge].
func Import(exported []byte) (*Inbound, error) {
	r, public, err := parseKey(exported, exportVersion, ExportSize)
	if err != nil {
		return nil, err
	}
	defer r.wipe()
	return newInbound(r, public), nil
}

// ID returns the session's id.
func (s *Inbound) ID() SessionID { return SessionID(s.box().public.String()) }

// Signing returns the Ed25519 key of the session, which its id is the text of.
func (s *Inbound) Signing() key.MegolmSessionPublic { return s.box().public }

// FirstIndex returns the first index that the session opens.
func (s *Inbound) FirstIndex() uint32 { return s.box().first.index }

// Open authenticates and decrypts m. The same message opens again and again;
// the caller remembers m.Index with its event to notice a replay.
func (s *Inbound) Open(m *Message) ([]byte, error) {
	st := s.box()
	if m.Index < st.first.index {
		return nil, ErrUnknownIndex
	}
	// The signature comes first, so that only the sender can make the
	// ratchet jump.
	if !st.public.Verify(m.signed()) {
		return nil, ErrBadMAC
	}
	r, later := st.latest.at(m.Index)
	if !later {
		r, _ = st.first.at(m.Index)
	}
	defer r.wipe()
	plaintext, err := m.open(&r)
	if err != nil {
		return nil, err
	}
	if later {
		st.latest = r
	}
	return plaintext, nil
}

// Export returns the session key from index on, in the unsigned form:
// [ExportSize] bytes. It is a secret; the caller wipes it.
func (s *Inbound) Export(index uint32) ([]byte, error) {
	st := s.box()
	r, ok := st.first.at(index)
	if !ok {
		return nil, ErrUnknownIndex
	}
	defer r.wipe()
	return appendKey(make([]byte, 0, ExportSize), exportVersion, &r, st.public), nil
}

// An Order says how one session relates to another.
type Order int

// The orders.
const (
	// Unconnected: they have not one key, or their ratchets are not one.
	Unconnected Order = iota
	// Equal: they open the same messages.
	Equal
	// Better: the first opens more messages.
	Better
	// Worse: the first opens fewer messages.
	Worse
)

// Compare says how s relates to other. They are connected if they have the same
// Ed25519 key, and the earlier ratchet advances to the later one.
func (s *Inbound) Compare(other *Inbound) Order {
	a, b := s.box(), other.box()
	early, late, order := &a.first, &b.first, Better
	switch {
	case a.public != b.public:
		return Unconnected
	case a.first.index == b.first.index:
		order = Equal
	case a.first.index > b.first.index:
		early, late, order = late, early, Worse
	}
	r, _ := early.at(late.index)
	defer r.wipe()
	if !r.equal(late) {
		return Unconnected
	}
	return order
}

// Merge takes over the earlier ratchet of other, if it has one, and reports
// whether it did. It returns [ErrUnconnected] if the two are not one session;
// then s is unchanged.
func (s *Inbound) Merge(other *Inbound) (bool, error) {
	switch s.Compare(other) {
	case Unconnected:
		return false, ErrUnconnected
	case Worse:
		s.box().first = other.box().first
		return true, nil
	}
	return false, nil
}

// Encode returns the session's whole state in Quinta's own binary form, with
// every secret in clear: the store seals it.
func (s *Inbound) Encode() []byte {
	st := s.box()
	b := append(make([]byte, 0, 2+key.Size+2*(4+ratchetSize)), inboundState, stateVersion)
	b = append(b, st.public.Bytes()...)
	b = appendRatchet(b, &st.first)
	return appendRatchet(b, &st.latest)
}

// DecodeInbound returns the session that Encode wrote, or [ErrBadState].
func DecodeInbound(state []byte) (*Inbound, error) {
	r := octet.NewReader(state)
	if r.Byte() != inboundState || r.Byte() != stateVersion {
		return nil, ErrBadState
	}
	public, err := key.NewSigningPublic[key.MegolmSession](r.Take(key.Size))
	st := &inbound{public: public, first: readRatchet(r), latest: readRatchet(r)}
	if err != nil || r.End() != nil || st.latest.index < st.first.index {
		return nil, ErrBadState
	}
	return &Inbound{box: redact.Seal(st)}, nil
}

// Wipe overwrites the session's secrets. It is of no use afterwards.
func (s *Inbound) Wipe() {
	st := s.box()
	st.first.wipe()
	st.latest.wipe()
}
