package canonicaljson

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/internal/base64text"
)

// Errors of a check of a signature; each is a failed check.
var (
	// ErrNoSignature: the object has no signature by that entity and key.
	ErrNoSignature = errors.New("canonicaljson: no such signature")
	// ErrBadSignature: the signature is not over this object.
	ErrBadSignature = errors.New("canonicaljson: signature does not verify")
)

// SigningBytes returns the bytes of the object raw that are signed: its
// canonical form without the members "signatures" and "unsigned".
func SigningBytes(raw []byte) ([]byte, error) {
	s := newScanner(raw)
	defer s.release()
	if s.next() != '{' {
		if err := s.document(); err != nil {
			return nil, err
		}
		return nil, ErrNotObject
	}
	s.out, s.emit = make([]byte, 0, len(raw)), true
	s.without = []string{"signatures", "unsigned"}
	if err := s.document(); err != nil {
		return nil, err
	}
	return s.out, nil
}

// Sign returns the object raw with a signature in
// signatures[entity][keyID]; other signatures and every other member stay.
// The keyID is like "ed25519:DEVICE"; sign returns the signature over its
// argument.
func Sign(raw []byte, entity, keyID string, sign func(message []byte) []byte) ([]byte, error) {
	if !utf8.ValidString(entity) || !utf8.ValidString(keyID) {
		return nil, fmt.Errorf("%w: entity or key id is not UTF-8", ErrNotCanonical)
	}
	msg, err := SigningBytes(raw)
	if err != nil {
		return nil, err
	}
	sigs, err := signatures(raw)
	if err != nil {
		return nil, err
	}
	if sigs == nil {
		sigs = map[string]map[string]string{}
	}
	if sigs[entity] == nil {
		sigs[entity] = map[string]string{}
	}
	sigs[entity][keyID] = base64text.Encode(sign(msg))
	text, err := Marshal(sigs)
	if err != nil {
		return nil, err
	}
	return Set(raw, "signatures", text)
}

// Verify checks the signature signatures[entity][keyID] of the object raw.
// The function verify reports whether signature is one over message by the
// key that keyID names; the key comes from the caller, never from raw.
func Verify(raw []byte, entity, keyID string, verify func(message, signature []byte) bool) error {
	text, err := signature(raw, entity, keyID)
	if err != nil {
		return err
	}
	sig, err := base64text.Decode(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	msg, err := SigningBytes(raw)
	if err != nil {
		return err
	}
	if !verify(msg, sig) {
		return ErrBadSignature
	}
	return nil
}

// signatures returns the member "signatures" of raw, nil if it has none.
func signatures(raw []byte) (map[string]map[string]string, error) {
	text, err := Get(raw, "signatures")
	if err != nil || text == nil {
		return nil, err
	}
	var sigs map[string]map[string]string
	if err := json.Unmarshal(text, &sigs); err != nil {
		return nil, fmt.Errorf("%w: the signatures have the wrong shape", ErrNoSignature)
	}
	return sigs, nil
}

// signature returns the text at signatures[entity][keyID]. What other
// entities put beside it does not matter.
func signature(raw []byte, entity, keyID string) (string, error) {
	text, err := Get(raw, "signatures")
	if err != nil {
		return "", err
	}
	for _, name := range []string{entity, keyID} {
		if text == nil {
			return "", ErrNoSignature
		}
		if text, err = Get(text, name); err != nil {
			return "", fmt.Errorf("%w: the signatures have the wrong shape", ErrNoSignature)
		}
	}
	var sig string
	if text == nil || json.Unmarshal(text, &sig) != nil {
		return "", ErrNoSignature
	}
	return sig, nil
}
