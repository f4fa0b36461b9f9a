package wire

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/internal/printable"
)

// A Code says what went wrong, for programs. It ends the type of an error:
// "urn:quinta:keysrv:error:CODE".
type Code string

// The codes.
const (
	CodeInternal        Code = "internal"
	CodeInvalid         Code = "invalid"
	CodeMalformed       Code = "malformed"
	CodeUnauthenticated Code = "unauthenticated"
	CodeForbidden       Code = "forbidden"
	CodeNotFound        Code = keysrv.CodeNotFound
	CodeExists          Code = "exists"
	CodeConflict        Code = keysrv.CodeConflict
	CodeTooLarge        Code = "too-large"
	CodeLimited         Code = "limited"
	CodeUnavailable     Code = "unavailable"
	CodeFull            Code = "full"
	CodeQuota           Code = "quota"

	// CodeUnapproved: the device is not approved by another one of its user.
	CodeUnapproved Code = keysrv.CodeUnapproved
	// CodeMode: the conversation has another mode, or the server does not offer
	// it.
	CodeMode Code = keysrv.CodeMode
	// CodeRoom: the room is not one that can be served; the sentence says what
	// its owner must do.
	CodeRoom Code = keysrv.CodeRoom
	// CodeStale: a copy is for a device that is not there.
	CodeStale Code = keysrv.CodeStale
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

const errorURN = "urn:quinta:keysrv:error:"

// An Error is the answer to a call that did not succeed (RFC 9457).
type Error struct {
	Status int
	Code   Code
	// Detail is a sentence for people.
	Detail string
	// RetryAfter says when to try again, for CodeLimited; it is a header.
	RetryAfter time.Duration
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
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// MarshalJSON writes the body.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(problem{Type: errorURN + string(e.Code), Title: http.StatusText(e.Status), Status: e.Status, Detail: e.Detail})
}

// ParseError reads the body of a refusal. Anything that is not an error of
// this network has no code. Code and sentence are made safe to show in one
// line.
func ParseError(status int, body []byte) *Error {
	e := &Error{Status: status, Detail: "the server refused the call: " + http.StatusText(status)}
	var p problem
	if json.Unmarshal(body, &p) != nil {
		return e
	}
	if code, ok := strings.CutPrefix(p.Type, errorURN); ok && len(code) < 40 {
		e.Code, e.Detail = Code(printable.Line(code)), printable.Line(p.Detail)
	}
	return e
}
