// Package aessha2 implements the "aes-sha2" cipher that Olm, Megolm and the
// Matrix key backup share: AES-256-CBC with PKCS#7 padding, and the first
// eight bytes of HMAC-SHA-256, with keys that HKDF makes from a message key.
//
// Encrypt and MAC are apart because each user authenticates other bytes. A
// caller that opens a message must call [Keys.Verify] before [Keys.Decrypt].
package aessha2

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"

	"github.com/quinta-chat/quinta/internal/hmacsha256"
)

// MACSize is the length of the truncated MAC in bytes.
const MACSize = 8

// ErrPadding is returned for a ciphertext that is not whole blocks, or whose
// padding is wrong. Show it to nobody as anything other than a bad MAC.
var ErrPadding = errors.New("aessha2: bad length or padding")

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
func CiphertextSize(n int) int { return n + aes.BlockSize - n%aes.BlockSize }

// Encrypt appends the ciphertext of plaintext to dst.
func (k *Keys) Encrypt(dst, plaintext []byte) []byte {
	start := len(dst)
	dst = append(dst, plaintext...)
	pad := byte(CiphertextSize(len(plaintext)) - len(plaintext))
	for range pad {
		dst = append(dst, pad)
	}
	cipher.NewCBCEncrypter(k.block(), k.b[64:]).CryptBlocks(dst[start:], dst[start:])
	return dst
}

// Decrypt returns the plaintext of ciphertext, or [ErrPadding].
func (k *Keys) Decrypt(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) == 0 || len(ciphertext)%aes.BlockSize != 0 {
		return nil, ErrPadding
	}
	out := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(k.block(), k.b[64:]).CryptBlocks(out, ciphertext)
	pad := int(out[len(out)-1])
	good := subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, aes.BlockSize)
	for i := 1; i <= aes.BlockSize; i++ {
		inside := subtle.ConstantTimeLessOrEq(i, pad)
		equal := subtle.ConstantTimeByteEq(out[len(out)-i], byte(pad))
		good &= equal | (inside ^ 1)
	}
	if good != 1 {
		clear(out)
		return nil, ErrPadding
	}
	return out[:len(out)-pad], nil
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
