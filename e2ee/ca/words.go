package ca

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Words that can be read aloud and typed: 2,048 of them, each of a
// consonant, a vowel, a consonant and a vowel, so that no list is needed. A
// word carries 11 bits.
const (
	consonants  = "bdfghjklmnprstvz"
	vowels      = "aeio"
	finalVowels = "au"
)

func word(n int) string {
	return string([]byte{consonants[n>>7&15], vowels[n>>5&3], consonants[n>>1&15], finalVowels[n&1]})
}

// number returns the number of a word, or -1.
func number(w string) int {
	if len(w) != 4 {
		return -1
	}
	a, b, c, d := strings.IndexByte(consonants, w[0]), strings.IndexByte(vowels, w[1]), strings.IndexByte(consonants, w[2]), strings.IndexByte(finalVowels, w[3])
	if a < 0 || b < 0 || c < 0 || d < 0 {
		return -1
	}
	return a<<7 | b<<5 | c<<1 | d
}

// words writes bits as words; the last bits of an odd length are dropped.
func words(b []byte, n int) []string {
	out := make([]string, n)
	for i := range out {
		v := 0
		for j := range 11 {
			bit := i*11 + j
			v = v<<1 | int(b[bit/8]>>(7-bit%8)&1)
		}
		out[i] = word(v)
	}
	return out
}

// SafetyWords are twelve words that two people compare: 132 bits of a hash
// over the fingerprints of both, the same on both sides.
func SafetyWords(fingerprints ...string) []string {
	list := slices.Clone(fingerprints)
	slices.Sort(list)
	sum := sha256.Sum256([]byte("quinta-ca-safety/1\x00" + strings.Join(list, "\x00")))
	return words(sum[:], 12)
}

// recoveryWords is the length of a recovery key: 256 bits and 8 of a checksum.
const recoveryWords = 24

// RecoveryText writes a recovery key as 24 words.
func RecoveryText(k [32]byte) string {
	sum := recoverySum(k)
	return strings.Join(words(append(k[:], sum), recoveryWords), " ")
}

func recoverySum(k [32]byte) byte {
	sum := sha256.Sum256(append([]byte("quinta-ca-recovery/1\x00"), k[:]...))
	return sum[0]
}

// ParseRecovery reads what RecoveryText has written, in any case and with any
// white space. The error does not repeat the text.
func ParseRecovery(text string) ([32]byte, error) {
	var k [32]byte
	list := strings.Fields(strings.ToLower(text))
	if len(list) != recoveryWords {
		return k, fmt.Errorf("%w: a recovery key has %d words", ErrMalformed, recoveryWords)
	}
	var bits [33]byte
	for i, w := range list {
		n := number(w)
		if n < 0 {
			return k, fmt.Errorf("%w: word %d of the recovery key is no such word", ErrMalformed, i+1)
		}
		for j := range 11 {
			bit := i*11 + j
			bits[bit/8] |= byte(n>>(10-j)&1) << (7 - bit%8)
		}
	}
	copy(k[:], bits[:32])
	if recoverySum(k) != bits[32] {
		return [32]byte{}, fmt.Errorf("%w: a word of the recovery key is wrong", ErrMalformed)
	}
	return k, nil
}
