package xmppserver_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/network/xmpp/xmppserver"
	"github.com/quinta-chat/quinta/quintatest"
)

const hall = quinta.RoomID("hall@rooms.test.example")

// lists is what the room says of itself from now on.
func (s *stage) lists(frozen string, members ...quinta.UserID) {
	s.t.Helper()
	if err := xmppserver.ApplyRoom(s.t.Context(), s.Core, hall, s.clock.Now(), frozen, members); err != nil {
		s.t.Fatal(err)
	}
}

// createIn makes a sealed key of the room, wrapped for devices.
func (d *device) createIn(id string, devices ...*device) *keysrv.Create {
	d.s.t.Helper()
	k, err := key.GenerateSymmetric[key.Conversation](rand.Reader)
	if err != nil {
		d.s.t.Fatal(err)
	}
	now := d.s.clock.Now().UTC()
	c := &keysrv.Create{ID: id, Room: hall, Mode: keysrv.ModeSealed, Suite: keysrv.SuiteGCM, Created: now, Expires: now.Add(24 * time.Hour)}
	st := d.statement(c)
	st.Conversation = keysrv.RoomID(hall)
	st.Check = st.Commit(k)
	c.Check, c.Signature = st.Check, st.Sign(d.sign)
	for _, o := range devices {
		w, err := keysrv.Wrap(st, k, o.rec)
		if err != nil {
			d.s.t.Fatal(err)
		}
		c.Wrapped = append(c.Wrapped, *w)
	}
	return c
}

// reads makes a batch call and returns the ids that were given and refused.
func (d *device) reads(ids ...string) (given, refused string) {
	d.s.t.Helper()
	var out wire.GetAnswer
	d.call("POST", "/keys/get", wire.GetRequest{IDs: ids}).status(200).into(&out)
	list, err := wire.Objects(out.Keys)
	if err != nil {
		d.s.t.Fatal(err)
	}
	for i := range list {
		given += list[i].ID[:1]
	}
	for _, id := range out.Refused {
		refused += id[:1]
	}
	return given, refused
}

func idOf(letter string) string { return strings.Repeat(letter, 22) }

// TestRoomKeys: the members of a room are given its keys, from their joining on and
// until they are removed, in single calls and in batches.
func TestRoomKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		s.lists("", romeo, juliet)
		r, j, ty := s.published(romeo), s.published(juliet), s.published(tybalt)
		r.call("POST", "/keys", r.createIn(idOf("a"), r, j)).status(201)
		if given, refused := j.reads(idOf("a")); given != "a" || refused != "" {
			t.Errorf("a member: given %q, refused %q", given, refused)
		}
		if given, refused := ty.reads(idOf("a"), idOf("z")); given != "" || refused != "az" {
			t.Errorf("a stranger: given %q, refused %q", given, refused)
		}
		ty.call("POST", "/keys", ty.createIn(idOf("b"), ty)).refused(404, wire.CodeNotFound)
		// A copy for someone who is not a member is not taken.
		r.call("POST", "/keys", r.createIn(idOf("b"), r, ty)).refused(409, wire.CodeStale)
		// One who joins gets what is made from then on.
		s.lists("", romeo, juliet, tybalt)
		r.call("POST", "/keys", r.createIn(idOf("b"), r, j, ty)).status(201)
		if given, refused := ty.reads(idOf("a"), idOf("b")); given != "b" || refused != "a" {
			t.Errorf("a new member: given %q, refused %q", given, refused)
		}
		var list wire.ListAnswer
		ty.call("GET", "/conversations/"+keysrv.RoomID(hall)+"/keys", nil).status(200).into(&list)
		if len(list.Keys) != 1 {
			t.Errorf("a new member lists %d keys, want 1", len(list.Keys))
		}
		// One who is removed gets nothing any more, neither old nor new, and
		// gives no one copies.
		s.lists("", romeo, tybalt)
		if given, refused := j.reads(idOf("a"), idOf("b")); given != "" || refused != "ab" {
			t.Errorf("a removed member: given %q, refused %q", given, refused)
		}
		j.call("GET", "/keys/"+idOf("a"), nil).refused(404, wire.CodeNotFound)
		j.call("POST", "/keys/"+idOf("a")+"/copies", wire.CopiesRequest{Wrapped: r.createIn(idOf("a"), ty).Wrapped}).refused(404, wire.CodeNotFound)
		// Removed and back: what was made before stays closed.
		s.lists("", romeo, juliet, tybalt)
		if given, refused := j.reads(idOf("a")); given != "" || refused != "a" {
			t.Errorf("a member who came back: given %q, refused %q", given, refused)
		}
		for _, want := range []string{"joined", "removed", "refuse"} {
			if !strings.Contains(s.lines(), want) {
				t.Errorf("the audit has no line %q", want)
			}
		}
	})
}

// TestRoomHistory: where the operator says so, a new member gets all keys.
func TestRoomHistory(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		s.lists("", romeo)
		r := s.published(romeo)
		r.call("POST", "/keys", r.createIn(idOf("a"), r)).status(201)
		j := s.published(juliet)
		s.lists("", romeo, juliet)
		if given, refused := j.reads(idOf("a")); given != "a" || refused != "" {
			t.Errorf("given %q, refused %q", given, refused)
		}
	}, quintatest.Setting("xmpp-history", "all"))
}

// TestAttack03Room: a room that is no longer fit is frozen, lists that are too old
// are not believed, and a room of another domain is not served.
func TestAttack03Room(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		s.lists("", romeo, juliet)
		r := s.published(romeo)
		r.call("POST", "/keys", r.createIn(idOf("a"), r)).status(201)
		s.lists("its members do not see each other's JIDs", romeo, juliet)
		r.call("POST", "/keys", r.createIn(idOf("b"), r)).refused(409, wire.CodeRoom)
		r.call("GET", "/keys/"+idOf("a"), nil).refused(404, wire.CodeNotFound)
		s.lists("", romeo, juliet)
		r.call("GET", "/keys/"+idOf("a"), nil).status(200)
		s.later(time.Minute)
		r.renew()
		r.call("GET", "/keys/"+idOf("a"), nil).refused(503, wire.CodeUnavailable)
		r.call("POST", "/keys", r.createIn(idOf("b"), r)).refused(503, wire.CodeUnavailable)
		c := r.createIn(idOf("b"), r)
		c.Room = "hall@rooms.elsewhere.example"
		r.call("POST", "/keys", c).refused(403, wire.CodeForbidden)
		c.Room, c.With = hall, juliet
		r.call("POST", "/keys", c).refused(400, wire.CodeInvalid)
	})
}
