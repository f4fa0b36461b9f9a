package matrix_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
)

// devices returns the ids of the devices of a user as c knows them.
func (c *client) devices(u quinta.UserID) []string {
	c.s.t.Helper()
	var out []string
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		list, err := c.m.Devices(tx, u)
		for _, d := range list {
			out = append(out, string(d.ID))
		}
		return nil, err
	})
	return out
}

// trustIn returns how far c trusts a device.
func (c *client) trustIn(u quinta.UserID, d quinta.DeviceID) quinta.Trust {
	c.s.t.Helper()
	t := quinta.TrustUnknown
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		list, err := c.m.Devices(tx, u)
		for _, i := range list {
			if i.ID == d {
				t = i.Trust
			}
		}
		return nil, err
	})
	return t
}

// find returns the requests of one kind that are due.
func (c *client) find(kind matrix.ReqKind) []matrix.Req {
	c.s.t.Helper()
	return slices.DeleteFunc(c.outgoing(), func(r matrix.Req) bool { return r.Kind != kind })
}

func (c *client) wantDevices(u quinta.UserID, want ...string) {
	c.s.t.Helper()
	if got := c.devices(u); !slices.Equal(got, want) {
		c.s.t.Errorf("%s knows %v of %s, want %v", c.user, got, u, want)
	}
}

// restart replaces the machine by a new one on the same store.
func (c *client) restart() { c.m = matrix.New(c.s.env(), c.user, c.device) }

// TestRaceQueryFails is the first race of the specification: a change comes
// while a query is on its way, and the second query fails.
func TestRaceQueryFails(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.login("@bob:x", "BOB2")
	alice.sync()
	first := alice.find(matrix.ReqKeysQuery)
	if len(first) != 1 {
		t.Fatalf("got %v, want one query", kinds(first))
	}
	old := s.hs.handle(alice.user, alice.device, first[0])
	s.login("@bob:x", "BOB3")
	alice.sync()
	if again := alice.find(matrix.ReqKeysQuery); len(again) != 1 || again[0].ID != first[0].ID {
		t.Fatalf("a second query left while the first was on its way: %v", kinds(again))
	}
	alice.done(first[0], old)
	alice.wantDevices("@bob:x", "BOB", "BOB2")
	second := alice.find(matrix.ReqKeysQuery)
	if len(second) != 1 || second[0].ID == first[0].ID {
		t.Fatalf("got %v, want a new query", kinds(second))
	}
	alice.done(second[0], matrix.Ans{Failure: matrix.Unreached})
	alice.restart() // the list is outdated still
	if third := alice.find(matrix.ReqKeysQuery); len(third) != 1 {
		t.Fatalf("after a restart: got %v, want the query", kinds(third))
	}
	alice.pump()
	alice.wantDevices("@bob:x", "BOB", "BOB2", "BOB3")
}

// TestRaceAnswersCross is the second race: the answer to an old query comes
// again after that to the new one.
func TestRaceAnswersCross(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.login("@bob:x", "BOB2")
	alice.sync()
	first := alice.find(matrix.ReqKeysQuery)
	old := s.hs.handle(alice.user, alice.device, first[0])
	alice.done(first[0], old)
	s.login("@bob:x", "BOB3")
	alice.sync()
	alice.pump()
	alice.done(first[0], old)
	alice.wantDevices("@bob:x", "BOB", "BOB2", "BOB3")
	if q := alice.find(matrix.ReqKeysQuery); len(q) != 0 {
		t.Errorf("got %v, want rest", kinds(q))
	}
}

// TestOutdatedSurvivesRestart stops a client between the sync that named Bob
// and the query.
func TestOutdatedSurvivesRestart(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.login("@bob:x", "BOB2")
	alice.sync()
	alice.restart()
	alice.pump()
	alice.wantDevices("@bob:x", "BOB", "BOB2")
}

// TestInitialSyncOutdatesAll loses the position of the sync.
func TestInitialSyncOutdatesAll(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.login("@bob:x", "BOB2")
	in, err := matrix.ParseSync("", s.hs.sync(alice.user, alice.device, ""))
	if err != nil {
		t.Fatal(err)
	}
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return alice.m.Receive(tx, in) })
	alice.pump()
	alice.wantDevices("@bob:x", "BOB", "BOB2")
	in.Since = "7"
	if err := alice.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return alice.m.Receive(tx, in) }); err != matrix.ErrOutOfOrder {
		t.Errorf("a sync from elsewhere: got %v, want ErrOutOfOrder", err)
	}
}

func TestDevicesComeAndGo(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.login("@bob:x", "BOB2")
	turn(alice)
	s.hs.logout("@bob:x", "BOB2")
	turn(alice)
	alice.wantDevices("@bob:x", "BOB")
	var got []string
	for _, e := range alice.take() {
		if e.Kind == e2ee.EventDevice {
			got = append(got, fmt.Sprint(e.User, " ", e.Device, " ", e.Detail, " ", e.Message.Trust))
		}
	}
	if want := "@bob:x BOB2 new pinned,@bob:x BOB2 gone pinned"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLeftUserIsNotTracked leaves the last shared room, and comes back.
func TestLeftUserIsNotTracked(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	s.hs.member("!r:x", "@bob:x", "leave")
	turn(alice)
	s.login("@bob:x", "BOB2")
	turn(alice)
	alice.wantDevices("@bob:x", "BOB") // no one asked
	s.hs.member("!r:x", "@bob:x", "join")
	turn(alice, bob)
	alice.wantDevices("@bob:x", "BOB", "BOB2")
}

// TestRoomBecomesEncrypted asks for all members again, as what they changed
// while no encrypted room was shared was never told.
func TestRoomBecomesEncrypted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob := s.login("@alice:x", "ALICE"), s.login("@bob:x", "BOB")
	s.hs.createPlain("!r:x", "@alice:x", "@bob:x")
	turn(alice, bob)
	alice.wantDevices("@bob:x")
	s.hs.encrypt("!r:x", map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})
	turn(alice, bob)
	alice.wantDevices("@bob:x", "BOB")
	alice.take()
	bob.take()
	alice.says("!r:x", "sealed")
	turn(bob)
	bob.wantReads("@alice: sealed")
}

// TestUnreachableServer has the server of one member down: the message leaves
// for the others, and they get later keys.
func TestUnreachableServer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob, carol := s.login("@alice:x", "ALICE"), s.login("@bob:x", "BOB"), s.login("@carol:far", "CAROL")
	s.hs.failedHosts = []string{"far"}
	s.hs.create("!r:x", "@alice:x", "@bob:x", "@carol:far")
	turn(alice, bob, carol)
	bob.take()
	carol.take()
	alice.says("!r:x", "one")
	turn(bob, carol)
	bob.wantReads("@alice: one")
	carol.wantReads("! no-key-yet")
	s.hs.failedHosts = nil
	s.wait(2 * time.Minute)
	alice.pump()
	alice.says("!r:x", "two")
	turn(bob, carol)
	carol.wantReads("@alice: two")
}

func TestQueriesAreBatched(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.login("@alice:x", "ALICE")
	members := []quinta.UserID{"@alice:x"}
	for i := range 600 {
		members = append(members, quinta.UserID(fmt.Sprintf("@u%d:x", i)))
	}
	s.hs.create("!r:x", members...)
	alice.sync()
	if q := alice.find(matrix.ReqKeysQuery); len(q) != 3 {
		t.Errorf("got %d queries for 600 users, want 3", len(q))
	}
}

// TestDeviceKeysNeverChange has the server give Bob's device other keys.
func TestDeviceKeysNeverChange(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "before")
	turn(bob)
	bob.take()
	s.hs.users["@bob:x"].devices["BOB"].keys = forgeDevice(t, s, "@bob:x", "BOB")
	s.hs.users["@bob:x"].changed = s.hs.next()
	turn(alice)
	loud := 0
	for _, e := range alice.take() {
		if e.Kind == e2ee.EventKeyChanged && e.User == "@bob:x" && e.Device == "BOB" {
			loud++
		}
	}
	if loud != 1 || alice.trustIn("@bob:x", "BOB") != quinta.TrustUnknown {
		t.Errorf("got %d events, trust %v", loud, alice.trustIn("@bob:x", "BOB"))
	}
	alice.says("!r:x", "after")
	turn(bob)
	bob.wantReads("! withheld: m.unverified")
}

// TestUnsignedDevice lists devices whose keys no one vouches for.
func TestUnsignedDevice(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	other := s.forge("@eve:x", "EVE")
	for id, change := range map[quinta.DeviceID]func(f *forger) json.RawMessage{
		"NOSIG": func(f *forger) json.RawMessage {
			raw, err := canonicaljson.Delete(f.keys, "signatures")
			if err != nil {
				t.Fatal(err)
			}
			return raw
		},
		"BADSIG": func(f *forger) json.RawMessage {
			id := string(f.device)
			forged := &forger{s: s, acc: other.acc, user: f.user, device: f.device}
			return forged.signed(map[string]any{"keys": map[string]string{"curve25519:" + id: other.acc.Identity().String(), "ed25519:" + id: f.acc.Signing().String()}})
		},
		"OTHERUSER":   func(f *forger) json.RawMessage { return f.signed(map[string]any{"user_id": "@eve:x"}) },
		"OTHERDEVICE": func(f *forger) json.RawMessage { return f.signed(map[string]any{"device_id": "BOB"}) },
		"NOOLM":       func(f *forger) json.RawMessage { return f.signed(map[string]any{"algorithms": []string{"m.other"}}) },
		"NOKEYS":      func(f *forger) json.RawMessage { return f.signed(map[string]any{"keys": map[string]string{}}) },
		"SHAPE":       func(*forger) json.RawMessage { return json.RawMessage(`[]`) },
	} {
		f := s.forgeWithKeys("@bob:x", id)
		s.hs.users["@bob:x"].devices[id].keys = change(f)
	}
	turn(alice)
	alice.wantDevices("@bob:x", "BOB")
}
