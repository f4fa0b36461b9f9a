package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/internal/printable"
)

// ParseError reads the body of an answer with the given status that is not a success. Anything
// that is not a standard error response, such as the page of a proxy, has no Code, and the
// status as its message. The message is made safe to show: one bounded line of printable text.
// Flows, params, session and completed of a requested authentication are in Extra, as
// json.RawMessage.
func ParseError(status int, body []byte) *Error {
	var v struct {
		Code    string  `json:"errcode"`
		Message string  `json:"error"`
		Retry   float64 `json:"retry_after_ms"`
	}
	e := &Error{Status: status}
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		e.Message = fmt.Sprintf("the server answered %d", status)
		return e
	}
	// Members of another type than the specification's are left out.
	for name, p := range map[string]any{"errcode": &v.Code, "error": &v.Message, "retry_after_ms": &v.Retry} {
		if raw := all[name]; raw != nil && json.Unmarshal(raw, p) != nil {
			continue
		}
	}
	if code := printable.Line(v.Code); code != "" && len(code) <= 100 && !strings.ContainsRune(code, ' ') {
		e.Code = Code(code)
	}
	e.Message = printable.Line(v.Message)
	if e.Message == "" {
		e.Message = fmt.Sprintf("the server answered %d", status)
	}
	if v.Retry > 0 && v.Retry < float64(math.MaxInt32) {
		e.RetryAfter = time.Duration(v.Retry) * time.Millisecond
	}
	for _, name := range []string{"flows", "params", "session", "completed", "soft_logout", "current_version"} {
		if raw := all[name]; raw != nil {
			e.With(name, raw)
		}
	}
	return e
}
