package megolm

import "errors"

var (
	// ErrMalformed is returned for bytes that are not a message or a key.
	ErrMalformed = errors.New("megolm: malformed message or session key")
	// ErrVersion is returned for a message or key of an unsupported version.
	ErrVersion = errors.New("megolm: message or session key of an unsupported version")
	// ErrTooLarge is returned for a message of more than [MaxMessage] bytes.
	ErrTooLarge = errors.New("megolm: message is too large")
	// ErrUnknownIndex is returned for a message, or a wish, for an index
	// before the first that the session knows.
	ErrUnknownIndex = errors.New("megolm: message is older than this session")
	// ErrBadMAC is returned for a message that is not authentic, whether
	// because of its signature, its MAC or its padding.
	ErrBadMAC = errors.New("megolm: message is not authentic")
	// ErrBadSignature is returned for a session key that its own session did
	// not sign.
	ErrBadSignature = errors.New("megolm: session key is not signed by its session")
	// ErrUnconnected is returned for two sessions that are not one.
	ErrUnconnected = errors.New("megolm: sessions are not connected")
	// ErrExhausted is returned when a session has no index left.
	ErrExhausted = errors.New("megolm: session is exhausted")
	// ErrBadState is returned for bytes that Encode did not write.
	ErrBadState = errors.New("megolm: malformed state")
)
