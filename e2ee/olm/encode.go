package olm

import (
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/octet"
	"github.com/quinta-chat/quinta/internal/redact"
	"github.com/quinta-chat/quinta/key"
)

// The first two bytes of a state: what it is, and the version of its form.
const (
	accountState = 'A'
	sessionState = 'S'
	stateVersion = 1
)

// Encode returns the account's whole state in Quinta's own binary form, with
// every secret in clear: the store seals it.
func (a *Account) Encode() []byte {
	st := a.box()
	b := []byte{accountState, stateVersion}
	b = appendSecret(b, st.signing.Secret())
	b = appendSecret(b, st.identity.Secret())
	b = octet.AppendUint64(b, uint64(st.lastID))
	b = octet.AppendUint32(b, uint32(len(st.oneTime)))
	for i := range st.oneTime {
		b = st.oneTime[i].append(b)
	}
	for _, f := range []*fallbackKey{st.fallback, st.previous} {
		b = octet.AppendBool(b, f != nil)
		if f == nil {
			continue
		}
		b = f.append(b)
		b = octet.AppendUint32(b, uint32(len(f.used)))
		for _, id := range f.used {
			sum, err := base64text.Decode(string(id))
			if err != nil {
				panic("olm: internal error: session id: " + err.Error())
			}
			b = append(b, sum...)
		}
	}
	return b
}

// appendSecret appends s and wipes it.
func appendSecret(b, s []byte) []byte {
	b = append(b, s...)
	clear(s)
	return b
}

func (k *oneTimeKey) append(b []byte) []byte {
	b = octet.AppendUint64(b, uint64(k.id))
	b = octet.AppendBool(b, k.published)
	b = appendSecret(b, k.private.Secret())
	return append(b, k.public.Bytes()...)
}

// DecodeAccount returns the account that Encode wrote, or [ErrBadState].
func DecodeAccount(state []byte) (*Account, error) {
	r := octet.NewReader(state)
	if r.Byte() != accountState || r.Byte() != stateVersion {
		return nil, ErrBadState
	}
	var st account
	var err error
	if st.signing, err = key.NewSigningPrivate[key.Device](r.Take(key.Size)); err != nil {
		return nil, ErrBadState
	}
	st.identity = readPrivate[key.Identity](r)
	st.lastID = KeyID(r.Uint64())
	var last KeyID
	for range r.Count(MaxOneTimeKeys) {
		k := readOneTimeKey(r)
		if k.id <= last || k.id > st.lastID {
			r.Fail()
		}
		last = k.id
		st.oneTime = append(st.oneTime, k)
	}
	for _, f := range []**fallbackKey{&st.fallback, &st.previous} {
		if !r.Bool() {
			continue
		}
		*f = &fallbackKey{oneTimeKey: readOneTimeKey(r)}
		for range r.Count(MaxFallbackSessions) {
			(*f).used = append((*f).used, SessionID(base64text.Encode(r.Take(32))))
		}
		if (*f).id > st.lastID {
			r.Fail()
		}
	}
	if r.End() != nil || st.previous != nil && st.fallback == nil {
		return nil, ErrBadState
	}
	return &Account{box: redact.Seal(&st)}, nil
}

func readOneTimeKey(r *octet.Reader) oneTimeKey {
	return oneTimeKey{
		id:        KeyID(r.Uint64()),
		published: r.Bool(),
		private:   readPrivate[key.OneTime](r),
		public:    readPublic[key.OneTime](r),
	}
}

func readPrivate[R key.AgreementRole](r *octet.Reader) key.AgreementPrivate[R] {
	k, err := key.NewAgreementPrivate[R](r.Take(key.Size))
	if err != nil {
		r.Fail()
	}
	return k
}

func readPublic[R key.AgreementRole](r *octet.Reader) key.AgreementPublic[R] {
	p, err := key.NewAgreementPublic[R](r.Take(key.Size))
	if err != nil {
		r.Fail()
	}
	return p
}

// Encode returns the session's whole state in Quinta's own binary form, with
// every secret in clear: the store seals it.
func (s *Session) Encode() []byte {
	st := s.box()
	b := make([]byte, 2, 512)
	b[0], b[1] = sessionState, stateVersion
	b = append(b, st.identity.Bytes()...)
	b = append(b, st.base.Bytes()...)
	b = append(b, st.oneTime.Bytes()...)
	b = octet.AppendBool(b, st.outbound)
	b = octet.AppendBool(b, st.received)
	b = append(b, st.root[:]...)
	b = octet.AppendBool(b, st.sending != nil)
	if st.sending != nil {
		b = st.sending.chain.append(b)
		b = appendSecret(b, st.sending.ratchet.Secret())
		b = append(b, st.sending.public.Bytes()...)
	}
	b = octet.AppendUint32(b, uint32(len(st.receiving)))
	for i := range st.receiving {
		rc := &st.receiving[i]
		b = rc.chain.append(b)
		b = append(b, rc.ratchet.Bytes()...)
		b = octet.AppendUint32(b, uint32(len(rc.skipped)))
		for j := range rc.skipped {
			b = octet.AppendUint32(b, rc.skipped[j].index)
			b = append(b, rc.skipped[j].key[:]...)
		}
	}
	return b
}

func (c *chain) append(b []byte) []byte {
	return append(octet.AppendUint32(b, c.index), c.key[:]...)
}

func readChain(r *octet.Reader) chain { return chain{index: r.Uint32(), key: r.Key()} }

// DecodeSession returns the session that Encode wrote, or [ErrBadState].
func DecodeSession(state []byte) (*Session, error) {
	r := octet.NewReader(state)
	if r.Byte() != sessionState || r.Byte() != stateVersion {
		return nil, ErrBadState
	}
	st := &session{
		identity: readPublic[key.Identity](r),
		base:     readPublic[key.Base](r),
		oneTime:  readPublic[key.OneTime](r),
		outbound: r.Bool(),
		received: r.Bool(),
		root:     r.Key(),
	}
	if r.Bool() {
		st.sending = &sendingChain{
			chain:   readChain(r),
			ratchet: readPrivate[key.Ratchet](r),
			public:  readPublic[key.Ratchet](r),
		}
	}
	for range r.Count(MaxReceivingChains) {
		st.receiving = append(st.receiving, readReceivingChain(r))
	}
	// Without a sending chain the next message needs the newest receiving one.
	if r.End() != nil || st.sending == nil && len(st.receiving) == 0 {
		return nil, ErrBadState
	}
	return newSession(st), nil
}

func readReceivingChain(r *octet.Reader) receivingChain {
	rc := receivingChain{chain: readChain(r), ratchet: readPublic[key.Ratchet](r)}
	n := r.Count(MaxSkippedKeys)
	if n > 0 {
		rc.skipped = make([]skippedKey, 0, n)
	}
	for i := range n {
		k := skippedKey{index: r.Uint32(), key: r.Key()}
		if k.index >= rc.index || i > 0 && k.index <= rc.skipped[i-1].index {
			r.Fail()
		}
		rc.skipped = append(rc.skipped, k)
	}
	return rc
}
