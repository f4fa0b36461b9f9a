package olm

import (
	"fmt"
	"io"
	"slices"

	"github.com/quinta-chat/quinta/key"
)

// NewOutbound starts a session with the device that has the identity key
// identity and the claimed one-time or fallback key oneTime. It takes 64 bytes
// from rand. The caller has checked the signatures of both keys.
func (a *Account) NewOutbound(rand io.Reader, identity key.IdentityPublic, oneTime key.OneTimePublic) (*Session, error) {
	st := a.box()
	base, err := key.GenerateAgreement[key.Base](rand)
	if err != nil {
		return nil, fmt.Errorf("olm: %w", err)
	}
	defer base.Wipe()
	ratchet, err := key.GenerateAgreement[key.Ratchet](rand)
	if err != nil {
		return nil, fmt.Errorf("olm: %w", err)
	}
	// S = ECDH(I_A, E_B), ECDH(E_A, I_B), ECDH(E_A, E_B).
	var s [96]byte
	if err := agreeInto(s[:32], st.identity, oneTime); err != nil {
		return nil, err
	}
	if err := agreeInto(s[32:64], base, identity); err != nil {
		return nil, err
	}
	if err := agreeInto(s[64:], base, oneTime); err != nil {
		return nil, err
	}
	root, chainKey := initialKeys(&s)
	return newSession(&session{
		identity: st.identity.Public(),
		base:     base.Public(),
		oneTime:  oneTime,
		outbound: true,
		root:     root,
		sending:  &sendingChain{chain: chain{key: chainKey}, ratchet: ratchet, public: ratchet.Public()},
	}), nil
}

// NewInbound opens the first message of a session that the device with the
// identity key sender started, and makes the session. Only if the message is
// authentic is the one-time key dropped; on an error the account is unchanged.
func (a *Account) NewInbound(sender key.IdentityPublic, m *PreKeyMessage) (*Session, []byte, error) {
	if m.Identity != sender {
		return nil, nil, ErrSenderMismatch
	}
	st := a.box()
	i := slices.IndexFunc(st.oneTime, func(k oneTimeKey) bool { return k.public == m.OneTime })
	if i >= 0 {
		s, plaintext, err := st.newInbound(&st.oneTime[i], m)
		if err != nil {
			return nil, nil, err
		}
		st.oneTime[i].private.Wipe()
		st.oneTime = slices.Delete(st.oneTime, i, i+1)
		return s, plaintext, nil
	}
	for _, f := range []*fallbackKey{st.fallback, st.previous} {
		if f == nil || f.public != m.OneTime {
			continue
		}
		id := m.SessionID()
		if slices.Contains(f.used, id) {
			return nil, nil, ErrReplayed
		}
		if len(f.used) >= MaxFallbackSessions {
			return nil, nil, ErrUsedUp
		}
		s, plaintext, err := st.newInbound(&f.oneTimeKey, m)
		if err != nil {
			return nil, nil, err
		}
		f.used = append(f.used, id)
		return s, plaintext, nil
	}
	return nil, nil, ErrUnknownOneTimeKey
}

// newInbound makes a session with the private half of E_B, and opens m.
func (st *account) newInbound(k *oneTimeKey, m *PreKeyMessage) (*Session, []byte, error) {
	var s [96]byte
	if err := agreeInto(s[:32], k.private, m.Identity); err != nil {
		return nil, nil, err
	}
	if err := agreeInto(s[32:64], st.identity, m.Base); err != nil {
		return nil, nil, err
	}
	if err := agreeInto(s[64:], k.private, m.Base); err != nil {
		return nil, nil, err
	}
	root, chainKey := initialKeys(&s)
	made := newSession(&session{
		identity:  m.Identity,
		base:      m.Base,
		oneTime:   m.OneTime,
		root:      root,
		receiving: []receivingChain{{chain: chain{key: chainKey}, ratchet: m.Message.Ratchet}},
	})
	plaintext, err := made.Open(&m.Message)
	if err != nil {
		made.Wipe()
		return nil, nil, err
	}
	return made, plaintext, nil
}

// agreeInto puts one agreement into dst.
func agreeInto[A, B key.AgreementRole](dst []byte, k key.AgreementPrivate[A], p key.AgreementPublic[B]) error {
	shared, err := key.Agree(k, p)
	if err != nil {
		return fmt.Errorf("olm: %w", err)
	}
	copy(dst, shared)
	clear(shared)
	return nil
}
