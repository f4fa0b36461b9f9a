package rocketchat_test

import (
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// due returns the requests of a kind that are due.
func (d *device) due(kind rocketchat.ReqKind) (out []rocketchat.Req) {
	d.s.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		all, err := d.m.Outgoing(tx)
		for _, q := range all {
			if q.Kind == kind {
				out = append(out, q)
			}
		}
		return nil, err
	})
	return out
}

// TestAttack17KeyWaits: a room key that was wrapped while the server could not be
// reached does not leave for a user whose key was rejected or changed, or who was
// removed, meanwhile; it leaves for the others.
func TestAttack17KeyWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *server, a, out *device)
		// want are those who are still given the key.
		want []string
	}{
		"still good": {func(*server, *device, *device) {}, []string{"bob", "carol"}},
		"rejected": {func(_ *server, a, out *device) {
			a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
				return nil, a.m.Judge(tx, quinta.UserID(out.id), quinta.TrustRejected)
			})
		}, []string{"bob"}},
		"changed": {func(s *server, a, out *device) {
			evil, err := rocketchat.GeneratePrivateKey(a.rand)
			if err != nil {
				s.t.Fatal(err)
			}
			a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
				return a.m.Show(tx, rocketchat.Waiting{User: out.id, Name: "carol", Public: evil.Public().String()})
			})
		}, []string{"bob"}},
		"removed": {func(s *server, a, out *device) {
			s.remove("group", out.id)
			if err := a.receive(); err != nil {
				s.t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			a, b, out := s.login("alice", 1), s.login("bob", 2), s.login("carol", 3)
			s.room("group", "p", a.id, b.id, out.id)
			if err := a.receive(); err != nil {
				t.Fatal(err)
			}
			a.send("group", "hello")
			// The server is gone as soon as the copies are made.
			for range 20 {
				if len(a.due(rocketchat.ReqProvide)) > 0 {
					break
				}
				if err := a.receive(); err != nil {
					t.Fatal(err)
				}
				if _, err := a.round(); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range []*device{b, out} {
				if len(a.due(rocketchat.ReqProvide)) != 1 || !slices.ContainsFunc(a.due(rocketchat.ReqProvide)[0].Provide, func(x rocketchat.Provided) bool { return x.User == p.id }) {
					t.Fatalf("no copy of the room's key waits for %s", p.id)
				}
			}
			c.change(s, a, out)
			var got []string
			for _, q := range a.due(rocketchat.ReqProvide) {
				for _, p := range q.Provide {
					got = append(got, s.users[p.User].name)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("the key leaves for %v, want %v", got, c.want)
			}
			s.talk(a, b)
			b.wants("hello", 1)
		})
	}
}

// TestAttack17MessageWaits: a message that was sealed while the server could not
// be reached leaves under the key that a removed member does not have, once, and
// not at all while the verified key of a member is in doubt.
func TestAttack17MessageWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b, out := s.login("alice", 1), s.login("bob", 2), s.login("carol", 3)
	s.room("group", "p", a.id, b.id, out.id)
	s.talk(a, b, out)
	a.send("group", "one")
	s.talk(a, b, out)
	out.wants("one", 1)
	old := s.rooms["group"].keyID
	a.send("group", "two")
	waits := a.due(rocketchat.ReqSend)
	if len(waits) != 1 {
		t.Fatalf("got %d messages that wait, want 1", len(waits))
	}
	s.remove("group", out.id)
	if err := a.receive(); err != nil {
		t.Fatal(err)
	}
	if n := len(a.due(rocketchat.ReqSend)); n != 0 {
		t.Errorf("%d messages leave under the key of a removed member", n)
	}
	s.talk(a, b)
	if s.rooms["group"].keyID == old {
		t.Fatal("the room has the key that it had")
	}
	b.wants("two", 1)
	last := s.log[len(s.log)-1]
	if last.ID != waits[0].Message.ID {
		t.Errorf("got the id %s, want that of the first seal, %s", last.ID, waits[0].Message.ID)
	}
	out.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return out.m.Receive(tx, rocketchat.In{Messages: []rocketchat.Message{last}})
	})
	out.wants("two", 0)
	if got := len(a.kinds(e2ee.EventSent)); got != 2 {
		t.Errorf("got %d sent, want 2: %s", got, a.story())
	}
}

// TestTakenBackButSent: a message that was taken back, though the server had it,
// is kept once and is not shown as an edit.
func TestTakenBackButSent(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b, out := s.login("alice", 1), s.login("bob", 2), s.login("carol", 3)
	s.room("group", "p", a.id, b.id, out.id)
	s.talk(a, b, out)
	a.send("group", "one")
	for _, q := range a.due(rocketchat.ReqSend) {
		s.do(a.id, q) // the answer is lost
	}
	s.remove("group", out.id)
	s.talk(a, b)
	b.wants("one", 1)
	if sent, told := len(a.kinds(e2ee.EventSent)), len(a.kinds(e2ee.EventMessage)); sent != 1 || told != 0 {
		t.Errorf("alice: got %d sent and %d messages, want 1 and none: %s", sent, told, a.story())
	}
}
