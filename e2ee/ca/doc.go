// Package ca implements end-to-end encryption with keys that a certificate
// authority has certified: the system of the CA network.
//
// There are two profiles. The secure one is the default: X.509 certificates
// for each device, one to sign and one to encrypt; a message is CMS
// AuthEnvelopedData (AES-256-GCM) around SignedData around a content that
// names its sender, recipients, conversation, id, sequence and time. The
// legacy one is the published scheme as it stands: RSA-1024 keys, a
// symmetric key wrapped for the recipient and signed by the sender, and
// AES-128-CBC. It is read and written only in a conversation for which both
// sides chose it, and what it does not protect stands in doc/security.md.
//
// [Machine] is one device in this system: it has its keys certified and renews
// them, pins the keys of others, seals and opens, remembers what it has seen,
// keeps what it cannot open yet, and backs its keys up. It does no input or
// output: [Machine.Receive] takes a page of the mailbox and [Machine.Send] a
// message, [Machine.Outgoing] gives the calls of the server that are due, and
// [Machine.Done] takes each answer. The caller commits the transaction of each
// call before it does anything else; then a crash at any point repeats a call
// with the same bytes, and no number is given twice.
//
// Below it are the parts that have no state: [NewRequest] and [Issuer] for
// certificates, [Verifier] to judge them, [Seal] and [Open] for messages. There,
// which messages were seen before is for the caller to remember.
//
// Beware: who is in a conversation of several is the server's word. New devices
// and changed keys are reported as events; a Policy with VerifiedOnly gives
// nothing to a device that the user has not compared. A store that was put back
// from an older copy forgets how far it has counted: use a copy only to begin a
// new device with its backup.
//
// This package reads no clock, file or socket.
package ca

import (
	"errors"

	"github.com/quinta-chat/quinta"
)

// What goes wrong, for errors.Is. ReasonOf gives the reason that people see.
var (
	// ErrMalformed: not a message, request or certificate of this system.
	ErrMalformed = errors.New("ca: malformed")
	// ErrUnsupported: well formed, in a form or strength that is not read.
	ErrUnsupported = errors.New("ca: unsupported form, algorithm or key")
	// ErrTampered: authentication failed. There is one error for every way in
	// which it can fail.
	ErrTampered = errors.New("ca: the message is not authentic")
	// ErrReplayed: seen before, or older than what came since.
	ErrReplayed = errors.New("ca: the message was seen before or is out of its order")
	// ErrMismatch: the keys do not belong to the claimed sender, recipient or
	// conversation.
	ErrMismatch = errors.New("ca: the message does not belong to this sender, recipient or conversation")
	// ErrExpired: a certificate was not valid at that time, or is revoked.
	ErrExpired = errors.New("ca: a certificate was not valid at that time")
	// ErrUntrusted: a certificate does not come from a known authority, or
	// not for this use or name.
	ErrUntrusted = errors.New("ca: the certificate does not come from a known authority, or not for this use")
	// ErrNotRecipient: the message is sealed for others.
	ErrNotRecipient = errors.New("ca: the message is not sealed for this device")
	// ErrPossession: the proof that the private key is held is missing or wrong.
	ErrPossession = errors.New("ca: the proof of possession is wrong")
	// ErrNoStatus: nothing recent says whether the certificate is revoked.
	ErrNoStatus = errors.New("ca: it is not known whether the certificate is revoked")
)

// ReasonOf returns the reason for which a message cannot be read.
func ReasonOf(err error) quinta.Reason {
	for _, r := range []struct {
		err    error
		reason quinta.Reason
	}{
		{ErrReplayed, quinta.ReasonReplayed},
		{ErrMismatch, quinta.ReasonSenderMismatch},
		{ErrExpired, quinta.ReasonExpired},
		{ErrNoStatus, quinta.ReasonExpired},
		{ErrUntrusted, quinta.ReasonSenderMismatch},
		{ErrNotRecipient, quinta.ReasonBeforeThisDevice},
		{ErrUnsupported, quinta.ReasonUnsupported},
		{ErrTampered, quinta.ReasonTampered},
		{ErrDowngrade, quinta.ReasonUnsupported},
		{ErrClock, quinta.ReasonExpired},
		{ErrSessionOver, quinta.ReasonReplayed},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return quinta.ReasonMalformed
}
