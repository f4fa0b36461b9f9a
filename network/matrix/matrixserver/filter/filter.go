// Package filter implements the filters of the Matrix client-server API
// ("Filtering"): which events a client wants to get, and which members of
// them.
//
// [Parse] reads the filter of a sync, [ParseRoomEvents] that of a call about
// one room. [RoomEvents.Match] says whether a client wants an event,
// [Fields.Apply] keeps only the members that it wants. The zero filter lets
// everything through. Nothing here is stored, and no history is looked up.
package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxSize is how long the JSON of a filter may be, in bytes.
const MaxSize = 64 << 10

// ErrInvalid says that a text is not a filter; the message names the member.
var ErrInvalid = errors.New("filter: not a filter")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// Events chooses events by type and sender (EventFilter).
type Events struct {
	// Limit is how many events to return, nil if the client did not say.
	Limit *int64 `json:"limit"`
	// Types are the types wanted, "*" standing for any text; nil wants all,
	// an empty list none. A type in NotTypes is not wanted in any case.
	Types    []string `json:"types"`
	NotTypes []string `json:"not_types"`
	// Senders and NotSenders are user ids, in the same way.
	Senders    []string `json:"senders"`
	NotSenders []string `json:"not_senders"`
}

// RoomEvents chooses events of rooms (RoomEventFilter, StateFilter).
type RoomEvents struct {
	Events
	// Rooms and NotRooms are room ids, as Types.
	Rooms    []string `json:"rooms"`
	NotRooms []string `json:"not_rooms"`
	// ContainsURL wants only events with, or only those without, the member
	// "url" in their content.
	ContainsURL *bool `json:"contains_url"`
	// LazyLoad wants only those memberships that the events given need;
	// Redundant wants them also where the client got them before.
	LazyLoad  bool `json:"lazy_load_members"`
	Redundant bool `json:"include_redundant_members"`
	// Threads wants unread counts for each thread.
	Threads bool `json:"unread_thread_notifications"`
	// RelatedBySenders and RelatedByTypes want only events to which one of
	// the senders made a relation of one of the types. Match ignores them,
	// because only the store knows.
	RelatedBySenders []string `json:"related_by_senders"`
	RelatedByTypes   []string `json:"related_by_rel_types"`
}

// Room chooses what a sync gives of rooms (RoomFilter).
type Room struct {
	Rooms    []string `json:"rooms"`
	NotRooms []string `json:"not_rooms"`
	// IncludeLeave wants rooms that the user has left, too.
	IncludeLeave bool       `json:"include_leave"`
	AccountData  RoomEvents `json:"account_data"`
	Ephemeral    RoomEvents `json:"ephemeral"`
	State        RoomEvents `json:"state"`
	Timeline     RoomEvents `json:"timeline"`
}

// A Filter chooses what a sync gives (Filter).
type Filter struct {
	Fields      []string `json:"event_fields"`
	Format      string   `json:"event_format"`
	AccountData Events   `json:"account_data"`
	Presence    Events   `json:"presence"`
	Room        Room     `json:"room"`
}

// Parse reads the filter of a sync. What is wrong with it is an ErrInvalid.
func Parse(raw []byte) (*Filter, error) {
	f := new(Filter)
	if err := read(raw, f); err != nil {
		return nil, err
	}
	if f.Format != "" && f.Format != "client" {
		return nil, invalid("event_format can only be \"client\"")
	}
	if _, err := ParseFields(f.Fields); err != nil {
		return nil, err
	}
	if err := errors.Join(ids("rooms", '!', f.Room.Rooms, f.Room.NotRooms), f.AccountData.check(), f.Presence.check()); err != nil {
		return nil, err
	}
	for _, e := range []*RoomEvents{&f.Room.AccountData, &f.Room.Ephemeral, &f.Room.State, &f.Room.Timeline} {
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// ParseRoomEvents reads the filter of a call about one room, such as
// /messages. What is wrong with it is an ErrInvalid.
func ParseRoomEvents(raw []byte) (*RoomEvents, error) {
	f := new(RoomEvents)
	if err := read(raw, f); err != nil {
		return nil, err
	}
	return f, f.check()
}

// read decodes raw, whose depth the decoder bounds.
func read(raw []byte, into any) error {
	if len(raw) > MaxSize {
		return invalid("longer than %d bytes", MaxSize)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return invalid("%.100q must not be a %s", te.Field, te.Value)
		}
		return invalid("it is not JSON")
	}
	return nil
}

func (f *Events) check() error {
	if f.Limit != nil && *f.Limit < 0 {
		return invalid("limit is negative")
	}
	return ids("senders", '@', f.Senders, f.NotSenders)
}

func (f *RoomEvents) check() error {
	if err := f.Events.check(); err != nil {
		return err
	}
	return errors.Join(ids("rooms", '!', f.Rooms, f.NotRooms), ids("related_by_senders", '@', f.RelatedBySenders))
}

// ids refuses what cannot be an identifier that begins with the sigil.
func ids(member string, sigil byte, lists ...[]string) error {
	for _, list := range lists {
		for _, id := range list {
			if len(id) < 2 || id[0] != sigil {
				return invalid("%s contains something that is not an identifier", member)
			}
		}
	}
	return nil
}

// Max returns how many events to return: def if the client did not say, and
// never more than top.
func (f *Events) Max(def, top int) int {
	if f.Limit == nil {
		return def
	}
	return int(min(*f.Limit, int64(top)))
}

// Open reports whether f lets all events through.
func (f *Events) Open() bool {
	return f.Types == nil && len(f.NotTypes) == 0 && f.Senders == nil && len(f.NotSenders) == 0
}

// Closed reports whether f lets no event through, whatever it is.
func (f *Events) Closed() bool {
	return f.Types != nil && len(f.Types) == 0 || f.Senders != nil && len(f.Senders) == 0 || f.Limit != nil && *f.Limit == 0
}

// Match reports whether the client wants an event of this type and sender.
func (f *Events) Match(typ, sender string) bool {
	return wants(f.Senders, f.NotSenders, sender, equal) && f.Type(typ)
}

// Type reports whether the client wants events of a type, whoever sent them.
func (f *Events) Type(typ string) bool { return wants(f.Types, f.NotTypes, typ, wildcard) }

// In reports whether the client wants events of a room.
func (f *Room) In(room string) bool { return wants(f.Rooms, f.NotRooms, room, equal) }

// In reports whether the client wants events of a room.
func (f *RoomEvents) In(room string) bool { return wants(f.Rooms, f.NotRooms, room, equal) }

// Open reports whether f lets all events of the rooms chosen through.
func (f *RoomEvents) Open() bool {
	return f.Events.Open() && f.ContainsURL == nil && f.RelatedBySenders == nil && f.RelatedByTypes == nil
}

// Match reports whether the client wants an event of a room. It looks at
// neither the room nor the relations.
func (f *RoomEvents) Match(typ, sender string, content json.RawMessage) bool {
	if !f.Events.Match(typ, sender) {
		return false
	}
	return f.ContainsURL == nil || *f.ContainsURL == hasURL(content)
}

func hasURL(content json.RawMessage) bool {
	var m map[string]json.RawMessage
	if !strings.Contains(string(content), "url") || json.Unmarshal(content, &m) != nil {
		return false
	}
	_, ok := m["url"]
	return ok
}

// wants reports whether s is in yes, or yes is nil, and not in no.
func wants(yes, no []string, s string, same func(pattern, s string) bool) bool {
	for _, p := range no {
		if same(p, s) {
			return false
		}
	}
	if yes == nil {
		return true
	}
	for _, p := range yes {
		if same(p, s) {
			return true
		}
	}
	return false
}

func equal(pattern, s string) bool { return pattern == s }

// wildcard reports whether s matches the pattern, in which "*" stands for any
// text. It takes time in proportion to the product of their lengths at most.
func wildcard(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, rest)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
