// Package aessha2 implements the "aes-sha2" cipher that Olm, Megolm and the
// Matrix key backup share: AES-256-CBC with PKCS#7 padding, and the first
// eight bytes of HMAC-SHA-256, with keys that HKDF makes from a message key.
//
// Encrypt and MAC are separate because each user authenticates different
// bytes. A caller that opens a message must call [Keys.Verify] before
// [Keys.Decrypt].
package aessha2

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"

	"github.com/quinta-chat/quinta/internal/cbc"
	"github.com/quinta-chat/quinta/internal/hmacsha256"
)

// MACSize is the length of the truncated MAC in bytes.
const MACSize = 8

// ErrPadding is returned for a ciphertext that is not a whole number of
// blocks, or whose padding is wrong. To others, it must look the same as a
// bad MAC.
var ErrPadding = cbc.ErrPadding

// Keys are the keys of one message: AES key, HMAC key, IV.
type Keys struct{ b [80]byte }

// Derive makes the keys from a message key, with the default salt.
func Derive(ikm []byte, info string) Keys {
	var k Keys
	hmacsha256.HKDF(k.b[:], nil, ikm, info)
	return k
}

// Wipe overwrites the keys.
func (k *Keys) Wipe() { clear(k.b[:]) }

func (k *Keys) block() cipher.Block {
	b, err := aes.NewCipher(k.b[:32])
	if err != nil {
		panic("aessha2: internal error: " + err.Error())
	}
	return b
}

// CiphertextSize returns the length of the ciphertext of n bytes.
func CiphertextSize(n int) int { return cbc.Size(n) }

// Encrypt appends the ciphertext of plaintext to dst.
func (k *Keys) Encrypt(dst, plaintext []byte) []byte {
	return cbc.Seal(dst, k.block(), k.b[64:], plaintext)
}

// Decrypt returns the plaintext of ciphertext, or [ErrPadding].
func (k *Keys) Decrypt(ciphertext []byte) ([]byte, error) {
	return cbc.Open(k.block(), k.b[64:], ciphertext)
}

// MAC returns the truncated MAC of b.
func (k *Keys) MAC(b []byte) [MACSize]byte {
	sum := hmacsha256.Sum(k.b[32:64], b)
	return [MACSize]byte(sum[:])
}

// Verify reports in constant time whether mac is the MAC of b.
func (k *Keys) Verify(b, mac []byte) bool {
	want := k.MAC(b)
	return subtle.ConstantTimeCompare(want[:], mac) == 1
}
