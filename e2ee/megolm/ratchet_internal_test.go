package megolm

import (
	"crypto/hmac"
	"crypto/sha256"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// step advances r by one, as the specification words it.
func step(r *ratchet) {
	r.index++
	from := 3
	switch {
	case r.index%(1<<24) == 0:
		from = 0
	case r.index%(1<<16) == 0:
		from = 1
	case r.index%(1<<8) == 0:
		from = 2
	}
	old := [partSize]byte(r.part(from))
	for k := from; k < partCount; k++ {
		h := hmac.New(sha256.New, old[:])
		h.Write([]byte{byte(k)})
		copy(r.part(k), h.Sum(nil))
	}
}

// jump advances r to target from one multiple of 2^24, 2^16, 2^8 to the next.
// Between two multiples of a unit the part of that unit turns once, whatever
// is done in between.
func jump(r ratchet, target uint32) ratchet {
	for r.index != target {
		for _, unit := range []uint32{1 << 24, 1 << 16, 1 << 8, 1} {
			next := (r.index/unit + 1) * unit
			if next > r.index && next <= target {
				r.index = next - 1
				step(&r)
				break
			}
		}
	}
	return r
}

func start(index uint32) (r ratchet) {
	for i := range r.parts {
		r.parts[i] = byte(i)
	}
	r.index = index
	return r
}

func TestAdvanceStepByStep(t *testing.T) {
	t.Parallel()
	for _, from := range []uint32{0, 1<<16 - 300, 1<<24 - 300, math.MaxUint32 - 600} {
		slow, fast := start(from), start(from)
		for range 600 {
			step(&slow)
			fast.advanceTo(slow.index)
			jumped, ok := start(from).at2(slow.index)
			if !ok || !fast.equal(&slow) || !jumped.equal(&slow) {
				t.Fatalf("from %d to %d: got another ratchet than step by step", from, slow.index)
			}
		}
	}
}

// at2 is at for a value.
func (r ratchet) at2(target uint32) (ratchet, bool) { return r.at(target) }

func TestAdvanceAnywhere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.Uint32().Draw(t, "from")
		j := rapid.Uint32Min(i).Draw(t, "to")
		via := rapid.Uint32Range(i, j).Draw(t, "via")
		direct, ok := start(i).at2(j)
		if want := jump(start(i), j); !ok || !direct.equal(&want) {
			t.Fatalf("got another ratchet at %d than by multiples", j)
		}
		between, _ := start(i).at2(via)
		between.advanceTo(j)
		if !between.equal(&direct) {
			t.Fatalf("got another ratchet at %d by way of %d", j, via)
		}
		if _, ok := direct.at(i); ok != (i == j) {
			t.Fatalf("got from %d back to %d", j, i)
		}
	})
}

// TestAttackFarJump counts the hashes of the longest jumps, and their
// allocations.
func TestAttackFarJump(t *testing.T) {
	for _, c := range []struct{ from, to uint32 }{{0, math.MaxUint32}, {1, math.MaxUint32}, {0, 0xffffff}, {0x00fffffe, 0xffffffff}} {
		hashes := 0
		r := start(c.from)
		if got := testing.AllocsPerRun(3, func() {
			r = start(c.from)
			hashes = r.advanceTo(c.to)
		}); got > 0 {
			t.Errorf("%d to %d: got %v allocations, want none", c.from, c.to, got)
		}
		if hashes > 1030 {
			t.Errorf("%d to %d: got %d hashes, want at most 1030", c.from, c.to, hashes)
		}
		if r.index != c.to {
			t.Errorf("got index %d, want %d", r.index, c.to)
		}
	}
}
