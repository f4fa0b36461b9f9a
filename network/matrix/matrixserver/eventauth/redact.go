package eventauth

import (
	"encoding/json"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
)

// A protected member of a content survives redaction in the versions from
// since up to, but not including, until (0: no end).
type protected struct {
	typ, member  string
	since, until Version
}

// kept lists what redaction keeps (each room version, "Redactions").
var kept = []protected{
	{TypeMember, "membership", First, 0},
	{TypeMember, "join_authorised_via_users_server", sinceKeepAuthorised, 0},
	{TypeCreate, "creator", First, sinceSenderCreates},
	{TypeJoinRules, "join_rule", First, 0},
	{TypeJoinRules, "allow", sinceRestricted, 0},
	{TypePowerLevels, "ban", First, 0},
	{TypePowerLevels, "events", First, 0},
	{TypePowerLevels, "events_default", First, 0},
	{TypePowerLevels, "invite", sinceSenderCreates, 0},
	{TypePowerLevels, "kick", First, 0},
	{TypePowerLevels, "redact", First, 0},
	{TypePowerLevels, "state_default", First, 0},
	{TypePowerLevels, "users", First, 0},
	{TypePowerLevels, "users_default", First, 0},
	{TypeAliases, "aliases", First, sinceNoAliases},
	{TypeHistoryVisibility, "history_visibility", First, 0},
	{TypeRedaction, "redacts", sinceSenderCreates, 0},
}

// Redact returns what is left of content, canonical JSON of an event of type
// typ, after its redaction in a room of version v. The members of the event
// beside its content are not touched by it.
func Redact(v Version, typ string, content json.RawMessage) (json.RawMessage, error) {
	if typ == TypeCreate && v >= sinceSenderCreates {
		return content, nil
	}
	out := map[string]json.RawMessage{}
	var c fields
	for _, k := range kept {
		if k.typ != typ || v < k.since || k.until != 0 && v >= k.until {
			continue
		}
		if c == nil {
			if c = object(content); c == nil {
				return nil, ErrBadJSON
			}
		}
		if raw, ok := c[k.member]; ok {
			out[k.member] = raw
		}
	}
	if typ == TypeMember && v >= sinceSenderCreates {
		if signed, ok := object(c["third_party_invite"])["signed"]; ok {
			raw, err := json.Marshal(map[string]json.RawMessage{"signed": signed})
			if err != nil {
				return nil, err
			}
			out["third_party_invite"] = raw
		}
	}
	return canonicaljson.Marshal(out)
}
