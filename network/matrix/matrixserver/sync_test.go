package matrixserver_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
)

// sync makes one sync; params are "name=value".
func (u *user) sync(params ...string) *reply {
	u.s.t.Helper()
	q := url.Values{}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		q.Set(name, value)
	}
	return u.get(v3 + "/sync?" + q.Encode())
}

// A follower is a client that syncs, each time from where it was.
type follower struct {
	*user
	since  string
	params []string
}

// follow makes the first sync of a client; params are given each time.
func (u *user) follow(params ...string) *follower {
	u.s.t.Helper()
	f := &follower{user: u, params: params}
	f.next()
	return f
}

// next makes one sync without waiting.
func (f *follower) next() *reply {
	f.s.t.Helper()
	params := f.params
	if f.since != "" {
		params = append(slices.Clone(params), "since="+f.since)
	}
	r := f.sync(params...).want(200)
	f.since = r.text("next_batch")
	return r
}

// joined returns a part of a room in the answer, nil if it is not there.
func (r *reply) joined(room string, path ...string) any {
	return r.at(append([]string{"rooms", "join", room}, path...)...)
}

// timeline lists the timeline of a room as bodies does, "" if it is not there.
func (r *reply) timeline(room string) string {
	if list := r.joined(room, "timeline", "events"); list != nil {
		return bodies(list)
	}
	return ""
}

// stateOf lists state events as "type/key=value" of the given list.
func stateOf(list any) string {
	events, _ := list.([]any)
	var out []string
	for _, e := range events {
		value := ""
		for _, field := range []string{"membership", "name", "topic", "alias", "algorithm"} {
			if v, ok := at(e, "content", field).(string); ok {
				value = "=" + v
				break
			}
		}
		out = append(out, strings.TrimPrefix(at(e, "type").(string), "m.room.")+"/"+at(e, "state_key").(string)+value)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestSyncInitial(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		r := alice.sync().want(200)
		for _, member := range []string{"next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types", "account_data"} {
			if r.at(member) == nil {
				t.Errorf("%s is not there: %s", member, r.Raw)
			}
		}
		is(t, "fallback keys", r.at("device_unused_fallback_key_types"), "[]")
		is(t, "device_lists without since", r.at("device_lists"), "<nil>")
		is(t, "rooms", r.at("rooms"), "<nil>")
		is(t, "account data", at(r.at("account_data", "events").([]any)[0], "type"), "m.push_rules")

		room := alice.create(object{"name": "Home", "topic": "All of it"})
		r = alice.sync().want(200)
		is(t, "timeline", r.timeline(room), "m.room.create m.room.member m.room.power_levels m.room.join_rules m.room.history_visibility m.room.guest_access m.room.name m.room.topic")
		is(t, "limited", r.joined(room, "timeline", "limited"), false)
		is(t, "state", len(r.joined(room, "state", "events").([]any)), 0)
		is(t, "joined", r.joined(room, "summary", "m.joined_member_count"), 1)
		is(t, "notifications", r.joined(room, "unread_notifications"), "map[highlight_count:0 notification_count:0]")

		r = alice.sync("since=" + r.text("next_batch")).want(200)
		is(t, "rooms after that", r.at("rooms"), "<nil>")
		is(t, "account data after that", r.at("account_data"), "<nil>")
		for i := range 20 {
			alice.say(room, fmt.Sprint(i))
		}
		r = alice.sync(`filter={"room":{"timeline":{"limit":3}}}`).want(200)
		is(t, "timeline", r.timeline(room), "17 18 19")
		is(t, "limited", r.joined(room, "timeline", "limited"), true)
		is(t, "state", stateOf(r.joined(room, "state", "events")),
			"create/ guest_access/ history_visibility/ join_rules/ member/@alice:hs1=join name/=Home power_levels/ topic/=All of it")
		for _, e := range r.joined(room, "timeline", "events").([]any) {
			if at(e, "room_id") != nil {
				t.Errorf("got a room_id in %v", e)
			}
		}
	})
}

func TestSyncIncremental(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		other := alice.create(object{})
		bob.join(room)
		f := alice.follow()
		bob.say(room, "one")
		r := f.next()
		is(t, "timeline", r.timeline(room), "one")
		is(t, "the other room", r.joined(other), "<nil>")
		is(t, "limited", r.joined(room, "timeline", "limited"), false)
		is(t, "state", stateOf(r.joined(room, "state", "events")), "")
		is(t, "again", f.next().at("rooms"), "<nil>")

		alice.set(room, "m.room.topic", "", object{"topic": "new"}).want(200)
		r = f.next()
		is(t, "a state event", r.timeline(room)+stateOf(r.joined(room, "state", "events")), "m.room.topic")

		// A gap: what changed of the state comes in state, once, as it was
		// before the timeline.
		alice.set(room, "m.room.topic", "", object{"topic": "in the gap"}).want(200)
		alice.set(room, "m.room.name", "", object{"name": "first"}).want(200)
		alice.set(room, "m.room.name", "", object{"name": "second"}).want(200)
		for i := range 11 {
			bob.say(room, fmt.Sprint("m", i))
		}
		alice.set(room, "m.room.topic", "", object{"topic": "in the timeline"}).want(200)
		r = f.next()
		is(t, "timeline", r.timeline(room), "m2 m3 m4 m5 m6 m7 m8 m9 m10 m.room.topic")
		is(t, "limited", r.joined(room, "timeline", "limited"), true)
		is(t, "state", stateOf(r.joined(room, "state", "events")), "name/=second topic/=in the gap")

		// What is missing is behind prev_batch, each event once.
		prev := r.joined(room, "timeline", "prev_batch").(string)
		page := alice.room(room, "/messages?dir=b&limit=6&from="+url.QueryEscape(prev)).want(200)
		is(t, "the gap", bodies(page.at("chunk")), "m1 m0 m.room.name m.room.name m.room.topic m.room.topic")

		full := f.sync("since="+f.since, "full_state=true", "timeout=60000").want(200)
		is(t, "full state", stateOf(full.joined(room, "state", "events")),
			"create/ guest_access/ history_visibility/ join_rules/ member/@alice:hs1=join member/@bob:hs1=join name/=second power_levels/ topic/=in the timeline")
		is(t, "its timeline", full.timeline(room), "")
		if full.joined(other) == nil {
			t.Error("full_state: the other room is not there")
		}
	})
}

func TestSyncLongPoll(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		room := alice.create(object{"preset": "public_chat"})
		bob.join(room)
		f := alice.follow()
		wait := func(act func()) *reply {
			t.Helper()
			began := time.Now()
			got := f.wait(30000)
			act()
			r := got().want(200)
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("woke after %v", took)
			}
			f.since = r.text("next_batch")
			return r
		}
		is(t, "a message", wait(func() { bob.say(room, "wake up") }).timeline(room), "wake up")
		var invited string
		r := wait(func() { invited = bob.create(object{"invite": []string{alice.ID}}) })
		if r.at("rooms", "invite", invited) == nil {
			t.Errorf("an invitation: got %s", r.Raw)
		}
		r = wait(func() { alice.join(invited) })
		if r.joined(invited) == nil {
			t.Errorf("a join: got %s", r.Raw)
		}
		is(t, "in a new room", wait(func() { bob.say(invited, "welcome") }).timeline(invited), "welcome")
		r = wait(func() { alice.put(v3+dataPath(alice, "", "x"), object{"a": 1}).want(200) })
		is(t, "account data", at(r.at("account_data", "events").([]any)[0], "content", "a"), 1)

		began := time.Now()
		r = f.sync("since="+f.since, "timeout=300").want(200)
		if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
			t.Errorf("nothing happened: answered after %v, want 300 ms", took)
		}
		if r.at("device_unused_fallback_key_types") == nil || r.at("device_one_time_keys_count") == nil {
			t.Errorf("nothing happened: got %s", r.Raw)
		}
	})
}

// TestSyncEndsWithItsLogin: a sync that waits does not continue for a device
// that is no longer logged in, nor for a server that stops.
func TestSyncEndsWithItsLogin(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		phone := alice.login("PHONE")
		f, g := phone.follow(), alice.follow()
		got := f.wait(60000)
		phone.post(v3+"/logout", nil).want(200)
		got().fails(401, "M_UNKNOWN_TOKEN")

		g.next()
		got = g.wait(60000)
		began := time.Now()
		s.Stop()
		got().want(200)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the server stopped after %v", took)
		}
	})
}

// wait begins a sync that waits so many milliseconds, and returns when it is
// under way. What it returns gives the answer.
func (f *follower) wait(ms int) func() *reply {
	f.s.t.Helper()
	// The server's own waiter, which tells push gateways, is always there.
	before := f.s.waiters(1)
	got := make(chan *reply, 1)
	go func() { got <- f.sync("since="+f.since, fmt.Sprint("timeout=", ms)) }()
	f.s.waiters(before + 1)
	return func() *reply {
		f.s.t.Helper()
		select {
		case r := <-got:
			return r
		case <-time.After(time.Minute):
			f.s.t.Fatal("the sync that waits gets no answer")
			return nil
		}
	}
}

// waiters waits until at least n wait for something, and returns how many do.
func (s *stage) waiters(n int) int {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); s.Core.Hub.Waiting() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("got %d waiting, want %d", s.Core.Hub.Waiting(), n)
		}
	}
	return s.Core.Hub.Waiting()
}

// TestSyncRate: no one keeps the server busy with first syncs, and devices
// that continue are not hindered by it.
func TestSyncRate(t *testing.T) {
	now := time.Now()
	s := newStage(t, quintatest.RateLimits(), quintatest.Clock(func() time.Time { return now }))
	alice := s.register("alice")
	f := alice.follow()
	for range 59 {
		alice.sync().want(200)
	}
	r := alice.sync()
	r.fails(429, "M_LIMIT_EXCEEDED")
	if r.at("retry_after_ms") == nil || r.Header.Get("Retry-After") == "" {
		t.Errorf("got %s %v, want to hear when to try again", r.Raw, r.Header)
	}
	alice.sync("since="+f.since, "full_state=true").fails(429, "M_LIMIT_EXCEEDED")
	f.next()
}

func TestSyncTokens(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	now := alice.follow().since
	for token, code := range map[string]string{
		"x": "M_INVALID_PARAM", "s": "M_INVALID_PARAM", "s-1": "M_INVALID_PARAM", "1": "M_INVALID_PARAM", "s1_": "M_INVALID_PARAM",
		"s5_6": "M_INVALID_PARAM", "s5_x": "M_INVALID_PARAM", "s99999999999999999999999999": "M_INVALID_PARAM", now + " ": "M_INVALID_PARAM",
		"s" + strings.Repeat("0", 100): "M_INVALID_PARAM", "s1234567890123": "M_UNKNOWN_POS",
		"s72594_4483_1934": "M_INVALID_PARAM", "t1-2_3": "M_INVALID_PARAM",
	} {
		alice.sync("since="+token).fails(400, code)
	}
	alice.sync("since="+now, "timeout=soon").fails(400, "M_INVALID_PARAM")
	alice.sync("since="+now, "timeout=-1").fails(400, "M_INVALID_PARAM")
	alice.sync("filter=99").fails(400, "M_INVALID_PARAM")
	alice.sync("filter=nothing").fails(400, "M_INVALID_PARAM")
	alice.sync("filter={").fails(400, "M_BAD_JSON")
	alice.sync("since="+now, "_cacheBuster=17", "set_presence=offline").want(200)
	s.nobody().sync().fails(401, "M_MISSING_TOKEN")
}
