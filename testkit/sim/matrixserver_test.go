package sim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/testkit/sim"
)

// A homeserver is what a Matrix machine sees of its server, in memory. Every
// write has a position.
type homeserver struct {
	now      func() time.Time
	pos      uint64
	users    map[quinta.UserID]*account
	rooms    map[quinta.RoomID]*room
	accepted []sim.Accepted
	misused  []string
	given    map[string]bool // one-time keys
}

type account struct {
	devices map[quinta.DeviceID]*device
	changed uint64
}

// A room is an encrypted one.
type room struct {
	events  []stamped
	members map[quinta.UserID]*member
}

// A member is what a user is in a room; joined and left are the positions at
// which that began.
type member struct {
	membership   string
	joined, left uint64
}

// in reports whether the user of m is in the room.
func (m *member) in() bool { return m != nil && m.membership == "join" }

type device struct {
	keys     json.RawMessage
	oneTime  []namedKey
	fallback *namedKey
	used     bool
	all      map[string]string // every one-time key that was ever uploaded
	inbox    []stamped
	txns     map[string]answer
	spans    map[quinta.RoomID][]span // by room
}

// A span is a time in which a device may read; an open one has no end.
type span struct {
	from, to uint64
	open     bool
}

type answer struct{ request, body string }

type namedKey struct {
	name string
	key  json.RawMessage
}

type stamped struct {
	pos uint64
	raw json.RawMessage
}

func (s *homeserver) next() uint64 { s.pos++; return s.pos }

func (s *homeserver) account(u quinta.UserID) *account {
	if s.users[u] == nil {
		s.users[u] = &account{devices: map[quinta.DeviceID]*device{}}
	}
	return s.users[u]
}

// names returns the users in order.
func (s *homeserver) names() []quinta.UserID { return slices.Sorted(maps.Keys(s.users)) }

func (s *homeserver) login(at sim.Seat) {
	s.account(at.User).devices[at.Device] = &device{all: map[string]string{}, txns: map[string]answer{}, spans: map[quinta.RoomID][]span{}}
}

// logout forgets the keys of a device, and keeps what tells about it.
func (s *homeserver) logout(at sim.Seat) {
	a := s.users[at.User]
	if d := a.devices[at.Device]; d.keys != nil {
		d.keys, d.oneTime, d.fallback = nil, nil, nil
		a.changed = s.next()
	}
	s.span(at.User)
}

// span notes who may read from now on: a device with keys of a member.
func (s *homeserver) span(u quinta.UserID) {
	for _, d := range s.users[u].devices {
		for id, r := range s.rooms {
			in, spans := d.keys != nil && r.members[u].in(), d.spans[id]
			n := len(spans)
			was := n > 0 && spans[n-1].open
			switch {
			case in && !was:
				d.spans[id] = append(spans, span{from: s.pos, open: true})
			case was && !in:
				spans[n-1].open, spans[n-1].to = false, s.pos
			}
		}
	}
}

// room returns a room, which is made encrypted when it is first named.
func (s *homeserver) room(id quinta.RoomID) *room {
	if s.rooms[id] == nil {
		s.rooms[id] = &room{members: map[quinta.UserID]*member{}}
		empty := ""
		s.event(id, "@admin:x", "m.room.encryption", &empty, map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 10})
	}
	return s.rooms[id]
}

// event appends an event to a room.
func (s *homeserver) event(id quinta.RoomID, sender quinta.UserID, typ string, stateKey *string, content any) string {
	r, pos := s.room(id), s.next()
	event := fmt.Sprint("$", pos)
	e := map[string]any{"type": typ, "sender": sender, "event_id": event, "origin_server_ts": s.now().UnixMilli(), "content": content}
	if stateKey != nil {
		e["state_key"] = *stateKey
	}
	r.events = append(r.events, stamped{pos, encode(e)})
	return event
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *homeserver) member(id quinta.RoomID, u quinta.UserID, membership string) {
	r, key := s.room(id), string(u)
	s.account(u)
	s.event(id, u, "m.room.member", &key, map[string]string{"membership": membership})
	m := r.members[u]
	if m == nil {
		m = &member{}
		r.members[u] = m
	}
	if m.membership = membership; m.in() {
		m.joined = s.pos
	} else {
		m.left = s.pos
	}
	s.span(u)
}

// share reports whether two users are in a room together, since when at the
// latest, and when they last ceased to be.
func (s *homeserver) share(u, v quinta.UserID) (now bool, began, ended uint64) {
	for _, r := range s.rooms {
		a, b := r.members[u], r.members[v]
		switch {
		case a.in() && b.in():
			if at := max(a.joined, b.joined); !now || at < began {
				now, began = true, at
			}
		case a != nil && b != nil:
			ended = max(ended, a.left, b.left)
		}
	}
	return now, began, ended
}

// sync answers /sync.
func (s *homeserver) sync(at sim.Seat, since string) []byte {
	var from uint64
	if since != "" {
		n, err := strconv.ParseUint(since, 10, 64)
		if err != nil {
			panic(err)
		}
		from = n
	}
	dev := s.users[at.User].devices[at.Device]
	dev.inbox = slices.DeleteFunc(dev.inbox, func(m stamped) bool { return m.pos <= from })
	to := s.pos
	inbox := []json.RawMessage{}
	for i, m := range dev.inbox {
		if i == 100 {
			to = m.pos - 1
			break
		}
		inbox = append(inbox, m.raw)
	}
	var changed, left []quinta.UserID
	for _, id := range s.names() {
		a, self := s.users[id], id == at.User
		now, began, ended := s.share(id, at.User)
		switch {
		case since == "":
		case (now || self) && (a.changed > from && a.changed <= to || !self && began > from):
			changed = append(changed, id)
		case !now && !self && ended > from:
			left = append(left, id)
		}
	}
	joined, gone := map[quinta.RoomID]any{}, map[quinta.RoomID]any{}
	for id, r := range s.rooms {
		me := r.members[at.User]
		switch body, ok := r.since(me, from, to); {
		case !ok:
		case me.in():
			joined[id] = body
		default:
			gone[id] = body
		}
	}
	unused := []string{}
	if dev.fallback != nil && !dev.used {
		unused = append(unused, "signed_curve25519")
	}
	return encode(map[string]any{
		"next_batch": fmt.Sprint(to), "to_device": map[string]any{"events": inbox},
		"device_lists":                     map[string]any{"changed": changed, "left": left},
		"device_one_time_keys_count":       map[string]int{"signed_curve25519": len(dev.oneTime)},
		"device_unused_fallback_key_types": unused,
		"rooms":                            map[string]any{"join": joined, "leave": gone},
	})
}

// since returns the part of a /sync that tells a member what happened in the
// room between two positions, or false if nothing did.
func (r *room) since(me *member, from, to uint64) (any, bool) {
	if me == nil {
		return nil, false
	}
	if !me.in() {
		to = min(to, me.left)
	}
	events, state := []json.RawMessage{}, []json.RawMessage{}
	for _, e := range r.events {
		switch {
		case e.pos > from && e.pos <= to:
			events = append(events, e.raw)
		case e.pos <= from && me.joined > from && bytes.Contains(e.raw, []byte(`"state_key"`)):
			// The room is new to this device: its state from before.
			state = append(state, e.raw)
		}
	}
	return map[string]any{"state": map[string]any{"events": state}, "timeline": map[string]any{"events": events}}, len(events) > 0
}

var refused = func(code string) matrix.Ans { return matrix.Ans{Failure: matrix.Refused, Code: code} }

// handle answers a request of a device.
func (s *homeserver) handle(at sim.Seat, req matrix.Req) matrix.Ans {
	dev := s.users[at.User].devices[at.Device]
	parts := pathOf(req)
	key := strings.Join(parts, "/")
	if req.Method == "PUT" {
		if old, ok := dev.txns[key]; ok {
			return matrix.Ans{Body: []byte(old.body)}
		}
	}
	var body map[string]json.RawMessage
	if req.Body != nil {
		if err := json.Unmarshal(req.Body, &body); err != nil {
			return refused("M_NOT_JSON")
		}
	}
	var ans any
	switch strings.Join(parts[:2], "/") {
	case "keys/upload":
		if code := s.upload(at, dev, body); code != "" {
			return refused(code)
		}
		ans = map[string]any{"one_time_key_counts": map[string]int{"signed_curve25519": len(dev.oneTime)}}
	case "keys/query":
		ans = s.query(body)
	case "keys/claim":
		ans = s.claim(body)
	case "sendToDevice/m.room.encrypted", "sendToDevice/m.room.encrypted/", "sendToDevice/m.room_key_request", "sendToDevice/m.room_key.withheld":
		s.sendToDevice(at.User, parts[1], body)
		ans = struct{}{}
	default:
		id := quinta.RoomID(parts[1])
		r := s.rooms[id]
		switch {
		case parts[0] != "rooms":
			return refused("M_UNRECOGNIZED")
		case r == nil || !r.members[at.User].in():
			return refused("M_FORBIDDEN")
		case parts[2] == "members":
			ans = r.list()
		default:
			ans = map[string]string{"event_id": s.event(id, at.User, parts[3], nil, json.RawMessage(req.Body))}
			s.accepted = append(s.accepted, sim.Accepted{Room: id, Txn: quinta.TxnID(parts[4]), Pos: s.pos})
		}
	}
	out := encode(ans)
	if req.Method == "PUT" {
		dev.txns[key] = answer{string(req.Body), string(out)}
	}
	return matrix.Ans{Body: out}
}

// pathOf returns the parts of a path below the client API.
func pathOf(req matrix.Req) []string {
	parts := strings.Split(strings.TrimPrefix(req.Path, "/_matrix/client/v3/"), "/")
	for i, p := range parts {
		if u, err := url.PathUnescape(p); err == nil {
			parts[i] = u
		}
	}
	return parts
}

func (s *homeserver) upload(at sim.Seat, dev *device, body map[string]json.RawMessage) string {
	var oneTime, fallback map[string]json.RawMessage
	decode(body["one_time_keys"], &oneTime)
	decode(body["fallback_keys"], &fallback)
	names := slices.Sorted(maps.Keys(oneTime))
	for _, name := range names {
		if old, ok := dev.all[name]; ok && old != string(oneTime[name]) {
			return "M_INVALID_PARAM"
		}
	}
	if raw := body["device_keys"]; raw != nil && string(raw) != string(dev.keys) {
		dev.keys = raw
		s.users[at.User].changed = s.next()
		s.span(at.User)
	}
	for _, name := range names {
		if _, ok := dev.all[name]; !ok {
			dev.all[name] = string(oneTime[name])
			dev.oneTime = append(dev.oneTime, namedKey{name, oneTime[name]})
		}
	}
	for name, raw := range fallback {
		dev.fallback, dev.used = &namedKey{name, raw}, false
	}
	return ""
}

// decode reads what a machine wrote, or nothing.
func decode(raw []byte, v any) {
	if raw == nil {
		return
	}
	if err := json.Unmarshal(raw, v); err != nil {
		panic(err)
	}
}

func (s *homeserver) query(body map[string]json.RawMessage) any {
	var ask map[quinta.UserID][]string
	decode(body["device_keys"], &ask)
	keys := map[quinta.UserID]map[quinta.DeviceID]json.RawMessage{}
	for u := range ask {
		keys[u] = map[quinta.DeviceID]json.RawMessage{}
		for id, d := range s.account(u).devices {
			if d.keys != nil {
				keys[u][id] = d.keys
			}
		}
	}
	return map[string]any{"device_keys": keys, "failures": struct{}{}, "master_keys": struct{}{}, "self_signing_keys": struct{}{}, "user_signing_keys": struct{}{}}
}

func (s *homeserver) claim(body map[string]json.RawMessage) any {
	var ask map[quinta.UserID]map[quinta.DeviceID]string
	decode(body["one_time_keys"], &ask)
	out := map[quinta.UserID]map[quinta.DeviceID]map[string]json.RawMessage{}
	for u, ds := range ask {
		out[u] = map[quinta.DeviceID]map[string]json.RawMessage{}
		for id := range ds {
			d := s.account(u).devices[id]
			switch {
			case d == nil:
			case len(d.oneTime) > 0:
				k := d.oneTime[0]
				d.oneTime = d.oneTime[1:]
				if s.given[string(k.key)] {
					s.misused = append(s.misused, fmt.Sprintf("%s %s: one-time key %s was given out twice", u, id, k.name))
				}
				s.given[string(k.key)] = true
				out[u][id] = map[string]json.RawMessage{k.name: k.key}
			case d.fallback != nil:
				d.used = true
				out[u][id] = map[string]json.RawMessage{d.fallback.name: d.fallback.key}
			}
		}
	}
	return map[string]any{"one_time_keys": out, "failures": struct{}{}}
}

func (s *homeserver) sendToDevice(from quinta.UserID, typ string, body map[string]json.RawMessage) {
	var ms map[quinta.UserID]map[quinta.DeviceID]json.RawMessage
	decode(body["messages"], &ms)
	for _, u := range slices.Sorted(maps.Keys(ms)) {
		for _, id := range slices.Sorted(maps.Keys(ms[u])) {
			if d := s.account(u).devices[id]; d != nil && d.keys != nil {
				raw := encode(map[string]any{"type": typ, "sender": from, "content": ms[u][id]})
				d.inbox = append(d.inbox, stamped{s.next(), raw})
			}
		}
	}
}

// list answers /members.
func (r *room) list() any {
	chunk := []json.RawMessage{}
	for _, u := range slices.Sorted(maps.Keys(r.members)) {
		chunk = append(chunk, encode(map[string]any{"type": "m.room.member", "state_key": u, "sender": u, "content": map[string]string{"membership": r.members[u].membership}}))
	}
	return map[string]any{"chunk": chunk}
}
