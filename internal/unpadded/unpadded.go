// Package unpadded implements the unpadded base64 of the Matrix
// specification (Appendices, "Unpadded Base64"): the standard alphabet of RFC
// 4648 without padding. [Encode] writes it; [Decode] also reads the padded
// form, which real clients send. Unlike encoding/base64 neither accepts line
// breaks inside the text.
package unpadded

import (
	"encoding/base64"
	"errors"
	"strings"
)

// ErrBase64 is the error of every text that is not base64; it never holds
// the text, which may be a secret.
var ErrBase64 = errors.New("unpadded: not base64")

// Encode returns b as unpadded base64.
func Encode(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// Decode reads standard base64 with or without padding. Bits left over in
// the last character are ignored, as all Matrix implementations do.
func Decode(s string) ([]byte, error) { return decode(base64.RawStdEncoding, s) }

// EncodeURL returns b as unpadded base64 of the URL-safe alphabet.
func EncodeURL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// DecodeURL reads base64 of the URL-safe alphabet with or without padding.
func DecodeURL(s string) ([]byte, error) { return decode(base64.RawURLEncoding, s) }

func decode(enc *base64.Encoding, s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrBase64
	}
	if len(s)%4 == 0 {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil, ErrBase64
	}
	return b, nil
}
