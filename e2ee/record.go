package e2ee

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// ErrDamaged: a record of the store cannot be read as what it should be. The
// error that wraps it names the key, never the value.
var ErrDamaged = errors.New("e2ee: a record in the store is damaged")

// Damaged returns the ErrDamaged of the record at key. Machines use it for
// records that are well-formed JSON and still not what they should be.
func Damaged(key string) error { return fmt.Errorf("%w: %q", ErrDamaged, key) }

// A Record is one decoded value of a Tx.
type Record[T any] struct {
	// Key is the whole key, Name what follows the prefix that was requested.
	Key, Name string
	Value     T
}

// Load returns the JSON value at key and reports whether there is one. Without
// one it returns the zero T. A value that is not JSON for a T is ErrDamaged.
func Load[T any](tx Tx, key string) (v T, found bool, err error) {
	if found, err = load(tx, key, &v); err != nil {
		var zero T
		v = zero
	}
	return v, found, err
}

func load(tx Tx, key string, v any) (found bool, err error) {
	b, err := tx.Get(key)
	if err != nil || b == nil {
		return false, err
	}
	err = decode(key, b, v)
	return err == nil, err
}

// Store sets the value at key to v in JSON.
func Store(tx Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("e2ee: storing %q: %w", key, err)
	}
	return tx.Put(key, b)
}

// JSON encodes a value of the machine's own that cannot fail to encode; it
// panics on any other.
func JSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("e2ee: internal error: " + err.Error())
	}
	return b
}

// Records yields the JSON values of all keys that begin with prefix, in the
// order of the keys. All of them are read before the first is yielded, so the
// loop may change the Tx; it still sees the values of before. An error is the
// last pair of the sequence.
func Records[T any](tx Tx, prefix string) iter.Seq2[Record[T], error] {
	return func(yield func(Record[T], error) bool) {
		entries, err := Entries(tx, prefix)
		if err != nil {
			yield(Record[T]{}, err)
			return
		}
		for _, e := range entries {
			r := Record[T]{Key: e.Key, Name: e.Key[len(prefix):]}
			err := decode(e.Key, e.Value, &r.Value)
			if err != nil {
				var zero T
				r.Value = zero
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Entries returns all pairs whose keys begin with prefix, in the order of the
// keys, for records that are not JSON and for keys that have no value. The Tx
// may be changed while the caller goes through them.
func Entries(tx Tx, prefix string) ([]Entry, error) {
	var out []Entry
	for e, err := range tx.All(prefix) {
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func decode(key string, b []byte, v any) error {
	if json.Unmarshal(b, v) != nil {
		return Damaged(key)
	}
	return nil
}
