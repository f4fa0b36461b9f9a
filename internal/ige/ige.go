// Package ige implements the infinite garble extension, the block mode of
// MTProto: c[i] = E(p[i] xor c[i-1]) xor p[i-1].
//
// [Encrypt] and [Decrypt] work on whole blocks and leave in the chain what
// the next call needs, so that a file can be encrypted piece by piece. The
// mode authenticates nothing; the caller must check a hash of the plaintext.
package ige

import (
	"crypto/cipher"
	"encoding/binary"
)

// BlockSize is the length of one block in bytes.
const BlockSize = 16

// A Chain is the last block of ciphertext and the last one of plaintext, in
// this order. Its first value is the initialization vector of MTProto.
type Chain [2 * BlockSize]byte

// Encrypt encrypts src, whose length is a multiple of BlockSize, into dst,
// which is at least as long. Both may be the same memory; they must not
// overlap otherwise. It panics on any other length.
func Encrypt(b cipher.Block, chain *Chain, dst, src []byte) {
	run(b.Encrypt, chain[:BlockSize], chain[BlockSize:], dst, src)
}

// Decrypt is the reverse of Encrypt.
func Decrypt(b cipher.Block, chain *Chain, dst, src []byte) {
	run(b.Decrypt, chain[BlockSize:], chain[:BlockSize], dst, src)
}

// run makes out[i] = f(in[i] xor out[i-1]) xor in[i-1] for all blocks.
// lastOut and lastIn are the blocks before the first one, and get the last
// ones. The words are kept in registers between the blocks.
func run(f func(dst, src []byte), lastOut, lastIn, dst, src []byte) {
	if len(src)%BlockSize != 0 || len(dst) < len(src) {
		panic("ige: input is not whole blocks, or output is too short")
	}
	le := binary.LittleEndian
	o0, o1 := le.Uint64(lastOut), le.Uint64(lastOut[8:])
	i0, i1 := le.Uint64(lastIn), le.Uint64(lastIn[8:])
	for len(src) > 0 {
		s, d := src[:BlockSize:BlockSize], dst[:BlockSize:BlockSize]
		n0, n1 := le.Uint64(s), le.Uint64(s[8:])
		le.PutUint64(d, n0^o0)
		le.PutUint64(d[8:], n1^o1)
		f(d, d)
		o0, o1 = le.Uint64(d)^i0, le.Uint64(d[8:])^i1
		le.PutUint64(d, o0)
		le.PutUint64(d[8:], o1)
		i0, i1 = n0, n1
		src, dst = src[BlockSize:], dst[BlockSize:]
	}
	le.PutUint64(lastOut, o0)
	le.PutUint64(lastOut[8:], o1)
	le.PutUint64(lastIn, i0)
	le.PutUint64(lastIn[8:], i1)
}
