// Package sas implements the interactive verification of Matrix ("Key
// verification framework", methods m.sas.v1 and m.reciprocate.v1): two people
// compare a short string or scan a code, and learn whether the keys that
// their programs hold are the right ones.
//
// [Flow] is one verification from request to done, without input and output:
// it takes what arrived, returns what is to be sent, and says what to show.
// Below it are the computations, for programs that build their own flow:
// [Commitment], [Agree], [Shared.Bytes], [Decimals], [Emojis], [Shared.MAC],
// and [QR].
//
// Both sides fix the keys that are to be verified before anything is shown.
// No key is ever taken from a message, except the short-lived one; messages
// hold MACs over keys that the receiver must already have.
//
// Only the agreement curve25519-hkdf-sha256, the hash sha256 and the MAC
// hkdf-hmac-sha256.v2 are supported. The older forms are weaker and are
// refused.
package sas

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
)

// Names of methods and algorithms.
const (
	MethodSAS         = "m.sas.v1"
	MethodReciprocate = "m.reciprocate.v1"
	MethodShowQR      = "m.qr_code.show.v1"
	MethodScanQR      = "m.qr_code.scan.v1"

	agreementName = "curve25519-hkdf-sha256"
	hashName      = "sha256"
	macName       = "hkdf-hmac-sha256.v2"
	stringDecimal = "decimal"
	stringEmoji   = "emoji"
)

// ErrKey is the error of a short-lived key that is malformed or of small order.
var ErrKey = errors.New("sas: refused key")

// Commitment returns the commitment of the side that accepts: the hash over
// its short-lived key and the content of the start message.
func Commitment(k key.VerificationPublic, start []byte) (string, error) {
	text, err := canonicaljson.Canonical(start)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(k.String()), text...))
	return base64text.Encode(sum[:]), nil
}

// A Shared is the secret of one verification.
type Shared struct {
	secret func() []byte // a function, so that nothing prints it
}

// Agree makes the secret of the two short-lived keys. It refuses a public key
// with which the secret would be known to everyone.
func Agree(k key.VerificationPrivate, p key.VerificationPublic) (*Shared, error) {
	b, err := key.Agree(k, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return &Shared{secret: func() []byte { return b }}, nil
}

// Wipe overwrites the secret.
func (s *Shared) Wipe() { clear(s.secret()) }

// String returns "[redacted]".
func (s *Shared) String() string { return "[redacted]" }

func (s *Shared) derive(info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, s.secret(), nil, info, n)
	if err != nil {
		panic("sas: internal error: " + err.Error())
	}
	return b
}

// A Side is one of the two in a verification.
type Side struct {
	User   quinta.UserID
	Device quinta.DeviceID
	// Key is the side's short-lived key.
	Key key.VerificationPublic
}

// Bytes returns the six bytes of the short authentication string. The starter
// is the side that sent the start message; id is that of the flow.
func (s *Shared) Bytes(starter, accepter Side, id string) [6]byte {
	info := "MATRIX_KEY_VERIFICATION_SAS"
	for _, side := range []Side{starter, accepter} {
		info += "|" + string(side.User) + "|" + string(side.Device) + "|" + side.Key.String()
	}
	return [6]byte(s.derive(info+"|"+id, 6))
}

// Decimals returns the three numbers from 1000 to 9191 of b.
func Decimals(b [6]byte) [3]int {
	n := [5]int{int(b[0]), int(b[1]), int(b[2]), int(b[3]), int(b[4])}
	return [3]int{
		(n[0]<<5 | n[1]>>3) + 1000,
		((n[1]&7)<<10 | n[2]<<2 | n[3]>>6) + 1000,
		((n[3]&0x3f)<<7 | n[4]>>1) + 1000,
	}
}

// Emojis returns the seven pictures of b.
func Emojis(b [6]byte) [7]Emoji {
	var bits uint64
	for _, c := range b {
		bits = bits<<8 | uint64(c)
	}
	var out [7]Emoji
	for i := range out {
		out[i] = emojis[bits>>(42-6*i)&63]
	}
	return out
}

// MAC returns the MAC of text, which is a public key in unpadded base64 with
// the given key id, or the list of key ids with the key id "KEY_IDS". The MAC
// goes from one side to the other.
func (s *Shared) MAC(from, to Side, id, keyID, text string) string {
	k := s.derive("MATRIX_KEY_VERIFICATION_MAC"+string(from.User)+string(from.Device)+string(to.User)+string(to.Device)+id+keyID, 32)
	h := hmac.New(sha256.New, k)
	h.Write([]byte(text))
	return base64text.Encode(h.Sum(nil))
}
