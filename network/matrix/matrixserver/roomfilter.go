package matrixserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// A roomEventFilter chooses among the events of rooms (client-server API,
// "Filtering", RoomEventFilter).
type roomEventFilter struct {
	Limit             *int             `json:"limit"`
	Types             *[]string        `json:"types"`
	NotTypes          []string         `json:"not_types"`
	Senders           *[]quinta.UserID `json:"senders"`
	NotSenders        []quinta.UserID  `json:"not_senders"`
	Rooms             *[]quinta.RoomID `json:"rooms"`
	NotRooms          []quinta.RoomID  `json:"not_rooms"`
	ContainsURL       *bool            `json:"contains_url"`
	LazyLoadMembers   bool             `json:"lazy_load_members"`
	IncludeRedundant  bool             `json:"include_redundant_members"`
	RelatedBySenders  []quinta.UserID  `json:"related_by_senders"`
	RelatedByRelTypes []string         `json:"related_by_rel_types"`
	UnreadThreads     bool             `json:"unread_thread_notifications"`
}

// parseRoomFilter reads the filter of a query parameter; the empty one lets
// all pass.
func parseRoomFilter(s string) (*roomEventFilter, error) {
	f := &roomEventFilter{}
	if s == "" {
		return f, nil
	}
	if !json.Valid([]byte(s)) {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeNotJSON, "the filter is not JSON")
	}
	return f, decode([]byte(s), f)
}

// typeMatches reports whether typ is one of the patterns, in which * stands
// for any text.
func typeMatches(patterns []string, typ string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return wildcard(p, typ) })
}

// wildcard matches s against a pattern with *, in time linear in the product
// of the lengths at most.
func wildcard(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, head)
	if !ok {
		return false
	}
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}

// passesRoom reports whether events of the room may pass at all.
func (f *roomEventFilter) passesRoom(id quinta.RoomID) bool {
	return (f.Rooms == nil || slices.Contains(*f.Rooms, id)) && !slices.Contains(f.NotRooms, id)
}

// passes reports whether e passes, but for what must be asked of the store.
func (f *roomEventFilter) passes(e *room.Event) bool {
	if f.Types != nil && !typeMatches(*f.Types, e.Type) || typeMatches(f.NotTypes, e.Type) {
		return false
	}
	if f.Senders != nil && !slices.Contains(*f.Senders, e.Sender) || slices.Contains(f.NotSenders, e.Sender) {
		return false
	}
	if f.ContainsURL != nil {
		if _, has := textMember(e.Content, "url"); has != *f.ContainsURL {
			return false
		}
	}
	return f.passesRoom(e.Room)
}

// filter keeps the events that pass.
func (f *roomEventFilter) filter(tx *db.Tx, list []*room.Event) ([]*room.Event, error) {
	out := list[:0:0]
	for _, e := range list {
		if !f.passes(e) {
			continue
		}
		ok, err := f.passesRelated(tx, e)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, e)
		}
	}
	return out, nil
}

// passesRelated reports whether somebody of related_by_senders sent an event
// in one of the relations related_by_rel_types to e.
func (f *roomEventFilter) passesRelated(tx *db.Tx, e *room.Event) (bool, error) {
	if len(f.RelatedBySenders) == 0 && len(f.RelatedByRelTypes) == 0 {
		return true, nil
	}
	if !e.Related {
		return false, nil
	}
	list, _, err := room.Relations(tx, room.RelationQuery{Room: e.Room, To: e.ID, Range: room.Range{To: 1 << 62}, Limit: maxAnnotations})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(r *room.Event) bool {
		return (len(f.RelatedBySenders) == 0 || slices.Contains(f.RelatedBySenders, r.Sender)) &&
			(len(f.RelatedByRelTypes) == 0 || slices.Contains(f.RelatedByRelTypes, r.RelType))
	}), nil
}
