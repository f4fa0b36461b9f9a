// Package foreign parses certificates, certificate requests and public keys
// that come from others, and checks the size of their keys before anything is
// computed with them: a verification with an RSA key of 131,072 bits takes
// most of a second, and the sender of a message chooses the key.
//
// All code in this module that parses other people's DER goes through this
// package. The caller decides what a key may be used for, and who has to
// vouch for it.
package foreign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// The bounds of an RSA modulus in bits. The lower one belongs to the oldest
// form that is still read; current forms require more.
const (
	MinRSA = 1024
	MaxRSA = 8192
)

// exponent is the one public exponent of RSA keys that is taken.
const exponent = 65537

// maxDER bounds a certificate, a request or a key in bytes.
const maxDER = 64 << 10

// The reasons for a refusal.
var (
	ErrMalformed = errors.New("foreign: it cannot be parsed")
	ErrKey       = fmt.Errorf("foreign: a key must be RSA with %d to %d bits and the exponent %d, or P-256", MinRSA, MaxRSA, exponent)
)

// Certificate parses one certificate in DER.
func Certificate(der []byte) (*x509.Certificate, error) {
	return parse(der, x509.ParseCertificate, func(c *x509.Certificate) any { return c.PublicKey })
}

// Request parses a certificate request (PKCS #10) in DER. Its signature is not
// checked.
func Request(der []byte) (*x509.CertificateRequest, error) {
	return parse(der, x509.ParseCertificateRequest, func(r *x509.CertificateRequest) any { return r.PublicKey })
}

// PublicKey parses a SubjectPublicKeyInfo in DER.
func PublicKey(der []byte) (any, error) {
	return parse(der, x509.ParsePKIXPublicKey, func(pub any) any { return pub })
}

// RSAPublicKey parses an RSA key in the form of PKCS #1, in DER.
func RSAPublicKey(der []byte) (*rsa.PublicKey, error) {
	return parse(der, x509.ParsePKCS1PublicKey, func(pub *rsa.PublicKey) any { return pub })
}

func parse[T any](der []byte, from func([]byte) (T, error), key func(T) any) (T, error) {
	var none T
	if len(der) > maxDER {
		return none, fmt.Errorf("%w: it is larger than %d bytes", ErrMalformed, maxDER)
	}
	v, err := from(der)
	if err != nil {
		return none, ErrMalformed
	}
	if err := CheckKey(key(v)); err != nil {
		return none, err
	}
	return v, nil
}

// CheckKey refuses public keys of other kinds and sizes, with ErrKey.
func CheckKey(pub any) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n >= MinRSA && n <= MaxRSA && k.E == exponent {
			return nil
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
	}
	return ErrKey
}
