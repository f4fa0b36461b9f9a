package exactjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// A plan is what is to be known of a type.
type plan struct {
	// opaque: what is inside is not looked at.
	opaque bool
	// fields are those of a struct, by their names in JSON; nil for another type.
	fields map[string]reflect.Type
	// elem is the type of the values of a map and of the elements of a list. An
	// interface has its own.
	elem reflect.Type
}

var (
	readsItself = reflect.TypeFor[json.Unmarshaler]()
	readsText   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

var plans sync.Map // of reflect.Type to *plan

// planOf returns the plan of a type; nil stands for a value that is ignored.
func planOf(t reflect.Type) *plan {
	if t == nil {
		return &plan{opaque: true}
	}
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := makePlan(t)
	plans.Store(t, p)
	return p
}

func makePlan(t reflect.Type) *plan {
	whole := t
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(readsItself) || p.Implements(readsText) {
		return &plan{opaque: true}
	}
	switch t.Kind() {
	case reflect.Struct:
		p := &plan{fields: map[string]reflect.Type{}}
		p.add(t)
		return p
	case reflect.Map, reflect.Slice, reflect.Array:
		return &plan{elem: t.Elem()}
	case reflect.Interface:
		return &plan{elem: whole}
	}
	return &plan{opaque: true}
}

// add adds the fields of a struct; those of an embedded one come after its own,
// as encoding/json has it.
func (p *plan) add(t reflect.Type) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Tag.Get("json") == "-" {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			embedded = append(embedded, inner)
			continue
		case !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		if _, have := p.fields[name]; !have {
			p.fields[name] = f.Type
		}
	}
	for _, e := range embedded {
		p.add(e)
	}
}
