package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// renewType separates the signatures of renewals from all others.
const renewType = "quinta-ca-renew/1"

// A RenewalStatement is what the old and the new key both sign: everything
// that a renewal changes, with a nonce of the authority, so that it is valid
// only once.
type RenewalStatement struct {
	Type     string          `json:"type"`
	Username quinta.UserID   `json:"username"`
	Device   quinta.DeviceID `json:"device"`
	OldKeyID Fingerprint     `json:"oldKeyId"`
	// NewKey is the fingerprint of the new key.
	NewKey  Fingerprint `json:"newSpkiSha256"`
	Expires int64       `json:"expires"` // Unix seconds
	Nonce   string      `json:"nonce"`
	Time    int64       `json:"ts"` // Unix milliseconds
}

// A Renewal is a statement with its two signatures, as the bytes that were
// signed.
type Renewal struct {
	Statement    json.RawMessage `json:"renewalStatement"`
	OldSignature []byte          `json:"oldSignature"`
	NewSignature []byte          `json:"newSignature"`
}

// NewRenewal signs a statement with the old and the new key.
func NewRenewal(rand io.Reader, st RenewalStatement, oldKey, newKey crypto.Signer) (*Renewal, error) {
	st.Type = renewType
	raw, err := canonicaljson.Marshal(&st)
	if err != nil {
		return nil, err
	}
	r := &Renewal{Statement: raw}
	if r.OldSignature, err = signStatement(rand, raw, oldKey); err != nil {
		return nil, err
	}
	r.NewSignature, err = signStatement(rand, raw, newKey)
	return r, err
}

// renewalWindow bounds how far a statement's time may be from the authority's.
const renewalWindow = 10 * time.Minute

// Check verifies both signatures and that the statement has exactly this
// content. It returns the nonce, for the caller to check that the authority
// issued it and that it was not used.
func (r *Renewal) Check(want RenewalStatement, oldKey, newKey any, now time.Time) (nonce string, err error) {
	if len(r.Statement) > maxRequest || canonicaljson.Valid(r.Statement) != nil {
		return "", ErrMalformed
	}
	var st RenewalStatement
	if err := exactjson.Unmarshal(r.Statement, &st); err != nil {
		return "", ErrMalformed
	}
	want.Type, want.Nonce, want.Time = renewType, st.Nonce, st.Time
	canonical, err := canonicaljson.Marshal(&want)
	if err != nil {
		return "", err
	}
	given, err := canonicaljson.Canonical(r.Statement)
	if err != nil {
		return "", ErrMalformed
	}
	if string(canonical) != string(given) {
		return "", fmt.Errorf("%w: the statement does not cover this request", ErrMismatch)
	}
	if d := now.Sub(time.UnixMilli(st.Time)); d > renewalWindow || d < -renewalWindow {
		return "", fmt.Errorf("%w: the statement's time is too far from the server's", ErrReplayed)
	}
	if !verifyStatement(given, r.OldSignature, oldKey) || !verifyStatement(given, r.NewSignature, newKey) {
		return "", ErrPossession
	}
	return st.Nonce, nil
}

// statementOf reads the statement of a renewal.
func statementOf(r *Renewal) (st RenewalStatement, err error) {
	if r == nil || len(r.Statement) > maxRequest || exactjson.Unmarshal(r.Statement, &st) != nil {
		return st, ErrMalformed
	}
	return st, nil
}

// Proves reports whether a renewal shows that the holder of the old key,
// whose public key is given, replaced it with the new one, at whatever time.
func (r *Renewal) Proves(id Identity, oldKey, newKey any) error {
	st, err := statementOf(r)
	if err != nil {
		return err
	}
	oldSPKI, err := x509.MarshalPKIXPublicKey(oldKey)
	if err != nil {
		return ErrMalformed
	}
	newSPKI, err := x509.MarshalPKIXPublicKey(newKey)
	if err != nil {
		return ErrMalformed
	}
	_, err = r.Check(RenewalStatement{Username: id.User, Device: id.Device, OldKeyID: FingerprintOf(oldSPKI), NewKey: FingerprintOf(newSPKI), Expires: st.Expires},
		oldKey, newKey, time.UnixMilli(st.Time))
	return err
}

// signStatement signs text with RSA-PSS or ECDSA, SHA-256.
func signStatement(rand io.Reader, text []byte, k crypto.Signer) ([]byte, error) {
	sum := sha256.Sum256(text)
	var opts crypto.SignerOpts = crypto.SHA256
	if _, ok := k.Public().(*rsa.PublicKey); ok {
		opts = &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}
	}
	sig, err := k.Sign(rand, sum[:], opts)
	if err != nil {
		return nil, fmt.Errorf("ca: signing: %w", err)
	}
	return sig, nil
}

func verifyStatement(text, sig []byte, pub any) bool {
	sum := sha256.Sum256(text)
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPSS(k, crypto.SHA256, sum[:], sig, &rsa.PSSOptions{SaltLength: 32}) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, sum[:], sig)
	}
	return false
}
