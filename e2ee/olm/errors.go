package olm

import "errors"

var (
	// ErrMalformed is returned for bytes that are not an Olm message.
	ErrMalformed = errors.New("olm: malformed message")
	// ErrVersion is returned for a message of another version than 3.
	ErrVersion = errors.New("olm: message of an unsupported version")
	// ErrTooLarge is returned for a message of more than [MaxMessage] bytes.
	ErrTooLarge = errors.New("olm: message is too large")
	// ErrBadMAC is returned for a message that no chain of the session
	// authenticates, for whatever reason.
	ErrBadMAC = errors.New("olm: message is not authentic")
	// ErrNoMessageKey is returned for a message whose key was used, or was
	// skipped too long ago.
	ErrNoMessageKey = errors.New("olm: the key of this message was used or dropped")
	// ErrSkipTooFar is returned for a message more than [MaxSkip] ahead.
	ErrSkipTooFar = errors.New("olm: message is too far ahead of its chain")
	// ErrUnknownOneTimeKey is returned for a pre-key message to a one-time
	// key that the account does not have, or no longer has.
	ErrUnknownOneTimeKey = errors.New("olm: message to an unknown one-time key")
	// ErrReplayed is returned for a pre-key message that would make again a
	// session that was made with the same fallback key.
	ErrReplayed = errors.New("olm: message would repeat a session")
	// ErrUsedUp is returned for a pre-key message to a fallback key with which
	// [MaxFallbackSessions] sessions were made; see [Account.FallbackWorn].
	ErrUsedUp = errors.New("olm: message to a fallback key that is used up")
	// ErrSenderMismatch is returned for a pre-key message that holds another
	// identity key than its sender's.
	ErrSenderMismatch = errors.New("olm: message is from another identity key")
	// ErrExhausted is returned when a chain has no index left.
	ErrExhausted = errors.New("olm: chain is exhausted")
	// ErrBadState is returned for bytes that Encode did not write.
	ErrBadState = errors.New("olm: malformed state")
	// ErrTooManyKeys is returned for a request for more than [MaxOneTimeKeys].
	ErrTooManyKeys = errors.New("olm: too many one-time keys")
)
