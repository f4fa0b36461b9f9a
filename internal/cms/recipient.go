package cms

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/rsa"
	_ "crypto/sha1" // the key derivation that openssl takes unless told otherwise
	"crypto/subtle"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// A recipient is one RecipientInfo.
type recipient struct {
	id    cryptobyte.String
	idTag der.Tag
	ski   der.Tag // the tag under which a key identifier is stored
	key   []byte  // the wrapped key

	// Of a KeyAgreeRecipientInfo: the other side's key, and the hash of the
	// derivation; nil and 0 for RSA.
	originator []byte
	hash       crypto.Hash
}

// parseRecipient returns nil for a kind of recipient that cannot be this one.
func parseRecipient(info cryptobyte.String, tag der.Tag) (*recipient, error) {
	switch tag {
	case der.SEQUENCE:
		return parseKeyTrans(info)
	case context(1):
		return parseKeyAgree(info)
	case context(2), context(3), context(4):
		return nil, nil // shared keys, passwords, others
	}
	return nil, ErrMalformed
}

func parseKeyTrans(info cryptobyte.String) (*recipient, error) {
	r := &recipient{ski: primitive(0)}
	var seq, key cryptobyte.String
	var version int
	if !info.ReadASN1(&seq, der.SEQUENCE) || !seq.ReadASN1Integer(&version) || !seq.ReadAnyASN1Element(&r.id, &r.idTag) {
		return nil, ErrMalformed
	}
	alg, ok := readAlgorithm(&seq)
	if !ok || !seq.ReadASN1(&key, der.OCTET_STRING) || !seq.Empty() {
		return nil, ErrMalformed
	}
	if (r.idTag == der.SEQUENCE) != (version == 0) || version != 0 && version != 2 {
		return nil, ErrMalformed
	}
	if !alg.isOAEP() {
		return nil, nil // PKCS #1 v1.5, or a weaker OAEP: not for us
	}
	r.key = key
	return r, nil
}

func parseKeyAgree(info cryptobyte.String) (*recipient, error) {
	r := &recipient{ski: context(0)}
	var seq, originator, keys, pub, one, key cryptobyte.String
	var version int
	if !info.ReadASN1(&seq, context(1)) || !seq.ReadASN1Integer(&version) || version != 3 || !seq.ReadASN1(&originator, context(0)) {
		return nil, ErrMalformed
	}
	if seq.PeekASN1Tag(context(1)) {
		return nil, nil // user keying material, which openssl does not write
	}
	alg, ok := readAlgorithm(&seq)
	if !ok || !seq.ReadASN1(&keys, der.SEQUENCE) || !seq.Empty() {
		return nil, ErrMalformed
	}
	switch {
	case alg.oid.Equal(oidECDHSHA256KDF):
		r.hash = crypto.SHA256
	case alg.oid.Equal(oidECDHSHA1KDF):
		r.hash = crypto.SHA1
	default:
		return nil, nil
	}
	if !alg.hasParams(paramsWrap) || !originator.PeekASN1Tag(context(1)) {
		return nil, nil
	}
	if !originator.ReadASN1(&pub, context(1)) || !originator.Empty() {
		return nil, ErrMalformed
	}
	curve, ok := readAlgorithm(&pub)
	var bits asn1.BitString
	if !ok || !pub.ReadASN1BitString(&bits) || !pub.Empty() || bits.BitLength%8 != 0 {
		return nil, ErrMalformed
	}
	if !curve.oid.Equal(oidECPublicKey) || !(curve.noParams() || curve.hasParams(must(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidP256) }))) {
		return nil, nil
	}
	// One key for each RecipientInfo, as openssl and Seal write it.
	if !keys.ReadASN1(&one, der.SEQUENCE) || !keys.Empty() || !one.ReadAnyASN1Element(&r.id, &r.idTag) ||
		!one.ReadASN1(&key, der.OCTET_STRING) || !one.Empty() {
		return nil, ErrMalformed
	}
	if r.idTag == context(0) {
		// RecipientKeyIdentifier is a sequence that begins with the identifier.
		var rki cryptobyte.String
		id := r.id
		if !id.ReadASN1(&rki, context(0)) || !rki.ReadASN1Element(&r.id, der.OCTET_STRING) {
			return nil, ErrMalformed
		}
		r.idTag, r.ski = der.OCTET_STRING, der.OCTET_STRING
	}
	r.originator, r.key = bits.Bytes, key
	return r, nil
}

// unwrap returns the content key. It does not say why it cannot.
func (r *recipient) unwrap(k any) ([]byte, bool) {
	if r.hash == 0 {
		d, ok := k.(crypto.Decrypter)
		if !ok {
			return nil, false
		}
		if _, ok := d.Public().(*rsa.PublicKey); !ok {
			return nil, false
		}
		cek, err := d.Decrypt(nil, r.key, &rsa.OAEPOptions{Hash: crypto.SHA256})
		return cek, err == nil && len(cek) == keySize
	}
	priv, ok := k.(*ecdh.PrivateKey)
	if !ok || priv.Curve() != ecdh.P256() {
		return nil, false
	}
	pub, err := ecdh.P256().NewPublicKey(r.originator)
	if err != nil {
		return nil, false
	}
	secret, err := priv.ECDH(pub)
	if err != nil {
		return nil, false
	}
	cek, err := unwrapKey(kdfX963(r.hash, secret, sharedInfo()), r.key)
	return cek, err == nil && len(cek) == keySize
}

// sharedInfo is the ECC-CMS-SharedInfo (RFC 5753, section 7.2) for a key of
// 256 bits for AES-256 key wrap.
func sharedInfo() []byte {
	return must(func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(paramsWrap)
			b.AddASN1(context(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString([]byte{0, 0, 1, 0}) })
		})
	})
}

// kdfX963 derives 32 bytes (SEC 1, section 3.6.1).
func kdfX963(h crypto.Hash, secret, info []byte) []byte {
	var out []byte
	for i := uint32(1); len(out) < keySize; i++ {
		d := h.New()
		d.Write(secret)
		d.Write(binary.BigEndian.AppendUint32(nil, i))
		d.Write(info)
		out = d.Sum(out)
	}
	return out[:keySize]
}

var (
	wrapIV  = []byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6}
	errWrap = errors.New("cms: the wrapped key is wrong")
)

// wrapKey is AES key wrap (RFC 3394, section 2.2.1) of a key of 16 bytes or more.
func wrapKey(kek, k []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(k) / 8
	if n < 2 || len(k)%8 != 0 {
		return nil, errWrap
	}
	out := append(slices.Clone(wrapIV), k...)
	var b [16]byte
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(b[:8], out[:8])
			copy(b[8:], out[8*i:8*i+8])
			block.Encrypt(b[:], b[:])
			binary.BigEndian.PutUint64(out[:8], binary.BigEndian.Uint64(b[:8])^uint64(n*j+i))
			copy(out[8*i:], b[8:])
		}
	}
	return out, nil
}

// unwrapKey undoes wrapKey (RFC 3394, section 2.2.2).
func unwrapKey(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(wrapped)/8 - 1
	if n < 2 || len(wrapped)%8 != 0 || n > 8 {
		return nil, errWrap
	}
	out := slices.Clone(wrapped)
	var b [16]byte
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(out[:8])^uint64(n*j+i))
			copy(b[8:], out[8*i:8*i+8])
			block.Decrypt(b[:], b[:])
			copy(out[:8], b[:8])
			copy(out[8*i:], b[8:])
		}
	}
	if subtle.ConstantTimeCompare(out[:8], wrapIV) != 1 {
		return nil, errWrap
	}
	return out[8:], nil
}

func sortBytes(list [][]byte) { slices.SortFunc(list, bytes.Compare) }
