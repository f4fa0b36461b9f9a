package cert

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/foreign"
)

// The kinds of key (doc/network/ca.md, "The two profiles").
const (
	// MinRSA is the smallest RSA key of the secure profile in bits.
	MinRSA = 3072
)

// CheckKey reports whether a public key is strong enough for the secure
// profile: RSA with 3072 bits or more and the exponent 65537, or P-256.
func CheckKey(pub any) error {
	if foreign.CheckKey(pub) != nil {
		return fmt.Errorf("%w: a key is RSA with %d to %d bits, or P-256", ErrUnsupported, MinRSA, foreign.MaxRSA)
	}
	if k, ok := pub.(*rsa.PublicKey); ok && k.N.BitLen() < MinRSA {
		return fmt.Errorf("%w: an RSA key has at least %d bits", ErrUnsupported, MinRSA)
	}
	return nil
}

// A Fingerprint names a key in the whole system: the SHA-256 of its
// SubjectPublicKeyInfo, in lower-case hex.
type Fingerprint string

// FingerprintOf returns the fingerprint of a public key in SubjectPublicKeyInfo
// form.
func FingerprintOf(spki []byte) Fingerprint {
	sum := sha256.Sum256(spki)
	return Fingerprint(hex.EncodeToString(sum[:]))
}

// KeyID returns the fingerprint of a certificate's key.
func KeyID(c *x509.Certificate) Fingerprint { return FingerprintOf(c.RawSubjectPublicKeyInfo) }

// NewRequest makes a certificate signing request (PKCS #10, DER) for a key.
// Its own signature is the proof that the private key is held.
func NewRequest(rand io.Reader, id Identity, key crypto.Signer) ([]byte, error) {
	if err := id.Check(); err != nil {
		return nil, err
	}
	if err := CheckKey(key.Public()); err != nil {
		return nil, err
	}
	san, err := id.san()
	if err != nil {
		return nil, err
	}
	alg := x509.ECDSAWithSHA256
	if _, ok := key.Public().(*rsa.PublicKey); ok {
		alg = x509.SHA256WithRSAPSS
	}
	return x509.CreateCertificateRequest(rand, &x509.CertificateRequest{
		Subject: id.subject(), ExtraExtensions: []pkix.Extension{san}, SignatureAlgorithm: alg,
	}, key)
}

// A Request is a verified certificate signing request.
type Request struct {
	Identity Identity
	// Key is the public key, SPKI its SubjectPublicKeyInfo in DER.
	Key  any
	SPKI []byte
}

// maxRequest bounds a request in bytes.
const maxRequest = 16 << 10

// ParseRequest reads a request and checks its form, its key and the proof of
// possession. A request without alternative names, as openssl makes it from a
// subject alone, gets the Identity given as a default; one with alternative
// names must name exactly that identity, if the default is not empty.
func ParseRequest(raw []byte, def Identity) (*Request, error) {
	if len(raw) > maxRequest {
		return nil, ErrMalformed
	}
	csr, err := foreign.Request(raw)
	if errors.Is(err, foreign.ErrKey) {
		return nil, CheckKey(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate request cannot be parsed", ErrMalformed)
	}
	if err := CheckKey(csr.PublicKey); err != nil {
		return nil, err
	}
	switch csr.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return nil, fmt.Errorf("%w: the signature of the request", ErrUnsupported)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, ErrPossession
	}
	r := &Request{Identity: def, Key: csr.PublicKey, SPKI: csr.RawSubjectPublicKeyInfo}
	named := false
	for _, e := range csr.Extensions {
		named = named || e.Id.Equal(oidSAN)
	}
	if !named {
		if err := def.Check(); err != nil {
			return nil, fmt.Errorf("%w: the request names no user", ErrMalformed)
		}
		return r, nil
	}
	if r.Identity, err = identityOf(csr.Extensions); err != nil {
		return nil, err
	}
	if def != (Identity{}) && r.Identity != def {
		return nil, fmt.Errorf("%w: the request names another device", ErrMismatch)
	}
	return r, nil
}
