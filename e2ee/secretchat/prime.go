package secretchat

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"

	"filippo.io/bigmod"
)

// Size is the length of the prime, of every public value and of every key, in
// bytes.
const Size = 256

// Errors of the key agreement.
var (
	// ErrWeakGroup: p is not a safe prime of 2048 bits, or g does not generate
	// its subgroup of prime order.
	ErrWeakGroup = errors.New("secretchat: the prime or the generator is not safe")
	// ErrWeakPublic: a public value is outside of 2^1984 to p - 2^1984.
	ErrWeakPublic = errors.New("secretchat: a public value is out of range")
)

// A Group is a checked prime with a checked generator.
type Group struct {
	g    int
	p    [Size]byte
	mod  *bigmod.Modulus
	low  *big.Int // 2^1984
	high *big.Int // p - 2^1984
}

// G is the generator.
func (g *Group) G() int { return g.g }

// P is the prime, big-endian, 256 bytes.
func (g *Group) P() []byte { return bytes.Clone(g.p[:]) }

// Check reports whether a public value may be used: 2^1984 <= v <= p - 2^1984.
// It may be shorter than 256 bytes. "Request and acceptance" asks for it of
// both sides' values; the wider check 1 < v < p-1 follows.
func (g *Group) Check(public []byte) error {
	v := new(big.Int).SetBytes(public)
	if len(public) > Size || v.Cmp(g.low) < 0 || v.Cmp(g.high) > 0 {
		return ErrWeakPublic
	}
	return nil
}

// exp returns base^e mod p. All 256 bytes of e are worked through, whatever
// their value.
func (g *Group) exp(base []byte, e *[Size]byte) (*[Size]byte, error) {
	n, err := bigmod.NewNat().SetBytes(base, g.mod)
	if err != nil {
		return nil, ErrWeakPublic
	}
	return (*[Size]byte)(bigmod.NewNat().Exp(n, e[:], g.mod).Bytes(g.mod)), nil
}

// maxVerdicts bounds the groups that are remembered.
const maxVerdicts = 64

// Verdicts judges groups and remembers what it found by their value, never by
// the version under which a server sent them. The zero Verdicts is ready, and
// may be used by several goroutines.
type Verdicts struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]verdict
	tests int // primality tests that were made
}

type verdict struct {
	group *Group
	err   error
}

// Group returns the group of g and p, or ErrWeakGroup. Telegram's own prime is
// compared by bytes; any other is tested once with bases from rand.
func (v *Verdicts) Group(rand io.Reader, g int, p []byte) (*Group, error) {
	if len(p) != Size || p[0]&0x80 == 0 || g < 2 || g > 7 {
		return nil, ErrWeakGroup
	}
	h := sha256.Sum256(binary.LittleEndian.AppendUint32(bytes.Clone(p), uint32(g)))
	v.mu.Lock()
	defer v.mu.Unlock()
	if found, ok := v.known[h]; ok {
		return found.group, found.err
	}
	found := verdict{err: ErrWeakGroup}
	if generates(g, p) {
		safe := bytes.Equal(p, knownPrime[:])
		if !safe {
			v.tests++
			var err error
			if safe, err = safePrime(rand, p); err != nil {
				return nil, err
			}
		}
		if safe {
			group, err := newGroup(g, p)
			if err != nil {
				return nil, err
			}
			found = verdict{group: group}
		}
	}
	if v.known == nil || len(v.known) >= maxVerdicts {
		v.known = map[[sha256.Size]byte]verdict{}
	}
	v.known[h] = found
	return found.group, found.err
}

func newGroup(g int, p []byte) (*Group, error) {
	mod, err := bigmod.NewModulus(p)
	if err != nil {
		return nil, ErrWeakGroup
	}
	low := new(big.Int).Lsh(big.NewInt(1), 2048-64)
	return &Group{g: g, p: [Size]byte(p), mod: mod, low: low, high: new(big.Int).Sub(new(big.Int).SetBytes(p), low)}, nil
}

// KnownGroup is Telegram's own prime with the generator 3, which every client
// knows.
func KnownGroup() *Group {
	g, err := newGroup(3, knownPrime[:])
	if err != nil {
		panic("secretchat: internal error: the known prime is refused")
	}
	return g
}

// generates reports whether g is a quadratic residue modulo the safe prime p,
// and so generates the subgroup of order (p-1)/2, by the congruences of the
// specification.
func generates(g int, p []byte) bool {
	rest := func(m uint64) uint64 {
		var r uint64
		for _, b := range p {
			r = (r<<8 | uint64(b)) % m
		}
		return r
	}
	switch g {
	case 2:
		return rest(8) == 7
	case 3:
		return rest(3) == 2
	case 4:
		return true
	case 5:
		return rest(5) == 1 || rest(5) == 4
	case 6:
		return rest(24) == 19 || rest(24) == 23
	case 7:
		return rest(7) == 3 || rest(7) == 5 || rest(7) == 6
	}
	return false
}

// rounds of Miller-Rabin with random bases; a composite number passes with a
// probability of at most 4^-rounds, whoever chose it.
const rounds = 20

// safePrime reports whether p and (p-1)/2 are prime.
func safePrime(rand io.Reader, p []byte) (bool, error) {
	n := new(big.Int).SetBytes(p)
	q := new(big.Int).Rsh(n, 1)
	if n.Bit(0) == 0 || q.Bit(0) == 0 || !n.ProbablyPrime(0) || !q.ProbablyPrime(0) {
		return false, nil
	}
	for _, x := range []*big.Int{q, n} {
		if ok, err := strong(rand, x); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// strong is Miller-Rabin for an odd n, with bases that no one could foresee.
func strong(rand io.Reader, n *big.Int) (bool, error) {
	one := big.NewInt(1)
	minus := new(big.Int).Sub(n, one)
	twos := minus.TrailingZeroBits()
	odd := new(big.Int).Rsh(minus, twos)
	buf := make([]byte, Size+8)
	for range rounds {
		if _, err := io.ReadFull(rand, buf); err != nil {
			return false, fmt.Errorf("secretchat: drawing a base: %w", err)
		}
		// 2 .. n-2
		base := new(big.Int).SetBytes(buf)
		base.Mod(base, new(big.Int).Sub(n, big.NewInt(3))).Add(base, big.NewInt(2))
		if x := base.Exp(base, odd, n); !witnessed(x, minus, n, twos) {
			return false, nil
		}
	}
	return true, nil
}

// witnessed reports whether one of x, x^2, x^4 ... says that n may be prime.
func witnessed(x, minus, n *big.Int, twos uint) bool {
	if x.IsInt64() && x.Int64() == 1 {
		return true
	}
	for range twos {
		if x.Cmp(minus) == 0 {
			return true
		}
		x.Mod(x.Mul(x, x), n)
	}
	return false
}
