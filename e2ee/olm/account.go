package olm

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/internal/redact"
	"github.com/quinta-chat/quinta/key"
)

// Limits of an account.
const (
	// MaxOneTimeKeys is how many one-time keys an account holds. When more
	// are made the oldest are dropped.
	MaxOneTimeKeys = 100
	// MaxFallbackSessions is how many sessions made with one fallback key are
	// remembered to refuse their repetition; the oldest are forgotten first.
	MaxFallbackSessions = 256
)

// A KeyID numbers the one-time and fallback keys of an account, from 1.
type KeyID uint64

// String returns the key id as it is used on the wire, in the name
// "signed_curve25519:ID": unpadded base64 of eight bytes.
func (id KeyID) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return base64text.Encode(b[:])
}

// A PublicKey is a one-time or fallback key as it is published.
type PublicKey struct {
	ID       KeyID
	Key      key.OneTimePublic
	Fallback bool
}

// An Account is the private half of one device. It prints as "[redacted]".
type Account struct {
	manners
	box redact.Box[account]
}

// account is the state of an Account.
type account struct {
	signing  key.DeviceSigningPrivate
	identity key.IdentityPrivate
	// lastID is the id of the newest key.
	lastID KeyID
	// oneTime has the oldest key first.
	oneTime            []oneTimeKey
	fallback, previous *fallbackKey
}

type oneTimeKey struct {
	id        KeyID
	published bool
	private   key.OneTimePrivate
	public    key.OneTimePublic
}

type fallbackKey struct {
	oneTimeKey
	// used names the sessions that were made with the key, oldest first.
	used []SessionID
}

// NewAccount makes an account with new identity keys from 64 bytes of rand.
func NewAccount(rand io.Reader) (*Account, error) {
	signing, err := key.GenerateSigning[key.Device](rand)
	if err != nil {
		return nil, err
	}
	identity, err := key.GenerateAgreement[key.Identity](rand)
	if err != nil {
		return nil, err
	}
	return &Account{box: redact.Seal(&account{signing: signing, identity: identity})}, nil
}

// Signing returns the device's Ed25519 key, its fingerprint.
func (a *Account) Signing() key.DeviceSigningPublic { return a.box().signing.Public() }

// Identity returns the device's Curve25519 key.
func (a *Account) Identity() key.IdentityPublic { return a.box().identity.Public() }

// Sign returns the device's Ed25519 signature of message, 64 bytes.
func (a *Account) Sign(message []byte) []byte { return a.box().signing.Sign(message) }

func newOneTimeKey(rand io.Reader, id KeyID) (oneTimeKey, error) {
	k, err := key.GenerateAgreement[key.OneTime](rand)
	if err != nil {
		return oneTimeKey{}, err
	}
	return oneTimeKey{id: id, private: k, public: k.Public()}, nil
}

// GenerateOneTimeKeys makes n one-time keys, each from 32 bytes of rand, with
// ascending ids. If the account then holds more than [MaxOneTimeKeys], the
// oldest are dropped.
func (a *Account) GenerateOneTimeKeys(rand io.Reader, n int) error {
	if n < 0 || n > MaxOneTimeKeys {
		return ErrTooManyKeys
	}
	st := a.box()
	made := make([]oneTimeKey, 0, n)
	for i := range n {
		k, err := newOneTimeKey(rand, st.lastID+KeyID(i)+1)
		if err != nil {
			return fmt.Errorf("olm: %w", err)
		}
		made = append(made, k)
	}
	all := append(st.oneTime, made...)
	for len(all) > MaxOneTimeKeys {
		all[0].private.Wipe()
		all = all[1:]
	}
	st.oneTime = slices.Clip(all)
	st.lastID += KeyID(n)
	return nil
}

// OneTimeKeys returns how many one-time keys the account holds, published or
// not.
func (a *Account) OneTimeKeys() int { return len(a.box().oneTime) }

// GenerateFallbackKey makes a new fallback key from 32 bytes of rand. The one
// that it follows still opens messages until [Account.ForgetFallbackKey]; the
// one before is dropped.
func (a *Account) GenerateFallbackKey(rand io.Reader) error {
	st := a.box()
	k, err := newOneTimeKey(rand, st.lastID+1)
	if err != nil {
		return fmt.Errorf("olm: %w", err)
	}
	a.ForgetFallbackKey()
	st.lastID++
	st.previous, st.fallback = st.fallback, &fallbackKey{oneTimeKey: k}
	return nil
}

// ForgetFallbackKey drops the fallback key before the newest, and reports
// whether there was one. Matrix gives it an hour.
func (a *Account) ForgetFallbackKey() bool {
	st := a.box()
	if st.previous == nil {
		return false
	}
	st.previous.private.Wipe()
	st.previous = nil
	return true
}

// FallbackWorn reports whether the newest fallback key should be followed by
// another one, as half of the sessions that it may make are made. The sessions
// are remembered, so that none is made twice; when the memory is full the key
// refuses, no matter what filled it.
func (a *Account) FallbackWorn() bool {
	f := a.box().fallback
	return f != nil && len(f.used) >= MaxFallbackSessions/2
}

// FallbackKey returns the newest fallback key, if there is one.
func (a *Account) FallbackKey() (PublicKey, bool) {
	f := a.box().fallback
	if f == nil {
		return PublicKey{}, false
	}
	return PublicKey{ID: f.id, Key: f.public, Fallback: true}, true
}

// Unpublished returns the keys that [Account.MarkPublished] was not called
// for, in the order of their ids.
func (a *Account) Unpublished() []PublicKey {
	st := a.box()
	var out []PublicKey
	for _, k := range st.oneTime {
		if !k.published {
			out = append(out, PublicKey{ID: k.id, Key: k.public})
		}
	}
	if f := st.fallback; f != nil && !f.published {
		out = append(out, PublicKey{ID: f.id, Key: f.public, Fallback: true})
	}
	order.By(out, func(a, b PublicKey) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// MarkPublished marks keys as published. Ids that the account does not have
// are ignored.
func (a *Account) MarkPublished(ids ...KeyID) {
	st := a.box()
	for i := range st.oneTime {
		if slices.Contains(ids, st.oneTime[i].id) {
			st.oneTime[i].published = true
		}
	}
	if f := st.fallback; f != nil && slices.Contains(ids, f.id) {
		f.published = true
	}
}

// Drop drops one-time keys, as when a server has others under their ids.
// Fallback keys and ids that the account does not have are ignored.
func (a *Account) Drop(ids ...KeyID) {
	st := a.box()
	st.oneTime = slices.DeleteFunc(st.oneTime, func(k oneTimeKey) bool {
		if !slices.Contains(ids, k.id) {
			return false
		}
		k.private.Wipe()
		return true
	})
}

// Wipe overwrites the account's secrets. It is of no use afterwards.
func (a *Account) Wipe() {
	st := a.box()
	st.signing.Wipe()
	st.identity.Wipe()
	for _, k := range st.oneTime {
		k.private.Wipe()
	}
	for _, f := range []*fallbackKey{st.fallback, st.previous} {
		if f != nil {
			f.private.Wipe()
		}
	}
	*st = account{}
}
