package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// An OffTheRecord is a Session that can hold a conversation off the record: with keys
// that exist only in the memory of both sides while it lasts. Nothing of it is
// stored. Both users must be online at the same time. Run need not be running.
type OffTheRecord interface {
	Session
	// InviteOffRecord invites a user and returns the conversation when they have
	// accepted. If they do not answer in time, the error is of KindUnavailable;
	// if they decline, of KindForbidden.
	InviteOffRecord(ctx context.Context, user quinta.UserID) (*OffRecord, error)
	// AwaitOffRecord waits for an invitation that accept agrees to. One that accept
	// does not answer in time is declined.
	AwaitOffRecord(ctx context.Context, accept func(from quinta.UserID) bool) (*OffRecord, error)
}

// An OffRecord is one conversation off the record.
type OffRecord struct {
	With quinta.UserID
	// Lines brings what happens in the conversation, beginning with its safety
	// number, and is closed when the conversation has ended. It must be read.
	Lines <-chan OffLine
	// Say sends a text.
	Say func(ctx context.Context, text string) error
	// Refresh asks the other side for new keys; a new safety number follows as a
	// line.
	Refresh func(ctx context.Context) error
	// End ends the conversation on both sides. The keys are gone when it returns.
	End func(ctx context.Context) error
}

// An OffKind says what an OffLine is.
type OffKind string

// The kinds of line.
const (
	// OffSafety: Text is the safety number of the keys from now on. Unless both
	// people compare it, someone may be between them.
	OffSafety OffKind = "safety-number"
	// OffSaid: Text is what the other user said.
	OffSaid OffKind = "said"
	// OffRead: the other user has received Text.
	OffRead OffKind = "read"
	// OffTrouble: Text says what was refused.
	OffTrouble OffKind = "trouble"
	// OffEnded: the other user ended the conversation, or the connection was lost.
	OffEnded OffKind = "ended"
)

// An OffLine is one thing that happened in a conversation off the record.
type OffLine struct {
	Kind OffKind
	Text string
}
