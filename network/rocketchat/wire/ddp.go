package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// MaxFrame bounds a frame of DDP in bytes.
const MaxFrame = 1 << 20

// A Frame is a message of DDP, of either side; which members count depends on
// Msg.
type Frame struct {
	Msg     string          `json:"msg"`
	ID      string          `json:"id,omitempty"`
	Version string          `json:"version,omitempty"`
	Support []string        `json:"support,omitempty"`
	Session string          `json:"session,omitempty"`
	Method  string          `json:"method,omitempty"`
	Name    string          `json:"name,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *DDPError       `json:"error,omitempty"`
	Methods []string        `json:"methods,omitempty"`
	Subs    []string        `json:"subs,omitempty"`
	// Collection and Fields are of "added" and "changed".
	Collection string          `json:"collection,omitempty"`
	Fields     json.RawMessage `json:"fields,omitempty"`
	// Reason is of "error".
	Reason string `json:"reason,omitempty"`
}

// A DDPError is a refusal in DDP.
type DDPError struct {
	Safe    bool   `json:"isClientSafe"`
	Error   any    `json:"error"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details any    `json:"details,omitempty"`
	Type    string `json:"errorType"`
}

// DDP returns e in the form of DDP.
func (e *Error) DDP() *DDPError {
	return &DDPError{Safe: true, Error: e.Code, Reason: e.Text, Message: e.Error(), Details: e.Details, Type: "Meteor.Error"}
}

// An Event is the fields of a "changed" frame of a stream.
type Event struct {
	Name string            `json:"eventName"`
	Args []json.RawMessage `json:"args"`
}

// dates are the members that hold a time, in the records of this package.
var dates = map[string]bool{"ts": true, "ls": true, "lm": true, "lr": true, "_updatedAt": true, "editedAt": true, "tokenExpires": true, "createdAt": true}

// EJSON turns JSON as REST has it into that of DDP: the members that hold times
// become {"$date":ms}. raw is JSON of ours.
func EJSON(raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	return json.Marshal(dated(v))
}

func dated(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if s, ok := x.(string); ok && dates[k] && strings.HasSuffix(s, "Z") {
				if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
					v[k] = map[string]any{"$date": t.UnixMilli()}
					continue
				}
			}
			v[k] = dated(x)
		}
	case []any:
		for i := range v {
			v[i] = dated(v[i])
		}
	}
	return v
}
