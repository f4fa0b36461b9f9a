package pushrule

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Context is what conditions ask about the room and the user.
type Context struct {
	// DisplayName is the user's display name in the room, "" if they have none.
	DisplayName string
	// Members is the number of joined members.
	Members int
	// MayNotify reports whether the event's sender may notify the whole room
	// under key; see eventauth.Levels.Notification.
	MayNotify func(key string) bool
}

// A Match is what a rule set says about an event.
type Match struct {
	// RuleID is the rule that matched, "" if none did.
	RuleID  string
	Actions []json.RawMessage
}

// Notify reports whether the user is to be notified.
func (m Match) Notify() bool {
	for _, a := range m.Actions {
		if string(a) == notify {
			return true
		}
	}
	return false
}

// Highlight reports whether the event is to be highlighted.
func (m Match) Highlight() bool {
	for _, a := range m.Actions {
		var t struct {
			Tweak string `json:"set_tweak"`
			Value *bool  `json:"value"`
		}
		if json.Unmarshal(a, &t) == nil && t.Tweak == "highlight" && (t.Value == nil || *t.Value) {
			return true
		}
	}
	return false
}

// An Event is an event prepared for evaluation. It may be used for many
// users, by one goroutine at a time.
type Event struct {
	root     any
	sender   string
	room     string
	mentions bool
}

// NewEvent prepares an event given as the JSON of its client form, with at
// least type, sender, room_id and content.
func NewEvent(raw []byte) (*Event, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var root map[string]any
	if err := d.Decode(&root); err != nil {
		return nil, err
	}
	e := &Event{root: root}
	e.sender, _ = root["sender"].(string)
	e.room, _ = root["room_id"].(string)
	if c, ok := root["content"].(map[string]any); ok {
		_, e.mentions = c["m.mentions"]
	}
	return e, nil
}

// lookup follows a path whose elements are separated by dots; a backslash
// makes the dot or backslash after it a part of the element.
func (e *Event) lookup(path string) (any, bool) {
	cur := e.root
	for _, name := range splitPath(path) {
		m, ok := cur.(map[string]any)
		if !ok {
			return nil, false
		}
		if cur, ok = m[name]; !ok {
			return nil, false
		}
	}
	return cur, true
}

func splitPath(path string) []string {
	var out []string
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			b.WriteByte(path[i])
		case c == '.':
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(out, b.String())
}

// A test is one compiled condition.
type test func(*Event, Context) bool

type compiled struct {
	id      string
	actions []json.RawMessage
	tests   []test
}

// An Evaluator is the rule set of one user, prepared. It is immutable.
type Evaluator struct {
	user  string
	rules []compiled
}

// legacy are the rules that look for names in the text; they do not count for
// an event that says itself whom it mentions (client-server API, "User and
// room mentions").
var legacy = map[string]bool{
	".m.rule.contains_display_name": true, ".m.rule.contains_user_name": true, ".m.rule.roomnotif": true,
}

// Compile prepares the rule set rs of user, a full user id. Rules that are
// disabled are left out; a condition of an unknown kind or form never holds.
func Compile(rs RuleSet, user string) *Evaluator {
	ev := &Evaluator{user: user}
	for _, kind := range Kinds {
		for _, r := range rs.Of(kind) {
			if !r.Enabled {
				continue
			}
			c := compiled{id: r.RuleID, actions: r.Actions}
			if r.Default && legacy[r.RuleID] {
				c.tests = append(c.tests, func(e *Event, _ Context) bool { return !e.mentions })
			}
			switch id := r.RuleID; kind {
			case Content:
				c.tests = append(c.tests, matchText("content.body", r.Pattern))
			case Room:
				c.tests = append(c.tests, func(e *Event, _ Context) bool { return e.room == id })
			case Sender:
				c.tests = append(c.tests, func(e *Event, _ Context) bool { return e.sender == id })
			}
			for _, cond := range r.Conditions {
				c.tests = append(c.tests, compile(cond))
			}
			ev.rules = append(ev.rules, c)
		}
	}
	return ev
}

// Match returns the first rule that matches e. No rule matches an event that
// the user sent.
func (ev *Evaluator) Match(e *Event, ctx Context) Match {
	if e.sender == ev.user {
		return Match{}
	}
rules:
	for _, r := range ev.rules {
		for _, t := range r.tests {
			if !t(e, ctx) {
				continue rules
			}
		}
		return Match{RuleID: r.id, Actions: r.actions}
	}
	return Match{}
}

func never(*Event, Context) bool { return false }

func compile(c Condition) test {
	switch c.Kind {
	case "event_match":
		return matchText(c.Key, c.Pattern)
	case "contains_display_name":
		return containsName
	case "room_member_count":
		return memberCount(c.Is)
	case "sender_notification_permission":
		key := c.Key
		return func(_ *Event, ctx Context) bool { return ctx.MayNotify != nil && ctx.MayNotify(key) }
	case "event_property_is":
		want, ok := scalar(c.Value)
		if !ok {
			return never
		}
		key := c.Key
		return func(e *Event, _ Context) bool {
			got, found := e.lookup(key)
			return found && same(got, want)
		}
	case "event_property_contains":
		want, ok := scalar(c.Value)
		if !ok {
			return never
		}
		key := c.Key
		return func(e *Event, _ Context) bool {
			got, _ := e.lookup(key)
			list, _ := got.([]any)
			for _, x := range list {
				if same(x, want) {
					return true
				}
			}
			return false
		}
	}
	return never
}

// matchText is event_match: a glob without regard to case, over the whole
// value, for content.body over whole words in it.
func matchText(key, pattern string) test {
	re := glob(pattern, key == "content.body")
	if re == nil {
		return never
	}
	return func(e *Event, _ Context) bool {
		got, _ := e.lookup(key)
		s, ok := got.(string)
		return ok && re.MatchString(s)
	}
}

// glob compiles a pattern with * and ?. The expression takes time linear in
// the text, whatever the pattern. It returns nil for an unusable pattern.
func glob(pattern string, words bool) *regexp.Regexp {
	if len(pattern) > maxPattern || !utf8.ValidString(pattern) {
		return nil
	}
	var b strings.Builder
	b.WriteString(`(?is)`)
	if words {
		b.WriteString(`(?:^|[^0-9A-Za-z_])`)
	} else {
		b.WriteString(`^`)
	}
	star := false
	for _, r := range pattern {
		if r == '*' && star {
			continue
		}
		star = r == '*'
		switch r {
		case '*':
			b.WriteString(`.*?`)
		case '?':
			b.WriteString(`.`)
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	if words {
		b.WriteString(`(?:[^0-9A-Za-z_]|$)`)
	} else {
		b.WriteString(`$`)
	}
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil
	}
	return re
}

// containsName looks for the user's display name as whole words in the body.
func containsName(e *Event, ctx Context) bool {
	got, _ := e.lookup("content.body")
	body, ok := got.(string)
	if !ok || ctx.DisplayName == "" || len(ctx.DisplayName) > maxPattern {
		return false
	}
	body, name := strings.ToLower(body), strings.ToLower(ctx.DisplayName)
	for from := 0; ; {
		i := strings.Index(body[from:], name)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(name)
		if (start == 0 || !wordByte(body[start-1])) && (end == len(body) || !wordByte(body[end])) {
			return true
		}
		from = start + 1
	}
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// memberCount compares the number of members: "2", "==2", "<2", ">2", "<=2",
// ">=2".
func memberCount(is string) test {
	digits := strings.TrimLeft(is, "=<>")
	op := is[:len(is)-len(digits)]
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return never
	}
	holds := map[string]func(m int) bool{
		"":   func(m int) bool { return m == n },
		"==": func(m int) bool { return m == n },
		"<":  func(m int) bool { return m < n },
		">":  func(m int) bool { return m > n },
		"<=": func(m int) bool { return m <= n },
		">=": func(m int) bool { return m >= n },
	}[op]
	if holds == nil {
		return never
	}
	return func(_ *Event, ctx Context) bool { return holds(ctx.Members) }
}

// scalar reads a JSON string, number, boolean or null.
func scalar(raw json.RawMessage) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	switch v.(type) {
	case map[string]any, []any:
		return nil, false
	}
	return v, true
}

// same compares two scalars exactly; objects and arrays equal nothing.
func same(got, want any) bool {
	switch got.(type) {
	case map[string]any, []any:
		return false
	}
	return got == want
}
