// Package hmacsha256 implements HMAC-SHA-256 (RFC 2104) and HKDF (RFC 5869)
// over it for the short inputs of key schedules, without a heap allocation.
// The hash is the standard library's; crypto/hmac allocates its state for
// each key, and a ratchet uses a key once.
package hmacsha256

import "crypto/sha256"

// Size is the length of a MAC and of a pseudorandom key, in bytes.
const Size = sha256.Size

const (
	block = sha256.BlockSize
	// short is the longest input that is hashed on the stack.
	short = 192
)

// pad returns the key of RFC 2104, filled up to one block and masked.
func pad(key []byte, mask byte) (p [block]byte) {
	if len(key) > block {
		sum := sha256.Sum256(key)
		copy(p[:], sum[:])
	} else {
		copy(p[:], key)
	}
	for i := range p {
		p[i] ^= mask
	}
	return p
}

// Sum returns HMAC-SHA-256(key, message).
func Sum(key, message []byte) [Size]byte {
	var in [block + short]byte
	ipad := pad(key, 0x36)
	var inner [Size]byte
	if len(message) <= short {
		copy(in[:], ipad[:])
		copy(in[block:], message)
		inner = sha256.Sum256(in[:block+len(message)])
	} else {
		h := sha256.New()
		h.Write(ipad[:])
		h.Write(message)
		h.Sum(inner[:0])
	}
	opad := pad(key, 0x5c)
	copy(in[:], opad[:])
	copy(in[block:], inner[:])
	out := sha256.Sum256(in[:block+Size])
	clear(in[:])
	clear(ipad[:])
	clear(opad[:])
	return out
}

// HKDF fills out, at most 255*32 bytes, with the output of HKDF-SHA-256. A nil
// salt is the default salt. The info is at most 159 bytes long.
func HKDF(out, salt, ikm []byte, info string) {
	prk := Sum(salt, ikm)
	var in [short]byte
	if Size+len(info)+1 > len(in) || len(out) > 255*Size {
		panic("hmacsha256: internal error: HKDF input too long")
	}
	previous := 0
	for i := byte(1); len(out) > 0; i++ {
		n := previous + copy(in[previous:], info)
		in[n] = i
		t := Sum(prk[:], in[:n+1])
		out = out[copy(out, t[:]):]
		previous = copy(in[:], t[:])
		clear(t[:])
	}
	clear(prk[:])
	clear(in[:])
}
