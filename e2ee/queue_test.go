package e2ee_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
)

// names returns the names of the pets in a queue, in order.
func names(t *testing.T, q *e2ee.Queue[pet]) string {
	t.Helper()
	var out string
	for r, err := range q.All() {
		must(t, err)
		out += r.Value.Name + " "
	}
	return out
}

func TestQueue(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) {
		seq := new(e2ee.Seq)
		q := e2ee.NewQueue[pet](tx, "pet/", seq)
		var ids []string
		for _, n := range []string{"a", "b", "c"} {
			id, err := q.Put(pet{Name: n})
			must(t, err)
			ids = append(ids, id)
		}
		if got := names(t, q); got != "a b c " {
			t.Errorf("got %q", got)
		}
		// What follows is done once on the queue that has read and once on one
		// that has not.
		fresh := e2ee.NewQueue[pet](tx, "pet/", seq)
		for _, q := range []*e2ee.Queue[pet]{q, fresh} {
			if got, found, err := q.Get(ids[1]); got.Name != "b" || !found || err != nil {
				t.Errorf("got %v, %v, %v", got, found, err)
			}
			if got, found, err := q.Get("none"); got.Name != "" || found || err != nil {
				t.Errorf("got %v, %v, %v", got, found, err)
			}
		}
		must(t, fresh.Set(ids[1], pet{Name: "B"}))
		must(t, fresh.Done(ids[0]))
		must(t, fresh.Done(ids[0]))
		if _, err := fresh.Put(pet{Name: "d"}); err != nil {
			t.Fatal(err)
		}
		if err := fresh.Set(ids[0], pet{}); !errors.Is(err, e2ee.ErrNotQueued) {
			t.Errorf("what was done was put back: got %v", err)
		}
		for _, q := range []*e2ee.Queue[pet]{fresh, e2ee.NewQueue[pet](tx, "pet/", seq)} {
			if got := names(t, q); got != "B c d " {
				t.Errorf("got %q", got)
			}
			if n, err := q.Len(); n != 3 || err != nil {
				t.Errorf("got %d, %v, want 3", n, err)
			}
		}
	})
}

// TestQueueWhileItIsRead: a loop may take away and add.
func TestQueueWhileItIsRead(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) {
		q := e2ee.NewQueue[pet](tx, "pet/", new(e2ee.Seq))
		for _, n := range []string{"a", "b", "c"} {
			_, err := q.Put(pet{Name: n})
			must(t, err)
		}
		var seen string
		for r, err := range q.All() {
			must(t, err)
			seen += r.Value.Name + " "
			must(t, q.Done(r.Name))
			_, err := q.Put(pet{Name: r.Value.Name + "2"})
			must(t, err)
		}
		if got := names(t, q); seen != "a b c " || got != "a2 b2 c2 " {
			t.Errorf("got %q, then %q", seen, got)
		}
	})
}

// TestSeq: numbers sort as they count, are stored as a number, and
// continue from there.
func TestSeq(t *testing.T) {
	t.Parallel()
	s := e2ee.Seq(9)
	last := ""
	for range 300 {
		n := s.Next()
		if n <= last || len(n) != 16 {
			t.Fatalf("got %q after %q", n, last)
		}
		last = n
	}
	b, err := json.Marshal(s)
	if err != nil || string(b) != "309" {
		t.Fatalf("got %s, %v, want 309", b, err)
	}
	var again e2ee.Seq
	must(t, json.Unmarshal(b, &again))
	if got, want := again.Next(), s.Next(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
