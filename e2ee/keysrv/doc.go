// Package keysrv implements end-to-end encryption with keys that a key server
// hands out: the system of the XMPP network.
//
// A message travels as a [Packet]: the id of a key object and a sealed payload.
// The key object ([Object]) names its suite. In the default mode, sealed, the
// creator's device makes the key and wraps it for each device ([Wrap], HPKE);
// the server hands each device its own copy and cannot read any. In escrow mode
// the server holds the key itself, which is stated wherever such a conversation
// is shown.
//
// [Machine] is one device in this system: it publishes its keys, verifies those
// of others, makes and opens key objects, encrypts, keeps messages that it
// cannot open yet, and makes copies for devices that wait for them. It does no
// input or output: [Machine.Receive] takes stanzas and [Machine.Send] a message,
// [Machine.Outgoing] returns the calls that are due, and [Machine.Done] takes
// each answer. The caller commits the transaction of each call before it does
// anything else; then, after a crash at any point, a call is repeated with the
// same bytes, and no key is used by two devices. It supports direct
// conversations, but no rooms.
//
// Below it are the formats, which have no state:
//
//   - [Cipher] seals and opens payloads, [Seal] and [Open] the envelope in them;
//   - [Statement] is what the creator of a sealed key signs; it commits to the
//     key, so that no copy of another key can pass for it;
//   - [Device] is a device's public keys, signed by itself, and [Approval] the
//     statement of an older device of the same user that it approves of it;
//   - [NewProof] and [ParseProof] are proofs of possession (RFC 9449);
//   - [SegmentSealer] and [SegmentOpener] encrypt files in segments of 64 KiB.
//
// All members of a conversation hold the same key. So a payload proves that it
// comes from a member, and it is bound to the names that the XMPP server gave;
// it does not prove to one member which other member wrote it.
//
// Bytes in JSON are base64 with padding; times are Unix milliseconds in what is
// signed or sealed, and RFC 3339 in what a server answers.
//
// This package reads no clock, file or socket.
package keysrv

import (
	"errors"

	"github.com/quinta-chat/quinta"
)

// Errors, for errors.Is. ReasonOf returns the reason that people see.
var (
	// ErrMalformed: not a packet, object, device or proof of this system.
	ErrMalformed = errors.New("keysrv: malformed")
	// ErrUnsupported: well formed, but of an unsupported suite or version.
	ErrUnsupported = errors.New("keysrv: unsupported suite or form")
	// ErrTampered: authentication failed. There is one error for every way in
	// which it can fail.
	ErrTampered = errors.New("keysrv: the message is not authentic")
	// ErrReplayed: seen before.
	ErrReplayed = errors.New("keysrv: the message was seen before")
	// ErrMismatch: the key or the payload does not belong to the claimed
	// sender, device or conversation.
	ErrMismatch = errors.New("keysrv: the key does not belong to this sender, device or conversation")
	// ErrNotPermitted: the key server refuses to give this key to this account.
	ErrNotPermitted = errors.New("keysrv: the key server does not give out this key")
	// ErrNoKey: no copy of the key was made for this device yet.
	ErrNoKey = errors.New("keysrv: there is no copy of the key for this device yet")
	// ErrExpired: the key object had expired when the message was sent.
	ErrExpired = errors.New("keysrv: the key object has expired")
	// ErrDowngrade: a weaker mode or suite than the conversation has.
	ErrDowngrade = errors.New("keysrv: a weaker mode or suite than the conversation has")
	// ErrUntrusted: no approved device of the user vouches for the keys.
	ErrUntrusted = errors.New("keysrv: no known device of the user vouches for this one")
	// ErrProof: the proof of possession is wrong or not for this request.
	ErrProof = errors.New("keysrv: the proof of possession is wrong")
)

// ReasonOf returns the reason for which a message cannot be read.
func ReasonOf(err error) quinta.Reason {
	for _, r := range []struct {
		err    error
		reason quinta.Reason
	}{
		{ErrReplayed, quinta.ReasonReplayed},
		{ErrMismatch, quinta.ReasonSenderMismatch},
		{ErrUntrusted, quinta.ReasonSenderMismatch},
		{ErrNotPermitted, quinta.ReasonNotPermitted},
		{ErrNoKey, quinta.ReasonNoKeyYet},
		{ErrExpired, quinta.ReasonExpired},
		{ErrDowngrade, quinta.ReasonUnsupported},
		{ErrUnsupported, quinta.ReasonUnsupported},
		{ErrTampered, quinta.ReasonTampered},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return quinta.ReasonMalformed
}
