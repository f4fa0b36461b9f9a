package e2ee

import (
	"fmt"
	"strconv"
)

// A Bound keeps records that others cause from growing without limit. It
// remembers in which order their keys arrived and from whom, and says which
// ones have to be removed: the oldest of a sender who has too many, or the
// oldest of all.
//
// The records themselves are the caller's. A sender is any text without
// U+0000, and so is a key.
type Bound struct {
	tx Tx
	// name distinguishes the bound from others in the store.
	name string
	// each and all are how many records there may be of one sender and of all.
	each, all int
}

// NewBound returns the bound with a name.
func NewBound(tx Tx, name string, each, all int) *Bound { return &Bound{tx, name, each, all} }

// The places: counts, the order of all records, the order of those of a
// sender, and where a key is in both.
func (b *Bound) count(sender string) string { return "bound/" + b.name + "/n/" + sender }
func (b *Bound) order(at string) string     { return "bound/" + b.name + "/o/" + at }
func (b *Bound) of(sender, at string) string {
	return "bound/" + b.name + "/s/" + sender + "\x00" + at
}
func (b *Bound) place(key string) string { return "bound/" + b.name + "/k/" + key }

// Add records the key of a sender's record; a key that is already recorded
// stays where it is. It returns the keys of the records that have to be
// removed, and forgets them.
func (b *Bound) Add(sender, key string) (evicted []string, err error) {
	old, err := b.tx.Get(b.place(key))
	if err != nil || old != nil {
		return nil, err
	}
	for {
		mine, err := b.number(sender + "\x00")
		if err != nil {
			return nil, err
		}
		total, err := b.number("")
		if err != nil {
			return nil, err
		}
		var first string
		switch {
		case mine >= b.each:
			first, err = b.first(b.of(sender, ""))
		case total >= b.all:
			first, err = b.first(b.order(""))
		default:
			return evicted, b.note(sender, key)
		}
		if err != nil {
			return nil, err
		}
		if first == "" {
			return nil, Damaged(b.order(""))
		}
		evicted = append(evicted, first)
		if err := b.Drop(first); err != nil {
			return nil, err
		}
	}
}

// Full reports whether another record of a sender would push one out.
func (b *Bound) Full(sender string) (bool, error) {
	mine, err := b.number(sender + "\x00")
	if err != nil {
		return false, err
	}
	total, err := b.number("")
	return mine >= b.each || total >= b.all, err
}

// note writes a record into the orders.
func (b *Bound) note(sender, key string) error {
	n, err := b.number("\x00seq")
	if err != nil {
		return err
	}
	at := fmt.Sprintf("%016x", n)
	for _, w := range []struct{ key, value string }{
		{b.order(at), key}, {b.of(sender, at), key}, {b.place(key), at + sender},
	} {
		if err := b.tx.Put(w.key, []byte(w.value)); err != nil {
			return err
		}
	}
	for _, name := range []string{"\x00seq", "", sender + "\x00"} {
		if err := b.change(name, 1); err != nil {
			return err
		}
	}
	return nil
}

// Drop forgets a record that was removed; an unknown key is ignored.
func (b *Bound) Drop(key string) error {
	v, err := b.tx.Get(b.place(key))
	if err != nil || v == nil {
		return err
	}
	if len(v) < 16 {
		return Damaged(b.place(key))
	}
	at, sender := string(v[:16]), string(v[16:])
	for _, k := range []string{b.order(at), b.of(sender, at), b.place(key)} {
		if err := b.tx.Delete(k); err != nil {
			return err
		}
	}
	for _, name := range []string{"", sender + "\x00"} {
		if err := b.change(name, -1); err != nil {
			return err
		}
	}
	return nil
}

// first returns the key of the oldest record below a prefix.
func (b *Bound) first(prefix string) (string, error) {
	for e, err := range b.tx.All(prefix) {
		return string(e.Value), err
	}
	return "", nil
}

func (b *Bound) number(name string) (int, error) {
	v, err := b.tx.Get(b.count(name))
	if err != nil || v == nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(v))
	if err != nil || n < 0 {
		return 0, Damaged(b.count(name))
	}
	return n, nil
}

func (b *Bound) change(name string, by int) error {
	n, err := b.number(name)
	if err != nil {
		return err
	}
	if n += by; n <= 0 {
		return b.tx.Delete(b.count(name))
	}
	return b.tx.Put(b.count(name), strconv.AppendInt(nil, int64(n), 10))
}
