package matrixserver_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/testkit/crowd"
)

// raceRoom is how many members a room of TestRace has.
const raceRoom = 8

// A racer is one client of TestRace: what it did, and what came to it.
type racer struct {
	*user
	at, round int
	room      string
	since     string
	// version is of its backup, which has so many keys.
	version string
	backed  int
	// said are the events that it sent, in order; read are those of its room.
	said, read []string
	// told are the numbers that it sent to each other client's device, heard
	// those that came from each, in order.
	told, heard map[string][]int
	// claimed are the one-time keys that it was given; offered those it made.
	claimed []string
	offered int
}

// call makes a call that must be answered with the status.
func (r *racer) call(ctx context.Context, status int, method, path string, body any) (*reply, error) {
	a, err := r.try(ctx, method, path, body)
	if err == nil && a.Status != status {
		err = fmt.Errorf("%s: got %d %.300s, want %d", a.call, a.Status, a.Raw, status)
	}
	return a, err
}

// TestRace lets 64 clients work at one server at once: log in and out, send to
// rooms and to devices, hand out and claim one-time keys, keep backups and
// files, and sync. Whatever they do between each other, a room has one order,
// nothing is lost, nothing comes twice and no one-time key is given twice.
func TestRace(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		all := s.racers(t)
		turns := crowd.Run(t, len(all), func(ctx context.Context, i, round int) error {
			all[i].round = round
			return all[i].turn(ctx, all)
		})
		if t.Failed() {
			return
		}
		for _, r := range all {
			if err := r.sync(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d turns", turns)
		judgeRooms(t, all)
		judgeDevices(t, all)
	})
}

// racers registers the clients, in rooms of eight.
func (s *stage) racers(t *testing.T) []*racer {
	t.Helper()
	all := make([]*racer, crowd.Clients)
	crowd.Each(t, len(all), func(i int) error {
		r := &racer{user: s.nobody(), at: i, told: map[string][]int{}, heard: map[string][]int{}}
		a, err := r.call(t.Context(), 200, "POST", v3+"/register", object{"username": fmt.Sprint("racer", i), "password": password, "device_id": "MAIN", "auth": object{"type": "m.login.dummy"}})
		if err != nil {
			return err
		}
		r.ID, r.Device, r.Token = fmt.Sprint(a.at("user_id")), "MAIN", fmt.Sprint(a.at("access_token"))
		if a, err = r.call(t.Context(), 200, "POST", backups, object{"algorithm": "x.any", "auth_data": object{}}); err != nil {
			return err
		}
		r.version = fmt.Sprint(a.at("version"))
		all[i] = r
		return nil
	})
	for members := range slices.Chunk(all, raceRoom) {
		room := members[0].create(object{"preset": "public_chat"})
		for _, r := range members {
			r.room = room
		}
	}
	crowd.Each(t, len(all), func(i int) error {
		_, err := all[i].call(t.Context(), 200, "POST", v3+"/join/"+esc(all[i].room), object{})
		return err
	})
	return all
}

// turn is what a client does at a beat. The parts that cost much are done by
// an eighth of the clients at a time.
func (r *racer) turn(ctx context.Context, all []*racer) error {
	parts := []func(context.Context, []*racer) error{r.say, r.tell, r.offer, r.claim}
	switch (r.at + r.round) % 8 {
	case 0:
		parts = append(parts, r.carry)
	case 1, 5:
		parts = append(parts, r.backUp)
	case 2:
		parts = append(parts, r.visit)
	case 3:
		parts = append(parts, r.look)
	}
	for _, part := range parts {
		if err := part(ctx, all); err != nil {
			return err
		}
	}
	return r.sync(ctx, 200*(r.at%2))
}

// say sends one message twice at once, as a client whose first answer is late
// does: it is one event.
func (r *racer) say(ctx context.Context, _ []*racer) error {
	path := v3 + "/rooms/" + esc(r.room) + "/send/m.room.message/" + fmt.Sprint("say", r.round)
	type outcome struct {
		a   *reply
		err error
	}
	twin := make(chan outcome, 1)
	body := object{"msgtype": "m.text", "body": fmt.Sprint(r.round)}
	go func() {
		a, err := r.call(ctx, 200, "PUT", path, body)
		twin <- outcome{a, err}
	}()
	a, err := r.call(ctx, 200, "PUT", path, body)
	other := <-twin
	if err := cmp.Or(err, other.err); err != nil {
		return err
	}
	id := fmt.Sprint(a.at("event_id"))
	if id2 := fmt.Sprint(other.a.at("event_id")); id != id2 {
		return fmt.Errorf("one transaction became the events %s and %s", id, id2)
	}
	r.said = append(r.said, id)
	return nil
}

// tell sends a number to the device of another client.
func (r *racer) tell(ctx context.Context, all []*racer) error {
	to := all[(r.at+1+r.round%7*9)%len(all)]
	_, err := r.call(ctx, 200, "PUT", v3+"/sendToDevice/m.test/"+fmt.Sprint("tell", r.round), object{"messages": object{to.ID: object{to.Device: object{"n": r.round}}}})
	r.told[to.ID] = append(r.told[to.ID], r.round)
	return err
}

func (r *racer) offer(ctx context.Context, _ []*racer) error {
	a, b := fmt.Sprint("a", r.round), fmt.Sprint("b", r.round)
	_, err := r.call(ctx, 200, "POST", v3+"/keys/upload", object{"one_time_keys": oneTime(a, b)})
	r.offered += 2
	return err
}

// claim claims a key of the one client that seven others claim keys of.
func (r *racer) claim(ctx context.Context, all []*racer) error {
	of := all[r.at-r.at%raceRoom]
	a, err := r.call(ctx, 200, "POST", v3+"/keys/claim", object{"one_time_keys": object{of.ID: object{of.Device: "signed_curve25519"}}})
	if err != nil {
		return err
	}
	got, _ := a.at("one_time_keys", of.ID, of.Device).(object)
	for id := range got {
		r.claimed = append(r.claimed, of.ID+" "+id)
	}
	return nil
}

// carry uploads a file that another client reads.
func (r *racer) carry(ctx context.Context, all []*racer) error {
	file := bytes.Repeat([]byte(fmt.Sprint(r.at, " ", r.round, "\n")), 5000)
	a, err := r.call(ctx, 200, "POST", uploadPath, file)
	if err != nil {
		return err
	}
	u, err := url.Parse(fmt.Sprint(a.at("content_uri")))
	if err != nil {
		return err
	}
	reader := &racer{user: &user{s: r.s, Token: all[(r.at+31)%len(all)].Token}}
	if a, err = reader.call(ctx, 200, "GET", downloadPath+u.Host+u.Path, nil); err == nil && !bytes.Equal(a.Raw, file) {
		err = fmt.Errorf("%s: got another file of %d bytes", u, len(a.Raw))
	}
	return err
}

// backUp stores a key, and finds as many as it stored.
func (r *racer) backUp(ctx context.Context, _ []*racer) error {
	a, err := r.call(ctx, 200, "PUT", keyPath+"/"+esc(r.room)+"/"+fmt.Sprint("session", r.round)+"?version="+r.version, backupKey(0, 0, true, object{"n": r.round}))
	if err != nil {
		return err
	}
	if r.backed++; fmt.Sprint(a.at("count")) != fmt.Sprint(r.backed) {
		return fmt.Errorf("the backup has %v keys, want %d", a.at("count"), r.backed)
	}
	return nil
}

// visit logs a second device in and out again: its token ends with it.
func (r *racer) visit(ctx context.Context, _ []*racer) error {
	a, err := r.call(ctx, 200, "POST", v3+"/login", object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": r.ID}, "password": password, "device_id": "VISITOR"})
	if err != nil {
		return err
	}
	v := &racer{user: &user{s: r.s, ID: r.ID, Device: "VISITOR", Token: fmt.Sprint(a.at("access_token"))}}
	if _, err = v.call(ctx, 200, "GET", v3+"/account/whoami", nil); err != nil {
		return err
	}
	if _, err = v.call(ctx, 200, "POST", v3+"/logout", object{}); err != nil {
		return err
	}
	_, err = v.call(ctx, 401, "GET", v3+"/account/whoami", nil)
	return err
}

// look asks for the devices of the room and who is in it.
func (r *racer) look(ctx context.Context, _ []*racer) error {
	if _, err := r.call(ctx, 200, "POST", v3+"/keys/query", object{"device_keys": object{r.ID: []string{}}}); err != nil {
		return err
	}
	a, err := r.call(ctx, 200, "GET", v3+"/rooms/"+esc(r.room)+"/joined_members", nil)
	if err != nil {
		return err
	}
	if in, _ := a.at("joined").(object); len(in) != raceRoom {
		return fmt.Errorf("the room has %d members, want %d", len(in), raceRoom)
	}
	return nil
}

// sync reads what is new, and waits up to so many milliseconds for it.
func (r *racer) sync(ctx context.Context, wait int) error {
	path := v3 + "/sync?timeout=" + fmt.Sprint(wait) + "&filter=" + url.QueryEscape(`{"room":{"timeline":{"limit":1000}}}`)
	if r.since != "" {
		path += "&since=" + url.QueryEscape(r.since)
	}
	a, err := r.call(ctx, 200, "GET", path, nil)
	if err != nil {
		return err
	}
	line, _ := a.at("rooms", "join", r.room, "timeline").(object)
	if line["limited"] == true && r.since != "" {
		return fmt.Errorf("the sync at %s has a gap", r.since)
	}
	events, _ := line["events"].([]any)
	for _, e := range events {
		if at(e, "type") == "m.room.message" {
			r.read = append(r.read, fmt.Sprint(at(e, "event_id")))
		}
	}
	events, _ = a.at("to_device", "events").([]any)
	for _, e := range events {
		n, ok := at(e, "content", "n").(float64)
		if !ok {
			return fmt.Errorf("a message to the device without a number: %v", e)
		}
		from := fmt.Sprint(at(e, "sender"))
		r.heard[from] = append(r.heard[from], int(n))
	}
	r.since = fmt.Sprint(a.at("next_batch"))
	return nil
}

// judgeRooms holds that the members of a room read the same events in the same
// order, each of them once, and those of each sender as they were sent.
func judgeRooms(t *testing.T, all []*racer) {
	t.Helper()
	for room := range slices.Chunk(all, raceRoom) {
		place, sent := map[string]int{}, 0
		for i, id := range room[0].read {
			place[id] = i
		}
		for _, r := range room {
			if !slices.Equal(r.read, room[0].read) {
				t.Errorf("%s reads %d events, %s %d, or in another order", r.ID, len(r.read), room[0].ID, len(room[0].read))
			}
			last := -1
			for _, id := range r.said {
				at, ok := place[id]
				if !ok || at <= last {
					t.Errorf("the event %s of %s is at %d (%v), want it after %d", id, r.ID, at, ok, last)
				}
				last = at
			}
			sent += len(r.said)
		}
		if sent != len(room[0].read) || sent != len(place) {
			t.Errorf("%s: got %d events, %d of them different, want the %d that were sent", room[0].room, len(room[0].read), len(place), sent)
		}
	}
}

// judgeDevices holds that each device heard what it was told, once and in
// order, and that no one-time key was given to two.
func judgeDevices(t *testing.T, all []*racer) {
	t.Helper()
	given := map[string]string{}
	for _, r := range all {
		for _, to := range all {
			if got, want := to.heard[r.ID], r.told[to.ID]; !slices.Equal(got, want) {
				t.Errorf("%s heard %v of %s, want %v", to.ID, got, r.ID, want)
			}
		}
		for _, k := range r.claimed {
			if given[k] != "" {
				t.Errorf("the key %s was given to %s and to %s", k, given[k], r.ID)
			}
			given[k] = r.ID
		}
	}
	if len(given) == 0 {
		t.Error("no key was given to anybody")
	}
	offered := 0
	for room := range slices.Chunk(all, raceRoom) {
		offered += room[0].offered
	}
	if len(given) > offered {
		t.Errorf("%d keys were given, of %d that there were", len(given), offered)
	}
}
