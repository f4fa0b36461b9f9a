// Package seal implements the messages of the CA network: signed and sealed for
// the holders of certificates.
//
// A message of the secure profile is CMS AuthEnvelopedData (AES-256-GCM) around
// SignedData around a [Content] that names its sender, recipients, conversation,
// id, sequence and time: [Seal] and [Open]. A [Session] makes small packets
// after one such message. The legacy profile is the published scheme as it is
// ([SealLegacy], [LegacyReader]); what it does not protect is in
// doc/security.md. [SealBackup] and [OpenBackup] are for the keys that a user
// stores, [RecoveryText] and [SafetyWords] for words that people read.
//
// Beware: nothing here remembers. Which messages were seen before, and in which
// order they came, is for the caller to keep, as package ca does.
//
// This package reads no clock, file or socket.
package seal

import "errors"

// What goes wrong, for errors.Is, beside the errors of package cert.
var (
	// ErrTampered: authentication failed. There is one error for every way in
	// which it can fail.
	ErrTampered = errors.New("ca: the message is not authentic")
	// ErrNotRecipient: the message is sealed for others.
	ErrNotRecipient = errors.New("ca: the message is not sealed for this device")
)
