package rocketchat

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/redact"
)

// The bounds of a JSON Web Key: longer text is refused before it is parsed.
const (
	maxJWK      = 8 << 10
	modulusBits = 2048
	modulusSize = modulusBits / 8
	exponent    = 65537
	algRSA      = "RSA-OAEP-256"
)

// A jwk is the members of a JSON Web Key (RFC 7517) by their exact names.
type jwk map[string][]byte

// parseJWK reads the text of a key. A member that stands twice is refused.
func parseJWK(text string) (jwk, error) {
	if len(text) > maxJWK {
		return nil, fmt.Errorf("%w: a key of %d bytes", ErrMalformed, len(text))
	}
	list, err := canonicaljson.Members([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w: a key that is not a JSON object", ErrMalformed)
	}
	k := jwk{}
	for _, m := range list {
		k[m.Name] = m.Value
	}
	return k, nil
}

// text returns a member that is a string, or "".
func (k jwk) text(name string) string {
	var s string
	if raw := k[name]; len(raw) < 2 || raw[0] != '"' || exactjson.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// bytes returns a member in unpadded base64url, or nil.
func (k jwk) bytes(name string) []byte {
	b, err := decode64(base64.RawURLEncoding, k.text(name))
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// number returns a member that is a positive integer without leading zeros.
func (k jwk) number(name string) *big.Int {
	b := k.bytes(name)
	if b == nil || b[0] == 0 || len(b) > modulusSize {
		return nil
	}
	return new(big.Int).SetBytes(b)
}

// decode64 decodes strictly: encoding/base64 overlooks line breaks.
func decode64(e *base64.Encoding, text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	b, err := e.Strict().DecodeString(text)
	if err != nil {
		return nil, ErrMalformed
	}
	return b, nil
}

// A PublicKey is a user's RSA-OAEP key: 2048 bits, e = 65537, SHA-256 for the
// hash and for MGF1, no label. The zero value is not a key.
type PublicKey struct{ key *rsa.PublicKey }

// ParsePublicKey reads the string of a JWK, as users publish it. A key of
// another size, exponent or algorithm, and one with a private member, is refused.
func ParsePublicKey(text string) (PublicKey, error) {
	k, err := parseJWK(text)
	if err != nil {
		return PublicKey{}, err
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if k[private] != nil {
			return PublicKey{}, fmt.Errorf("%w: a public key with private members", ErrMalformed)
		}
	}
	return k.public()
}

func (k jwk) public() (PublicKey, error) {
	if k.text("kty") != "RSA" || k.text("alg") != algRSA {
		return PublicKey{}, fmt.Errorf("%w: not an %s key", ErrUnsupported, algRSA)
	}
	n, e := k.number("n"), k.number("e")
	if n == nil || e == nil {
		return PublicKey{}, fmt.Errorf("%w: an RSA key without its numbers", ErrMalformed)
	}
	if n.BitLen() != modulusBits || n.Bit(0) == 0 || !e.IsInt64() || e.Int64() != exponent {
		return PublicKey{}, fmt.Errorf("%w: an RSA key that is not of %d bits with e = %d", ErrWeak, modulusBits, exponent)
	}
	return PublicKey{&rsa.PublicKey{N: n, E: exponent}}, nil
}

// IsZero reports whether p is not a key.
func (p PublicKey) IsZero() bool { return p.key == nil }

// Equal reports whether p and o are the same key, however they were written.
func (p PublicKey) Equal(o PublicKey) bool {
	return p.key != nil && o.key != nil && p.key.Equal(o.key)
}

// String returns the JWK with its members in alphabetical order.
func (p PublicKey) String() string {
	return `{"alg":"RSA-OAEP-256","e":"AQAB","ext":true,"key_ops":["encrypt"],"kty":"RSA","n":"` +
		base64.RawURLEncoding.EncodeToString(p.key.N.FillBytes(make([]byte, modulusSize))) + `"}`
}

// Fingerprint returns the SHA-256 of the key's SubjectPublicKeyInfo (RFC 5280)
// in lower-case hex.
func (p PublicKey) Fingerprint() string {
	der, err := x509.MarshalPKIXPublicKey(p.key)
	if err != nil {
		panic("rocketchat: internal error: " + err.Error())
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// A PrivateKey is the private half of a user's key pair.
type PrivateKey struct {
	redact.Manners
	secret redact.Box[rsa.PrivateKey]
}

// GeneratePrivateKey makes a key pair. The standard library takes the random
// numbers for an RSA key from the system and not from rand.
func GeneratePrivateKey(rand io.Reader) (PrivateKey, error) {
	k, err := rsa.GenerateKey(rand, modulusBits)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("rocketchat: making a key pair: %w", err)
	}
	return PrivateKey{secret: redact.Seal(k)}, nil
}

// ParsePrivateKey reads the string of a JWK, as found in the opened key
// blob. The numbers must fit together.
func ParsePrivateKey(text string) (PrivateKey, error) {
	k, err := parseJWK(text)
	if err != nil {
		return PrivateKey{}, err
	}
	pub, err := k.public()
	if err != nil {
		return PrivateKey{}, err
	}
	d, p, q := k.number("d"), k.number("p"), k.number("q")
	if d == nil || p == nil || q == nil {
		return PrivateKey{}, fmt.Errorf("%w: a private key without its numbers", ErrMalformed)
	}
	r := &rsa.PrivateKey{PublicKey: *pub.key, D: d, Primes: []*big.Int{p, q}}
	if r.Validate() != nil {
		return PrivateKey{}, fmt.Errorf("%w: the numbers of a private key do not fit together", ErrMalformed)
	}
	r.Precompute()
	for name, have := range map[string]*big.Int{"dp": r.Precomputed.Dp, "dq": r.Precomputed.Dq, "qi": r.Precomputed.Qinv} {
		if got := k.number(name); got == nil || got.Cmp(have) != 0 {
			return PrivateKey{}, fmt.Errorf("%w: the numbers of a private key do not fit together", ErrMalformed)
		}
	}
	return PrivateKey{secret: redact.Seal(r)}, nil
}

// IsZero reports whether k is not a key.
func (k PrivateKey) IsZero() bool { return k.secret == nil }

// Public returns the public half.
func (k PrivateKey) Public() PublicKey { return PublicKey{&k.secret().PublicKey} }

// Equal reports whether k and o are the same key.
func (k PrivateKey) Equal(o PrivateKey) bool {
	if k.IsZero() || o.IsZero() {
		return false
	}
	return subtle.ConstantTimeCompare(k.secret().D.FillBytes(make([]byte, modulusSize)), o.secret().D.FillBytes(make([]byte, modulusSize))) == 1
}

// Secret returns the JWK of the private key with its members in alphabetical
// order: what is sealed into a key blob, and what the encrypted store keeps.
func (k PrivateKey) Secret() string {
	r := k.secret()
	num := func(n *big.Int, size int) string {
		return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, size)))
	}
	// Numbers are written without leading zeros (RFC 7518, section 2).
	short := func(n *big.Int) string { return num(n, (n.BitLen()+7)/8) }
	return `{"alg":"RSA-OAEP-256","d":"` + short(r.D) + `","dp":"` + short(r.Precomputed.Dp) + `","dq":"` + short(r.Precomputed.Dq) +
		`","e":"AQAB","ext":true,"key_ops":["decrypt"],"kty":"RSA","n":"` + num(r.N, modulusSize) +
		`","p":"` + short(r.Primes[0]) + `","q":"` + short(r.Primes[1]) + `","qi":"` + short(r.Precomputed.Qinv) + `"}`
}
