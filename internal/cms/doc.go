// Package cms implements the part of the Cryptographic Message Syntax (RFC
// 5652) that Quinta's certified messages use: SignedData with one signer, and
// AuthEnvelopedData with AES-256-GCM (RFC 5083, RFC 5084).
//
// [Sign] and [Seal] write; [Parse] with [Signed.Verify], and [Open], read.
// The formats are those that "openssl cms" writes and opens.
//
// Only strict DER is read: definite and minimal lengths, no trailing bytes,
// bounded sizes and counts. Only these algorithms: SHA-256; RSASSA-PSS and
// ECDSA on P-256 to sign; RSAES-OAEP with SHA-256, and ephemeral ECDH on
// P-256 with the X9.63 key derivation and AES-256 key wrap, to seal. The
// caller decides whether a certificate is valid and whom it belongs to.
package cms

import (
	"encoding/asn1"
	"errors"
)

// Errors of reading, for errors.Is.
var (
	// ErrMalformed: not the DER of such a message, or over a bound.
	ErrMalformed = errors.New("cms: malformed")
	// ErrUnsupported: well formed, but of a form or with an algorithm that is
	// not supported here.
	ErrUnsupported = errors.New("cms: unsupported form or algorithm")
	// ErrNotRecipient: none of the recipients is the certificate given.
	ErrNotRecipient = errors.New("cms: not sealed for this certificate")
	// ErrOpen: the message cannot be opened: another key, or not what was
	// sealed. There is one error for all causes, so that it does not reveal
	// how far opening got.
	ErrOpen = errors.New("cms: cannot be opened")
	// ErrSignature: the signature does not belong to the content and the signer.
	ErrSignature = errors.New("cms: the signature is wrong")
)

// The limits for reading.
const (
	// MaxSize is the largest message in bytes.
	MaxSize = 16 << 20
	// MaxRecipients is the largest number of recipients.
	MaxRecipients = 2000
	// maxCertificates is the largest number of certificates in a message.
	maxCertificates = 16
)

// Object identifiers (RFC 5652, 5083, 5084, 5753, 8017, 5754).
var (
	oidData              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidAuthEnveloped     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23}
	oidAttrContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidAttrMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidAttrSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSHA256            = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidPSS               = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidOAEP              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	oidMGF1              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidECDSAWithSHA256   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECPublicKey       = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256              = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidECDHSHA1KDF       = asn1.ObjectIdentifier{1, 3, 133, 16, 840, 63, 0, 2}
	oidECDHSHA256KDF     = asn1.ObjectIdentifier{1, 3, 132, 1, 11, 1}
	oidAES256Wrap        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 45}
	oidAES256GCM         = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 46}
)
