package megolm

import (
	"crypto/subtle"

	"github.com/quinta-chat/quinta/internal/aessha2"
	"github.com/quinta-chat/quinta/internal/hmacsha256"
)

const (
	partSize    = 32
	partCount   = 4
	ratchetSize = partCount * partSize
)

// A ratchet is R_i of the Megolm specification, with its i: part 0 turns every
// 2^24 messages, part 1 every 2^16, part 2 every 2^8, part 3 with each.
type ratchet struct {
	parts [ratchetSize]byte
	index uint32
}

func (r *ratchet) part(k int) []byte { return r.parts[k*partSize : (k+1)*partSize] }

// hash puts H_to(R_from) into part to.
func (r *ratchet) hash(from, to int) {
	sum := hmacsha256.Sum(r.part(from), []byte{byte(to)})
	copy(r.part(to), sum[:])
	clear(sum[:])
}

// advanceTo makes R_target of R_i; target is not below i. It returns how many
// hashes it took, at most 1026: a part that turns several times needs the
// parts below it only after its last turn.
func (r *ratchet) advanceTo(target uint32) (hashes int) {
	for k := range partCount {
		shift := 8 * (partCount - 1 - k)
		turns := target>>shift - r.index>>shift
		if turns == 0 {
			continue
		}
		for range turns - 1 {
			r.hash(k, k)
		}
		for below := partCount - 1; below >= k; below-- {
			r.hash(k, below)
		}
		r.index = target >> shift << shift
		hashes += int(turns) - 1 + partCount - k
	}
	return hashes
}

// at returns R_target, or false if target is before r.
func (r *ratchet) at(target uint32) (ratchet, bool) {
	if target < r.index {
		return ratchet{}, false
	}
	later := *r
	later.advanceTo(target)
	return later, true
}

func (r *ratchet) equal(other *ratchet) bool {
	return r.index == other.index && subtle.ConstantTimeCompare(r.parts[:], other.parts[:]) == 1
}

// keys returns the keys of message i.
func (r *ratchet) keys() aessha2.Keys { return aessha2.Derive(r.parts[:], "MEGOLM_KEYS") }

func (r *ratchet) wipe() { *r = ratchet{} }
