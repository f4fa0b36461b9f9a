package matrixserver

import (
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// signatureMap is {entity: {key id: signature}}.
type signatureMap map[string]map[string]string

// signaturesOf returns the signatures on an object that was checked before.
func signaturesOf(body []byte) (signatureMap, error) {
	raw, err := canonicaljson.Get(body, "signatures")
	if err != nil {
		return nil, err
	}
	m := signatureMap{}
	if raw == nil {
		return m, nil
	}
	if err := exactjson.Unmarshal(raw, &m); err != nil {
		return nil, badJSON("signatures must be objects of strings")
	}
	return m, nil
}

// add puts a signature into the map and reports whether it was not there.
func (m signatureMap) add(entity, keyID, signature string) bool {
	if m[entity] == nil {
		m[entity] = map[string]string{}
	}
	if m[entity][keyID] == signature {
		return false
	}
	m[entity][keyID] = signature
	return true
}

// withSignatures returns the object in canonical form with these signatures
// and no others.
func withSignatures(body []byte, m signatureMap) ([]byte, error) {
	raw, err := canonicaljson.Marshal(m)
	if err != nil {
		return nil, err
	}
	if body, err = canonicaljson.Set(body, "signatures", raw); err != nil {
		return nil, err
	}
	return canonicaljson.Canonical(body)
}

// mergeSignatures returns the object now with the signatures of both; where
// both have one, that of now counts.
func mergeSignatures(old, now []byte) ([]byte, error) {
	m, err := signaturesOf(old)
	if err != nil {
		return nil, err
	}
	add, err := signaturesOf(now)
	if err != nil {
		return nil, err
	}
	for entity, keys := range add {
		for id, sig := range keys {
			m.add(entity, id, sig)
		}
	}
	return withSignatures(now, m)
}
