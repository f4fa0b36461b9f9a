package eventauth

import (
	"errors"
	"strconv"
)

// A Version is the number of a room version, 1 to 12.
type Version int

// First and Last bound the known room versions; Default is what a room gets
// when its creator names none. It is the newest version whose power levels
// every client in use reads: before version 12 the creator's level is an
// ordinary entry of m.room.power_levels.
const (
	First   Version = 1
	Last    Version = 12
	Default Version = 11
)

// The table of differences: the first version that has each property.
const (
	// sinceHashID: the event id is the reference hash; before, it is chosen
	// by the server. From here also redactions are judged when they are
	// applied instead of when they are accepted.
	sinceHashID Version = 3
	// sinceURLSafeID: the hash in the event id is in URL-safe base64.
	sinceURLSafeID Version = 4
	// sinceNoAliases: m.room.aliases has neither a rule nor protected keys.
	sinceNoAliases Version = 6
	// sinceNotificationLevels: changes of "notifications" are held to the
	// sender's level.
	sinceNotificationLevels Version = 6
	// sinceKnock: the membership and join rule "knock".
	sinceKnock Version = 7
	// sinceRestricted: the join rule "restricted"; redaction keeps "allow".
	sinceRestricted Version = 8
	// sinceKeepAuthorised: redaction keeps join_authorised_via_users_server.
	sinceKeepAuthorised Version = 9
	// sinceKnockRestricted: the join rule "knock_restricted".
	sinceKnockRestricted Version = 10
	// sinceIntegerLevels: power levels are integers, no longer also strings.
	sinceIntegerLevels Version = 10
	// sinceSenderCreates: the creator is the sender of m.room.create, not its
	// "creator"; "redacts" is in the content; redaction keeps more.
	sinceSenderCreates Version = 11
	// sinceCreatorsRule: the room id is the hash of m.room.create, and the
	// creators stand above all power levels.
	sinceCreatorsRule Version = 12
)

// ErrUnknownVersion means that a room version is not one of those known.
var ErrUnknownVersion = errors.New("eventauth: unknown room version")

// ParseVersion reads a room version as written in room_version of
// m.room.create: a decimal number without sign or leading zero.
func ParseVersion(s string) (Version, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s || Version(n) < First || Version(n) > Last {
		return 0, ErrUnknownVersion
	}
	return Version(n), nil
}

// String returns v as written in room_version of m.room.create.
func (v Version) String() string { return strconv.Itoa(int(v)) }

// CreatorInContent reports whether m.room.create of version v must carry
// "creator" in its content.
func (v Version) CreatorInContent() bool { return v < sinceSenderCreates }

// RedactsInContent reports whether m.room.redaction of version v names the
// redacted event in its content instead of at its top level.
func (v Version) RedactsInContent() bool { return v >= sinceSenderCreates }

// RoomIDFromCreate reports whether the id of a room of version v is derived
// from its m.room.create, and its creators stand above all power levels.
func (v Version) RoomIDFromCreate() bool { return v >= sinceCreatorsRule }

// A Capability is the value of m.room_versions in GET capabilities (Matrix
// client-server API, "m.room_versions capability").
type Capability struct {
	Default   string            `json:"default"`
	Available map[string]string `json:"available"`
}

// Versions returns the capability m.room_versions: all versions are stable.
func Versions() Capability {
	c := Capability{Default: Default.String(), Available: map[string]string{}}
	for v := First; v <= Last; v++ {
		c.Available[v.String()] = "stable"
	}
	return c
}
