package eventauth

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// CreatorLevel is the level of a creator in versions that put creators above
// all power levels. No level in an event can reach it.
const CreatorLevel int64 = math.MaxInt64

// maxLevel is the largest absolute value of an integer in canonical JSON.
const maxLevel = 1<<53 - 1

// ErrBadLevels means that an m.room.power_levels content does not have the
// types that its room version asks for.
var ErrBadLevels = errors.New("eventauth: malformed power levels")

// Levels are the power levels of a room at one point in time:
// m.room.power_levels with the defaults of the specification filled in.
type Levels struct {
	users         map[string]int64
	events        map[string]int64
	notifications map[string]int64
	named         map[string]int64
	creators      map[string]bool
	present       bool
	above         bool
}

// levelNames are the levels of m.room.power_levels that stand alone.
var levelNames = []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"}

// namedDefault returns the level that name has if the event does not say.
func namedDefault(name string, present bool) int64 {
	switch name {
	case "state_default":
		if present {
			return 50
		}
		return 0
	case "ban", "redact", "kick":
		return 50
	}
	return 0
}

// LevelsOf returns the power levels that state gives to a room of version v.
// A room without power levels gives its creator 100 and asks 0 for all.
func LevelsOf(v Version, state State) (*Levels, error) {
	create := state(TypeCreate, "")
	pl := state(TypePowerLevels, "")
	var l *Levels
	if pl == nil {
		l = &Levels{}
	} else {
		var err error
		if l, err = parseLevels(v, pl.Content); err != nil {
			return nil, err
		}
	}
	l.creators = map[string]bool{}
	for _, u := range Creators(v, create) {
		l.creators[u] = true
	}
	l.above = v >= sinceCreatorsRule
	return l, nil
}

// Creators returns the creators of the room that create creates: its sender
// and, from version 12, its additional_creators; before version 11 the
// "creator" of its content. create may be nil.
func Creators(v Version, create *Event) []string {
	if create == nil {
		return nil
	}
	c := object(create.Content)
	if v < sinceSenderCreates {
		u, _ := c.str("creator")
		return []string{u}
	}
	out := []string{create.Sender}
	if v >= sinceCreatorsRule {
		var more []string
		if json.Unmarshal(c["additional_creators"], &more) == nil {
			out = append(out, more...)
		}
	}
	return out
}

// parseLevels reads a content of m.room.power_levels.
func parseLevels(v Version, content json.RawMessage) (*Levels, error) {
	c := object(content)
	if c == nil {
		return nil, ErrBadLevels
	}
	l := &Levels{present: true, named: map[string]int64{}}
	for _, name := range levelNames {
		if raw, ok := c[name]; ok {
			n, err := parseLevel(v, raw)
			if err != nil {
				return nil, err
			}
			l.named[name] = n
		}
	}
	var err error
	if l.users, err = parseLevelMap(v, c["users"]); err != nil {
		return nil, err
	}
	for u := range l.users {
		if !validUserID(u) {
			return nil, ErrBadLevels
		}
	}
	if l.events, err = parseLevelMap(v, c["events"]); err != nil {
		return nil, err
	}
	l.notifications, err = parseLevelMap(v, c["notifications"])
	return l, err
}

func parseLevelMap(v Version, raw json.RawMessage) (map[string]int64, error) {
	if raw == nil {
		return nil, nil
	}
	m := object(raw)
	if m == nil {
		return nil, ErrBadLevels
	}
	out := make(map[string]int64, len(m))
	for k, r := range m {
		n, err := parseLevel(v, r)
		if err != nil {
			return nil, err
		}
		out[k] = n
	}
	return out, nil
}

// parseLevel reads one level: an integer, in older versions also a string
// that holds one.
func parseLevel(v Version, raw json.RawMessage) (int64, error) {
	s := string(raw)
	if strings.HasPrefix(s, `"`) {
		if v >= sinceIntegerLevels || json.Unmarshal(raw, &s) != nil {
			return 0, ErrBadLevels
		}
		s = strings.TrimSpace(s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxLevel || n < -maxLevel {
		return 0, ErrBadLevels
	}
	return n, nil
}

// User returns the level of user.
func (l *Levels) User(user string) int64 {
	if l.above && l.creators[user] {
		return CreatorLevel
	}
	if n, ok := l.users[user]; ok {
		return n
	}
	if !l.present && l.creators[user] {
		return 100
	}
	return l.Named("users_default")
}

// Named returns the level of one of users_default, events_default,
// state_default, ban, redact, kick and invite.
func (l *Levels) Named(name string) int64 {
	if n, ok := l.named[name]; ok {
		return n
	}
	return namedDefault(name, l.present)
}

// Event returns the level that sending an event of type typ needs.
func (l *Levels) Event(typ string, state bool) int64 {
	if n, ok := l.events[typ]; ok {
		return n
	}
	if state {
		return l.Named("state_default")
	}
	return l.Named("events_default")
}

// Notification returns the level that a notification of the whole room under
// key needs, such as "room" for @room.
func (l *Levels) Notification(key string) int64 {
	if n, ok := l.notifications[key]; ok {
		return n
	}
	return 50
}

// IsCreator reports whether user stands above all levels as a creator.
func (l *Levels) IsCreator(user string) bool { return l.above && l.creators[user] }

// DefaultLevels returns the content of the first m.room.power_levels of a
// room of version v, made by creator; equals, the invited users of a
// trusted_private_chat, get the creator's level. From version 12 neither is
// listed, because creators may not be.
func DefaultLevels(v Version, creator string, equals ...string) map[string]any {
	users := map[string]any{}
	events := map[string]any{
		"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50,
		"m.room.power_levels": 100, "m.room.history_visibility": 100,
		"m.room.encryption": 100, "m.room.server_acl": 100, "m.room.tombstone": 100,
	}
	if v >= sinceCreatorsRule {
		// Only creators upgrade: administrators cannot end the room.
		events["m.room.tombstone"] = 150
	} else {
		users[creator] = 100
		for _, u := range equals {
			users[u] = 100
		}
	}
	return map[string]any{
		"users": users, "users_default": 0, "events": events, "events_default": 0,
		"state_default": 50, "ban": 50, "kick": 50, "redact": 50, "invite": 0,
		"notifications": map[string]any{"room": 50},
	}
}

// Users returns the users that the levels name, and the creators, in
// alphabetical order.
func (l *Levels) Users() []string {
	set := map[string]bool{}
	for u := range l.users {
		set[u] = true
	}
	for u := range l.creators {
		set[u] = true
	}
	return slices.Sorted(maps.Keys(set))
}
