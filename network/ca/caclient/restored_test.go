package caclient_test

import (
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
)

// TestRestored tells a session that its store is an old copy: what it says next
// is read, in its place.
func TestRestored(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.talks(bob)
	alice.sends(room, "before")
	bob.reads("before")
	if err := alice.s.Restored(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "after")
	bob.reads("after")
	if n := bob.saw("before"); n != 1 {
		t.Errorf("got the earlier message %d times, want once", n)
	}
}
