package db

import (
	"runtime"
	"slices"
)

// Prefetch runs fn, which reads and does nothing else that cannot be done
// twice. Where an answer takes a round trip, those of fn's queries that do not
// depend on the answer to another share one: fn first runs as if the store were
// empty, so that every query finds no rows and shows what fn will ask. What it
// returns in that rehearsal is ignored, and so is a panic with which it gives
// up, but not a runtime error: that is a mistake in fn. In the second run a
// query that was foreseen, with the same arguments, has its answer already;
// any other takes its own way.
func (tx *Tx) Prefetch(fn func() error) error {
	if !tx.Waits() && !tx.rehearse || tx.write || tx.one || tx.foresee != nil {
		return fn()
	}
	if err := tx.check(false, nil); err != nil {
		return err
	}
	f := &foresight{}
	tx.foresee = f
	defer func() { tx.foresee = nil }()
	f.rehearse(fn)
	if err := tx.failed(tx.conn.foresee(f.asked)); err != nil {
		return err
	}
	f.known = true
	return fn()
}

// A foresight holds the queries that a rehearsal has shown.
type foresight struct {
	asked []foreseen
	// known says that the answers are there.
	known bool
}

// A foreseen is one of the queries.
type foreseen struct {
	sql    string
	args   []any
	answer Answer
}

const (
	// maxForeseen bounds the queries of one rehearsal, and maxForeseenBytes what
	// is kept of the answer to one: a query with more runs again when its turn
	// comes, and its rows are read one after the other.
	maxForeseen      = 64
	maxForeseenBytes = 128 << 10
)

// rehearse runs fn on nothing.
func (f *foresight) rehearse(fn func() error) {
	defer func() {
		// If fn fails because there are no rows, a real error shows again in
		// the second run. A nil pointer or an index out of range is an error on
		// an empty store as well.
		if err, ok := recover().(runtime.Error); ok {
			panic(err)
		}
	}()
	_ = fn()
}

// query is what a query does while there is foresight; it reports whether it
// is done with it.
func (f *foresight) query(sql string, args []any, yield func(scanner) bool) bool {
	if !f.known {
		if len(f.asked) < maxForeseen {
			f.asked = append(f.asked, foreseen{sql: sql, args: slices.Clone(args)})
		}
		return true
	}
	for i := range f.asked {
		a := &f.asked[i]
		if a.sql != sql || !slices.EqualFunc(a.args, args, sameArg) {
			continue
		}
		if a.answer.over {
			return false
		}
		for _, s := range a.answer.rows {
			if !yield(s) {
				break
			}
		}
		return true
	}
	return false
}

// sameArg compares two bound arguments.
func sameArg(a, b any) bool {
	x, ok := a.([]byte)
	if !ok {
		_, bytes := b.([]byte)
		return !bytes && a == b
	}
	y, ok := b.([]byte)
	return ok && (x == nil) == (y == nil) && string(x) == string(y)
}
