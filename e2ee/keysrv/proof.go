package keysrv

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/key"
)

// A Proof shows that the sender of a request holds the private key to which its
// token is bound: a JWT as in RFC 9449, section 4.2, signed with Ed25519
// ("EdDSA", RFC 8037).
type Proof struct {
	// ID is the claim jti. It is accepted once.
	ID string
	// Method and URL are those of the request; the URL has no query.
	Method, URL string
	// Issued is when it was made.
	Issued time.Time
	// TokenHash is base64url of the SHA-256 of the token (claim ath).
	TokenHash string
	// Key is the key that signed it.
	Key key.DeviceSigningPublic
}

// The bounds of a proof.
const (
	maxProof = 4 << 10
	maxJTI   = 64
	// ProofAge is how old or how early a proof may be.
	ProofAge = time.Minute
)

type proofHeader struct {
	Type      string `json:"typ"`
	Algorithm string `json:"alg"`
	Key       *okp   `json:"jwk"`
}

// An okp is the public JWK of an Ed25519 key (RFC 8037, section 2).
type okp struct {
	Curve string  `json:"crv"`
	Kind  string  `json:"kty"`
	X     string  `json:"x"`
	D     *string `json:"d,omitempty"`
}

type proofClaims struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URL    string `json:"htu"`
	Issued int64  `json:"iat"`
	Hash   string `json:"ath,omitempty"`
}

func jwkOf(p key.DeviceSigningPublic) *okp {
	return &okp{Curve: "Ed25519", Kind: "OKP", X: base64.RawURLEncoding.EncodeToString(p.Bytes())}
}

// Thumbprint returns the SHA-256 thumbprint of a key in base64url (RFC 7638;
// RFC 8037, appendix A.3): what a token is bound to.
func Thumbprint(p key.DeviceSigningPublic) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + jwkOf(p).X + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TokenHash returns the claim ath of a token.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// NewProof makes the proof of one request. url has no query; token is the one
// that goes with the request.
func NewProof(rand io.Reader, k key.DeviceSigningPrivate, method, url, token string, now time.Time) (string, error) {
	var id [16]byte
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return "", fmt.Errorf("keysrv: making a proof: %w", err)
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic("keysrv: internal error: " + err.Error())
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(proofHeader{Type: "dpop+jwt", Algorithm: "EdDSA", Key: jwkOf(k.Public())}) + "." +
		part(proofClaims{ID: base64.RawURLEncoding.EncodeToString(id[:]), Method: method, URL: url, Issued: now.Unix(), Hash: TokenHash(token)})
	return text + "." + base64.RawURLEncoding.EncodeToString(k.Sign([]byte(text))), nil
}

// ParseProof reads a proof and verifies its signature. Check compares it with
// the request.
func ParseProof(text string) (*Proof, error) {
	parts := strings.Split(text, ".")
	if len(text) > maxProof || len(parts) != 3 {
		return nil, fmt.Errorf("%w: its format", ErrProof)
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil {
			return nil, fmt.Errorf("%w: its format", ErrProof)
		}
		raw[i] = b
	}
	var h proofHeader
	var c proofClaims
	if decode(raw[0], maxProof, &h) != nil || decode(raw[1], maxProof, &c) != nil {
		return nil, fmt.Errorf("%w: its format", ErrProof)
	}
	if h.Type != "dpop+jwt" || h.Algorithm != "EdDSA" || h.Key == nil || h.Key.Curve != "Ed25519" || h.Key.Kind != "OKP" || h.Key.D != nil {
		return nil, fmt.Errorf("%w: its key is not an Ed25519 public key", ErrProof)
	}
	x, err := base64.RawURLEncoding.Strict().DecodeString(h.Key.X)
	if err != nil {
		return nil, fmt.Errorf("%w: its key", ErrProof)
	}
	p, err := key.NewSigningPublic[key.Device](x)
	if err != nil || !p.Verify([]byte(parts[0]+"."+parts[1]), raw[2]) {
		return nil, fmt.Errorf("%w: its signature", ErrProof)
	}
	if c.ID == "" || len(c.ID) > maxJTI || c.Method == "" || c.URL == "" || c.Issued <= 0 {
		return nil, fmt.Errorf("%w: a claim is missing", ErrProof)
	}
	return &Proof{ID: c.ID, Method: c.Method, URL: c.URL, Issued: time.Unix(c.Issued, 0).UTC(), TokenHash: c.Hash, Key: p}, nil
}

// Check compares a proof with the request that it came with and with the
// thumbprint to which the token is bound. The caller has to check that its ID
// is new.
func (p *Proof) Check(method, url, token, thumbprint string, now time.Time) error {
	age := now.Sub(p.Issued)
	switch {
	case p.Method != method || p.URL != url:
		return fmt.Errorf("%w: it belongs to another request", ErrProof)
	case age > ProofAge || age < -ProofAge:
		return fmt.Errorf("%w: it is too old or too early", ErrProof)
	case subtle.ConstantTimeCompare([]byte(p.TokenHash), []byte(TokenHash(token))) != 1:
		return fmt.Errorf("%w: it belongs to another token", ErrProof)
	case subtle.ConstantTimeCompare([]byte(Thumbprint(p.Key)), []byte(thumbprint)) != 1:
		return fmt.Errorf("%w: the token is bound to another key", ErrProof)
	}
	return nil
}
