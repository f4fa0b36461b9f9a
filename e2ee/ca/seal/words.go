package seal

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/internal/words"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// SafetyWords are twelve words that two people compare: 132 bits of a hash
// over the fingerprints of both, the same on both sides.
func SafetyWords[S ~string](fingerprints ...S) []string {
	list := make([]string, 0, len(fingerprints))
	for _, f := range fingerprints {
		list = append(list, string(f))
	}
	slices.Sort(list)
	sum := sha256.Sum256([]byte("quinta-ca-safety/1\x00" + strings.Join(list, "\x00")))
	return words.Write(sum[:], 12)
}

// recoveryWords is the length of a recovery key: 256 bits and 8 of a checksum.
const recoveryWords = 24

// RecoveryText writes a recovery key as 24 words.
func RecoveryText(k [32]byte) string {
	sum := recoverySum(k)
	return strings.Join(words.Write(append(k[:], sum), recoveryWords), " ")
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
		return k, fmt.Errorf("%w: a recovery key has %d words", cert.ErrMalformed, recoveryWords)
	}
	var bits [33]byte
	for i, w := range list {
		n := words.Number(w)
		if n < 0 {
			return k, fmt.Errorf("%w: word %d of the recovery key is not in the word list", cert.ErrMalformed, i+1)
		}
		for j := range 11 {
			bit := i*11 + j
			bits[bit/8] |= byte(n>>(10-j)&1) << (7 - bit%8)
		}
	}
	copy(k[:], bits[:32])
	if recoverySum(k) != bits[32] {
		return [32]byte{}, fmt.Errorf("%w: a word of the recovery key is wrong", cert.ErrMalformed)
	}
	return k, nil
}
