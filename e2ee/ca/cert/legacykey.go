package cert

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/foreign"
)

// LegacyBits is the size of keys of the legacy profile in bits
// (doc/network/ca.md, "The two profiles").
const LegacyBits = 1024

// NewLegacyKey makes a key pair of the legacy profile.
func NewLegacyKey(rand io.Reader) (*rsa.PrivateKey, error) {
	k, err := rsa.GenerateKey(rand, LegacyBits)
	if err != nil {
		return nil, fmt.Errorf("ca: making a key: %w", err)
	}
	return k, nil
}

// LegacySPKI returns a public key as it is registered: SubjectPublicKeyInfo in
// DER.
func LegacySPKI(pub *rsa.PublicKey) ([]byte, error) { return x509.MarshalPKIXPublicKey(pub) }

// ParseLegacyKey reads a public key of the legacy profile: RSA with 1024 bits
// and the exponent 65537, in its canonical encoding. Other encodings are
// refused, because renewal hashes the encoding with SHA-1, and a client that
// could choose freely might prepare two with the same hash.
func ParseLegacyKey(spki []byte) (*rsa.PublicKey, error) {
	if len(spki) > 1024 {
		return nil, ErrMalformed
	}
	pub, err := foreign.PublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("%w: the public key cannot be parsed", ErrMalformed)
	}
	k, ok := pub.(*rsa.PublicKey)
	if !ok || k.N.BitLen() != LegacyBits || k.E != 65537 || k.N.Bit(0) == 0 {
		return nil, fmt.Errorf("%w: a key of the legacy profile is RSA with 1024 bits", ErrUnsupported)
	}
	again, err := x509.MarshalPKIXPublicKey(k)
	if err != nil || !bytes.Equal(again, spki) {
		return nil, fmt.Errorf("%w: the public key is not in its canonical encoding", ErrMalformed)
	}
	return k, nil
}

// SignLegacyRenewal signs a new public key with the old private key: SHA-1 of
// the encoded key, PKCS #1 v1.5 (section 1.4, steps 2 and 3). The expiry is
// not signed; see doc/security.md.
func SignLegacyRenewal(newSPKI []byte, old *rsa.PrivateKey) ([]byte, error) {
	sum := sha1.Sum(newSPKI)
	return rsa.SignPKCS1v15(nil, old, crypto.SHA1, sum[:])
}

// CheckLegacyRenewal verifies what SignLegacyRenewal makes (steps 5 and 6).
func CheckLegacyRenewal(newSPKI, signature []byte, old *rsa.PublicKey) error {
	if _, err := ParseLegacyKey(newSPKI); err != nil {
		return err
	}
	sum := sha1.Sum(newSPKI)
	if rsa.VerifyPKCS1v15(old, crypto.SHA1, sum[:], signature) != nil {
		return ErrPossession
	}
	return nil
}
