package sas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/key"
)

// ErrQR is the error of a code that is not one for a verification.
var ErrQR = errors.New("sas: not a verification code")

// A QRMode says what the two keys of a code are.
type QRMode byte

// The modes. The first key is the shower's own, the second is what the shower
// thinks that the other side's is.
const (
	// QRUser: another user; both keys are master keys.
	QRUser QRMode = 0
	// QRSelfTrusting: the same user; the shower trusts the master key. The
	// keys are the master key and the other device's key.
	QRSelfTrusting QRMode = 1
	// QRSelfUntrusting: the same user; the shower does not trust the master
	// key yet. The keys are the shower's device key and the master key.
	QRSelfUntrusting QRMode = 2
)

const (
	qrHead    = "MATRIX\x02"
	minSecret = 8
	maxQR     = 2953 // what the largest code holds
)

// A QR is the content of a code. It holds a secret until the flow has ended.
type QR struct {
	Mode QRMode
	// ID is the transaction id or the event id of the request.
	ID     string
	First  [key.Size]byte
	Second [key.Size]byte
	Secret []byte
}

// Encode returns the bytes of the one byte-mode segment of the code.
func (q QR) Encode() []byte {
	b := append([]byte(qrHead), byte(q.Mode))
	b = binary.BigEndian.AppendUint16(b, uint16(len(q.ID)))
	b = append(append(append(b, q.ID...), q.First[:]...), q.Second[:]...)
	return append(b, q.Secret...)
}

// ParseQR reads the bytes of a code.
func ParseQR(b []byte) (QR, error) {
	const fixed = len(qrHead) + 1 + 2
	if len(b) > maxQR || len(b) < fixed || string(b[:len(qrHead)]) != qrHead {
		return QR{}, ErrQR
	}
	q := QR{Mode: QRMode(b[len(qrHead)])}
	if q.Mode > QRSelfUntrusting {
		return QR{}, fmt.Errorf("%w: unknown mode", ErrQR)
	}
	n := int(binary.BigEndian.Uint16(b[fixed-2:]))
	b = b[fixed:]
	if n == 0 || len(b) < n+2*key.Size+minSecret || !utf8.Valid(b[:n]) {
		return QR{}, fmt.Errorf("%w: cut off", ErrQR)
	}
	q.ID, b = string(b[:n]), b[n:]
	q.First = [key.Size]byte(b)
	q.Second = [key.Size]byte(b[key.Size:])
	q.Secret = append([]byte(nil), b[2*key.Size:]...)
	return q, nil
}

// Format prints q without its secret.
func (q QR) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "sas.QR(%s, [redacted])", q.ID) }
