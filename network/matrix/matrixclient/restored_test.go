package matrixclient_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// TestRestored tells a session that its store is an old copy: what it sends
// next is sealed with new keys, and read.
func TestRestored(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "before")
	bob.reads("before")
	if err := alice.s.Restored(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "after")
	bob.reads("after")
	var sessions []string
	for _, r := range p.Seen() {
		var c struct {
			Session string `json:"session_id"`
		}
		if !strings.Contains(r.Path, "/send/m.room.encrypted/") {
			continue
		}
		if err := json.Unmarshal(r.Body, &c); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, c.Session)
	}
	if len(sessions) != 2 || sessions[0] == sessions[1] {
		t.Errorf("got sessions %q, want two", sessions)
	}
}
