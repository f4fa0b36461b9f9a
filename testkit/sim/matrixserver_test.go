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

// theRoom is the one room of a world.
const theRoom = "!r:x"

// A homeserver is what a Matrix machine sees of its server, in memory. Every
// write has a position.
type homeserver struct {
	now      func() time.Time
	pos      uint64
	users    map[quinta.UserID]*account
	events   []stamped
	accepted []sim.Accepted
	misused  []string
	given    map[string]bool // one-time keys
}

type account struct {
	devices map[quinta.DeviceID]*device
	changed uint64
	// membership is that in the room; joined and left are when it began.
	membership   string
	joined, left uint64
}

type device struct {
	keys     json.RawMessage
	oneTime  []namedKey
	fallback *namedKey
	used     bool
	all      map[string]string // every one-time key that was ever uploaded
	inbox    []stamped
	txns     map[string]answer
	spans    []span
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
	s.account(at.User).devices[at.Device] = &device{all: map[string]string{}, txns: map[string]answer{}}
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
	a := s.users[u]
	for _, d := range a.devices {
		in := d.keys != nil && a.membership == "join"
		n := len(d.spans)
		was := n > 0 && d.spans[n-1].open
		switch {
		case in && !was:
			d.spans = append(d.spans, span{from: s.pos, open: true})
		case was && !in:
			d.spans[n-1].open, d.spans[n-1].to = false, s.pos
		}
	}
}

// event appends an event to the room.
func (s *homeserver) event(sender quinta.UserID, typ string, stateKey *string, content any) string {
	pos := s.next()
	id := fmt.Sprint("$", pos)
	e := map[string]any{"type": typ, "sender": sender, "event_id": id, "origin_server_ts": s.now().UnixMilli(), "content": content}
	if stateKey != nil {
		e["state_key"] = *stateKey
	}
	s.events = append(s.events, stamped{pos, encode(e)})
	return id
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *homeserver) member(u quinta.UserID, membership string) {
	a, key := s.account(u), string(u)
	s.event(u, "m.room.member", &key, map[string]string{"membership": membership})
	if a.membership = membership; membership == "join" {
		a.joined = s.pos
	} else {
		a.left = s.pos
	}
	s.span(u)
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
	me := s.users[at.User]
	dev := me.devices[at.Device]
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
		a := s.users[id]
		share := id == at.User || me.membership == "join" && a.membership == "join"
		switch {
		case since == "":
		case share && (a.changed > from && a.changed <= to || id != at.User && max(a.joined, me.joined) > from):
			changed = append(changed, id)
		case !share && max(a.left, me.left) > from && a.joined > 0 && me.joined > 0:
			left = append(left, id)
		}
	}
	end := to
	if me.membership != "join" {
		end = min(to, me.left)
	}
	events, state := []json.RawMessage{}, []json.RawMessage{}
	for _, e := range s.events {
		switch {
		case e.pos > from && e.pos <= end:
			events = append(events, e.raw)
		case e.pos <= from && me.joined > from && bytes.Contains(e.raw, []byte(`"state_key"`)):
			// The room is new to this device: its state from before.
			state = append(state, e.raw)
		}
	}
	rooms := map[string]any{}
	body := map[string]any{theRoom: map[string]any{"state": map[string]any{"events": state}, "timeline": map[string]any{"events": events}}}
	switch {
	case len(events) == 0 || me.membership == "":
	case me.membership == "join":
		rooms["join"] = body
	default:
		rooms["leave"] = body
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
		"rooms":                            rooms,
	})
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
	case "rooms/" + theRoom:
		if s.users[at.User].membership != "join" {
			return refused("M_FORBIDDEN")
		}
		if parts[2] == "members" {
			ans = s.members()
			break
		}
		ans = map[string]string{"event_id": s.event(at.User, parts[3], nil, json.RawMessage(req.Body))}
		s.accepted = append(s.accepted, sim.Accepted{Txn: quinta.TxnID(parts[4]), Pos: s.pos})
	default:
		return refused("M_UNRECOGNIZED")
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

func (s *homeserver) members() any {
	chunk := []json.RawMessage{}
	for _, u := range s.names() {
		if m := s.users[u].membership; m != "" {
			chunk = append(chunk, encode(map[string]any{"type": "m.room.member", "state_key": u, "sender": u, "content": map[string]string{"membership": m}}))
		}
	}
	return map[string]any{"chunk": chunk}
}
