// Package words writes bits as words that can be read aloud and typed. There
// are 2,048 of them, each of a consonant, a vowel, a consonant and a vowel, so
// that no list is needed; a word carries 11 bits.
package words

import "strings"

const (
	consonants  = "bdfghjklmnprstvz"
	vowels      = "aeio"
	finalVowels = "au"
)

// Bits is how many bits a word carries.
const Bits = 11

func word(n int) string {
	return string([]byte{consonants[n>>7&15], vowels[n>>5&3], consonants[n>>1&15], finalVowels[n&1]})
}

// Number returns the number of a word, from 0 to 2,047, or -1.
func Number(w string) int {
	if len(w) != 4 {
		return -1
	}
	a, b, c, d := strings.IndexByte(consonants, w[0]), strings.IndexByte(vowels, w[1]), strings.IndexByte(consonants, w[2]), strings.IndexByte(finalVowels, w[3])
	if a < 0 || b < 0 || c < 0 || d < 0 {
		return -1
	}
	return a<<7 | b<<5 | c<<1 | d
}

// Write writes the first 11*n bits of b, high bits first, as n words.
func Write(b []byte, n int) []string {
	out := make([]string, n)
	for i := range out {
		v := 0
		for j := range Bits {
			bit := i*Bits + j
			v = v<<1 | int(b[bit/8]>>(7-bit%8)&1)
		}
		out[i] = word(v)
	}
	return out
}
