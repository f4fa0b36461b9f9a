// Package wire defines the wire format of the Matrix client-server API: the
// structs and codecs that the server half and the client half share.
package wire

import (
	"encoding/json"
	"math"
	"time"

	"github.com/quinta-chat/quinta"
)

// A Code is a Matrix error code (client-server API, "Standard error
// response").
type Code string

// The error codes in use.
const (
	CodeForbidden            Code = "M_FORBIDDEN"
	CodeUnknownToken         Code = "M_UNKNOWN_TOKEN"
	CodeMissingToken         Code = "M_MISSING_TOKEN"
	CodeBadJSON              Code = "M_BAD_JSON"
	CodeNotJSON              Code = "M_NOT_JSON"
	CodeNotFound             Code = "M_NOT_FOUND"
	CodeLimitExceeded        Code = "M_LIMIT_EXCEEDED"
	CodeResourceLimit        Code = "M_RESOURCE_LIMIT_EXCEEDED"
	CodeUnrecognized         Code = "M_UNRECOGNIZED"
	CodeUnknown              Code = "M_UNKNOWN"
	CodeUnauthorized         Code = "M_UNAUTHORIZED"
	CodeUserDeactivated      Code = "M_USER_DEACTIVATED"
	CodeUserInUse            Code = "M_USER_IN_USE"
	CodeInvalidUsername      Code = "M_INVALID_USERNAME"
	CodeExclusive            Code = "M_EXCLUSIVE"
	CodeWeakPassword         Code = "M_WEAK_PASSWORD"
	CodeRoomInUse            Code = "M_ROOM_IN_USE"
	CodeInvalidRoomState     Code = "M_INVALID_ROOM_STATE"
	CodeUnsupportedRoom      Code = "M_UNSUPPORTED_ROOM_VERSION"
	CodeIncompatibleRoom     Code = "M_INCOMPATIBLE_ROOM_VERSION"
	CodeBadState             Code = "M_BAD_STATE"
	CodeGuestAccessForbidden Code = "M_GUEST_ACCESS_FORBIDDEN"
	CodeMissingParam         Code = "M_MISSING_PARAM"
	CodeInvalidParam         Code = "M_INVALID_PARAM"
	CodeTooLarge             Code = "M_TOO_LARGE"
	CodeBadAlias             Code = "M_BAD_ALIAS"
	CodeCannotLeave          Code = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
	CodeInvalidSignature     Code = "M_INVALID_SIGNATURE"
	CodeWrongBackupVersion   Code = "M_WRONG_ROOM_KEYS_VERSION"
	CodeNotYetUploaded       Code = "M_NOT_YET_UPLOADED"
	CodeCannotOverwrite      Code = "M_CANNOT_OVERWRITE_MEDIA"
	CodeDuplicateAnnotation  Code = "M_DUPLICATE_ANNOTATION"
	CodeUnableToGrantJoin    Code = "M_UNABLE_TO_GRANT_JOIN"
	CodeUnableToAuthorise    Code = "M_UNABLE_TO_AUTHORISE_JOIN"
	CodeURLNotSet            Code = "M_URL_NOT_SET"
	CodeUnknownPos           Code = "M_UNKNOWN_POS"
)

// An Error is the standard error response. Status is the HTTP status and is
// not part of the body.
type Error struct {
	Status  int
	Code    Code
	Message string
	// RetryAfter says when to try again, for CodeLimitExceeded.
	RetryAfter time.Duration
	// Extra are further members of the body.
	Extra map[string]any
}

// NewError makes an Error.
func NewError(status int, code Code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

// Error returns the code, if there is one, and the message.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return string(e.Code) + ": " + e.Message
}

// With adds a member to the body and returns e.
func (e *Error) With(name string, value any) *Error {
	if e.Extra == nil {
		e.Extra = map[string]any{}
	}
	e.Extra[name] = value
	return e
}

// MarshalJSON writes the body.
func (e *Error) MarshalJSON() ([]byte, error) {
	m := map[string]any{"errcode": e.Code, "error": e.Message}
	if e.RetryAfter > 0 {
		m["retry_after_ms"] = int64(math.Ceil(float64(e.RetryAfter) / float64(time.Millisecond)))
	}
	for k, v := range e.Extra {
		m[k] = v
	}
	return json.Marshal(m)
}

// Kinds is the table from the core's kinds of error to this network's.
var Kinds = map[quinta.Kind]struct {
	Status int
	Code   Code
}{
	quinta.KindInternal:        {500, CodeUnknown},
	quinta.KindInvalid:         {400, CodeInvalidParam},
	quinta.KindMalformed:       {400, CodeBadJSON},
	quinta.KindUnauthenticated: {401, CodeUnknownToken},
	quinta.KindForbidden:       {403, CodeForbidden},
	quinta.KindNotFound:        {404, CodeNotFound},
	quinta.KindExists:          {409, CodeUnknown},
	quinta.KindConflict:        {400, CodeUnknown},
	quinta.KindTooLarge:        {413, CodeTooLarge},
	quinta.KindLimited:         {429, CodeLimitExceeded},
	quinta.KindUnavailable:     {503, CodeUnknown},
	quinta.KindFull:            {507, CodeUnknown},
	quinta.KindQuota:           {507, CodeResourceLimit},
}
