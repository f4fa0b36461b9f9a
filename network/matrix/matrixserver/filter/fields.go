package filter

import (
	"encoding/json"
	"slices"
	"strings"
)

// The bounds of event_fields.
const (
	maxFields = 200
	maxPath   = 32
)

// Fields are the members of events that a client wants. The nil Fields want
// all of them.
type Fields struct {
	whole bool
	under map[string]*Fields
}

// ParseFields reads event_fields: paths of member names with dots between,
// where a backslash takes its meaning from the dot or backslash after it. No
// paths at all are the nil Fields.
func ParseFields(paths []string) (*Fields, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	if len(paths) > maxFields {
		return nil, invalid("event_fields contains more than %d paths", maxFields)
	}
	top := new(Fields)
	for _, p := range paths {
		names := split(p)
		if len(names) > maxPath {
			return nil, invalid("event_fields contains a path of more than %d names", maxPath)
		}
		f := top
		for _, n := range names {
			if f.under == nil {
				f.under = map[string]*Fields{}
			}
			if f.under[n] == nil {
				f.under[n] = new(Fields)
			}
			f = f.under[n]
		}
		f.whole = true
	}
	return top, nil
}

// split cuts a path into its names.
func split(path string) []string {
	var names []string
	var name strings.Builder
	for i := 0; i < len(path); i++ {
		switch b := path[i]; {
		case b == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			name.WriteByte(path[i])
		case b == '.':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(b)
		}
	}
	return append(names, name.String())
}

// Apply returns the JSON of an event with only the members wanted.
func (f *Fields) Apply(event json.RawMessage) (json.RawMessage, error) {
	if f == nil || f.whole {
		return event, nil
	}
	var have map[string]json.RawMessage
	if err := json.Unmarshal(event, &have); err != nil {
		return nil, err
	}
	out := []byte{'{'}
	for _, name := range f.names() {
		value, there := have[name]
		sub := f.under[name]
		if !there || !sub.whole && (len(value) == 0 || value[0] != '{') {
			continue
		}
		value, err := sub.Apply(value)
		if err != nil {
			return nil, err
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}

// names returns the names wanted, in order.
func (f *Fields) names() []string {
	names := make([]string, 0, len(f.under))
	for n := range f.under {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
