package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// textSize makes the content of a room message one kilobyte.
const textSize = 780

var megolm = filler(textSize)

const createBody = `{"preset":"public_chat","initial_state":[{"type":"m.room.encryption","state_key":"","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]}`

// newRoom makes an encrypted room whose creator is a seat.
func newRoom(c *client, s *seat) (string, error) {
	answer, err := c.ok("POST", "/_matrix/client/v3/createRoom", s.token, []byte(createBody))
	if err != nil {
		return "", err
	}
	id := member(answer, "room_id")
	if id == "" {
		return "", fmt.Errorf("createRoom gave no room_id: %.200s", answer)
	}
	return id, nil
}

func join(c *client, s *seat, room string) error {
	_, err := c.ok("POST", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/join", s.token, []byte("{}"))
	return err
}

// A talk is what the clients say in rooms: client i in rooms[i].
type talk struct {
	w     *world
	run   string
	rooms []string
	body  [clients][]byte
	said  [clients]int
	acked [clients][]bool
}

// say sends one message of client i.
func (t *talk) say(c *client, i int) error {
	n := t.said[i]
	t.said[i]++
	t.acked[i] = append(t.acked[i], false)
	b := append(t.body[i][:0], `{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"`...)
	b = append(append(appendMark(b, roomMark, mark{i, n}), megolm...), `","device_id":"`...)
	s := t.w.speaker(i)
	b = append(append(b, s.device...), `","sender_key":"`...)
	b = append(append(b, key43...), `","session_id":"`...)
	t.body[i] = append(append(b, key43...), `"}`...)
	_, err := c.ok("PUT", fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.encrypted/%s-%d", url.PathEscape(t.rooms[i]), t.run, n), s.token, t.body[i])
	if err == nil {
		t.acked[i][n] = true
	}
	return err
}

// speaker is the seat as which client i talks.
func (w *world) speaker(i int) *seat { return w.seats[i*devicesEach%len(w.seats)] }

// check reads the rooms back: every acknowledged message once and in the order
// of its sender.
func (t *talk) check(ctx context.Context) (int, error) {
	total := make([]int, clients)
	err := parallel(ctx, t.w.srv.Addr, clients, func(c *client, i int) error {
		var got []mark
		from := ""
		for {
			path := "/_matrix/client/v3/rooms/" + url.PathEscape(t.rooms[i]) + "/messages?dir=b&limit=100"
			if from != "" {
				path += "&from=" + from
			}
			answer, err := c.ok("GET", path, t.w.speaker(i).token, nil)
			if err != nil {
				return err
			}
			for _, m := range marks(answer, roomMark) {
				if m.client == i {
					got = append(got, m)
				}
			}
			if from = member(answer, "end"); from == "" {
				break
			}
		}
		have := map[int]bool{}
		for k, m := range got { // newest first
			if m.n >= t.said[i] {
				return fmt.Errorf("room %d holds message %d, which nobody sent", i, m.n)
			}
			if k > 0 && got[k-1].n <= m.n {
				return fmt.Errorf("room %d: message %d stands before message %d", i, got[k-1].n, m.n)
			}
			have[m.n] = true
		}
		for n, acked := range t.acked[i] {
			if acked && !have[n] {
				return fmt.Errorf("room %d: message %d was acknowledged and is not there", i, n)
			}
		}
		total[i] = len(got)
		return nil
	})
	sum := 0
	for _, n := range total {
		sum += n
	}
	return sum, err
}

// smallRooms makes a room of so many members for every client.
func (w *world) smallRooms(ctx context.Context, run string, members int) (*talk, error) {
	t := &talk{w: w, run: run, rooms: make([]string, clients)}
	err := parallel(ctx, w.srv.Addr, clients, func(c *client, i int) (err error) {
		if t.rooms[i], err = newRoom(c, w.speaker(i)); err != nil {
			return err
		}
		for m := 1; m < members; m++ {
			if err := join(c, w.speaker(i+m*7), t.rooms[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return t, err
}

// roomSend measures sending to rooms of ten members.
func roomSend(ctx context.Context, o *options, w *world, r *report) error {
	tk, err := w.smallRooms(ctx, "load", 10)
	if err != nil {
		return err
	}
	var t tally
	err = w.drive(ctx, &t, o.window, func(_ context.Context, i int, c *client) error { return tk.say(c, i) })
	if err != nil {
		return err
	}
	r.add(t.sample(opRoom, w.store.kind, w.users))
	n, err := tk.check(ctx)
	r.check(w.store.kind, fmt.Sprintf("rooms: every message once and in order (%d users)", w.users), fmt.Sprintf("%d messages", n), err)
	return nil
}

// largeRoom measures a room of five thousand members.
func largeRoom(ctx context.Context, o *options, kind string, r *report) (err error) {
	members := 5000
	if o.quick {
		members = 1000
	}
	if !o.wants("large room") {
		return nil
	}
	logf("%s: a room of %d members", kind, members)
	w, err := newWorld(ctx, o, kind, members)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	room, err := newRoom(w.clients[0], w.speaker(0))
	if err != nil {
		return err
	}
	name := func(s string) string { return fmt.Sprintf("room of %d: %s", members, s) }
	var next counter
	var t tally
	err = w.drive(ctx, &t, 10*callTime, func(_ context.Context, _ int, c *client) error {
		u := next.add()
		if u >= members {
			return errDone
		}
		return join(c, w.speaker(u), room)
	})
	if err != nil {
		return err
	}
	r.add(t.sample(name("join"), kind, members))
	tk := &talk{w: w, run: "large", rooms: make([]string, clients)}
	for i := range tk.rooms {
		tk.rooms[i] = room
	}
	for _, p := range []struct {
		name string
		op   func(i int, c *client) error
	}{
		{"send of 1 KB", func(i int, c *client) error { return tk.say(c, i) }},
		{"members", func(i int, c *client) error {
			_, err := c.ok("GET", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/members", w.speaker(i).token, nil)
			return err
		}},
		{"first sync, members lazy", func(i int, c *client) error {
			_, err := c.ok("GET", "/_matrix/client/v3/sync?timeout=0&filter="+url.QueryEscape(`{"room":{"state":{"lazy_load_members":true}}}`), w.speaker(i).token, nil)
			return err
		}},
		{"sync after one message", func(i int, c *client) error {
			s := w.speaker(i + clients)
			_, err := s.sync(c)
			return err
		}},
	} {
		if p.name == "sync after one message" {
			var seats []*seat
			for i := range clients {
				seats = append(seats, w.speaker(i+clients))
			}
			if err := w.begin(ctx, seats); err != nil {
				return err
			}
			if err := tk.say(w.clients[0], 0); err != nil {
				return err
			}
		}
		var t tally
		calls := [clients]int{}
		err := w.drive(ctx, &t, o.window, func(_ context.Context, i int, c *client) error {
			if p.name == "sync after one message" {
				if calls[i]++; calls[i] > 1 {
					return errDone
				}
			}
			return p.op(i, c)
		})
		if err != nil {
			return err
		}
		r.add(t.sample(name(p.name), kind, members))
	}
	n, err := tk.check(ctx)
	r.check(kind, name("every message once and in order"), fmt.Sprintf("%d messages", n), err)
	return nil
}
