package matrixserver_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A mirror is a client that keeps all that its syncs tell it, so that it can
// be held against what the server says when it is asked.
type mirror struct {
	*follower
	t    *testing.T
	rand *rand.Rand
	w    *world
	// logs are the event ids of each room in order, states what the state is.
	logs   map[string][]string
	seen   map[string]bool
	states map[string]map[string]string
	joined map[string]bool
	// keys are the versions of the keys of those that it tracks.
	keys map[string]int64
	// told are the numbers of the messages to the device.
	told []string
	// after says that the state comes in state_after.
	after bool
}

// A world is what happened, as far as the server does not tell it.
type world struct {
	users    []*user
	rooms    []string
	versions map[string]*atomic.Int64
}

func newMirror(t *testing.T, w *world, u *user, seed uint64) *mirror {
	m := &mirror{t: t, w: w, rand: rand.New(rand.NewPCG(seed, 1)), logs: map[string][]string{}, seen: map[string]bool{},
		states: map[string]map[string]string{}, joined: map[string]bool{}, keys: map[string]int64{}}
	m.follower = &follower{user: u, params: []string{fmt.Sprintf(`filter={"room":{"timeline":{"limit":%d}}}`, 1+m.rand.IntN(6))}}
	if m.after = m.rand.IntN(2) == 0; m.after {
		m.params = append(m.params, "use_state_after=true")
	}
	return m
}

// look makes a sync and takes it in; now and then the answer is lost.
func (m *mirror) look(wait bool) {
	params := slices.Clone(m.params)
	if m.since != "" {
		params = append(params, "since="+m.since)
	}
	if wait {
		params = append(params, "timeout=200")
	}
	r := m.sync(params...).want(200)
	if m.rand.IntN(5) == 0 {
		return
	}
	events, _ := r.at("to_device", "events").([]any)
	for _, e := range events {
		m.told = append(m.told, fmt.Sprint(at(e, "sender"), at(e, "content", "n")))
	}
	first := m.since == ""
	m.since = r.text("next_batch")
	for id, room := range rooms(r, "join") {
		m.takeRoom(id, room)
		m.joined[id] = true
	}
	for id, room := range rooms(r, "leave") {
		if m.joined[id] || at(room, "timeline", "limited") == true || len(at(room, "timeline", "events").([]any)) > 1 {
			m.takeRoom(id, room)
		} // else he was not in it, and it is only the end of an invitation
		delete(m.joined, id)
	}
	for id := range rooms(r, "invite") {
		delete(m.joined, id)
	}
	if first {
		// Nothing is told about device lists: all members are asked about.
		for id := range m.joined {
			for key, membership := range m.states[id] {
				if u, ok := m.member(key); ok && membership == "join" {
					m.keys[u] = m.w.versions[u].Load()
				}
			}
		}
	}
	lists, _ := r.at("device_lists").(object)
	for _, u := range list(lists["changed"]) {
		m.keys[u] = m.w.versions[u].Load()
	}
	for _, u := range list(lists["left"]) {
		delete(m.keys, u)
	}
}

// member returns whose membership a key of the state is.
func (m *mirror) member(key string) (string, bool) {
	const prefix = "m.room.member/"
	if len(key) > len(prefix) && key[:len(prefix)] == prefix {
		return key[len(prefix):], true
	}
	return "", false
}

func rooms(r *reply, part string) object {
	o, _ := r.at("rooms", part).(object)
	return o
}

// takeRoom takes in one room of an answer.
func (m *mirror) takeRoom(id string, room any) {
	timeline := at(room, "timeline", "events").([]any)
	if at(room, "timeline", "limited") == true {
		m.fillGap(id, at(room, "timeline", "prev_batch").(string))
	}
	if m.states[id] == nil {
		m.states[id] = map[string]string{}
	}
	part := "state"
	if m.after {
		part = "state_after"
	}
	changes, _ := at(room, part, "events").([]any)
	m.takeState(id, changes)
	if !m.after {
		m.takeState(id, timeline)
	}
	for _, e := range timeline {
		m.add(id, at(e, "event_id").(string))
	}
}

func (m *mirror) takeState(id string, events []any) {
	for _, e := range events {
		if key, ok := at(e, "state_key").(string); ok {
			m.states[id][at(e, "type").(string)+"/"+key] = summary(e)
		}
	}
}

// summary is what the tests compare of a state event.
func summary(e any) string {
	if ms, ok := at(e, "content", "membership").(string); ok {
		return ms
	}
	return fmt.Sprint(at(e, "content"))
}

func (m *mirror) add(room, event string) {
	if m.seen[event] {
		m.t.Errorf("%s: %s came twice in %s", m.ID, event, room)
	}
	m.seen[event] = true
	m.logs[room] = append(m.logs[room], event)
}

// fillGap asks for what is before a token, back to what is known.
func (m *mirror) fillGap(room, from string) {
	var gap []string
	for from != "" {
		r := m.room(room, fmt.Sprintf("/messages?dir=b&limit=%d&from=%s", 1+m.rand.IntN(7), url.QueryEscape(from)))
		if r.Status == 403 {
			break // put out of it in between
		}
		for _, e := range r.want(200).at("chunk").([]any) {
			id := at(e, "event_id").(string)
			if m.seen[id] {
				from = ""
				break
			}
			gap = append(gap, id)
		}
		if from != "" {
			from, _ = r.at("end").(string)
		}
	}
	slices.Reverse(gap)
	for _, id := range gap {
		m.add(room, id)
	}
}

// check holds the mirror against the server.
func (m *mirror) check() {
	m.t.Helper()
	shares := map[string]bool{m.ID: true}
	for _, id := range m.w.rooms {
		r := m.room(id, "/joined_members")
		if in := r.Status == 200; in != m.joined[id] {
			m.t.Errorf("%s: in %s: got %v, want %v", m.ID, id, m.joined[id], in)
		}
		if r.Status != 200 {
			continue
		}
		for u := range r.at("joined").(object) {
			shares[u] = true
		}
		var all []string
		for from := "/messages?dir=f&limit=100"; from != ""; {
			r := m.room(id, from).want(200)
			for _, e := range r.at("chunk").([]any) {
				all = append(all, at(e, "event_id").(string))
			}
			from = ""
			if end, ok := r.at("end").(string); ok {
				from = "/messages?dir=f&limit=100&from=" + url.QueryEscape(end)
			}
		}
		if !slices.Equal(m.logs[id], all) {
			m.t.Errorf("%s: the log of %s: got %d events\n%v\nwant %d\n%v", m.ID, id, len(m.logs[id]), m.logs[id], len(all), all)
		}
		want := map[string]string{}
		var state []any
		if err := json.Unmarshal(m.room(id, "/state").want(200).Raw, &state); err != nil {
			m.t.Fatal(err)
		}
		for _, e := range state {
			want[at(e, "type").(string)+"/"+at(e, "state_key").(string)] = summary(e)
		}
		if got := fmt.Sprint(m.states[id]); got != fmt.Sprint(want) {
			m.t.Errorf("%s: the state of %s (after: %v):\ngot  %s\nwant %v", m.ID, id, m.after, got, want)
		}
	}
	for u := range shares {
		if v := m.w.versions[u].Load(); m.keys[u] != v && (u != m.ID || m.keys[u] != 0) {
			m.t.Errorf("%s: the keys of %s: got version %d, want %d", m.ID, u, m.keys[u], v)
		}
	}
	for u := range m.keys {
		if !shares[u] {
			m.t.Errorf("%s still tracks %s", m.ID, u)
		}
	}
}

// act lets one user do something at random, what the rules allow or not.
func (w *world) act(r *rand.Rand, n string, signs signer) {
	u, other, room := w.users[r.IntN(len(w.users))], w.users[r.IntN(len(w.users))], w.rooms[r.IntN(len(w.rooms))]
	p := v3 + "/rooms/" + esc(room)
	switch r.IntN(12) {
	case 0, 1, 2, 3:
		u.send(room, "m.room.message", n, object{"msgtype": "m.text", "body": n})
	case 4:
		u.set(room, "m.room.topic", "", object{"topic": n})
	case 5, 6, 7:
		u.post(p+"/join", object{})
	case 8:
		u.post(p+"/leave", object{})
	case 9:
		if r.IntN(2) == 0 {
			u.post(p+"/invite", object{"user_id": other.ID})
		} else {
			u.post(p+"/kick", object{"user_id": other.ID})
		}
	case 10:
		w.versions[u.ID].Add(1)
		u.post(v3+"/keys/upload", object{"device_keys": signs.sign(object{"user_id": u.ID, "device_id": u.Device, "algorithms": []string{n},
			"keys": object{"ed25519:" + u.Device: signs.pub}}, u.ID, u.Device)}).want(200)
	case 11:
		u.tell("m.x", n, object{other.ID: object{"*": object{"n": n}}}).want(200)
	}
}

// newWorld makes users and rooms with all kinds of visibility of the past.
func newWorld(s *stage) *world {
	w := &world{versions: map[string]*atomic.Int64{}}
	for i := range 4 {
		u := s.register(fmt.Sprint("user", i))
		w.users = append(w.users, u)
		w.versions[u.ID] = new(atomic.Int64)
	}
	for i, visibility := range []string{"shared", "joined", "invited"} {
		w.rooms = append(w.rooms, w.users[i].create(object{"preset": "public_chat", "initial_state": []any{
			object{"type": "m.room.history_visibility", "content": object{"history_visibility": visibility}}}}))
	}
	return w
}

// TestSyncRandomly: whatever users do, and whenever their clients sync, each
// client gets every event of its rooms once and in order, always knows the
// state, hears of everyone whose keys changed while they share a room and of
// everyone who is gone, and gets each message to it once and in order, also
// where answers are lost.
func TestSyncRandomly(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		for _, seed := range []uint64{1, 2} {
			s.randomly(seed)
		}
	})
}

func (s *stage) randomly(seed uint64) {
	t := s.t
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	s = newStage(t)
	w := newWorld(s)
	r := rand.New(rand.NewPCG(seed, 0))
	signs := newSigner(t)
	var mirrors []*mirror
	for i, u := range w.users {
		mirrors = append(mirrors, newMirror(t, w, u, seed*10+uint64(i)))
	}
	for i := range 150 {
		w.act(r, fmt.Sprint(i), signs)
		if m := mirrors[r.IntN(len(mirrors))]; r.IntN(3) == 0 {
			m.look(false)
		}
	}
	w.settle(mirrors)
}

// settle lets all mirrors come to rest and holds them against the server.
func (w *world) settle(mirrors []*mirror) {
	want := map[string]int{}
	for _, m := range mirrors {
		for range 8 { // an answer may be lost
			m.look(false)
		}
		m.check()
		for _, n := range m.told {
			if want[m.ID+n]++; want[m.ID+n] > 1 {
				m.t.Errorf("%s: message %s came twice", m.ID, n)
			}
		}
	}
}

// TestSyncConcurrently is the same with everyone at once and syncs that wait.
func TestSyncConcurrently(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		w := newWorld(s)
		signs := newSigner(t)
		var mirrors []*mirror
		var acting, looking sync.WaitGroup
		done := make(chan struct{})
		for i, u := range w.users {
			m := newMirror(t, w, u, uint64(i))
			mirrors = append(mirrors, m)
			looking.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						m.look(true)
					}
				}
			})
		}
		for i := range 3 {
			acting.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 7))
				for j := range 50 {
					w.act(r, fmt.Sprint(i, "-", j), signs)
				}
			})
		}
		acting.Wait()
		close(done)
		looking.Wait()
		w.settle(mirrors)
	})
}
