package e2ee_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

type pet struct {
	Name string `json:"name"`
	Legs int    `json:"legs,omitempty"`
}

// within runs f in a transaction over a new store.
func within(t *testing.T, f func(tx e2ee.Tx)) {
	t.Helper()
	err := memory.New().Update(context.Background(), func(tx e2ee.Tx) error { f(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLoadStore(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) {
		if got, found, err := e2ee.Load[pet](tx, "pet/a"); got != (pet{}) || found || err != nil {
			t.Errorf("nothing stored: got %v, %v, %v", got, found, err)
		}
		want := pet{"Rex", 4}
		must(t, e2ee.Store(tx, "pet/a", want))
		if got, found, err := e2ee.Load[pet](tx, "pet/a"); got != want || !found || err != nil {
			t.Errorf("got %v, %v, %v, want %v", got, found, err, want)
		}
		if got, _ := tx.Get("pet/a"); string(got) != `{"name":"Rex","legs":4}` {
			t.Errorf("the stored form: got %s", got)
		}
		if err := e2ee.Store(tx, "pet/b", func() {}); err == nil {
			t.Error("a function was stored")
		}
	})
}

// TestDamaged: what is not readable is ErrDamaged, half a value is not handed
// out, and the error does not show what is stored.
func TestDamaged(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) {
		for _, text := range []string{"", "{", `{"name":"secret","legs":"four"}`, `"secret"`} {
			must(t, tx.Put("pet/a", []byte(text)))
			got, found, err := e2ee.Load[pet](tx, "pet/a")
			if got != (pet{}) || found || !errors.Is(err, e2ee.ErrDamaged) {
				t.Errorf("%q: got %v, %v, %v", text, got, found, err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), `"pet/a"`)) {
				t.Errorf("%q: got the error %v", text, err)
			}
		}
	})
}

func TestRecords(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) {
		for _, n := range []string{"c", "a", "b"} {
			must(t, e2ee.Store(tx, "pet/"+n, pet{Name: n}))
		}
		must(t, e2ee.Store(tx, "pets", pet{Name: "another prefix"}))
		var names string
		for r, err := range e2ee.Records[pet](tx, "pet/") {
			must(t, err)
			if r.Key != "pet/"+r.Name || r.Value.Name != r.Name {
				t.Errorf("got %+v", r)
			}
			names += r.Name
			// The loop may change what it goes through.
			must(t, tx.Delete("pet/c"))
			must(t, e2ee.Store(tx, "pet/"+r.Name+"2", pet{}))
		}
		if names != "abc" {
			t.Errorf("got %q, want abc", names)
		}
		must(t, tx.Put("pet/b", []byte("{")))
		names = ""
		var last error
		for r, err := range e2ee.Records[pet](tx, "pet/") {
			if last = err; err == nil {
				names += r.Name + " "
			}
		}
		if names != "a a2 " || !errors.Is(last, e2ee.ErrDamaged) {
			t.Errorf("got %q and %v, want the records before the damaged one", names, last)
		}
	})
}

// TestRecordsError: an error of the store ends Records and Entries.
func TestRecordsError(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tx := failing{err: boom}
	n := 0
	for _, err := range e2ee.Records[pet](tx, "pet/") {
		if n++; !errors.Is(err, boom) {
			t.Errorf("got %v, want %v", err, boom)
		}
	}
	if n != 1 {
		t.Errorf("got %d pairs, want one", n)
	}
	if got, err := e2ee.Entries(tx, "pet/"); got != nil || !errors.Is(err, boom) {
		t.Errorf("got %v, %v, want %v", got, err, boom)
	}
	if _, err := e2ee.NewQueue[pet](tx, "pet/", new(e2ee.Seq)).Len(); !errors.Is(err, boom) {
		t.Errorf("got %v, want %v", err, boom)
	}
}

// failing is a Tx whose disk broke after the first pair.
type failing struct {
	e2ee.Tx
	err error
}

func (f failing) All(prefix string) iter.Seq2[e2ee.Entry, error] {
	return func(yield func(e2ee.Entry, error) bool) {
		_ = yield(e2ee.Entry{Key: prefix + "a", Value: []byte(`{}`)}, nil) && yield(e2ee.Entry{}, f.err)
	}
}
