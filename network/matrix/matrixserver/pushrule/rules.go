// Package pushrule implements the push rules of the Matrix client-server API
// ("Push Rules"): the predefined rules, a user's changes to them, and their
// evaluation for an event.
//
// A Set holds only what one user changed; Set.Rules gives the whole rule set
// of that user. Compile prepares a rule set for evaluation, and
// Evaluator.Match says what to do about an event. Nothing here stores or
// sends anything.
package pushrule

import (
	"encoding/json"
	"strings"
)

// A Kind is one of the five lists of rules.
type Kind string

// The kinds, in the order of their priority.
const (
	Override  Kind = "override"
	Content   Kind = "content"
	Room      Kind = "room"
	Sender    Kind = "sender"
	Underride Kind = "underride"
)

// Kinds lists the kinds in the order of their priority.
var Kinds = []Kind{Override, Content, Room, Sender, Underride}

// A Condition is one condition of a rule. Which members count depends on Kind.
type Condition struct {
	Kind string `json:"kind"`
	// Key is a path into the event, or the name of a notification level.
	Key     string `json:"key,omitempty"`
	Pattern string `json:"pattern,omitempty"`
	// Is is the comparison of room_member_count, such as ">=3".
	Is string `json:"is,omitempty"`
	// Value is a JSON string, integer, boolean or null.
	Value json.RawMessage `json:"value,omitempty"`
}

// A Rule is one push rule as clients see it.
type Rule struct {
	RuleID     string            `json:"rule_id"`
	Default    bool              `json:"default"`
	Enabled    bool              `json:"enabled"`
	Actions    []json.RawMessage `json:"actions"`
	Conditions []Condition       `json:"conditions,omitempty"`
	// Pattern is the glob of a content rule.
	Pattern string `json:"pattern,omitempty"`
}

// A RuleSet is a whole rule set, the value of "global". The lists are in the
// order of priority and never nil.
type RuleSet struct {
	Override  []Rule `json:"override"`
	Content   []Rule `json:"content"`
	Room      []Rule `json:"room"`
	Sender    []Rule `json:"sender"`
	Underride []Rule `json:"underride"`
}

// Of returns the list of kind, nil if there is no such kind.
func (rs *RuleSet) Of(kind Kind) []Rule {
	if l := rs.list(kind); l != nil {
		return *l
	}
	return nil
}

func (rs *RuleSet) list(kind Kind) *[]Rule {
	switch kind {
	case Override:
		return &rs.Override
	case Content:
		return &rs.Content
	case Room:
		return &rs.Room
	case Sender:
		return &rs.Sender
	case Underride:
		return &rs.Underride
	}
	return nil
}

// The actions that the predefined rules use.
const (
	notify       = `"notify"`
	soundDefault = `{"set_tweak":"sound","value":"default"}`
	soundRing    = `{"set_tweak":"sound","value":"ring"}`
	highlight    = `{"set_tweak":"highlight"}`
)

func actions(list ...string) []json.RawMessage {
	out := make([]json.RawMessage, len(list))
	for i, a := range list {
		out[i] = json.RawMessage(a)
	}
	return out
}

func rule(id string, acts []json.RawMessage, conds ...Condition) Rule {
	return Rule{RuleID: id, Default: true, Enabled: true, Actions: acts, Conditions: conds}
}

func eventMatch(key, pattern string) Condition {
	return Condition{Kind: "event_match", Key: key, Pattern: pattern}
}

// ruleMaster is the rule that switches all off; it stands above the rules of
// the user.
const ruleMaster = ".m.rule.master"

// Defaults returns the predefined rules for user, a full user id
// (client-server API, "Predefined Rules").
func Defaults(user string) RuleSet {
	local, _, _ := strings.Cut(strings.TrimPrefix(user, "@"), ":")
	quoted, _ := json.Marshal(user) // a string always marshals
	master := rule(ruleMaster, actions())
	master.Enabled = false
	name := rule(".m.rule.contains_user_name", actions(notify, soundDefault, highlight))
	name.Pattern = local
	two := Condition{Kind: "room_member_count", Is: "2"}
	return RuleSet{
		Override: []Rule{
			master,
			rule(".m.rule.suppress_notices", actions(), eventMatch("content.msgtype", "m.notice")),
			rule(".m.rule.invite_for_me", actions(notify, soundDefault),
				eventMatch("type", "m.room.member"), eventMatch("content.membership", "invite"), eventMatch("state_key", user)),
			rule(".m.rule.member_event", actions(), eventMatch("type", "m.room.member")),
			rule(".m.rule.is_user_mention", actions(notify, soundDefault, highlight),
				Condition{Kind: "event_property_contains", Key: `content.m\.mentions.user_ids`, Value: quoted}),
			rule(".m.rule.contains_display_name", actions(notify, soundDefault, highlight), Condition{Kind: "contains_display_name"}),
			rule(".m.rule.is_room_mention", actions(notify, highlight),
				Condition{Kind: "event_property_is", Key: `content.m\.mentions.room`, Value: json.RawMessage("true")},
				Condition{Kind: "sender_notification_permission", Key: "room"}),
			rule(".m.rule.roomnotif", actions(notify, highlight),
				eventMatch("content.body", "@room"), Condition{Kind: "sender_notification_permission", Key: "room"}),
			rule(".m.rule.tombstone", actions(notify, highlight), eventMatch("type", "m.room.tombstone"), eventMatch("state_key", "")),
			rule(".m.rule.reaction", actions(), eventMatch("type", "m.reaction")),
			rule(".m.rule.room.server_acl", actions(), eventMatch("type", "m.room.server_acl"), eventMatch("state_key", "")),
			rule(".m.rule.suppress_edits", actions(),
				Condition{Kind: "event_property_is", Key: `content.m\.relates_to.rel_type`, Value: json.RawMessage(`"m.replace"`)}),
		},
		Content: []Rule{name},
		Room:    []Rule{},
		Sender:  []Rule{},
		Underride: []Rule{
			rule(".m.rule.call", actions(notify, soundRing), eventMatch("type", "m.call.invite")),
			rule(".m.rule.encrypted_room_one_to_one", actions(notify, soundDefault), two, eventMatch("type", "m.room.encrypted")),
			rule(".m.rule.room_one_to_one", actions(notify, soundDefault), two, eventMatch("type", "m.room.message")),
			rule(".m.rule.message", actions(notify), eventMatch("type", "m.room.message")),
			rule(".m.rule.encrypted", actions(notify), eventMatch("type", "m.room.encrypted")),
		},
	}
}
