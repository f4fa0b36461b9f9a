package quinta

import "errors"

// A Kind says what went wrong in the words of the core. Each network has one
// table from Kind to its own codes.
type Kind int

// The kinds. A Kind is part of the contract between the core and the
// networks: a test in every network checks that its table has each of them.
const (
	// KindInternal: a fault of ours; the log has the rest.
	KindInternal Kind = iota
	// KindInvalid: the request has the right shape and a wrong value.
	KindInvalid
	// KindMalformed: the request cannot be parsed at all.
	KindMalformed
	// KindUnauthenticated: the credentials are missing or wrong.
	KindUnauthenticated
	// KindForbidden: the logged-in user may not do this.
	KindForbidden
	// KindNotFound: the thing does not exist, or not for this account.
	KindNotFound
	// KindExists: the name or id is taken.
	KindExists
	// KindConflict: the thing changed in the meantime, or an id is reused
	// with other content.
	KindConflict
	// KindTooLarge: a body, count or depth is over its limit.
	KindTooLarge
	// KindLimited: too many requests; try again later.
	KindLimited
	// KindUnavailable: the store or a peer does not answer; try again later.
	KindUnavailable
	// KindFull: the storage is full; nothing was written.
	KindFull
	// KindQuota: the account stores as much as it may; nothing was written.
	// Trying again helps once something has been removed.
	KindQuota

	kinds // the number of kinds
)

// Kinds returns every Kind, for the tables of the networks.
func Kinds() []Kind {
	ks := make([]Kind, kinds)
	for i := range ks {
		ks[i] = Kind(i)
	}
	return ks
}

var kindNames = [kinds]string{
	"internal error", "invalid", "malformed", "not logged in", "forbidden", "not found",
	"already exists", "conflict", "too large", "too many requests", "unavailable", "storage full", "quota exceeded",
}

// String returns a short lower-case name for people.
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return "unknown kind"
	}
	return kindNames[k]
}

// An Error is what a core returns to its callers. Op says what was being
// done, without any secret; Err is the cause, or nil.
type Error struct {
	Kind Kind
	Op   string
	Err  error
}

// Error returns "op: kind: cause", leaving out what is empty.
func (e *Error) Error() string {
	s := e.Kind.String()
	if e.Err != nil {
		s = e.Err.Error()
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// E makes an Error of the given kind whose message is text.
func E(kind Kind, op, text string) *Error {
	e := &Error{Kind: kind, Op: op}
	if text != "" {
		e.Err = errors.New(text)
	}
	return e
}

// KindOf returns the Kind of the outermost Error in err's chain, or
// KindInternal if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}
