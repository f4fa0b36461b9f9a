package eventauth

import (
	"encoding/json"
	"strings"
)

// An Event is a room event as the rules see it. Content is canonical JSON of
// an object, as Canonical gives it.
type Event struct {
	// ID is the event id, "" while there is none.
	ID     string
	RoomID string
	Type   string
	Sender string
	// StateKey is nil for message events.
	StateKey *string
	Content  json.RawMessage
	// Redacts is the event that an m.room.redaction redacts, wherever the
	// room version puts it.
	Redacts string
	// OriginServerTS is the server's time in Unix milliseconds.
	OriginServerTS int64
	// Depth is one more than the depth of the event before it.
	Depth int64
	// PrevEvents and AuthEvents are event ids.
	PrevEvents []string
	AuthEvents []string
}

// IsState reports whether e has type typ and state key key.
func (e *Event) IsState(typ, key string) bool {
	return e.StateKey != nil && e.Type == typ && *e.StateKey == key
}

// A Key names one place of a room's state.
type Key struct{ Type, StateKey string }

// A State looks up the current state event of a type and state key before the
// proposed event, nil if there is none.
type State func(typ, stateKey string) *Event

// StateOf returns a State over m.
func StateOf(m map[Key]*Event) State {
	return func(typ, key string) *Event { return m[Key{typ, key}] }
}

// Needed lists the state that Check may look up for e (Matrix server-server
// API, "Auth events selection"). It reads only the type, sender, state key
// and content of e.
func Needed(e *Event) []Key {
	if e.Type == TypeCreate {
		return nil
	}
	keys := []Key{{TypeCreate, ""}, {TypePowerLevels, ""}, {TypeMember, e.Sender}}
	if e.Type != TypeMember || e.StateKey == nil {
		return keys
	}
	if *e.StateKey != e.Sender {
		keys = append(keys, Key{TypeMember, *e.StateKey})
	}
	keys = append(keys, Key{TypeJoinRules, ""})
	c := object(e.Content)
	if via, ok := c.str("join_authorised_via_users_server"); ok && via != e.Sender && via != *e.StateKey {
		keys = append(keys, Key{TypeMember, via})
	}
	return keys
}

// The types of events that have rules of their own.
const (
	TypeCreate            = "m.room.create"
	TypeMember            = "m.room.member"
	TypePowerLevels       = "m.room.power_levels"
	TypeJoinRules         = "m.room.join_rules"
	TypeHistoryVisibility = "m.room.history_visibility"
	TypeAliases           = "m.room.aliases"
	TypeRedaction         = "m.room.redaction"
	TypeThirdPartyInvite  = "m.room.third_party_invite"
	TypeTombstone         = "m.room.tombstone"
)

// fields are the members of a JSON object, exactly named: decoding into a
// struct would also match names in another case.
type fields map[string]json.RawMessage

// object returns the members of the JSON object raw, nil if it is none.
func object(raw json.RawMessage) fields {
	var f fields
	if json.Unmarshal(raw, &f) != nil {
		return nil
	}
	return f
}

// str returns the string member name.
func (f fields) str(name string) (string, bool) {
	raw, ok := f[name]
	if !ok || len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// Membership returns the membership in e's content, "" if e is nil or has
// none.
func (e *Event) Membership() string {
	if e == nil {
		return ""
	}
	s, _ := object(e.Content).str("membership")
	return s
}

// Domain returns the server name in a user id, alias or room id: all that
// follows the first colon, "" if there is none.
func Domain(id string) string {
	_, d, _ := strings.Cut(id, ":")
	return d
}

// validUserID reports whether s has the form of a user id, historical ones
// included.
func validUserID(s string) bool {
	local, domain, ok := strings.Cut(s, ":")
	return ok && len(s) <= maxID && strings.HasPrefix(local, "@") && domain != "" && !strings.ContainsRune(s, 0)
}
