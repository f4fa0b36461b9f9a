package matrix_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// A homeserver is the part of a homeserver that the machine sees, in memory
// and without authentication. Every write has a position.
type homeserver struct {
	t     testing.TB
	pos   int
	users map[quinta.UserID]*account
	rooms map[quinta.RoomID]*room
	// claims counts how often each one-time key was given out.
	claims map[string]int
	now    int64

	// Faults that a test switches on.
	failQuery   bool
	failedHosts []string
	answerQuery func(map[string]any)
	refuse      func(matrix.Req) string
	dupClear    []string // bodies of clear messages to encrypted rooms
}

type account struct {
	devices map[quinta.DeviceID]*device
	cross   map[string]json.RawMessage // by member of keys/query
	changed int
}

type device struct {
	keys     json.RawMessage
	oneTime  []namedKey
	fallback *namedKey
	used     bool
	all      map[string]json.RawMessage // every one-time key ever uploaded
	inbox    []stamped
	txns     map[string][]byte
}

type namedKey struct {
	name string
	key  json.RawMessage
}

type stamped struct {
	pos int
	raw json.RawMessage
}

type room struct {
	events  []stamped
	members map[quinta.UserID]string
	joined  map[quinta.UserID]int
	left    map[quinta.UserID]int
}

func newHomeserver(t testing.TB) *homeserver {
	return &homeserver{t: t, users: map[quinta.UserID]*account{}, rooms: map[quinta.RoomID]*room{}, claims: map[string]int{}, now: 1_700_000_000_000}
}

func (s *homeserver) next() int { s.pos++; return s.pos }

func (s *homeserver) login(u quinta.UserID, d quinta.DeviceID) {
	if s.users[u] == nil {
		s.users[u] = &account{devices: map[quinta.DeviceID]*device{}, cross: map[string]json.RawMessage{}}
	}
	s.users[u].devices[d] = &device{all: map[string]json.RawMessage{}, txns: map[string][]byte{}}
}

// take gives n one-time keys of a device out, as to others who write to it.
func (s *homeserver) take(u quinta.UserID, d quinta.DeviceID, n int) {
	dev := s.users[u].devices[d]
	dev.oneTime = dev.oneTime[n:]
}

func (s *homeserver) logout(u quinta.UserID, d quinta.DeviceID) {
	delete(s.users[u].devices, d)
	s.users[u].changed = s.next()
}

// event appends an event to a room.
func (s *homeserver) event(r quinta.RoomID, sender quinta.UserID, typ string, stateKey *string, content any) string {
	pos := s.next()
	id := fmt.Sprint("$", pos)
	e := map[string]any{"type": typ, "sender": sender, "event_id": id, "origin_server_ts": s.now, "content": content}
	if stateKey != nil {
		e["state_key"] = *stateKey
	}
	s.rooms[r].events = append(s.rooms[r].events, stamped{pos, mustJSON(e)})
	return id
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *homeserver) member(r quinta.RoomID, u quinta.UserID, membership string) {
	key := string(u)
	s.event(r, u, "m.room.member", &key, map[string]string{"membership": membership})
	room := s.rooms[r]
	room.members[u] = membership
	if membership == "join" {
		room.joined[u] = s.pos
	} else {
		room.left[u] = s.pos
	}
}

func (s *homeserver) encrypt(r quinta.RoomID, content map[string]any) {
	empty := ""
	s.event(r, "@admin:x", "m.room.encryption", &empty, content)
}

// create makes an encrypted room.
func (s *homeserver) create(r quinta.RoomID, members ...quinta.UserID) {
	s.createPlain(r, members...)
	s.encrypt(r, map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})
}

func (s *homeserver) createPlain(r quinta.RoomID, members ...quinta.UserID) {
	s.rooms[r] = &room{members: map[quinta.UserID]string{}, joined: map[quinta.UserID]int{}, left: map[quinta.UserID]int{}}
	for _, u := range members {
		s.member(r, u, "join")
	}
}

func (s *homeserver) encrypted(r quinta.RoomID) bool {
	return slices.ContainsFunc(s.rooms[r].events, func(e stamped) bool { return strings.Contains(string(e.raw), `"m.room.encryption"`) })
}

// share reports whether two users share a room.
func (s *homeserver) share(a, b quinta.UserID) bool {
	for _, r := range s.rooms {
		if r.members[a] == "join" && r.members[b] == "join" {
			return true
		}
	}
	return a == b
}

// sync answers /sync.
func (s *homeserver) sync(u quinta.UserID, d quinta.DeviceID, since string) []byte {
	from := 0
	if since != "" {
		from, _ = strconv.Atoi(since)
	}
	dev := s.users[u].devices[d]
	dev.inbox = slices.DeleteFunc(dev.inbox, func(m stamped) bool { return m.pos <= from })
	to := s.pos
	var inbox []json.RawMessage
	for i, m := range dev.inbox {
		if i == 100 {
			to = m.pos - 1
			break
		}
		inbox = append(inbox, m.raw)
	}
	var changed, left []quinta.UserID
	for id, a := range s.users {
		if since == "" || id != u && !s.share(u, id) {
			continue
		}
		together := a.changed > from && a.changed <= to
		for _, r := range s.rooms {
			if r.members[u] == "join" && r.members[id] == "join" && max(r.joined[u], r.joined[id]) > from {
				together = true
			}
		}
		if together {
			changed = append(changed, id)
		}
	}
	for id := range s.users {
		for _, r := range s.rooms {
			if since != "" && id != u && !s.share(u, id) && max(r.left[id], r.left[u]) > from && r.joined[id] > 0 && r.joined[u] > 0 {
				left = append(left, id)
			}
		}
	}
	join, leave := map[quinta.RoomID]any{}, map[quinta.RoomID]any{}
	for id, r := range s.rooms {
		var events []json.RawMessage
		for _, e := range r.events {
			if e.pos > from && e.pos <= to {
				events = append(events, e.raw)
			}
		}
		body := map[string]any{"timeline": map[string]any{"events": events}}
		switch {
		case len(events) == 0:
		case r.members[u] == "join":
			join[id] = body
		case r.left[u] > from:
			leave[id] = body
		}
	}
	unused := []string{}
	if dev.fallback != nil && !dev.used {
		unused = append(unused, "signed_curve25519")
	}
	return mustJSON(map[string]any{
		"next_batch": strconv.Itoa(to), "to_device": map[string]any{"events": inbox},
		"device_lists":                     map[string]any{"changed": changed, "left": left},
		"device_one_time_keys_count":       map[string]int{"signed_curve25519": len(dev.oneTime)},
		"device_unused_fallback_key_types": unused,
		"rooms":                            map[string]any{"join": join, "leave": leave},
	})
}

// handle answers a request of a device.
func (s *homeserver) handle(u quinta.UserID, d quinta.DeviceID, req matrix.Req) matrix.Ans {
	if s.refuse != nil {
		if code := s.refuse(req); code != "" {
			return matrix.Ans{Failure: matrix.Refused, Code: code}
		}
	}
	dev := s.users[u].devices[d]
	if dev == nil {
		return matrix.Ans{Failure: matrix.Unreached}
	}
	p := strings.TrimPrefix(req.Path, "/_matrix/client/v3/")
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	if req.Method == "PUT" {
		if old, ok := dev.txns[p]; ok {
			return matrix.Ans{Body: old}
		}
	}
	var body map[string]json.RawMessage
	if req.Body != nil {
		if err := json.Unmarshal(req.Body, &body); err != nil {
			s.t.Errorf("%s: %v", req.Path, err)
		}
	}
	var ans any
	switch {
	case p == "keys/upload":
		if code := s.upload(u, d, dev, body); code != "" {
			return matrix.Ans{Failure: matrix.Refused, Code: code}
		}
		ans = map[string]any{"one_time_key_counts": map[string]int{"signed_curve25519": len(dev.oneTime)}}
	case p == "keys/query":
		if s.failQuery {
			return matrix.Ans{Failure: matrix.Unreached}
		}
		ans = s.query(u, body)
	case p == "keys/claim":
		ans = s.claim(body)
	case p == "keys/device_signing/upload":
		for member, raw := range body {
			s.users[u].cross[member+"s"] = raw
		}
		s.users[u].changed = s.next()
		ans = struct{}{}
	case p == "keys/signatures/upload":
		s.signatures(body)
		ans = map[string]any{"failures": struct{}{}}
	case parts[0] == "sendToDevice":
		s.sendToDevice(u, parts[1], body)
		ans = struct{}{}
	case parts[0] == "rooms" && parts[2] == "members":
		ans = s.members(quinta.RoomID(parts[1]))
	case parts[0] == "rooms" && parts[2] == "send":
		if parts[3] != "m.room.encrypted" && s.encrypted(quinta.RoomID(parts[1])) {
			s.dupClear = append(s.dupClear, string(req.Body))
		}
		ans = map[string]string{"event_id": s.event(quinta.RoomID(parts[1]), u, parts[3], nil, json.RawMessage(req.Body))}
	default:
		s.t.Errorf("unknown request %s %s", req.Method, req.Path)
		return matrix.Ans{Failure: matrix.Refused, Code: "M_UNRECOGNIZED"}
	}
	out := mustJSON(ans)
	if req.Method == "PUT" {
		dev.txns[p] = out
	}
	return matrix.Ans{Body: out}
}

func (s *homeserver) upload(u quinta.UserID, _ quinta.DeviceID, dev *device, body map[string]json.RawMessage) string {
	var oneTime, fallback map[string]json.RawMessage
	_ = json.Unmarshal(body["one_time_keys"], &oneTime)
	_ = json.Unmarshal(body["fallback_keys"], &fallback)
	names := slices.Sorted(maps.Keys(oneTime))
	for _, name := range names {
		if old, ok := dev.all[name]; ok && string(old) != string(oneTime[name]) {
			return "M_INVALID_PARAM"
		}
	}
	if raw := body["device_keys"]; raw != nil && string(raw) != string(dev.keys) {
		dev.keys = raw
		s.users[u].changed = s.next()
	}
	for _, name := range names {
		if _, ok := dev.all[name]; !ok {
			dev.all[name] = oneTime[name]
			dev.oneTime = append(dev.oneTime, namedKey{name, oneTime[name]})
		}
	}
	for name, raw := range fallback {
		dev.fallback, dev.used = &namedKey{name, raw}, false
	}
	return ""
}

func (s *homeserver) query(asker quinta.UserID, body map[string]json.RawMessage) any {
	var ask map[quinta.UserID][]string
	_ = json.Unmarshal(body["device_keys"], &ask)
	keys := map[quinta.UserID]map[quinta.DeviceID]json.RawMessage{}
	ans := map[string]any{"device_keys": keys, "failures": map[string]any{}}
	for _, m := range []string{"master_keys", "self_signing_keys", "user_signing_keys"} {
		ans[m] = map[quinta.UserID]json.RawMessage{}
	}
	for u := range ask {
		_, host, _ := strings.Cut(string(u), ":")
		if slices.Contains(s.failedHosts, host) {
			ans["failures"].(map[string]any)[host] = struct{}{}
			continue
		}
		a := s.users[u]
		if a == nil {
			continue
		}
		keys[u] = map[quinta.DeviceID]json.RawMessage{}
		for id, d := range a.devices {
			if d.keys != nil {
				keys[u][id] = d.keys
			}
		}
		for m, raw := range a.cross {
			if m != "user_signing_keys" || u == asker {
				ans[m].(map[quinta.UserID]json.RawMessage)[u] = raw
			}
		}
	}
	if s.answerQuery != nil {
		s.answerQuery(ans)
	}
	return ans
}

func (s *homeserver) claim(body map[string]json.RawMessage) any {
	var ask map[quinta.UserID]map[quinta.DeviceID]string
	_ = json.Unmarshal(body["one_time_keys"], &ask)
	out := map[quinta.UserID]map[quinta.DeviceID]map[string]json.RawMessage{}
	for u, ds := range ask {
		out[u] = map[quinta.DeviceID]map[string]json.RawMessage{}
		for id := range ds {
			a := s.users[u]
			if a == nil || a.devices[id] == nil {
				continue
			}
			d := a.devices[id]
			switch {
			case len(d.oneTime) > 0:
				k := d.oneTime[0]
				d.oneTime = d.oneTime[1:]
				s.claims[string(k.key)]++
				out[u][id] = map[string]json.RawMessage{k.name: k.key}
			case d.fallback != nil:
				d.used = true
				out[u][id] = map[string]json.RawMessage{d.fallback.name: d.fallback.key}
			}
		}
	}
	return map[string]any{"one_time_keys": out, "failures": struct{}{}}
}

// signatures merges uploaded signatures into the stored objects.
func (s *homeserver) signatures(body map[string]json.RawMessage) {
	for user, raw := range body {
		var objects map[string]map[string]json.RawMessage
		_ = json.Unmarshal(raw, &objects)
		a := s.users[quinta.UserID(user)]
		for name, o := range objects {
			if d := a.devices[quinta.DeviceID(name)]; d != nil {
				d.keys = merge(d.keys, o)
			} else {
				a.cross["master_keys"] = merge(a.cross["master_keys"], o)
			}
		}
		a.changed = s.next()
	}
}

func merge(stored json.RawMessage, o map[string]json.RawMessage) json.RawMessage {
	var old map[string]json.RawMessage
	var sigs, more map[string]map[string]string
	_ = json.Unmarshal(stored, &old)
	_ = json.Unmarshal(old["signatures"], &sigs)
	_ = json.Unmarshal(o["signatures"], &more)
	for user, m := range more {
		if sigs[user] == nil {
			sigs[user] = map[string]string{}
		}
		maps.Copy(sigs[user], m)
	}
	old["signatures"] = mustJSON(sigs)
	return mustJSON(old)
}

func (s *homeserver) sendToDevice(from quinta.UserID, typ string, body map[string]json.RawMessage) {
	var ms map[quinta.UserID]map[quinta.DeviceID]json.RawMessage
	_ = json.Unmarshal(body["messages"], &ms)
	n := 0
	for u, ds := range ms {
		for id, content := range ds {
			n++
			if a := s.users[u]; a != nil && a.devices[id] != nil {
				s.deliver(u, id, from, typ, content)
			}
		}
	}
	if n > 100 {
		s.t.Errorf("%d messages in one sendToDevice", n)
	}
}

func (s *homeserver) deliver(u quinta.UserID, d quinta.DeviceID, from quinta.UserID, typ string, content any) {
	raw := mustJSON(map[string]any{"type": typ, "sender": from, "content": content})
	dev := s.users[u].devices[d]
	dev.inbox = append(dev.inbox, stamped{s.next(), raw})
}

func (s *homeserver) members(r quinta.RoomID) any {
	var chunk []json.RawMessage
	for u, m := range s.rooms[r].members {
		chunk = append(chunk, mustJSON(map[string]any{"type": "m.room.member", "state_key": u, "sender": u, "content": map[string]string{"membership": m}}))
	}
	return map[string]any{"chunk": chunk}
}
