package roomview

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/server/room"
)

// ana was invited at 10, came at 20, left at 30, came back at 50 and was
// removed at 60.
func ana(visibility ...since) *Sight {
	return &Sight{user: "@ana:hs1", visibility: visibility, membership: []since{
		{10, room.Invite}, {20, room.Join}, {30, "leave"}, {50, room.Join}, {60, "ban"},
	}}
}

// TestSees: what a user may read, under each history visibility, at each time of
// their memberships (client-server API, "Room History Visibility").
func TestSees(t *testing.T) {
	t.Parallel()
	times := []quinta.Pos{5, 15, 25, 40, 55, 65}
	for visibility, want := range map[string][]bool{
		"world_readable": {true, true, true, true, true, true},
		"shared":         {true, true, true, true, true, false},
		"":               {true, true, true, true, true, false},
		"made up":        {true, true, true, true, true, false},
		"invited":        {false, true, true, false, true, false},
		"joined":         {false, false, true, false, true, false},
	} {
		s := ana(since{1, visibility})
		for i, pos := range times {
			if got := s.Sees(&room.Event{Pos: pos, Type: "m.room.message"}); got != want[i] {
				t.Errorf("%q, at %d: got %v", visibility, pos, got)
			}
		}
	}
	stranger := &Sight{user: "@eve:hs1", visibility: []since{{1, "shared"}}, membership: []since{{10, room.Invite}}}
	if stranger.Sees(&room.Event{Pos: 15}) || stranger.EverJoined() {
		t.Error("a user who was only invited reads the room")
	}
}

// TestSeesChanges: a change of the visibility or of the user's own membership
// is readable by what held before it too; other events at that time are not.
func TestSeesChanges(t *testing.T) {
	t.Parallel()
	s := ana(since{1, "world_readable"}, since{65, "joined"})
	key := func(k string) *string { return &k }
	for _, c := range []struct {
		what string
		e    room.Event
		want bool
	}{
		{"the visibility closes", room.Event{Pos: 65, Type: eventauth.TypeHistoryVisibility, StateKey: key("")}, true},
		{"a message then", room.Event{Pos: 65, Type: "m.room.message"}, false},
		{"a later change", room.Event{Pos: 70, Type: eventauth.TypeHistoryVisibility, StateKey: key("")}, false},
	} {
		if got := s.Sees(&c.e); got != c.want {
			t.Errorf("%s: got %v", c.what, got)
		}
	}
	s = ana(since{1, "joined"})
	if !s.Sees(&room.Event{Pos: 60, Type: eventauth.TypeMember, StateKey: key("@ana:hs1")}) {
		t.Error("the user does not see that they were removed")
	}
	if s.Sees(&room.Event{Pos: 60, Type: eventauth.TypeMember, StateKey: key("@bob:hs1")}) {
		t.Error("the user sees what happened to another one as they were removed")
	}
}

// TestStays: where a user's stays began and ended.
func TestStays(t *testing.T) {
	t.Parallel()
	s := ana(since{1, "shared"})
	if got := s.LeftAt(); got != 60 {
		t.Errorf("left at %d, want 60", got)
	}
	for pos, want := range map[quinta.Pos]quinta.Pos{5: 0, 15: 0, 25: 25, 40: 30, 55: 55, 65: 60} {
		if got := s.SeenUpTo(pos); got != want {
			t.Errorf("after a sync at %d: seen up to %d, want %d", pos, got, want)
		}
	}
	for pos, want := range map[quinta.Pos]string{5: "", 10: room.Invite, 29: room.Join, 30: "leave", 99: "ban"} {
		if got := s.Was(pos); got != want {
			t.Errorf("at %d: got %q, want %q", pos, got, want)
		}
	}
	if a := Always("@ana:hs1"); !a.Sees(&room.Event{Pos: 1}) || a.Was(1) != room.Join {
		t.Error("a user who was always there does not see the beginning")
	}
}
