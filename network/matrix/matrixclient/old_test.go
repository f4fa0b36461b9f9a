package matrixclient_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

func TestOldServers(t *testing.T) {
	t.Parallel()
	for name, versions := range map[string][]string{"v1.1": {"r0.6.1", "v1.1"}, "r0.6": {"r0.5.0", "r0.6.0"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := middle.Start(t, quintatest.Start(t).URL)
			p.Old(t, versions...)
			alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
			room := alice.invites(bob)
			alice.sends(room, "hello")
			if m := bob.reads("hello"); !m.Encrypted {
				t.Errorf("got %+v, want it sealed", m)
			}
			bob.sendsDraft(room, client.Draft{Text: "a file", File: &client.Upload{Name: "f", Size: -1, From: strings.NewReader("contents")}})
			var got bytes.Buffer
			if err := alice.s.Fetch(t.Context(), alice.reads("a file").File, &got); err != nil {
				t.Fatal(err)
			}
			if got.String() != "contents" {
				t.Errorf("got %q, want the contents of the file", got.String())
			}
			bob.stop()
			for i := range 3 {
				alice.sends(room, "meanwhile"+strings.Repeat("!", i))
			}
			again := resumes(t, matrixclient.Network{}, bob.st).runs()
			again.reads("meanwhile!!")
			if rooms, err := again.s.Rooms(t.Context()); err != nil || len(rooms) != 1 || rooms[0].Name != "the room" || len(rooms[0].Members) != 2 {
				t.Errorf("got %+v, %v, want the room with two members", rooms, err)
			}
			if more, err := again.s.History(t.Context(), room, 10); err != nil {
				t.Errorf("got %v, %v, want no error", more, err)
			}
			devices, err := again.s.Devices(t.Context(), "@alice:hs1")
			if err != nil || len(devices) != 1 {
				t.Errorf("got %+v, %v, want alice's device", devices, err)
			}
		})
	}
}

// TestOldServerAtOnce: the first thing that is asked of an old server goes to
// the paths that it knows, whatever it is.
func TestOldServerAtOnce(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	p.Old(t, "r0.5.0", "r0.6.0")
	alice := meets(t, p.URL, "alice").runs()
	room := alice.invites()
	alice.stop()
	for name, ask := range map[string]func(s *matrixclient.Session) error{
		"leave":   func(s *matrixclient.Session) error { return s.Leave(t.Context(), room) },
		"members": func(s *matrixclient.Session) error { _, err := s.Members(t.Context(), room); return err },
		"create":  func(s *matrixclient.Session) error { _, err := s.Create(t.Context(), client.NewRoom{}); return err },
		"invite":  func(s *matrixclient.Session) error { return s.Invite(t.Context(), room, "@nobody:hs1") },
	} {
		s, err := matrixclient.Network{}.Open(t.Context(), alice.st, env)
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(s.(*matrixclient.Session)); err != nil && strings.Contains(err.Error(), "M_UNRECOGNIZED") {
			t.Errorf("%s: got %v, want it asked where the server knows it", name, err)
		}
	}
}
