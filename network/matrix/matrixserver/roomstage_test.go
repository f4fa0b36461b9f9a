package matrixserver_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// create makes a room and returns its id.
func (u *user) create(body object) string {
	u.s.t.Helper()
	return u.post(v3+"/createRoom", body).want(200).text("room_id")
}

// join joins a room.
func (u *user) join(room string) {
	u.s.t.Helper()
	u.post(v3+"/join/"+esc(room), object{}).want(200)
}

// invite invites other to room.
func (u *user) invite(room string, other *user) {
	u.s.t.Helper()
	u.post(v3+"/rooms/"+esc(room)+"/invite", object{"user_id": other.ID}).want(200)
}

// say sends a text with a transaction id made of it, and returns the event id.
func (u *user) say(room, body string) string {
	u.s.t.Helper()
	return u.send(room, "m.room.message", "txn "+body, object{"msgtype": "m.text", "body": body}).want(200).text("event_id")
}

func (u *user) send(room, typ, txn string, content any) *reply {
	u.s.t.Helper()
	return u.put(v3+"/rooms/"+esc(room)+"/send/"+esc(typ)+"/"+esc(txn), content)
}

// set sets state.
func (u *user) set(room, typ, key string, content any) *reply {
	u.s.t.Helper()
	return u.put(v3+"/rooms/"+esc(room)+"/state/"+esc(typ)+"/"+esc(key), content)
}

// state reads the content of a state event.
func (u *user) state(room, typ, key string) *reply {
	u.s.t.Helper()
	return u.get(v3 + "/rooms/" + esc(room) + "/state/" + esc(typ) + "/" + esc(key))
}

// room calls GET of a path below the room.
func (u *user) room(room, path string) *reply {
	u.s.t.Helper()
	return u.get(v3 + "/rooms/" + esc(room) + path)
}

// act calls POST of a path below the room with a user id.
func (u *user) act(room, what string, other *user) *reply {
	u.s.t.Helper()
	return u.post(v3+"/rooms/"+esc(room)+"/"+what, object{"user_id": other.ID})
}

// bodies lists the bodies of the messages of a list of events, or the types
// of events without one.
func bodies(list any) string {
	var out []string
	for _, e := range list.([]any) {
		if b, ok := at(e, "content", "body").(string); ok {
			out = append(out, b)
		} else {
			out = append(out, fmt.Sprint(at(e, "type")))
		}
	}
	return strings.Join(out, " ")
}

// is compares two values by how they print.
func is(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// memberships returns the members in an answer as "localpart:membership".
func memberships(chunk any) string {
	var out []string
	for _, e := range chunk.([]any) {
		local, _, _ := strings.Cut(strings.TrimPrefix(at(e, "state_key").(string), "@"), ":")
		out = append(out, local+":"+at(e, "content", "membership").(string))
	}
	return strings.Join(out, " ")
}

// words prints values with a space between each.
func words(v ...any) string { return strings.TrimSpace(fmt.Sprintln(v...)) }

// list returns an answer that is a JSON array.
func (r *reply) list() []any {
	r.t.Helper()
	var out []any
	if err := json.Unmarshal(r.Raw, &out); err != nil {
		r.t.Fatalf("%s: the answer is no list: %.200s", r.call, r.Raw)
	}
	return out
}
