package wire

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"

	"github.com/quinta-chat/quinta/internal/foreign"
	"github.com/quinta-chat/quinta/internal/tl"
)

// ErrRSA: a server key is RSA with 2048 bits and the exponent 65537.
var ErrRSA = errors.New("mtproto: a server key is RSA with 2048 bits and the exponent 65537, in PEM without a passphrase")

// RSAFingerprint is the name of a server's key on the wire.
func RSAFingerprint(k *rsa.PublicKey) int64 {
	b, err := tl.NewSchema().Append(nil, k.N.Bytes())
	if err == nil {
		b, err = tl.NewSchema().Append(b, big.NewInt(int64(k.E)).Bytes())
	}
	if err != nil {
		panic("mtproto: internal error: " + err.Error())
	}
	h := sha1.Sum(b)
	return int64(binary.LittleEndian.Uint64(h[12:]))
}

// KeyHash is the SHA-256 of a server's key in PKCS #1, 64 hexadecimal digits.
// People compare it: the fingerprint of the protocol has only 64 bits.
func KeyHash(k *rsa.PublicKey) string {
	h := sha256.Sum256(x509.MarshalPKCS1PublicKey(k))
	return hex.EncodeToString(h[:])
}

// RSABits is the size of a server's key.
const RSABits = 2048

// CheckRSA refuses keys of another size or exponent with ErrRSA.
func CheckRSA(k *rsa.PublicKey) error {
	if k.N.BitLen() != RSABits || k.E != 65537 {
		return ErrRSA
	}
	return nil
}

// ParsePublicKey reads a public key, PKCS #1 or SubjectPublicKeyInfo in PEM.
func ParsePublicKey(text []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, ErrRSA
	}
	k, err := foreign.RSAPublicKey(block.Bytes)
	if err != nil {
		any, err := foreign.PublicKey(block.Bytes)
		var ok bool
		if k, ok = any.(*rsa.PublicKey); err != nil || !ok {
			return nil, ErrRSA
		}
	}
	return k, CheckRSA(k)
}

// PublicPEM writes a public key as other clients take it.
func PublicPEM(k *rsa.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(k)})
}
