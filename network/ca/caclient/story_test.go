package caclient_test

import (
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// TestTalk: two people write both ways; each message comes once, sealed, and
// names who wrote it on which device.
func TestTalk(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) client.Store) {
		url := quintatest.Start(t).URL
		alice := enters(t, url, "alice", caclient.Network{}, open(t), env, true).runs()
		bob := enters(t, url, "bob", caclient.Network{}, open(t), env, true).runs()
		room := alice.talks(bob)
		sent := alice.sends(room, "hello bob")
		m := bob.reads("hello bob")
		if m.ID != sent.ID || m.Sender != "alice@hs1" || m.Device != alice.device() || m.Room != room || !m.Encrypted || m.Trust != quinta.TrustPinned || m.Weakness != "" {
			t.Errorf("got %+v, want alice's message %s", m, sent.ID)
		}
		bob.sends(room, "hello alice")
		alice.reads("hello alice")
		alice.sendsDraft(room, client.Draft{Text: "hello again", Relation: quinta.Relation{Kind: quinta.RelationReply, To: m.ID}, Mentions: []quinta.UserID{"bob@hs1"}})
		if r := bob.reads("hello again"); r.Relation.To != m.ID || !slices.Equal(r.Mentions, []quinta.UserID{"bob@hs1"}) {
			t.Errorf("got %+v, want the reply to %s", r, m.ID)
		}
		if n := bob.saw("hello bob"); n != 1 {
			t.Errorf("got the message %d times, want once", n)
		}
		want := []string{"alice@hs1: hello bob", "bob@hs1: hello alice", "alice@hs1: hello again"}
		for _, p := range []*person{alice, bob} {
			if got := p.shown(room); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", p.id(), got, want)
			}
		}
	})
}

// TestTwoDevicesEach: what either side says is read on all four devices.
func TestTwoDevicesEach(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.talks(bob)
	alice.sends(room, "before the others")
	bob.reads("before the others")
	bob.sends(room, "I am alone too")
	alice.reads("I am alone too")
	alice2, bob2 := another(t, url, "alice").runs(), another(t, url, "bob").runs()
	for _, p := range []*person{alice, bob} {
		p.sees("new device", func(e e2ee.Event) bool {
			return e.Kind == e2ee.EventDevice && e.User == bob.id() && e.Device == bob2.device()
		})
	}
	alice.sends(room, "to all four")
	for _, p := range []*person{bob, alice2, bob2} {
		p.reads("to all four")
	}
	bob2.sends(room, "from the second")
	for _, p := range []*person{alice, bob, alice2} {
		if m := p.reads("from the second"); m.Device != bob2.device() {
			t.Errorf("%s: got device %s, want %s", p.id(), m.Device, bob2.device())
		}
	}
}

// TestGroup: a conversation of three, to which a fourth is added, who reads
// from then on; and one who leaves reads no more.
func TestGroup(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob, carol, dave := meets(t, url, "alice").runs(), meets(t, url, "bob").runs(), meets(t, url, "carol").runs(), meets(t, url, "dave").runs()
	room := alice.gathers(bob, carol)
	alice.sends(room, "for three")
	bob.reads("for three")
	carol.reads("for three")
	carol.sends(room, "from carol")
	alice.reads("from carol")
	bob.reads("from carol")
	if err := bob.s.Invite(t.Context(), room, dave.id()); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "for four")
	dave.reads("for four")
	if got := dave.saw("for three"); got != 0 {
		t.Errorf("dave read %d messages from before he came, want none", got)
	}
	if err := carol.s.Leave(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "without carol")
	dave.reads("without carol")
	bob.reads("without carol")
	members, err := alice.s.Members(t.Context(), room)
	if err != nil || len(members) != 3 {
		t.Errorf("got %v %v, want three members", members, err)
	}
	_, err = carol.s.Send(t.Context(), room, client.Text("x"))
	wantKind(t, err, quinta.KindNotFound)
	if got := carol.saw("without carol"); got != 0 {
		t.Error("carol read what was said after she left")
	}
	rooms, err := alice.s.Rooms(t.Context())
	if err != nil || len(rooms) != 1 || rooms[0].Name != "the group" || rooms[0].Direct || !rooms[0].Encrypted || rooms[0].Membership != "join" {
		t.Errorf("got %+v %v, want the group", rooms, err)
	}
}

// TestOffline: messages that are sent while a user is away wait for them, in order.
func TestOffline(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) client.Store) {
		url := quintatest.Start(t).URL
		alice := enters(t, url, "alice", caclient.Network{}, open(t), env, true).runs()
		bob := enters(t, url, "bob", caclient.Network{}, open(t), env, true)
		room := alice.talks(bob)
		for _, text := range []string{"one", "two", "three"} {
			alice.sends(room, text)
		}
		bob.catchesUp()
		want := []string{"alice@hs1: one", "alice@hs1: two", "alice@hs1: three"}
		if got := bob.shown(room); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		bob.puts(room, client.Text("four"))
		bob.catchesUp()
		alice.reads("four")
	})
}

// TestNobodyThere: a conversation with a user that does not exist, and other
// things that cannot be.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	_, err := alice.s.Create(t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{"nobody@hs1"}})
	wantKind(t, err, quinta.KindNotFound)
	_, err = alice.s.Create(t.Context(), client.NewRoom{Invite: []quinta.UserID{"no such name"}})
	wantKind(t, err, quinta.KindInvalid)
	_, err = alice.s.Create(t.Context(), client.NewRoom{Clear: true})
	wantKind(t, err, quinta.KindInvalid)
	_, err = alice.s.Send(t.Context(), "g_aaaaaaaaaaaaaaaaaaaaaa", client.Text("x"))
	wantKind(t, err, quinta.KindNotFound)
	_, err = alice.s.Join(t.Context(), "g_aaaaaaaaaaaaaaaaaaaaaa")
	wantKind(t, err, quinta.KindNotFound)
	_, err = alice.s.Devices(t.Context(), "nobody@hs1")
	wantKind(t, err, quinta.KindNotFound)
	if rooms, err := alice.s.Rooms(t.Context()); err != nil || len(rooms) != 0 {
		t.Errorf("got %v %v, want no conversation", rooms, err)
	}
}
