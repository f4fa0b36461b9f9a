package wire

import (
	"bytes"
	"errors"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// ErrBody says that a body is not the expected JSON.
var ErrBody = errors.New("ca: the body is not the JSON object that this call takes")

// Decode reads one JSON object into v: strict UTF-8, whole numbers only, no
// member twice, bounded depth, and no member that v does not have.
func Decode(raw []byte, v any) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if raw[0] != '{' || canonicaljson.Valid(raw) != nil {
		return ErrBody
	}
	if exactjson.Strict(raw, v) != nil {
		return ErrBody
	}
	return nil
}
