// Package seal implements the messages of the CA network: signed and sealed for
// the holders of certificates.
//
// A message of the secure profile is CMS AuthEnvelopedData (AES-256-GCM) around
// SignedData around a [Content] that names its sender, recipients, conversation,
// id, sequence and time: [Seal] and [Open]. A [Session] makes small packets
// after one such message. The legacy profile is the published scheme, unchanged
// ([SealLegacy], [LegacyReader]); doc/security.md describes what it does not
// protect. [SealBackup] and [OpenBackup] are for the keys that a user stores,
// [RecoveryText] and [SafetyWords] for words that people read.
//
// Beware: nothing here has a memory. The caller has to remember which messages
// were seen before, and in which order they arrived, as package ca does.
//
// This package reads no clock, file or socket.
package seal

import "errors"

// Errors, for errors.Is, in addition to those of package cert.
var (
	// ErrTampered: authentication failed. There is one error for every way in
	// which it can fail.
	ErrTampered = errors.New("ca: the message is not authentic")
	// ErrNotRecipient: the message is sealed for others.
	ErrNotRecipient = errors.New("ca: the message is not sealed for this device")
)
