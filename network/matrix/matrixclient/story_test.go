package matrixclient_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/quintatest"
)

func TestTwoTalk(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "hello bob")
	m := bob.reads("hello bob")
	if !m.Encrypted || m.Weakness != "" || m.Sender != "@alice:hs1" || m.Kind != quinta.MessageText || m.Device != alice.s.Self().ID {
		t.Errorf("got %+v, want a sealed text of alice's device", m)
	}
	bob.sends(room, "hello alice")
	alice.reads("hello alice")
	for _, p := range []*person{alice, bob} {
		if got := p.shown(room); len(got) != 2 || got[0] != "@alice:hs1: hello bob" || got[1] != "@bob:hs1: hello alice" {
			t.Errorf("%s: got %q, want both messages once, in order", p.s.Self().User, got)
		}
	}
}
