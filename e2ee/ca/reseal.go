package ca

import (
	"crypto/x509"
	"io"
)

// Reseal seals a message that this device can open for other devices: a new
// device of the same user, or one of a recipient who could not read it. What
// the sender signed stays as it is, so who opens the result checks it as the
// sender's; that the new recipients are among those whom the content names is
// checked there (Open), and what is resealed for others is refused.
func Reseal(rand io.Reader, raw []byte, self *Self, recipients []*x509.Certificate) ([]byte, error) {
	signed, err := self.open(raw)
	if err != nil {
		return nil, err
	}
	return sealSigned(rand, signed, recipients)
}
