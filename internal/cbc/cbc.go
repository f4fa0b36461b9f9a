// Package cbc implements cipher block chaining with the padding of PKCS #7
// (RFC 5652, section 6.3). CBC authenticates nothing: a caller that has a MAC
// must verify it before decrypting, and a caller that has none must tell its
// user so.
package cbc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
)

// ErrPadding is returned for a ciphertext that is not a whole number of
// blocks, or whose padding is wrong.
var ErrPadding = errors.New("cbc: bad length or padding")

// Size returns the length of the ciphertext of n bytes.
func Size(n int) int { return n + aes.BlockSize - n%aes.BlockSize }

// Seal appends the ciphertext of plaintext to dst. The block is that of AES
// and the IV has 16 bytes.
func Seal(dst []byte, block cipher.Block, iv, plaintext []byte) []byte {
	start := len(dst)
	dst = append(dst, plaintext...)
	pad := byte(Size(len(plaintext)) - len(plaintext))
	for range pad {
		dst = append(dst, pad)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(dst[start:], dst[start:])
	return dst
}

// Open returns the plaintext of ciphertext, or [ErrPadding]. Its time does
// not tell which byte of the padding is wrong.
func Open(block cipher.Block, iv, ciphertext []byte) ([]byte, error) {
	if len(ciphertext) == 0 || len(ciphertext)%aes.BlockSize != 0 {
		return nil, ErrPadding
	}
	out := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, ciphertext)
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
