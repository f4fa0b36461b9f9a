package eventauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
)

// Size limits (Matrix client-server API, "Size limits"): MaxEvent bytes for
// the whole event in canonical JSON, maxID for each of type, state key,
// sender, room id and event id.
const (
	MaxEvent = 65536
	maxID    = 255
	// overhead is what an event has beside its content, type and ids at
	// most: names, braces, numbers, hashes and one signature.
	overhead = 1024
)

// Errors of Canonical and Measure.
var (
	// ErrNotJSON: the content is not JSON.
	ErrNotJSON = errors.New("eventauth: content is not JSON")
	// ErrBadJSON: the content is JSON, but not an object, or it has a number
	// or string that canonical JSON does not have.
	ErrBadJSON = errors.New("eventauth: content is not canonical JSON of an object")
	// ErrTooLarge: the event or one of its ids exceeds the limits.
	ErrTooLarge = errors.New("eventauth: event is too large")
	// ErrBadID: the type, state key or an id is not UTF-8 text without U+0000.
	ErrBadID = errors.New("eventauth: type or state key is not text")
)

// Canonical returns the canonical JSON of the content raw, which must be an
// object. Room versions 1 to 5 tolerated numbers that are not integers in
// range; they are refused here in all versions, because no two programs
// agree on their bytes.
func Canonical(raw []byte) (json.RawMessage, error) {
	out, err := canonicaljson.Canonical(raw)
	switch {
	case errors.Is(err, canonicaljson.ErrNotJSON):
		return nil, fmt.Errorf("%w: %v", ErrNotJSON, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %v", ErrBadJSON, err)
	case len(out) == 0 || out[0] != '{':
		return nil, ErrBadJSON
	}
	return out, nil
}

// Measure refuses events beyond the size limits, and types, state keys and
// ids that are not text.
func Measure(e *Event) error {
	ids := []struct{ name, s string }{{"type", e.Type}, {"sender", e.Sender}, {"room_id", e.RoomID}, {"redacts", e.Redacts}}
	if e.StateKey != nil {
		ids = append(ids, struct{ name, s string }{"state_key", *e.StateKey})
	}
	total := len(e.Content) + overhead
	for _, id := range ids {
		if len(id.s) > maxID {
			return fmt.Errorf("%w: %s is longer than %d bytes", ErrTooLarge, id.name, maxID)
		}
		if !utf8.ValidString(id.s) || strings.ContainsRune(id.s, 0) {
			return fmt.Errorf("%w: %s", ErrBadID, id.name)
		}
		total += len(id.s)
	}
	for _, ref := range [][]string{e.PrevEvents, e.AuthEvents} {
		for _, id := range ref {
			total += len(id) + 3
		}
	}
	if total > MaxEvent {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxEvent)
	}
	return nil
}
