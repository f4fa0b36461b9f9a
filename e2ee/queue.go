package e2ee

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// ErrNotQueued: the queue has no record of that name.
var ErrNotQueued = errors.New("e2ee: no such record in the queue")

// A Seq numbers the records of a store. It is kept in the machine's own state,
// as a number in JSON, and never counts back, so a name is never used twice.
type Seq uint64

// Next returns the next number as text that sorts like the number: 16 digits
// of hexadecimal.
func (s *Seq) Next() string {
	*s++
	return fmt.Sprintf("%016x", uint64(*s))
}

// A Queue keeps records in the order in which they were put: requests until
// they are answered, messages until they leave. It is stored below one prefix
// of a Tx and belongs to one call of a machine, as the Tx does. All access to
// the prefix goes through the one Queue: what it has read it does not read
// again.
type Queue[R any] struct {
	tx     Tx
	prefix string
	seq    *Seq
	// list is what is stored, once it was read.
	list []Record[R]
	read bool
}

// NewQueue returns the queue below prefix. Its records are named by seq, which
// several queues may share.
func NewQueue[R any](tx Tx, prefix string, seq *Seq) *Queue[R] {
	return &Queue[R]{tx: tx, prefix: prefix, seq: seq}
}

// Put adds r at the end and returns the name that it got. What r points to
// must not be changed afterwards, except through Set.
func (q *Queue[R]) Put(r R) (string, error) {
	name := q.seq.Next()
	if err := Store(q.tx, q.prefix+name, r); err != nil {
		return "", err
	}
	if q.read {
		q.list = append(q.list, Record[R]{Key: q.prefix + name, Name: name, Value: r})
	}
	return name, nil
}

// Get returns the record of that name and reports whether there is one.
func (q *Queue[R]) Get(name string) (R, bool, error) {
	if !q.read {
		return Load[R](q.tx, q.prefix+name)
	}
	if i := q.index(name); i >= 0 {
		return q.list[i].Value, true, nil
	}
	var none R
	return none, false, nil
}

// Set replaces a record and leaves it in its place. If there is none of that
// name it returns ErrNotQueued.
func (q *Queue[R]) Set(name string, r R) error {
	if err := q.load(); err != nil {
		return err
	}
	i := q.index(name)
	if i < 0 {
		return ErrNotQueued
	}
	q.list[i].Value = r
	return Store(q.tx, q.prefix+name, r)
}

// Done removes a record. One that is gone is not an error.
func (q *Queue[R]) Done(name string) error {
	q.list = slices.DeleteFunc(q.list, func(r Record[R]) bool { return r.Name == name })
	return q.tx.Delete(q.prefix + name)
}

// All yields the records, oldest first. The loop may change the queue; it sees
// the records of its beginning. An error is the last pair of the sequence.
func (q *Queue[R]) All() iter.Seq2[Record[R], error] {
	return func(yield func(Record[R], error) bool) {
		if err := q.load(); err != nil {
			yield(Record[R]{}, err)
			return
		}
		for _, r := range slices.Clone(q.list) {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Len returns the number of records.
func (q *Queue[R]) Len() (int, error) {
	err := q.load()
	return len(q.list), err
}

func (q *Queue[R]) index(name string) int {
	return slices.IndexFunc(q.list, func(r Record[R]) bool { return r.Name == name })
}

func (q *Queue[R]) load() error {
	if q.read {
		return nil
	}
	var list []Record[R]
	for r, err := range Records[R](q.tx, q.prefix) {
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	q.list, q.read = list, true
	return nil
}
