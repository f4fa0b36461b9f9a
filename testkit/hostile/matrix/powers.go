package matrix

import (
	"encoding/json"
	"fmt"
	"slices"
)

// An Event is a room event or a to-device event as the client would get it.
type Event struct {
	// Room is empty for an event to the device.
	Room, Type, Sender, ID string
	// Encrypted has the content of m.room.encrypted.
	Content Object
}

func eventOf(room string, o Object) Event {
	e := Event{Room: room}
	e.Type, _ = o["type"].(string)
	e.Sender, _ = o["sender"].(string)
	e.ID, _ = o["event_id"].(string)
	e.Content, _ = o["content"].(Object)
	return e
}

// Withhold keeps the events back for which drop is true.
func (s *Server) Withhold(drop func(e Event) bool) {
	s.Answer("/sync", func(sync Object) {
		keep := func(room string) func([]any) []any {
			return func(events []any) []any {
				return slices.DeleteFunc(events, func(v any) bool { o, ok := v.(Object); return ok && drop(eventOf(room, o)) })
			}
		}
		toDevice(sync, keep(""))
		rooms(sync, func(id string, room Object) {
			object(room, "timeline")["events"] = keep(id)(list(object(room, "timeline")["events"]))
			states(room, keep(id))
		})
	})
}

// WithholdChanges does not tell that device lists have changed.
func (s *Server) WithholdChanges() {
	s.Answer("/sync", func(sync Object) { delete(sync, "device_lists") })
}

// ForgeSender shows the events for which is is true as another user's.
func (s *Server) ForgeSender(is func(e Event) bool, as string) {
	s.Answer("/sync", func(sync Object) {
		forge := func(room string, events []any) []any {
			each(events, func(o Object) {
				if is(eventOf(room, o)) {
					o["sender"] = as
				}
			})
			return events
		}
		toDevice(sync, func(events []any) []any { return forge("", events) })
		timelines(sync, forge)
	})
}

// Reorder brings events to the device, and those of each timeline, last first.
func (s *Server) Reorder() {
	s.Answer("/sync", func(sync Object) {
		back := func(events []any) []any { slices.Reverse(events); return events }
		toDevice(sync, back)
		timelines(sync, func(_ string, events []any) []any { return back(events) })
	})
}

// ReplayToDevice brings every event to the device twice at once.
func (s *Server) ReplayToDevice() {
	s.Answer("/sync", func(sync Object) {
		toDevice(sync, func(events []any) []any { return append(events, clone(events).([]any)...) })
	})
}

// Replay shows every encrypted event of a room once more as another event: under
// another id, and to whichever room move names.
func (s *Server) Replay(move func(room string) string) {
	n := 0
	s.Answer("/sync", func(sync Object) {
		again := map[string][]any{}
		timelines(sync, func(room string, events []any) []any {
			each(events, func(o Object) {
				if eventOf(room, o).Type == "m.room.encrypted" {
					n++
					c := clone(o).(Object)
					c["event_id"] = fmt.Sprintf("$replay%d", n)
					again[move(room)] = append(again[move(room)], c)
				}
			})
			return events
		})
		for room, events := range again {
			t := object(object(object(object(sync, "rooms"), "join"), room), "timeline")
			t["events"] = append(list(t["events"]), events...)
		}
	})
}

// AddMember shows a user as a member of a room whom no one invited.
func (s *Server) AddMember(room, user string) {
	event := func() Object {
		return Object{
			"type": "m.room.member", "state_key": user, "sender": user, "event_id": "$ghost", "origin_server_ts": json.Number("1700000000000"),
			"content": Object{"membership": "join", "displayname": "a friend"},
		}
	}
	told := false
	s.Answer("/sync", func(sync Object) {
		if told {
			return
		}
		told = true
		r := object(object(object(sync, "rooms"), "join"), room)
		t := object(r, "timeline")
		t["events"] = append(list(t["events"]), event())
		states(r, func(events []any) []any { return append(events, event()) })
		lists := object(sync, "device_lists")
		lists["changed"] = append(list(lists["changed"]), user)
	})
	s.Answer("/members", func(o Object) { o["chunk"] = append(list(o["chunk"]), event()) })
}

// Say puts an event that the server made up into the timeline of a room, once.
func (s *Server) Say(room string, e Object) {
	told := false
	s.Answer("/sync", func(sync Object) {
		if told {
			return
		}
		told = true
		t := object(object(object(object(sync, "rooms"), "join"), room), "timeline")
		t["events"] = append(list(t["events"]), e)
	})
}

// Hand puts an event to the device that the server made up into the next sync.
func (s *Server) Hand(typ, sender string, content any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inject = append(s.inject, Object{"type": typ, "sender": sender, "content": content})
}

// AnswerLate carries the next n requests of a path out and lets their answers
// come too late for the client.
func (s *Server) AnswerLate(part string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late[part] = n
}

// AnswerTwice gives the last answer of /sync n times again.
func (s *Server) AnswerTwice(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.twice = n
}

// Misdeliver gives what is sent to one device to another device of the user.
func (s *Server) Misdeliver(user, device, to string) {
	s.Ask("/sendToDevice/", func(o Object) {
		devices, ok := object(o, "messages")[user].(Object)
		if ok && devices[device] != nil {
			devices[to] = devices[device]
			delete(devices, device)
		}
	})
}

// DenyEncryption denies that any room is encrypted.
func (s *Server) DenyEncryption() {
	s.Withhold(func(e Event) bool { return e.Type == "m.room.encryption" })
}

// Weaken says with every sync that the room's encryption is another one.
func (s *Server) Weaken(room string, content any) {
	s.Answer("/sync", func(sync Object) {
		e := Object{"type": "m.room.encryption", "state_key": "", "sender": "@admin:hs1", "event_id": "$weak", "origin_server_ts": json.Number("1700000000000"), "content": content}
		r := object(object(object(sync, "rooms"), "join"), room)
		t := object(r, "timeline")
		t["events"] = append(list(t["events"]), e)
		states(r, func(events []any) []any { return append(events, clone(e)) })
	})
}

// Spoil changes the content of each event to the device for which is is true.
func (s *Server) Spoil(is func(e Event) bool, do func(content Object)) {
	s.Answer("/sync", func(sync Object) {
		toDevice(sync, func(events []any) []any {
			each(events, func(o Object) {
				if e := eventOf("", o); is(e) && e.Content != nil {
					do(e.Content)
				}
			})
			return events
		})
		timelines(sync, func(room string, events []any) []any {
			each(events, func(o Object) {
				if e := eventOf(room, o); is(e) && e.Content != nil {
					do(e.Content)
				}
			})
			return events
		})
	})
}
