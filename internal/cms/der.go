package cms

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// context returns the tag [n] of a constructed value.
func context(n uint8) der.Tag { return der.Tag(n).ContextSpecific().Constructed() }

// primitive returns the tag [n] of a primitive value.
func primitive(n uint8) der.Tag { return der.Tag(n).ContextSpecific() }

// contentInfo reads the outer ContentInfo and returns what is in it.
func contentInfo(raw []byte, want asn1.ObjectIdentifier) (cryptobyte.String, error) {
	if len(raw) > MaxSize {
		return nil, ErrMalformed
	}
	in := cryptobyte.String(raw)
	var info, content, inner cryptobyte.String
	var typ asn1.ObjectIdentifier
	if !in.ReadASN1(&info, der.SEQUENCE) || !in.Empty() || !info.ReadASN1ObjectIdentifier(&typ) ||
		!info.ReadASN1(&content, context(0)) || !info.Empty() {
		return nil, ErrMalformed
	}
	if !typ.Equal(want) {
		return nil, ErrUnsupported
	}
	if !content.ReadASN1(&inner, der.SEQUENCE) || !content.Empty() {
		return nil, ErrMalformed
	}
	return inner, nil
}

// writeContentInfo writes the outer ContentInfo around body.
func writeContentInfo(typ asn1.ObjectIdentifier, body func(*cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(typ)
		b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1(der.SEQUENCE, body) })
	})
	return b.Bytes()
}

// An algorithm is an AlgorithmIdentifier: its name, and the DER of its
// parameters, empty if there are none.
type algorithm struct {
	oid    asn1.ObjectIdentifier
	params cryptobyte.String
}

func readAlgorithm(in *cryptobyte.String) (algorithm, bool) {
	var a algorithm
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, der.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) {
		return a, false
	}
	a.params = seq
	if !seq.Empty() {
		var one cryptobyte.String
		var tag der.Tag
		if !seq.ReadAnyASN1Element(&one, &tag) || !seq.Empty() {
			return a, false
		}
	}
	return a, true
}

// noParams reports whether the parameters are absent or NULL.
func (a algorithm) noParams() bool { return len(a.params) == 0 || bytes.Equal(a.params, []byte{5, 0}) }

// hasParams reports whether the parameters are just these.
func (a algorithm) hasParams(want []byte) bool { return bytes.Equal(a.params, want) }

func writeAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, params []byte) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddBytes(params)
	})
}

// must returns what a builder of constants has built.
func must(build func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	build(&b)
	return b.BytesOrPanic()
}

var null = []byte{5, 0}

// hashParams are the parameters of OAEP with SHA-256 in both places, and the
// first two of PSS.
func hashParams(b *cryptobyte.Builder) {
	b.AddASN1(context(0), func(b *cryptobyte.Builder) { writeAlgorithm(b, oidSHA256, null) })
	b.AddASN1(context(1), func(b *cryptobyte.Builder) {
		writeAlgorithm(b, oidMGF1, must(func(b *cryptobyte.Builder) { writeAlgorithm(b, oidSHA256, null) }))
	})
}

// readHashParams reads what hashParams writes. The NULL of SHA-256 may be
// missing, as openssl leaves it out (RFC 4055, section 2.1).
func readHashParams(seq *cryptobyte.String) bool {
	var hash, mgf cryptobyte.String
	if !seq.ReadASN1(&hash, context(0)) || !seq.ReadASN1(&mgf, context(1)) {
		return false
	}
	h, ok := readAlgorithm(&hash)
	if !ok || !hash.Empty() || !h.oid.Equal(oidSHA256) || !h.noParams() {
		return false
	}
	m, ok := readAlgorithm(&mgf)
	if !ok || !mgf.Empty() || !m.oid.Equal(oidMGF1) {
		return false
	}
	h, ok = readAlgorithm(&m.params)
	return ok && m.params.Empty() && h.oid.Equal(oidSHA256) && h.noParams()
}

// isOAEP reports whether an algorithm is RSAES-OAEP with SHA-256 and no label.
func (a algorithm) isOAEP() bool {
	var seq cryptobyte.String
	return a.oid.Equal(oidOAEP) && a.params.ReadASN1(&seq, der.SEQUENCE) && a.params.Empty() && readHashParams(&seq) && seq.Empty()
}

// paramsOAEP are RSAES-OAEP-params with SHA-256, MGF1 with SHA-256 and no
// label (RFC 8017, A.2.1).
var paramsOAEP = must(func(b *cryptobyte.Builder) { b.AddASN1(der.SEQUENCE, hashParams) })

// paramsPSS are RSASSA-PSS-params with SHA-256, MGF1 with SHA-256 and a salt
// of 32 bytes (RFC 8017, A.2.3).
var paramsPSS = must(func(b *cryptobyte.Builder) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		hashParams(b)
		b.AddASN1(context(2), func(b *cryptobyte.Builder) { b.AddASN1Int64(32) })
	})
})

// paramsWrap is the AlgorithmIdentifier of AES-256 key wrap.
var paramsWrap = must(func(b *cryptobyte.Builder) { writeAlgorithm(b, oidAES256Wrap, nil) })

// issuerAndSerial returns the IssuerAndSerialNumber of a certificate.
func issuerAndSerial(c *x509.Certificate) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(c.RawIssuer)
		b.AddASN1BigInt(c.SerialNumber)
	})
	return b.Bytes()
}

// names reports whether an identifier, an IssuerAndSerialNumber or a [0]
// SubjectKeyIdentifier, means the certificate.
func names(id cryptobyte.String, tag der.Tag, c *x509.Certificate, ski der.Tag) bool {
	switch tag {
	case der.SEQUENCE:
		want, err := issuerAndSerial(c)
		return err == nil && bytes.Equal(id, want)
	case ski:
		var v cryptobyte.String
		return len(c.SubjectKeyId) > 0 && id.ReadASN1(&v, tag) && bytes.Equal(v, c.SubjectKeyId)
	}
	return false
}
