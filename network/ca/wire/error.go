package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/printable"
)

// A Code says what went wrong, for programs. It ends the type of an error:
// "urn:quinta:ca:error:CODE".
type Code string

// The codes.
const (
	CodeInternal        Code = "internal"
	CodeInvalid         Code = "invalid"
	CodeMalformed       Code = "malformed"
	CodeUnauthenticated Code = "unauthenticated"
	CodeForbidden       Code = "forbidden"
	CodeNotFound        Code = ca.CodeNotFound
	CodeExists          Code = "exists"
	CodeConflict        Code = ca.CodeConflict
	CodeTooLarge        Code = "too-large"
	CodeLimited         Code = "limited"
	CodeUnavailable     Code = "unavailable"
	CodeFull            Code = "full"
	CodeQuota           Code = "quota"

	// CodeMethod: the path supports other methods.
	CodeMethod Code = "method"
	// CodeUnsupported: a key, format or profile that is not supported.
	CodeUnsupported Code = "unsupported"
	// CodePossession: a proof of possession or a signature is wrong.
	CodePossession Code = "possession"
	// CodeNonce: the nonce was not issued for this, was used, or is too old.
	CodeNonce Code = ca.CodeNonce
	// CodeApproval: another device must approve it first.
	CodeApproval Code = ca.CodeApproval
	// CodeUndelivered: messages for the key still wait.
	CodeUndelivered Code = ca.CodeUndelivered
	// CodeStaleKeys: the message is not sealed for exactly the current
	// devices; Missing and Stale list the differences.
	CodeStaleKeys Code = ca.CodeStaleKeys
	// CodeNotChosen: not all members chose the legacy profile.
	CodeNotChosen Code = ca.CodeNotChosen
	// CodeState: the state of the key does not allow this.
	CodeState Code = ca.CodeState
)

// Kinds is the table from the core's kinds of error to this network's.
var Kinds = map[quinta.Kind]struct {
	Status int
	Code   Code
}{
	quinta.KindInternal:        {500, CodeInternal},
	quinta.KindInvalid:         {400, CodeInvalid},
	quinta.KindMalformed:       {400, CodeMalformed},
	quinta.KindUnauthenticated: {401, CodeUnauthenticated},
	quinta.KindForbidden:       {403, CodeForbidden},
	quinta.KindNotFound:        {404, CodeNotFound},
	quinta.KindExists:          {409, CodeExists},
	quinta.KindConflict:        {409, CodeConflict},
	quinta.KindTooLarge:        {413, CodeTooLarge},
	quinta.KindLimited:         {429, CodeLimited},
	quinta.KindUnavailable:     {503, CodeUnavailable},
	quinta.KindFull:            {507, CodeFull},
	quinta.KindQuota:           {507, CodeQuota},
}

// ErrorType is the media type of an error (RFC 9457).
const ErrorType = "application/problem+json"

const errorURN = "urn:quinta:ca:error:"

// An Error is the answer to a call that did not succeed, in the form of RFC
// 9457.
type Error struct {
	Status int
	Code   Code
	// Detail is a sentence for people.
	Detail string
	// RetryAfter says when to try again, for CodeLimited.
	RetryAfter time.Duration
	// Missing are keys that a message should be sealed for, and Stale keys that
	// it should not, for CodeStaleKeys.
	Missing, Stale []cert.Fingerprint
}

// NewError makes an Error.
func NewError(status int, code Code, detail string) *Error {
	return &Error{Status: status, Code: code, Detail: detail}
}

// Error returns the code, if there is one, and the sentence.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Detail
	}
	return string(e.Code) + ": " + e.Detail
}

// problem is the JSON of an Error.
type problem struct {
	Type       string             `json:"type"`
	Title      string             `json:"title"`
	Status     int                `json:"status"`
	Detail     string             `json:"detail,omitempty"`
	RetryAfter int64              `json:"retryAfter,omitempty"` // milliseconds
	Missing    []cert.Fingerprint `json:"missing,omitempty"`
	Stale      []cert.Fingerprint `json:"stale,omitempty"`
}

// MarshalJSON writes the body.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(problem{Type: errorURN + string(e.Code), Title: http.StatusText(e.Status), Status: e.Status, Detail: e.Detail,
		RetryAfter: e.RetryAfter.Milliseconds(), Missing: e.Missing, Stale: e.Stale})
}

// maxList bounds how many keys of a list are read.
const maxList = MaxDevices

// ParseError reads the body of an answer that is not a success. Anything that
// is not in the form of RFC 9457, such as the page of a proxy, has no Code.
// The sentence is made safe to show in one line.
func ParseError(status int, body []byte) *Error {
	e := &Error{Status: status, Detail: fmt.Sprintf("the server answered %d", status)}
	var p problem
	if json.Unmarshal(body, &p) != nil {
		return e
	}
	code, ok := strings.CutPrefix(p.Type, errorURN)
	if !ok || len(code) > 40 {
		return e
	}
	e.Code = Code(printable.Line(code))
	if d := printable.Line(p.Detail); d != "" {
		e.Detail = d
	}
	if p.RetryAfter > 0 && p.RetryAfter < 1<<31 {
		e.RetryAfter = time.Duration(p.RetryAfter) * time.Millisecond
	}
	if len(p.Missing) <= maxList && len(p.Stale) <= maxList {
		e.Missing, e.Stale = p.Missing, p.Stale
	}
	return e
}
