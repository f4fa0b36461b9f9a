// Package rocketchat implements the end-to-end encryption of Rocket.Chat: a
// user has one RSA key pair, whose private half the server keeps sealed under
// a password that only the user knows; a room has one AES key, which each
// member gets wrapped with their public key; messages and files are sealed with
// these.
//
// The formats: [PrivateKey] and [PublicKey], [OpenPrivateKey] and
// [SealPrivateKey], [RoomKey] with Wrap and [Unwrap], [SealContent] and
// [OpenContent], [ParseBody], [FileKey]. Each reads what any release of the
// official clients has written, and writes the newest format. v1 is the suite
// of the specification (AES-CBC), v2 that of Rocket.Chat 7.13 and later
// (AES-GCM).
//
// What to beware of: v1 is not authenticated, so anyone who transports a v1
// message can change it. Nothing in either format binds a message to its
// sender, its room or its time. A room key opens everything that was ever
// sealed with it: there is no forward secrecy. doc/security.md describes the
// consequences.
package rocketchat

import "errors"

// Errors of the forms. None of them repeats what was read.
var (
	// ErrMalformed: the text does not have the form that it should have, or exceeds
	// a bound.
	ErrMalformed = errors.New("rocketchat: malformed")
	// ErrUnsupported: an algorithm that this package does not read, or one that
	// does not belong to the key.
	ErrUnsupported = errors.New("rocketchat: unsupported algorithm or format")
	// ErrTampered: the authentication failed, or the padding of a form that has
	// no authentication.
	ErrTampered = errors.New("rocketchat: the message is not authentic")
	// ErrOtherKey: the message is sealed with a room key of another id.
	ErrOtherKey = errors.New("rocketchat: sealed with another room key")
	// ErrPassword: the password does not open the private key.
	ErrPassword = errors.New("rocketchat: wrong E2E password")
	// ErrWeak: a password or a key that is too weak to be used.
	ErrWeak = errors.New("rocketchat: too weak")
)
