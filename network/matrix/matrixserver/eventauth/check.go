package eventauth

import (
	"encoding/json"
	"errors"
	"strings"
)

// Rejected is the error of an event that the authorization rules refuse.
type Rejected struct {
	// Rule names the rule, such as "m.room.member join".
	Rule string
	// Reason says in words what the rule found.
	Reason string
}

func (r *Rejected) Error() string { return "eventauth: " + r.Rule + ": " + r.Reason }

func reject(rule, reason string) error { return &Rejected{Rule: rule, Reason: reason} }

// judge holds what all rules need for one event.
type judge struct {
	v       Version
	e       *Event
	content fields
	state   State
	create  *Event
	levels  *Levels
}

// Check applies the authorization rules of version v to e, which follows
// state. It returns nil if the event is allowed, else a *Rejected.
func Check(v Version, e *Event, state State) error {
	if v < First || v > Last {
		return ErrUnknownVersion
	}
	j := &judge{v: v, e: e, content: object(e.Content), state: state}
	if j.content == nil {
		return reject("content", "is not an object")
	}
	if e.Type == TypeCreate {
		return j.checkCreate()
	}
	if j.create = state(TypeCreate, ""); j.create == nil {
		return reject("create", "the room has no m.room.create")
	}
	if v >= sinceCreatorsRule && e.RoomID != RoomIDOf(j.create.ID) {
		return reject("room_id", "is not the sender of m.room.create")
	}
	if string(object(j.create.Content)["m.federate"]) == "false" && Domain(e.Sender) != Domain(j.create.Sender) {
		return reject("m.federate", "the room is for one server only")
	}
	if e.Type == TypeAliases && v < sinceNoAliases {
		return j.checkAliases()
	}
	var err error
	if j.levels, err = LevelsOf(v, state); err != nil {
		return reject(TypePowerLevels, "those of the room cannot be read")
	}
	if e.Type == TypeMember {
		return j.checkMember()
	}
	return j.checkOther()
}

// checkOther has the rules for all that is not a creation or a membership.
func (j *judge) checkOther() error {
	if j.state(TypeMember, j.e.Sender).Membership() != "join" {
		return reject("membership", "the sender is not in the room")
	}
	level := j.levels.User(j.e.Sender)
	if j.e.Type == TypeThirdPartyInvite {
		if level < j.levels.Named("invite") {
			return reject(TypeThirdPartyInvite, "the sender's power level is too low to invite")
		}
		return nil
	}
	if level < j.levels.Event(j.e.Type, j.e.StateKey != nil) {
		return reject("power level", "the sender's power level is too low to send "+j.e.Type)
	}
	if k := j.e.StateKey; k != nil && strings.HasPrefix(*k, "@") && *k != j.e.Sender {
		return reject("state_key", "belongs to another user")
	}
	switch {
	case j.e.Type == TypePowerLevels:
		return j.checkPowerLevels()
	case j.e.Type == TypeRedaction && j.v < sinceHashID:
		if level < j.levels.Named("redact") && Domain(j.e.Redacts) != Domain(j.e.ID) {
			return reject(TypeRedaction, "the sender's power level is too low to redact")
		}
	}
	return nil
}

// checkCreate has the rules of m.room.create.
func (j *judge) checkCreate() error {
	const rule = TypeCreate
	if len(j.e.PrevEvents) != 0 || j.state(TypeCreate, "") != nil {
		return reject(rule, "the room already exists")
	}
	if !j.e.IsState(TypeCreate, "") {
		return reject(rule, "the state key is not empty")
	}
	if !validUserID(j.e.Sender) {
		return reject(rule, "the sender is not a user id")
	}
	if j.v >= sinceCreatorsRule {
		if j.e.RoomID != "" {
			return reject(rule, "the event has a room id")
		}
	} else if Domain(j.e.RoomID) != Domain(j.e.Sender) {
		return reject(rule, "the room id belongs to another server")
	}
	if raw, ok := j.content["room_version"]; ok {
		s, _ := j.content.str("room_version")
		if v, err := ParseVersion(s); err != nil || v != j.v {
			return reject(rule, "room_version is not known: "+string(raw))
		}
	} else if j.v != First {
		// An absent room_version means "1".
		return reject(rule, "room_version is missing")
	}
	if j.v < sinceSenderCreates {
		if _, ok := j.content.str("creator"); !ok {
			return reject(rule, "creator is missing")
		}
	}
	if raw, ok := j.content["additional_creators"]; ok && j.v >= sinceCreatorsRule {
		users, err := stringList(raw)
		if err != nil {
			return reject(rule, "additional_creators is not a list of strings")
		}
		for _, u := range users {
			if !validUserID(u) {
				return reject(rule, "additional_creators contains something that is not a user id")
			}
		}
	}
	return nil
}

// checkAliases has the rules of m.room.aliases, which ended with version 5.
func (j *judge) checkAliases() error {
	if j.e.StateKey == nil {
		return reject(TypeAliases, "the state key is missing")
	}
	if *j.e.StateKey != Domain(j.e.Sender) {
		return reject(TypeAliases, "the state key is not the sender's server")
	}
	return nil
}

// CanRedact reports whether sender may redact an event of target: their own
// with the right to send redactions, others' with the level "redact". The
// rules of a version admit every redaction by a user of the same server;
// the client-server API alone treats their own events differently.
func CanRedact(l *Levels, sender, target string) bool {
	if l.User(sender) < l.Event(TypeRedaction, false) {
		return false
	}
	return sender == target || l.User(sender) >= l.Named("redact")
}

// stringList reads a JSON array of strings; a null among them is an error.
func stringList(raw json.RawMessage) ([]string, error) {
	var ps []*string
	if len(raw) == 0 || raw[0] != '[' {
		return nil, errNotStrings
	}
	if err := json.Unmarshal(raw, &ps); err != nil {
		return nil, err
	}
	out := make([]string, len(ps))
	for i, p := range ps {
		if p == nil {
			return nil, errNotStrings
		}
		out[i] = *p
	}
	return out, nil
}

var errNotStrings = errors.New("eventauth: not a list of strings")
