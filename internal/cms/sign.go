package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/quinta-chat/quinta/internal/foreign"
)

// A Signer has a certificate, its private key, and the certificates between
// it and the root, which travel with the message.
type Signer struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	Chain       []*x509.Certificate
}

// Sign returns a ContentInfo with SignedData around content: one signer, the
// content inside, signed attributes with content type, digest and time.
func Sign(rand io.Reader, content []byte, s Signer, at time.Time) ([]byte, error) {
	id, err := issuerAndSerial(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("cms: signing: %w", err)
	}
	digest := sha256.Sum256(content)
	attrs := signedAttributes(digest[:], at)
	oid, params, sig, err := signature(rand, s.Key, must(func(b *cryptobyte.Builder) { b.AddASN1(der.SET, func(b *cryptobyte.Builder) { b.AddBytes(attrs) }) }))
	if err != nil {
		return nil, err
	}
	return writeContentInfo(oidSignedData, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(der.SET, func(b *cryptobyte.Builder) { writeAlgorithm(b, oidSHA256, nil) })
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidData)
			b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
		})
		b.AddASN1(context(0), func(b *cryptobyte.Builder) {
			for _, raw := range certificateSet(s) {
				b.AddBytes(raw)
			}
		})
		b.AddASN1(der.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddBytes(id)
				writeAlgorithm(b, oidSHA256, nil)
				b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddBytes(attrs) })
				writeAlgorithm(b, oid, params)
				b.AddASN1OctetString(sig)
			})
		})
	})
}

// certificateSet returns the certificates in the order of DER's SET OF.
func certificateSet(s Signer) [][]byte {
	raws := [][]byte{s.Certificate.Raw}
	for _, c := range s.Chain {
		raws = append(raws, c.Raw)
	}
	slices.SortFunc(raws, bytes.Compare)
	return slices.CompactFunc(raws, bytes.Equal)
}

// signedAttributes returns the attributes in the order of DER's SET OF, which
// is that of their encodings.
func signedAttributes(digest []byte, at time.Time) []byte {
	attr := func(oid asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) []byte {
		return must(func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oid)
				b.AddASN1(der.SET, value)
			})
		})
	}
	list := [][]byte{
		attr(oidAttrContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) }),
		attr(oidAttrSigningTime, func(b *cryptobyte.Builder) { b.AddASN1UTCTime(at.UTC()) }),
		attr(oidAttrMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest) }),
	}
	slices.SortFunc(list, bytes.Compare)
	return bytes.Join(list, nil)
}

// signature signs the DER of the attributes.
func signature(rand io.Reader, k crypto.Signer, attrs []byte) (asn1.ObjectIdentifier, []byte, []byte, error) {
	digest := sha256.Sum256(attrs)
	switch pub := k.Public().(type) {
	case *rsa.PublicKey:
		sig, err := k.Sign(rand, digest[:], &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256})
		return oidPSS, paramsPSS, sig, err
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return nil, nil, nil, fmt.Errorf("%w: the curve is not P-256", ErrUnsupported)
		}
		sig, err := k.Sign(rand, digest[:], crypto.SHA256)
		return oidECDSAWithSHA256, nil, sig, err
	}
	return nil, nil, nil, fmt.Errorf("%w: the key is neither RSA nor P-256", ErrUnsupported)
}

// A Signed is a SignedData that was parsed but not verified yet.
type Signed struct {
	content []byte
	certs   []*x509.Certificate

	attrs  []byte // the DER of the signed attributes as a SET OF
	digest []byte // messageDigest
	time   time.Time
	sid    cryptobyte.String
	sidTag der.Tag
	alg    algorithm
	sig    []byte
}

// Parse reads a ContentInfo with SignedData that has its content inside and
// exactly one signer with signed attributes.
func Parse(raw []byte) (*Signed, error) {
	in, err := contentInfo(raw, oidSignedData)
	if err != nil {
		return nil, err
	}
	s := &Signed{}
	var version int
	var digests, encap, certs, infos cryptobyte.String
	var hasCerts bool
	if !in.ReadASN1Integer(&version) || !in.ReadASN1(&digests, der.SET) || !in.ReadASN1(&encap, der.SEQUENCE) ||
		!in.ReadOptionalASN1(&certs, &hasCerts, context(0)) {
		return nil, ErrMalformed
	}
	if in.PeekASN1Tag(context(1)) {
		return nil, ErrUnsupported // revocation lists inside the message
	}
	if !in.ReadASN1(&infos, der.SET) || !in.Empty() {
		return nil, ErrMalformed
	}
	if version != 1 && version != 3 {
		return nil, ErrUnsupported
	}
	if alg, ok := readAlgorithm(&digests); !ok {
		return nil, ErrMalformed
	} else if !digests.Empty() || !alg.oid.Equal(oidSHA256) || !alg.noParams() {
		return nil, ErrUnsupported
	}
	if err := s.readContent(encap); err != nil {
		return nil, err
	}
	if err := s.readCertificates(certs); err != nil {
		return nil, err
	}
	var info cryptobyte.String
	if !infos.ReadASN1(&info, der.SEQUENCE) {
		return nil, ErrMalformed
	}
	if !infos.Empty() {
		return nil, ErrUnsupported // more than one signer
	}
	return s, s.readSigner(info)
}

func (s *Signed) readContent(encap cryptobyte.String) error {
	var typ asn1.ObjectIdentifier
	var wrapped, content cryptobyte.String
	var has bool
	if !encap.ReadASN1ObjectIdentifier(&typ) || !encap.ReadOptionalASN1(&wrapped, &has, context(0)) || !encap.Empty() {
		return ErrMalformed
	}
	if !typ.Equal(oidData) || !has {
		return ErrUnsupported // another type, or detached
	}
	if !wrapped.ReadASN1(&content, der.OCTET_STRING) || !wrapped.Empty() {
		return ErrMalformed
	}
	s.content = content
	return nil
}

func (s *Signed) readCertificates(certs cryptobyte.String) error {
	for !certs.Empty() {
		var raw cryptobyte.String
		if !certs.ReadASN1Element(&raw, der.SEQUENCE) {
			return ErrMalformed
		}
		if len(s.certs) == maxCertificates {
			return ErrMalformed
		}
		c, err := foreign.Certificate(raw)
		if errors.Is(err, foreign.ErrKey) {
			return ErrUnsupported
		}
		if err != nil {
			return ErrMalformed
		}
		s.certs = append(s.certs, c)
	}
	return nil
}

func (s *Signed) readSigner(info cryptobyte.String) error {
	var version int
	var attrs cryptobyte.String
	if !info.ReadASN1Integer(&version) || !info.ReadAnyASN1Element(&s.sid, &s.sidTag) {
		return ErrMalformed
	}
	if s.sidTag == der.SEQUENCE && version != 1 || s.sidTag != der.SEQUENCE && version != 3 {
		return ErrMalformed
	}
	digest, ok := readAlgorithm(&info)
	if !ok {
		return ErrMalformed
	}
	if !digest.oid.Equal(oidSHA256) || !digest.noParams() || !info.PeekASN1Tag(context(0)) {
		return ErrUnsupported
	}
	var sig cryptobyte.String
	if !info.ReadASN1(&attrs, context(0)) {
		return ErrMalformed
	}
	if s.alg, ok = readAlgorithm(&info); !ok || !info.ReadASN1(&sig, der.OCTET_STRING) {
		return ErrMalformed
	}
	if info.PeekASN1Tag(context(1)) {
		return ErrUnsupported // unsigned attributes
	}
	if !info.Empty() {
		return ErrMalformed
	}
	s.sig = sig
	s.attrs = must(func(b *cryptobyte.Builder) { b.AddASN1(der.SET, func(b *cryptobyte.Builder) { b.AddBytes(attrs) }) })
	return s.readAttributes(attrs)
}

// maxAttributes bounds the signed attributes.
const maxAttributes = 32

func (s *Signed) readAttributes(attrs cryptobyte.String) error {
	seen := map[string]bool{}
	for !attrs.Empty() {
		var attr, values cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !attrs.ReadASN1(&attr, der.SEQUENCE) || !attr.ReadASN1ObjectIdentifier(&oid) || !attr.ReadASN1(&values, der.SET) || !attr.Empty() {
			return ErrMalformed
		}
		if seen[oid.String()] || len(seen) == maxAttributes {
			return ErrMalformed
		}
		seen[oid.String()] = true
		switch {
		case oid.Equal(oidAttrContentType):
			var typ asn1.ObjectIdentifier
			if !values.ReadASN1ObjectIdentifier(&typ) || !values.Empty() {
				return ErrMalformed
			}
			if !typ.Equal(oidData) {
				return ErrUnsupported
			}
		case oid.Equal(oidAttrMessageDigest):
			var d cryptobyte.String
			if !values.ReadASN1(&d, der.OCTET_STRING) || !values.Empty() {
				return ErrMalformed
			}
			s.digest = d
		case oid.Equal(oidAttrSigningTime):
			if !values.ReadASN1UTCTime(&s.time) && !values.ReadASN1GeneralizedTime(&s.time) {
				return ErrMalformed
			}
		}
	}
	if !seen[oidAttrContentType.String()] || s.digest == nil {
		return ErrMalformed
	}
	return nil
}

// Certificates returns the certificates that came with the message, the
// signer's among them. None is verified.
func (s *Signed) Certificates() []*x509.Certificate { return s.certs }

// Time returns the signer's claim of when they signed, or the zero time.
func (s *Signed) Time() time.Time { return s.time }

// Signer finds the signer's certificate among those that came with the
// message and those known otherwise.
func (s *Signed) Signer(known ...*x509.Certificate) (*x509.Certificate, error) {
	for _, c := range append(slices.Clone(s.certs), known...) {
		if names(s.sid, s.sidTag, c, primitive(0)) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: the signer's certificate is missing", ErrSignature)
}

// Verify checks the signature with the public key of c and returns the
// content. The caller decides whether c may sign, and whom it belongs to.
func (s *Signed) Verify(c *x509.Certificate) ([]byte, error) {
	if !names(s.sid, s.sidTag, c, primitive(0)) {
		return nil, ErrSignature
	}
	digest := sha256.Sum256(s.content)
	if subtle.ConstantTimeCompare(digest[:], s.digest) != 1 {
		return nil, ErrSignature
	}
	sum := sha256.Sum256(s.attrs)
	switch pub := c.PublicKey.(type) {
	case *rsa.PublicKey:
		salt, ok := saltLength(s.alg.params)
		if !s.alg.oid.Equal(oidPSS) || !ok || pub.N.BitLen() < 2048 {
			return nil, ErrUnsupported
		}
		if err := rsa.VerifyPSS(pub, crypto.SHA256, sum[:], s.sig, &rsa.PSSOptions{SaltLength: salt}); err != nil {
			return nil, ErrSignature
		}
	case *ecdsa.PublicKey:
		if !s.alg.oid.Equal(oidECDSAWithSHA256) || !s.alg.noParams() || pub.Curve != elliptic.P256() {
			return nil, ErrUnsupported
		}
		if !ecdsa.VerifyASN1(pub, sum[:], s.sig) {
			return nil, ErrSignature
		}
	default:
		return nil, ErrUnsupported
	}
	return s.content, nil
}

// saltLength reads RSASSA-PSS-params. The hashes must be SHA-256 and the salt
// as long as the hash or longer: openssl takes the longest that fits.
func saltLength(params cryptobyte.String) (int, bool) {
	var seq, salt cryptobyte.String
	n := 20
	if !params.ReadASN1(&seq, der.SEQUENCE) || !params.Empty() || !readHashParams(&seq) ||
		!seq.ReadASN1(&salt, context(2)) || !seq.Empty() || !salt.ReadASN1Integer(&n) || !salt.Empty() {
		return 0, false
	}
	return n, n >= 32 && n <= 4096
}
