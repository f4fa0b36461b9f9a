package olm

import (
	"math"
	"slices"

	"github.com/quinta-chat/quinta/internal/aessha2"
	"github.com/quinta-chat/quinta/internal/hmacsha256"
	"github.com/quinta-chat/quinta/key"
)

// Limits on what one session keeps and computes, so that a message cannot
// make it grow or work without end.
const (
	// MaxSkip is how many messages of one chain a message may jump over.
	MaxSkip = 2000
	// MaxSkippedKeys is how many keys of messages that were jumped over are
	// kept per receiving chain; the oldest go first.
	MaxSkippedKeys = 40
	// MaxReceivingChains is how many receiving chains are kept.
	MaxReceivingChains = 5
)

type secret = [32]byte

// initialKeys computes R_0 and C_0,0 (Olm specification, "Initial setup") from the
// three agreements, and wipes them.
func initialKeys(agreements *[96]byte) (root, chainKey secret) {
	var out [64]byte
	hmacsha256.HKDF(out[:], nil, agreements[:], "OLM_ROOT")
	defer clear(out[:])
	clear(agreements[:])
	return secret(out[:32]), secret(out[32:])
}

// turn computes R_i and C_i,0 ("Advancing the root key").
func turn(root *secret, mine key.RatchetPrivate, theirs key.RatchetPublic) (next, chainKey secret, err error) {
	shared, err := key.Agree(mine, theirs)
	if err != nil {
		return secret{}, secret{}, err
	}
	defer clear(shared)
	var out [64]byte
	hmacsha256.HKDF(out[:], root[:], shared, "OLM_RATCHET")
	defer clear(out[:])
	return secret(out[:32]), secret(out[32:]), nil
}

// A chain is C_i,j with its j.
type chain struct {
	key   secret
	index uint32
}

// messageKey returns M_i,j ("Creating a message key").
func (c *chain) messageKey() secret { return hmacsha256.Sum(c.key[:], []byte{1}) }

// advance makes C_i,j+1 of C_i,j ("Advancing the chain key").
func (c *chain) advance() {
	c.key = hmacsha256.Sum(c.key[:], []byte{2})
	c.index++
}

// messageKeys makes the keys of the cipher from a message key.
func messageKeys(m *secret) aessha2.Keys { return aessha2.Derive(m[:], "OLM_KEYS") }

// A sendingChain has the ratchet key T_i that was made for it.
type sendingChain struct {
	chain
	ratchet key.RatchetPrivate
	public  key.RatchetPublic
}

// A receivingChain has the ratchet key T_i that the other side made for it,
// and the keys of messages that were jumped over, oldest first.
type receivingChain struct {
	chain
	ratchet key.RatchetPublic
	skipped []skippedKey
}

type skippedKey struct {
	index uint32
	key   secret
}

// open opens m, which is of this chain. It changes the chain only if m is
// authentic.
func (rc *receivingChain) open(m *Message) ([]byte, error) {
	if m.Index < rc.index {
		return rc.openSkipped(m)
	}
	gap := m.Index - rc.index
	if gap > MaxSkip {
		return nil, ErrSkipTooFar
	}
	if m.Index == math.MaxUint32 {
		return nil, ErrExhausted
	}
	next := rc.chain
	skipped := make([]skippedKey, 0, min(gap, MaxSkippedKeys))
	for next.index < m.Index {
		if m.Index-next.index <= MaxSkippedKeys {
			skipped = append(skipped, skippedKey{next.index, next.messageKey()})
		}
		next.advance()
	}
	mk := next.messageKey()
	defer clear(mk[:])
	plaintext, err := m.open(&mk)
	if err != nil {
		clear(skipped)
		return nil, err
	}
	next.advance()
	rc.chain = next
	rc.keep(skipped)
	return plaintext, nil
}

// keep appends the keys of messages that were jumped over, and drops the
// oldest that are too many.
func (rc *receivingChain) keep(skipped []skippedKey) {
	if len(skipped) == 0 {
		return
	}
	all := append(rc.skipped, skipped...)
	if n := len(all) - MaxSkippedKeys; n > 0 {
		clear(all[:n])
		all = slices.Clone(all[n:])
	}
	rc.skipped = all
}

func (rc *receivingChain) openSkipped(m *Message) ([]byte, error) {
	i := slices.IndexFunc(rc.skipped, func(k skippedKey) bool { return k.index == m.Index })
	if i < 0 {
		return nil, ErrNoMessageKey
	}
	plaintext, err := m.open(&rc.skipped[i].key)
	if err != nil {
		return nil, err
	}
	rc.skipped = slices.Delete(rc.skipped, i, i+1)
	return plaintext, nil
}

// wipe overwrites the chain's secrets.
func (rc *receivingChain) wipe() {
	clear(rc.key[:])
	clear(rc.skipped)
}
