package cms

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	keySize   = 32
	nonceSize = 12
	tagSize   = 16
)

// Seal returns a ContentInfo with AuthEnvelopedData around content for the
// holders of the certificates' keys: a fresh AES-256 key for this message,
// wrapped for each.
func Seal(rand io.Reader, content []byte, recipients []*x509.Certificate) ([]byte, error) {
	if len(recipients) == 0 || len(recipients) > MaxRecipients {
		return nil, fmt.Errorf("cms: sealing for %d recipients", len(recipients))
	}
	var k [keySize]byte
	var nonce [nonceSize]byte
	defer clear(k[:])
	for _, b := range [][]byte{k[:], nonce[:]} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("cms: reading randomness: %w", err)
		}
	}
	infos := make([][]byte, 0, len(recipients))
	for _, c := range recipients {
		info, err := wrapFor(rand, k[:], c)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	aead, err := newGCM(k[:])
	if err != nil {
		return nil, err
	}
	sealed := aead.Seal(nil, nonce[:], content, nil)
	text, tag := sealed[:len(content)], sealed[len(content):]
	return writeContentInfo(oidAuthEnveloped, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(der.SET, func(b *cryptobyte.Builder) { b.AddBytes(setOf(infos)) })
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidData)
			writeAlgorithm(b, oidAES256GCM, paramsGCM(nonce[:]))
			b.AddASN1(primitive(0), func(b *cryptobyte.Builder) { b.AddBytes(text) })
		})
		b.AddASN1OctetString(tag)
	})
}

// paramsGCM are GCMParameters (RFC 5084) with a tag of 16 bytes.
func paramsGCM(nonce []byte) []byte {
	return must(func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString(nonce)
			b.AddASN1Int64(tagSize)
		})
	})
}

func newGCM(k []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// wrapFor returns the RecipientInfo of one recipient.
func wrapFor(rand io.Reader, k []byte, c *x509.Certificate) ([]byte, error) {
	id, err := issuerAndSerial(c)
	if err != nil {
		return nil, fmt.Errorf("cms: sealing: %w", err)
	}
	switch pub := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() < 2048 {
			return nil, fmt.Errorf("%w: an RSA key of %d bits", ErrUnsupported, pub.N.BitLen())
		}
		wrapped, err := rsa.EncryptOAEP(sha256.New(), rand, pub, k, nil)
		if err != nil {
			return nil, fmt.Errorf("cms: wrapping the key: %w", err)
		}
		return must(func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				b.AddBytes(id)
				writeAlgorithm(b, oidOAEP, paramsOAEP)
				b.AddASN1OctetString(wrapped)
			})
		}), nil
	case *ecdsa.PublicKey:
		return wrapECDH(rand, k, pub, id)
	}
	return nil, fmt.Errorf("%w: the key is neither RSA nor P-256", ErrUnsupported)
}

// wrapECDH returns a KeyAgreeRecipientInfo (RFC 5753) with an ephemeral key.
func wrapECDH(rand io.Reader, k []byte, to *ecdsa.PublicKey, id []byte) ([]byte, error) {
	if to.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: the curve is not P-256", ErrUnsupported)
	}
	pub, err := to.ECDH()
	if err != nil {
		return nil, fmt.Errorf("cms: wrapping the key: %w", err)
	}
	eph, err := ephemeral(rand)
	if err != nil {
		return nil, err
	}
	secret, err := eph.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("cms: wrapping the key: %w", err)
	}
	kek := kdfX963(crypto.SHA256, secret, sharedInfo())
	wrapped, err := wrapKey(kek, k)
	if err != nil {
		return nil, err
	}
	return must(func(b *cryptobyte.Builder) {
		b.AddASN1(context(1), func(b *cryptobyte.Builder) {
			b.AddASN1Int64(3)
			b.AddASN1(context(0), func(b *cryptobyte.Builder) {
				b.AddASN1(context(1), func(b *cryptobyte.Builder) {
					writeAlgorithm(b, oidECPublicKey, nil)
					b.AddASN1BitString(eph.PublicKey().Bytes())
				})
			})
			writeAlgorithm(b, oidECDHSHA256KDF, paramsWrap)
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddBytes(id)
					b.AddASN1OctetString(wrapped)
				})
			})
		})
	}), nil
}

// ephemeral makes a P-256 key from bytes of rand. A scalar that is zero or
// over the order, which is as good as impossible, is drawn again.
func ephemeral(rand io.Reader) (*ecdh.PrivateKey, error) {
	var b [32]byte
	defer clear(b[:])
	for range 8 {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return nil, fmt.Errorf("cms: reading randomness: %w", err)
		}
		if k, err := ecdh.P256().NewPrivateKey(b[:]); err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("cms: no key could be made from the randomness")
}

// setOf joins encodings in the order that DER's SET OF asks for.
func setOf(items [][]byte) []byte {
	sorted := append([][]byte{}, items...)
	sortBytes(sorted)
	return bytes.Join(sorted, nil)
}

// An envelope is an AuthEnvelopedData that was parsed.
type envelope struct {
	infos  []cryptobyte.String
	tags   []der.Tag
	nonce  []byte
	sealed []byte // text and tag
}

// Recipients returns how many recipients a message has.
func Recipients(raw []byte) (int, error) {
	e, err := parseEnvelope(raw)
	if err != nil {
		return 0, err
	}
	return len(e.infos), nil
}

func parseEnvelope(raw []byte) (*envelope, error) {
	in, err := contentInfo(raw, oidAuthEnveloped)
	if err != nil {
		return nil, err
	}
	var version int
	var infos, eci, text, tag cryptobyte.String
	if !in.ReadASN1Integer(&version) {
		return nil, ErrMalformed
	}
	if version != 0 || in.PeekASN1Tag(context(0)) {
		return nil, ErrUnsupported // originatorInfo
	}
	if !in.ReadASN1(&infos, der.SET) || !in.ReadASN1(&eci, der.SEQUENCE) {
		return nil, ErrMalformed
	}
	if in.PeekASN1Tag(context(1)) {
		return nil, ErrUnsupported // authenticated attributes
	}
	if !in.ReadASN1(&tag, der.OCTET_STRING) || !in.Empty() {
		return nil, ErrMalformed
	}
	e := &envelope{}
	for !infos.Empty() {
		var info cryptobyte.String
		var t der.Tag
		if len(e.infos) == MaxRecipients || !infos.ReadAnyASN1Element(&info, &t) {
			return nil, ErrMalformed
		}
		e.infos, e.tags = append(e.infos, info), append(e.tags, t)
	}
	if len(e.infos) == 0 {
		return nil, ErrMalformed
	}
	var typ asn1.ObjectIdentifier
	if !eci.ReadASN1ObjectIdentifier(&typ) {
		return nil, ErrMalformed
	}
	alg, ok := readAlgorithm(&eci)
	if !ok || !eci.ReadASN1(&text, primitive(0)) || !eci.Empty() {
		return nil, ErrMalformed
	}
	if !typ.Equal(oidData) || !alg.oid.Equal(oidAES256GCM) {
		return nil, ErrUnsupported
	}
	if e.nonce, ok = readGCM(alg.params); !ok || len(tag) != tagSize {
		return nil, ErrUnsupported // a short tag is a weaker message
	}
	e.sealed = append(append(make([]byte, 0, len(text)+tagSize), text...), tag...)
	return e, nil
}

// readGCM reads GCMParameters; the tag must have 16 bytes, the nonce 12.
func readGCM(params cryptobyte.String) ([]byte, bool) {
	var seq, nonce cryptobyte.String
	tag := 12
	if !params.ReadASN1(&seq, der.SEQUENCE) || !params.Empty() || !seq.ReadASN1(&nonce, der.OCTET_STRING) {
		return nil, false
	}
	if !seq.Empty() && (!seq.ReadASN1Integer(&tag) || !seq.Empty()) {
		return nil, false
	}
	return nonce, tag == tagSize && len(nonce) == nonceSize
}

// Open opens an AuthEnvelopedData with the private key of one recipient: an
// *rsa.PrivateKey or another crypto.Decrypter with an RSA public key, or an
// *ecdh.PrivateKey on P-256.
func Open(raw []byte, c *x509.Certificate, k any) ([]byte, error) {
	e, err := parseEnvelope(raw)
	if err != nil {
		return nil, err
	}
	found := false
	for i, info := range e.infos {
		r, err := parseRecipient(info, e.tags[i])
		if err != nil {
			return nil, err
		}
		if r == nil || !names(r.id, r.idTag, c, r.ski) {
			continue
		}
		found = true
		// A certificate appears in a message once; a second entry that would
		// open is not looked for.
		cek, ok := r.unwrap(k)
		if !ok {
			return nil, ErrOpen
		}
		defer clear(cek)
		aead, err := newGCM(cek)
		if err != nil {
			return nil, ErrOpen
		}
		out, err := aead.Open(nil, e.nonce, e.sealed, nil)
		if err != nil {
			return nil, ErrOpen
		}
		return out, nil
	}
	if !found {
		return nil, ErrNotRecipient
	}
	return nil, ErrOpen
}
