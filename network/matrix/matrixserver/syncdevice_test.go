package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// told lists the messages to the device as "type from sender: content".
func (r *reply) told() string {
	events, _ := r.at("to_device", "events").([]any)
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprint(at(e, "type"), " from ", at(e, "sender"), ": ", at(e, "content")))
	}
	return strings.Join(out, "; ")
}

// lists shows device_lists as "changed / left" with local parts.
func (r *reply) lists() string {
	local := func(name string) string {
		ids, _ := r.at("device_lists", name).([]any)
		var out []string
		for _, id := range ids {
			l, _, _ := strings.Cut(strings.TrimPrefix(id.(string), "@"), ":")
			out = append(out, l)
		}
		return strings.Join(out, " ")
	}
	return strings.TrimSpace(local("changed") + " / " + local("left"))
}

// TestToDeviceMessages: Can recv a device message using /sync; Can send a
// to-device message to two users which both receive it using /sync; Can recv
// device messages until they are acknowledged; Device messages with the same
// txn_id are deduplicated; Can send messages with a wildcard device id.
func TestToDeviceMessages(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		phone := bob.login("PHONE")
		f, g, h := bob.follow(), phone.follow(), alice.follow()
		before := f.since
		one := object{bob.ID: object{bob.Device: object{"n": 1}}, alice.ID: object{alice.Device: object{"n": 2}}}
		alice.tell("m.x", "1", one).want(200)
		alice.tell("m.x", "1", one).want(200)
		const want = "m.x from @alice:hs1: map[n:1]"
		is(t, "bob", f.next().told(), want)
		is(t, "alice", h.next().told(), "m.x from @alice:hs1: map[n:2]")
		is(t, "the other device", g.next().told(), "")

		// The answer was lost: the same again, and again, until the token
		// that came with it is used.
		is(t, "asked again", f.sync("since="+before).told(), want)
		alice.tell("m.x", "2", object{bob.ID: object{"*": object{"n": 3}}}).want(200)
		is(t, "asked again, with another", f.sync("since="+before).told(), want+"; m.x from @alice:hs1: map[n:3]")
		is(t, "without a token", bob.sync().told(), want+"; m.x from @alice:hs1: map[n:3]")
		is(t, "acknowledged", f.next().told(), "m.x from @alice:hs1: map[n:3]")
		is(t, "wildcard", g.next().told(), "m.x from @alice:hs1: map[n:3]")
		is(t, "acknowledged", f.next().told(), "")
		is(t, "the old token", f.sync("since="+before).told(), "")
		is(t, "without a token", bob.sync().told(), "")
	})
}

// TestDeviceMessagesWakeSync: Device messages wake up /sync; Wildcard device
// messages wake up /sync.
func TestDeviceMessagesWakeSync(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		f := bob.follow()
		for i, device := range []string{bob.Device, "*"} {
			got := f.wait(30000)
			alice.tell("m.x", fmt.Sprint(i), object{bob.ID: object{device: object{"n": i}}}).want(200)
			r := got().want(200)
			is(t, "to "+device, r.told(), fmt.Sprintf("m.x from @alice:hs1: map[n:%d]", i))
			f.since = r.text("next_batch")
		}
	})
}

// TestToDevicePages: at most 100 messages come at once, in order, and the
// token holds where the device is, across a restart of the client too.
func TestToDevicePages(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		f := bob.follow()
		room := bob.create(object{})
		for i := range 250 {
			alice.tell("m.x", fmt.Sprint(i), object{bob.ID: object{bob.Device: object{"n": i}}}).want(200)
		}
		n := 0
		for page, want := range []int{100, 100, 50, 0} {
			r := f.sync("since="+f.since, "timeout=100").want(200)
			if again := f.sync("since="+f.since, "timeout=100"); again.told() != r.told() {
				t.Errorf("page %d: asked again, got another page", page)
			}
			if (r.timeline(room) != "") != (page == 0) {
				t.Errorf("page %d: got the room %q", page, r.timeline(room))
			}
			events, _ := r.at("to_device", "events").([]any)
			if len(events) != want {
				t.Errorf("page %d: got %d messages, want %d", page, len(events), want)
			}
			for _, e := range events {
				is(t, "order", at(e, "content", "n"), n)
				n++
			}
			f.since = r.text("next_batch")
			if strings.Contains(f.since, "_") != (page < 2) {
				t.Errorf("page %d: got the token %s", page, f.since)
			}
			// Such a token is good for the other calls that take one.
			if c, l := bob.changes(f.since, f.since); c+l != "" {
				t.Errorf("changes between equal tokens: got %s %s", c, l)
			}
		}
	})
}

func TestSyncKeyCounts(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		f := alice.follow()
		show := func(what, counts, fallback string) {
			t.Helper()
			r := f.next()
			is(t, what, r.at("device_one_time_keys_count"), counts)
			is(t, what, r.at("device_unused_fallback_key_types"), fallback)
		}
		show("none", "map[signed_curve25519:0]", "[]")
		alice.uploadDevice(newSigner(t))
		alice.post(v3+"/keys/upload", object{"one_time_keys": oneTime("A", "B"), "fallback_keys": oneTime("F")}).want(200)
		show("uploaded", "map[signed_curve25519:2]", "[signed_curve25519]")
		bob.claim(alice)
		show("one claimed", "map[signed_curve25519:1]", "[signed_curve25519]")
		bob.claim(alice)
		bob.claim(alice)
		show("all claimed", "map[signed_curve25519:0]", "[]")
		r := alice.login("OTHER").sync("timeout=0").want(200)
		is(t, "another device", r.at("device_one_time_keys_count"), "map[signed_curve25519:0]")
		r = f.sync("since="+f.since, "timeout=50").want(200)
		is(t, "after waiting", fmt.Sprint(r.at("device_one_time_keys_count"), r.at("device_unused_fallback_key_types")), "map[signed_curve25519:0] []")
	})
}

// TestDeviceListUpdates: when local user joins a room; when joining a room
// with a local user; when local user leaves a room; when leaving a room with
// a local user; when local user rejoins a room.
func TestDeviceListUpdates(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		alice.uploadDevice(newSigner(t))
		bob.uploadDevice(newSigner(t))
		f, g := alice.follow(), bob.follow()
		step := func(what, wantAlice, wantBob string) {
			t.Helper()
			is(t, what+", alice", f.next().lists(), wantAlice)
			is(t, what+", bob", g.next().lists(), wantBob)
			is(t, what+", alice again", f.next().at("device_lists"), "<nil>")
			is(t, what+", bob again", g.next().at("device_lists"), "<nil>")
		}
		room := alice.create(object{"preset": "public_chat"})
		step("alone", "/", "/")
		bob.join(room)
		step("joins", "bob /", "alice /")
		bob.uploadDevice(newSigner(t))
		step("new keys", "bob /", "bob /")
		bob.leave(room)
		step("leaves", "/ bob", "/ alice")
		bob.uploadDevice(newSigner(t))
		step("new keys while apart", "/", "bob /")
		bob.join(room)
		step("rejoins", "bob /", "alice /")
		other := bob.create(object{"preset": "public_chat"})
		alice.join(other)
		step("another room", "/", "/")
		alice.leave(other)
		step("leaves one of two", "/", "/")
		bob.leave(room)
		bob.join(room)
		f.next()
		g.next()
		alice.leave(room)
		step("leaving a room", "/ bob", "/ alice")
		alice.join(other)
		step("joining a room", "bob /", "alice /")
		alice.act(other, "invite", s.register("carol")).want(200)
		step("an invitation", "/", "/")
	})
}

// TestDeviceListsInSync is the part of SyTest 41/06 about /sync: Local device
// key changes, new device, delete device and update device changes appear in
// v2 /sync; Users receive device_list updates for their own devices; Get left
// notifs for other users in sync when user leaves.
func TestDeviceListsInSync(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, stranger := s.register("alice"), s.register("bob"), s.register("stranger")
		room := s.room(t, alice, bob)
		f, g, h := alice.follow(), bob.follow(), stranger.follow()
		step := func(what, wantAlice, wantBob string) {
			t.Helper()
			is(t, what+", alice", f.next().lists(), wantAlice)
			is(t, what+", bob", g.next().lists(), wantBob)
			is(t, what+", a stranger", h.next().at("device_lists"), "<nil>")
		}
		bob.uploadDevice(newSigner(t))
		step("keys", "bob /", "bob /")
		phone := bob.login("PHONE")
		step("new device", "bob /", "bob /")
		bob.put(v3+"/devices/PHONE", object{"display_name": "Bob's phone"}).want(200)
		step("update device", "bob /", "bob /")
		phone.post(v3+"/logout", nil).want(200)
		step("delete device", "bob /", "bob /")
		bob.crossSign(t)
		step("cross-signing keys", "bob /", "bob /")
		alice.leave(room)
		step("leaves", "/ bob", "/ alice")

		// A sync that waits learns of it, too.
		alice.join(room)
		f.next()
		got := f.wait(30000)
		bob.uploadDevice(newSigner(t))
		is(t, "woken", got().want(200).lists(), "bob /")
	})
}

// TestSyncDeviceListTracking: User is correctly listed when they leave, even
// when lazy loading is enabled.
func TestSyncDeviceListTracking(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		room := s.room(t, alice, bob, carol)
		f := alice.follow(`filter={"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}`)
		bob.leave(room)
		carol.say(room, "bob has left")
		carol.say(room, "he really has")
		r := f.next()
		is(t, "lists", r.lists(), "/ bob")
		is(t, "timeline", r.timeline(room), "he really has")
	})
}

// TestSyncIdleIsQuiet: what strangers do does not make a sync answer.
func TestSyncIdleIsQuiet(t *testing.T) {
	s := newStage(t)
	alice, bob := s.register("alice"), s.register("bob")
	s.room(t, alice, bob)
	f := alice.follow()
	stranger := s.register("stranger")
	began := time.Now()
	got := f.wait(500)
	for i := range 20 {
		stranger.say(stranger.create(object{}), fmt.Sprint(i))
	}
	r := got().want(200)
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("answered after %v because of strangers: %s", took, r.Raw)
	}
}
