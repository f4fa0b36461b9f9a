package client

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta"
)

// A Verifier is a Session that can verify other devices interactively.
type Verifier interface {
	Session
	// Verify asks a user, or one device of this account, to compare short
	// strings. compare is given the strings and answers whether both sides
	// show the same. Run must be running. If they differ, the error wraps
	// ErrMismatch.
	Verify(ctx context.Context, user quinta.UserID, id quinta.DeviceID, compare func(ctx context.Context, s ShortStrings) (bool, error)) error
	// AwaitVerify waits for a request and carries it out if accept agrees.
	AwaitVerify(ctx context.Context, accept func(from quinta.Device) bool, compare func(ctx context.Context, s ShortStrings) (bool, error)) error
}

// ErrMismatch is wrapped by the error of a verification in which the two sides
// do not have the same keys: someone may be listening in between.
var ErrMismatch = errors.New("the strings of the two sides do not match")

// ShortStrings are what two people compare.
type ShortStrings struct {
	With quinta.Device
	// Emoji are pictures with their names, Decimal three numbers, Words
	// safety words, Picture the rows of a drawing from the top, each square one
	// of four colours, 0 to 3. A network provides at least one of them.
	Emoji   []Emoji
	Decimal []int
	Words   []string
	Picture [][]uint8
}

// An Emoji is a picture with its name.
type Emoji struct{ Symbol, Name string }

// A CodeVerifier is a Verifier that can also verify by a code that one device
// shows and the other scans.
type CodeVerifier interface {
	Verifier
	// VerifyBy is Verify with any of the methods in by.
	VerifyBy(ctx context.Context, user quinta.UserID, id quinta.DeviceID, by Comparison) error
	// AwaitVerifyBy is AwaitVerify with any of the methods in by.
	AwaitVerifyBy(ctx context.Context, accept func(from quinta.Device) bool, by Comparison) error
}

// A Comparison is how the user compares. If a function is nil, that method is
// not offered to the other side.
type Comparison struct {
	// Strings is given short strings and answers whether the other side shows
	// the same.
	Strings func(ctx context.Context, s ShortStrings) (bool, error)
	// Show is given the bytes of a code for the other side to scan, and
	// returns at once. The code is secret until the verification has ended.
	Show func(code []byte) error
	// Scanned is called after Show when the other side reports that it scanned
	// the code. It answers whether the user can see that it did.
	Scanned func(ctx context.Context, with quinta.Device) (bool, error)
	// Scan returns the bytes of the code that the other side shows.
	Scan func(ctx context.Context) ([]byte, error)
}
