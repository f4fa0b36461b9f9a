// Package cert implements the certificates of the CA network: who a key belongs
// to, how a device requests a certificate, how the authority issues and revokes
// certificates, and how they are verified.
//
// There are two profiles. In the secure one a device has two X.509 certificates,
// one to sign with and one to encrypt to; [NewRequest] and [ParseRequest] are
// the two ends of a PKCS #10 request, [Issuer] is the authority, and a
// [Verifier] verifies certificates. A [Renewal] shows that the holder of one key
// replaced it with another, and an [Approval] that a device of a user agrees to
// a new key. In the legacy profile a key is a bare RSA-1024 public key; see
// [ParseLegacyKey].
//
// Nothing here opens or seals a message: the server of the network needs no
// more of the system than this package.
//
// This package reads no clock, file or socket.
package cert

import "errors"

// Errors, for errors.Is.
var (
	// ErrMalformed: not a message, request or certificate of this system.
	ErrMalformed = errors.New("ca: malformed")
	// ErrUnsupported: well formed, but of an unsupported form or strength.
	ErrUnsupported = errors.New("ca: unsupported form, algorithm or key")
	// ErrReplayed: seen before, or older than something received since.
	ErrReplayed = errors.New("ca: the message was seen before or is out of order")
	// ErrMismatch: the keys do not belong to the claimed sender, recipient or
	// conversation.
	ErrMismatch = errors.New("ca: the message does not belong to this sender, recipient or conversation")
	// ErrExpired: a certificate was not valid at that time, or is revoked.
	ErrExpired = errors.New("ca: a certificate was not valid at that time")
	// ErrUntrusted: a certificate is not from a known authority, or not for
	// this use or name.
	ErrUntrusted = errors.New("ca: the certificate is not from a known authority, or not for this use")
	// ErrPossession: the proof that the private key is held is missing or wrong.
	ErrPossession = errors.New("ca: the proof of possession is wrong")
	// ErrNoStatus: nothing recent says whether the certificate is revoked.
	ErrNoStatus = errors.New("ca: whether the certificate is revoked is unknown")
)

// The profiles of keys, conversations and messages.
const (
	ProfileSecure = "secure"
	ProfileLegacy = "legacy"
)
