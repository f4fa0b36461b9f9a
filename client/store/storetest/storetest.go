// Package storetest is the suite that every client store runs.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// Run runs the suite. open returns an empty store.
func Run(t *testing.T, open func(t *testing.T) client.Store) {
	for name, fn := range map[string]func(*testing.T, client.Store){
		"PutGetDelete":      putGetDelete,
		"Order":             order,
		"Undo":              undo,
		"OwnWrites":         ownWrites,
		"ViewIsReadOnly":    viewIsReadOnly,
		"AfterTheEnd":       afterTheEnd,
		"Alone":             alone,
		"Large":             large,
		"Closed":            closed,
		"EndedContext":      endedContext,
		"AnyKeysAndValues":  anyKeysAndValues,
		"PanicLeavesItSane": panicking,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			t.Cleanup(func() { s.Close() })
			fn(t, s)
		})
	}
}

func update(t *testing.T, s client.Store, fn func(e2ee.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s client.Store, kv ...string) {
	t.Helper()
	update(t, s, func(tx e2ee.Tx) error {
		for i := 0; i < len(kv); i += 2 {
			if err := tx.Put(kv[i], []byte(kv[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
}

// all returns "key=value" for every entry with the prefix.
func all(t *testing.T, s client.Store, prefix string) []string {
	t.Helper()
	var out []string
	if err := s.View(context.Background(), func(tx e2ee.Tx) (err error) {
		out, err = list(tx, prefix)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func list(tx e2ee.Tx, prefix string) ([]string, error) {
	var out []string
	for e, err := range tx.All(prefix) {
		if err != nil {
			return nil, err
		}
		out = append(out, e.Key+"="+string(e.Value))
	}
	return out, nil
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func putGetDelete(t *testing.T, s client.Store) {
	put(t, s, "a", "1", "b", "2", "a", "3", "empty", "")
	want(t, all(t, s, ""), "a=3", "b=2", "empty=")
	update(t, s, func(tx e2ee.Tx) error {
		if v, err := tx.Get("empty"); err != nil || v == nil || len(v) != 0 {
			t.Errorf("an empty value: got %v, %v, want an empty slice that is not nil", v, err)
		}
		if v, err := tx.Get("none"); err != nil || v != nil {
			t.Errorf("a missing key: got %v, %v, want nil", v, err)
		}
		if err := tx.Delete("none"); err != nil {
			t.Errorf("deleting a missing key: %v", err)
		}
		return tx.Delete("a")
	})
	want(t, all(t, s, ""), "b=2", "empty=")
}

func order(t *testing.T, s client.Store) {
	put(t, s, "r/b", "2", "r/a", "1", "r", "0", "r/é", "4", "r/c", "3", "s", "5", "r0", "6", "r/\xff", "7")
	want(t, all(t, s, "r/"), "r/a=1", "r/b=2", "r/c=3", "r/é=4", "r/\xff=7")
	want(t, all(t, s, "r/\xff"), "r/\xff=7")
	want(t, all(t, s, "none"))
	update(t, s, func(tx e2ee.Tx) error {
		for e, err := range tx.All("r/") {
			if err != nil {
				return err
			}
			if e.Key != "r/a" {
				t.Errorf("first: got %q", e.Key)
			}
			break // an early end must leave the transaction usable
		}
		return tx.Put("t", []byte("8"))
	})
	want(t, all(t, s, "t"), "t=8")
}

func undo(t *testing.T, s client.Store) {
	put(t, s, "a", "1", "b", "2")
	no := errors.New("no")
	if err := s.Update(context.Background(), func(tx e2ee.Tx) error {
		if err := errors.Join(tx.Put("a", []byte("x")), tx.Put("c", []byte("x")), tx.Delete("b")); err != nil {
			return err
		}
		return no
	}); !errors.Is(err, no) {
		t.Errorf("got %v, want the function's own error", err)
	}
	want(t, all(t, s, ""), "a=1", "b=2")
}

func ownWrites(t *testing.T, s client.Store) {
	put(t, s, "a", "1", "b", "2")
	update(t, s, func(tx e2ee.Tx) error {
		if err := errors.Join(tx.Put("c", []byte("3")), tx.Delete("a"), tx.Put("b", []byte("x"))); err != nil {
			return err
		}
		got, err := list(tx, "")
		want(t, got, "b=x", "c=3")
		if v, err := tx.Get("a"); v != nil || err != nil {
			t.Errorf("a deleted key: got %q, %v", v, err)
		}
		return err
	})
}

func viewIsReadOnly(t *testing.T, s client.Store) {
	put(t, s, "a", "1")
	if err := s.View(context.Background(), func(tx e2ee.Tx) error {
		if tx.Put("b", []byte("2")) == nil || tx.Delete("a") == nil {
			t.Error("a view could write")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want(t, all(t, s, ""), "a=1")
}

func afterTheEnd(t *testing.T, s client.Store) {
	var late e2ee.Tx
	update(t, s, func(tx e2ee.Tx) error { late = tx; return nil })
	if err := late.Put("a", []byte("1")); err == nil {
		t.Error("a transaction could write after its end")
	}
	if _, err := late.Get("a"); err == nil {
		t.Error("a transaction could read after its end")
	}
}

func alone(t *testing.T, s client.Store) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := s.Update(context.Background(), func(tx e2ee.Tx) error {
					v, err := tx.Get("n")
					if err != nil {
						return err
					}
					return tx.Put("n", append(v[:len(v):len(v)], 'x'))
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want(t, all(t, s, ""), "n="+strings.Repeat("x", 160))
}

func large(t *testing.T, s client.Store) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	update(t, s, func(tx e2ee.Tx) error {
		for i := range 500 {
			if err := tx.Put(fmt.Sprintf("k%04d", i), big[:i]); err != nil {
				return err
			}
		}
		return tx.Put("big", big)
	})
	if err := s.View(context.Background(), func(tx e2ee.Tx) error {
		v, err := tx.Get("big")
		if !bytes.Equal(v, big) {
			t.Error("a value of 1 MB came back changed")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(all(t, s, "k")); n != 500 {
		t.Errorf("got %d entries, want 500", n)
	}
}

func closed(t *testing.T, s client.Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	nop := func(e2ee.Tx) error { return nil }
	if err := s.Update(context.Background(), nop); quinta.KindOf(err) != quinta.KindUnavailable {
		t.Errorf("update: got %v, want unavailable", err)
	}
	if err := s.View(context.Background(), nop); quinta.KindOf(err) != quinta.KindUnavailable {
		t.Errorf("view: got %v, want unavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func endedContext(t *testing.T, s client.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	if err := s.Update(ctx, func(e2ee.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("got %v, ran %v, want nothing to have run", err, ran)
	}
}

func anyKeysAndValues(t *testing.T, s client.Store) {
	put(t, s, "\x00", "\x00\x01", "\xff\xfe", "\xff", "", "no key", "%_'\"\\", "x")
	want(t, all(t, s, ""), "=no key", "\x00=\x00\x01", "%_'\"\\=x", "\xff\xfe=\xff")
	want(t, all(t, s, "%"), "%_'\"\\=x")
}

func panicking(t *testing.T, s client.Store) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		s.Update(context.Background(), func(tx e2ee.Tx) error {
			if err := tx.Put("a", []byte("1")); err != nil {
				return err
			}
			panic("oops")
		})
	}()
	put(t, s, "b", "2")
	want(t, all(t, s, ""), "b=2")
}
