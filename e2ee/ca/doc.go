// Package ca implements end-to-end encryption with keys that a certificate
// authority has certified: the system of the CA network.
//
// There are two profiles. The secure one is the default: X.509 certificates for
// each device, one to sign and one to encrypt; a message is CMS
// AuthEnvelopedData (AES-256-GCM) around SignedData around a content that names
// its sender, recipients, conversation, id, sequence and time. The legacy one
// is the published scheme, unchanged: RSA-1024 keys, a symmetric key wrapped
// for the recipient and signed by the sender, and AES-128-CBC. It is read and
// written only in a conversation for which both sides chose it; doc/security.md
// describes what it does not protect.
//
// [Machine] is one device in this system: it has its keys certified and renews
// them, pins the keys of others, seals and opens, remembers what it has seen,
// keeps what it cannot open yet, and backs its keys up. It does no input or
// output: [Machine.Receive] takes a page of the mailbox and [Machine.Send] a
// message, [Machine.Outgoing] returns the server calls that are due, and
// [Machine.Done] takes each answer. The caller commits the transaction of each
// call before it does anything else; then, after a crash at any point, a call
// is repeated with the same bytes, and no number is used twice.
//
// Below it are the parts that have no state: package cert for certificates and
// package seal for messages.
//
// Beware: the members of a group are whatever the server reports. New devices and changed
// keys are reported as events; a Policy with VerifiedOnly gives nothing to a device that
// the user has not compared. A store that was restored from an older copy does not know how
// far it has counted since; see [Machine.Restored].
//
// This package reads no clock, file or socket.
package ca

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// ReasonOf returns the reason for which a message cannot be read.
func ReasonOf(err error) quinta.Reason {
	for _, r := range []struct {
		err    error
		reason quinta.Reason
	}{
		{cert.ErrReplayed, quinta.ReasonReplayed},
		{cert.ErrMismatch, quinta.ReasonSenderMismatch},
		{cert.ErrExpired, quinta.ReasonExpired},
		{cert.ErrNoStatus, quinta.ReasonExpired},
		{cert.ErrUntrusted, quinta.ReasonSenderMismatch},
		{seal.ErrNotRecipient, quinta.ReasonBeforeThisDevice},
		{cert.ErrUnsupported, quinta.ReasonUnsupported},
		{seal.ErrTampered, quinta.ReasonTampered},
		{ErrDowngrade, quinta.ReasonUnsupported},
		{ErrClock, quinta.ReasonExpired},
		{seal.ErrSessionOver, quinta.ReasonReplayed},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return quinta.ReasonMalformed
}
