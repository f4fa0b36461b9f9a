package pushrule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of what a user may store.
const (
	maxRules      = 1000
	maxID         = 255
	maxPattern    = 1024
	maxConditions = 32
	maxActions    = 16
	maxAction     = 1024
)

// Errors of the edits.
var (
	// ErrNotFound: there is no such kind or rule.
	ErrNotFound = errors.New("pushrule: no such rule")
	// ErrDefault: the edit is not possible for a predefined rule.
	ErrDefault = errors.New("pushrule: the rule is predefined")
	// ErrInvalid: the rule does not have the form of its kind.
	ErrInvalid = errors.New("pushrule: malformed rule")
	// ErrTooMany: the user has the greatest allowed number of rules.
	ErrTooMany = errors.New("pushrule: too many rules")
)

// A change is what a user changed of a predefined rule.
type change struct {
	Enabled *bool             `json:"enabled,omitempty"`
	Actions []json.RawMessage `json:"actions,omitzero"`
}

// A Set is one user's changes to the predefined rules: added rules and
// modifications. The zero Set belongs to a new user. Its JSON is for storage.
type Set struct {
	// Own holds the user's rules by kind, in the order of their priority.
	Own map[Kind][]Rule `json:"own,omitempty"`
	// Changed holds changes of predefined rules by kind and rule id.
	Changed map[Kind]map[string]change `json:"changed,omitempty"`
}

// Rules returns the whole rule set of user. The user's own rules come before
// the predefined ones; only the master rule comes before all others.
func (s *Set) Rules(user string) RuleSet {
	rs := Defaults(user)
	for _, kind := range Kinds {
		list := rs.list(kind)
		for i := range *list {
			c, ok := s.Changed[kind][(*list)[i].RuleID]
			if !ok {
				continue
			}
			if c.Enabled != nil {
				(*list)[i].Enabled = *c.Enabled
			}
			if c.Actions != nil {
				(*list)[i].Actions = c.Actions
			}
		}
		at := 0
		if kind == Override {
			at = 1
		}
		*list = slices.Insert(*list, at, s.Own[kind]...)
	}
	return rs
}

// Put adds the rule r of the user to kind, or replaces the one with its id.
// A new rule comes first, or right before or after another rule of the user
// if before or after names one; so does a rule that is replaced with one of
// them. A replaced rule stays enabled or disabled as it was.
func (s *Set) Put(kind Kind, r Rule, before, after string) error {
	if !slices.Contains(Kinds, kind) {
		return ErrNotFound
	}
	if err := validate(kind, r); err != nil {
		return err
	}
	if strings.HasPrefix(before, ".") || strings.HasPrefix(after, ".") {
		return ErrDefault
	}
	list := slices.Clone(s.Own[kind])
	old := index(list, r.RuleID)
	r.Default, r.Enabled = false, true
	if old >= 0 {
		r.Enabled = list[old].Enabled
		if before == "" && after == "" {
			list[old] = r
			s.set(kind, list)
			return nil
		}
		list = slices.Delete(list, old, old+1)
	} else if s.count() >= maxRules {
		return ErrTooMany
	}
	at := 0
	for _, n := range []struct {
		id   string
		step int
	}{{after, 1}, {before, 0}} {
		if n.id == "" {
			continue
		}
		i := index(list, n.id)
		if i < 0 {
			return ErrNotFound
		}
		at = i + n.step
	}
	s.set(kind, slices.Insert(list, at, r))
	return nil
}

// Delete removes the user's rule id of kind.
func (s *Set) Delete(kind Kind, id string) error {
	i := index(s.Own[kind], id)
	switch {
	case i >= 0:
		s.set(kind, slices.Delete(slices.Clone(s.Own[kind]), i, i+1))
		return nil
	case predefined(kind, id):
		return ErrDefault
	}
	return ErrNotFound
}

// SetEnabled switches the rule id of kind on or off.
func (s *Set) SetEnabled(kind Kind, id string, on bool) error {
	return s.change(kind, id, func(r *Rule, c *change) {
		if r != nil {
			r.Enabled = on
			return
		}
		c.Enabled = &on
	})
}

// SetActions replaces the actions of the rule id of kind.
func (s *Set) SetActions(kind Kind, id string, acts []json.RawMessage) error {
	if err := validateActions(acts); err != nil {
		return err
	}
	acts = append([]json.RawMessage{}, acts...)
	return s.change(kind, id, func(r *Rule, c *change) {
		if r != nil {
			r.Actions = acts
			return
		}
		c.Actions = acts
	})
}

// change calls f with the user's rule id, or with the user's change of the
// predefined rule id.
func (s *Set) change(kind Kind, id string, f func(*Rule, *change)) error {
	if i := index(s.Own[kind], id); i >= 0 {
		list := slices.Clone(s.Own[kind])
		f(&list[i], nil)
		s.set(kind, list)
		return nil
	}
	if !predefined(kind, id) {
		return ErrNotFound
	}
	if s.Changed == nil {
		s.Changed = map[Kind]map[string]change{}
	}
	if s.Changed[kind] == nil {
		s.Changed[kind] = map[string]change{}
	}
	c := s.Changed[kind][id]
	f(nil, &c)
	s.Changed[kind][id] = c
	return nil
}

func (s *Set) set(kind Kind, list []Rule) {
	if s.Own == nil {
		s.Own = map[Kind][]Rule{}
	}
	s.Own[kind] = list
}

func (s *Set) count() int {
	n := 0
	for _, l := range s.Own {
		n += len(l)
	}
	return n
}

func index(list []Rule, id string) int {
	return slices.IndexFunc(list, func(r Rule) bool { return r.RuleID == id })
}

func predefined(kind Kind, id string) bool {
	rs := Defaults("")
	return index(rs.Of(kind), id) >= 0
}

// validate refuses a rule that does not have the form of its kind.
func validate(kind Kind, r Rule) error {
	switch {
	case r.RuleID == "" || len(r.RuleID) > maxID:
		return fmt.Errorf("%w: the length of rule_id", ErrInvalid)
	case strings.HasPrefix(r.RuleID, "."):
		return fmt.Errorf("%w: rule_id begins with a dot", ErrInvalid)
	case strings.ContainsAny(r.RuleID, `/\`):
		return fmt.Errorf("%w: rule_id has a slash", ErrInvalid)
	case kind == Content && r.Pattern == "":
		return fmt.Errorf("%w: a content rule needs a pattern", ErrInvalid)
	case kind != Content && r.Pattern != "":
		return fmt.Errorf("%w: only content rules have a pattern", ErrInvalid)
	case kind != Override && kind != Underride && len(r.Conditions) > 0:
		return fmt.Errorf("%w: rules of kind %s have no conditions", ErrInvalid, kind)
	case len(r.Pattern) > maxPattern || len(r.Conditions) > maxConditions:
		return fmt.Errorf("%w: too long", ErrInvalid)
	}
	for _, c := range r.Conditions {
		if c.Kind == "" {
			return fmt.Errorf("%w: a condition without kind", ErrInvalid)
		}
		if len(c.Kind)+len(c.Key)+len(c.Pattern)+len(c.Is)+len(c.Value) > maxPattern {
			return fmt.Errorf("%w: too long", ErrInvalid)
		}
		if _, ok := scalar(c.Value); c.Value != nil && !ok {
			return fmt.Errorf("%w: the value of a condition is an object or array", ErrInvalid)
		}
	}
	return validateActions(r.Actions)
}

// validateActions refuses what is neither a string nor a set_tweak.
func validateActions(acts []json.RawMessage) error {
	if len(acts) > maxActions {
		return fmt.Errorf("%w: too many actions", ErrInvalid)
	}
	for _, a := range acts {
		if len(a) > maxAction {
			return fmt.Errorf("%w: too long", ErrInvalid)
		}
		var name string
		if len(a) > 0 && a[0] == '"' && json.Unmarshal(a, &name) == nil {
			continue
		}
		var tweak map[string]json.RawMessage
		if json.Unmarshal(a, &tweak) != nil || json.Unmarshal(tweak["set_tweak"], &name) != nil || name == "" {
			return fmt.Errorf("%w: an action is neither a string nor a tweak", ErrInvalid)
		}
	}
	return nil
}
