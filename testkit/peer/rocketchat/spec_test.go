//go:build peers

package rocketchat_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
	"github.com/quinta-chat/quinta/testkit/peer/rocketchat/sdk"
)

// TestSpecificationAlone: a client that uses nothing but the specification talks with
// quinta in the legacy profile, whichever of the two makes the key of the conversation.
func TestSpecificationAlone(t *testing.T) {
	t.Parallel()
	url := quintad.Start(t, quintad.Config{}).URL()
	p := sdk.Start(t)
	spec := func(name string) *peer {
		t.Helper()
		out := &peer{t: t, p: p, name: name}
		out.call("specRegister", map[string]string{"server": url, "username": name, "password": password}, nil)
		var made struct{ Made bool }
		out.call("specStart", map[string]string{"password": "minus mobile dexter forest elvis"}, &made)
		if !made.Made {
			t.Errorf("%s: got a key pair that was there", name)
		}
		out.call("specStart", map[string]string{"password": "minus mobile dexter forest elvis"}, &made)
		if made.Made {
			t.Errorf("%s: got a second key pair", name)
		}
		return out
	}
	alice, bob := spec("alice"), runs(t, url, "bob")

	// quinta makes the key.
	room, err := bob.s.Legacy(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	bob.sends(room, client.Text("from quinta: Grüße, 東京"))
	talks(t, alice, bob, room, "from quinta: Grüße, 東京")

	// The other client makes it.
	carol := spec("carol")
	var opened struct{ Room quinta.RoomID }
	carol.call("specOpen", map[string]string{"username": "bob"}, &opened)
	bob.waits("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Message.Room == opened.Room })
	if id, err := bob.s.Legacy(t.Context(), "carol"); err != nil || id != opened.Room {
		t.Fatalf("got %q, %v", id, err)
	}
	var made struct{ Made bool }
	carol.call("specHandshake", map[string]any{"room": opened.Room}, &made)
	if !made.Made {
		t.Error("got a key that was there")
	}
	carol.call("specSend", map[string]any{"room": opened.Room, "text": "first word of carol"}, nil)
	bob.reads("first word of carol")
	bob.sends(opened.Room, client.Text("and an answer"))
	talks(t, carol, bob, opened.Room, "and an answer")
}

// talks has a peer of the specification read what quinta has sent, and answer.
func talks(t *testing.T, p *peer, s *session, room quinta.RoomID, said string) {
	t.Helper()
	p.call("specHandshake", map[string]any{"room": room}, nil)
	var got struct {
		Sender  string
		Matches bool
	}
	p.call("specRead", map[string]any{"room": room, "text": said}, &got)
	if got.Sender != "bob" || !got.Matches {
		t.Errorf("got %+v, want the sealed id, sender and time to be those of the message", got)
	}
	p.call("specSend", map[string]any{"room": room, "text": "an answer from " + p.name + ": 😀"}, nil)
	if m := s.reads("an answer from " + p.name + ": 😀"); m.Weakness != quinta.WeakLegacy || !m.Encrypted || m.Sender != quinta.UserID(p.name) {
		t.Errorf("got %+v", m)
	}
}
