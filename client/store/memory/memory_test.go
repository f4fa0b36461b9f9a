package memory_test

import (
	"testing"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/store/storetest"
	"github.com/quinta-chat/quinta/e2ee"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) client.Store { return memory.New() })
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := memory.New()
	set := func(s *memory.Store, v string) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx e2ee.Tx) error { return tx.Put("k", []byte(v)) }); err != nil {
			t.Fatal(err)
		}
	}
	get := func(s *memory.Store) (got string) {
		t.Helper()
		if err := s.View(t.Context(), func(tx e2ee.Tx) error { v, err := tx.Get("k"); got = string(v); return err }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	set(s, "old")
	c := s.Snapshot()
	set(s, "new")
	if get(c) != "old" || get(s) != "new" {
		t.Errorf("got %q and %q, want old and new", get(c), get(s))
	}
}
