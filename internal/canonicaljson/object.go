package canonicaljson

import (
	"slices"
)

// A Member is one member of an object as it appears in a text: the decoded
// name and the text of the value, which shares memory with the object.
type Member struct {
	Name  string
	Value []byte
	start int // of the name in the text
	at    int // of the value in the text
}

// Members returns the members of the object raw in the order of the text. It
// refuses what [Valid] refuses.
func Members(raw []byte) ([]Member, error) {
	s := newScanner(raw)
	defer s.release()
	if s.next() != '{' {
		if err := s.document(); err != nil {
			return nil, err
		}
		return nil, ErrNotObject
	}
	var ms []Member
	s.top = &ms
	if err := s.document(); err != nil {
		return nil, err
	}
	return ms, nil
}

// Get returns the text of the member name of the object raw, or nil if there
// is none.
func Get(raw []byte, name string) ([]byte, error) {
	ms, err := Members(raw)
	if err != nil {
		return nil, err
	}
	if i := find(ms, name); i >= 0 {
		return ms[i].Value, nil
	}
	return nil, nil
}

// Set returns the object raw with the member name set to the JSON text
// value. All other bytes stay as they are; a new member is put last.
func Set(raw []byte, name string, value []byte) ([]byte, error) {
	ms, err := Members(raw)
	if err != nil {
		return nil, err
	}
	if err := Valid(value); err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(raw)+len(name)+len(value)+4)
	if i := find(ms, name); i >= 0 {
		at := ms[i].at
		out = append(out, raw[:at]...)
		out = append(out, value...)
		return append(out, raw[at+len(ms[i].Value):]...), nil
	}
	end := len(raw) - 1
	for raw[end] != '}' {
		end--
	}
	out = append(out, raw[:end]...)
	if len(ms) > 0 {
		out = append(out, ',')
	}
	out = append(out, '"')
	for _, r := range name {
		out = appendRune(out, r)
	}
	out = append(out, '"', ':')
	out = append(out, value...)
	return append(out, raw[end:]...), nil
}

// Delete returns the object raw without the members names. Members that stay
// keep their bytes and their order.
func Delete(raw []byte, names ...string) ([]byte, error) {
	ms, err := Members(raw)
	if err != nil {
		return nil, err
	}
	gone := func(m Member) bool { return slices.Contains(names, m.Name) }
	if !slices.ContainsFunc(ms, gone) {
		return raw, nil
	}
	out := append(make([]byte, 0, len(raw)), '{')
	for _, m := range ms {
		if gone(m) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, raw[m.start:m.at+len(m.Value)]...)
	}
	return append(out, '}'), nil
}

func find(ms []Member, name string) int {
	return slices.IndexFunc(ms, func(m Member) bool { return m.Name == name })
}
