package rocketchat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// A server keeps what a Rocket.Chat server keeps for encrypted rooms, with its
// rules, in memory.
type server struct {
	t     testing.TB
	now   time.Time
	users map[string]*user
	rooms map[quinta.RoomID]*room
	log   []rocketchat.Message
	gone  []rocketchat.Deleted
	// calls counts the requests by kind.
	calls map[rocketchat.ReqKind]int
	// bent, if not nil, changes an answer: the hostile server.
	bent func(d *device, r rocketchat.Req, a *rocketchat.Ans)
	// version is what the server announces.
	version string
}

type user struct {
	id, name, public, private string
}

type room struct {
	id        quinta.RoomID
	kind      string
	owner     string
	encrypted bool
	keyID     string
	members   []string
	subs      map[string]*sub
	waiting   []string
}

type sub struct {
	own, suggested    string
	old, suggestedOld []rocketchat.OldKey
}

func newServer(t testing.TB) *server {
	return &server{t: t, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), users: map[string]*user{}, rooms: map[quinta.RoomID]*room{},
		calls: map[rocketchat.ReqKind]int{}, version: "8.5.1"}
}

// room makes an encrypted room of users.
func (s *server) room(id quinta.RoomID, kind string, members ...string) {
	r := &room{id: id, kind: kind, owner: members[0], encrypted: true, subs: map[string]*sub{}}
	s.rooms[id] = r
	for _, m := range members {
		s.join(id, m)
	}
}

func (s *server) join(id quinta.RoomID, member string) {
	r := s.rooms[id]
	r.members = append(r.members, member)
	r.subs[member] = &sub{}
	s.queue(r, member)
}

func (s *server) queue(r *room, member string) {
	if s.users[member] != nil && s.users[member].public != "" && r.keyID != "" && r.subs[member] != nil && r.subs[member].own == "" && !slices.Contains(r.waiting, member) {
		r.waiting = append(r.waiting, member)
	}
}

// remove takes a member out and says so in the room.
func (s *server) remove(id quinta.RoomID, member string) {
	r := s.rooms[id]
	r.members = slices.DeleteFunc(r.members, func(m string) bool { return m == member })
	delete(r.subs, member)
	r.waiting = slices.DeleteFunc(r.waiting, func(m string) bool { return m == member })
	s.post(rocketchat.Message{ID: quinta.MessageID(fmt.Sprintf("sys%d", len(s.log))), Room: id, Type: rocketchat.TypeRemoved, Msg: s.users[member].name, User: s.author(r.owner)})
}

func (s *server) author(id string) rocketchat.Author {
	return rocketchat.Author{ID: id, Name: s.users[id].name}
}

func (s *server) post(m rocketchat.Message) {
	m.TS = rocketchat.DateOf(s.now)
	m.Updated = m.TS
	s.log = append(s.log, m)
}

func (r *room) state(s *server, me string) rocketchat.RoomState {
	sub := r.subs[me]
	out := rocketchat.RoomState{ID: r.id, Type: r.kind, Name: string(r.id), Encrypted: r.encrypted, KeyID: r.keyID, OwnKey: sub.own, Suggested: sub.suggested, Old: sub.old, SuggestedOld: sub.suggestedOld}
	if r.kind == "d" {
		for _, m := range r.members {
			out.Peers = append(out.Peers, s.author(m))
		}
	}
	return out
}

// news is what a device is told: all of its rooms, and the log after a position.
func (s *server) news(me string, after int) rocketchat.In {
	in := rocketchat.In{Version: s.version, Since: rocketchat.DateOf(s.now)}
	for _, id := range slices.Sorted(func(yield func(quinta.RoomID) bool) {
		for id := range s.rooms {
			if !yield(id) {
				return
			}
		}
	}) {
		if r := s.rooms[id]; r.subs[me] != nil {
			in.Rooms = append(in.Rooms, r.state(s, me))
		}
	}
	for _, m := range s.log[after:] {
		if r := s.rooms[m.Room]; r != nil && r.subs[me] != nil {
			in.Messages = append(in.Messages, m)
		}
	}
	in.Deleted = s.gone
	return in
}

func refuse(code string) rocketchat.Ans { return rocketchat.Ans{Code: code} }

// do carries out one request of a user.
func (s *server) do(me string, q rocketchat.Req) rocketchat.Ans {
	s.calls[q.Kind]++
	u, r := s.users[me], s.rooms[q.Room]
	if q.Room != "" && (r == nil || r.subs[me] == nil) {
		return refuse(rocketchat.CodeNoRoom)
	}
	switch q.Kind {
	case rocketchat.ReqKeys:
		return rocketchat.Ans{Public: u.public, Private: u.private}
	case rocketchat.ReqSetKeys:
		if u.public != "" && !q.Force {
			return refuse(rocketchat.CodeKeysSet)
		}
		if rocketchat.CheckKeyBlob(q.Private) != nil {
			s.t.Errorf("%s: got a key blob of no form", u.name)
		}
		u.public, u.private = q.Public, q.Private
		s.queueEverywhere(me)
	case rocketchat.ReqRequestKeys:
		s.queueEverywhere(me)
	case rocketchat.ReqRoom:
		st := r.state(s, me)
		return rocketchat.Ans{Room: &st}
	case rocketchat.ReqSetRoomKey:
		if r.keyID != "" {
			return refuse(rocketchat.CodeRoomKeyExists)
		}
		r.keyID = q.KeyID
		for _, m := range r.members {
			if m != me {
				s.queue(r, m)
			}
		}
	case rocketchat.ReqOwnRoomKey:
		r.subs[me].own = q.Key
		r.waiting = slices.DeleteFunc(r.waiting, func(m string) bool { return m == me })
	case rocketchat.ReqUsers:
		return rocketchat.Ans{Waiting: map[quinta.RoomID][]rocketchat.Waiting{q.Room: s.keyless(r)}}
	case rocketchat.ReqWaiting:
		out := map[quinta.RoomID][]rocketchat.Waiting{}
		for _, id := range q.Rooms {
			if r := s.rooms[id]; r != nil && r.subs[me] != nil {
				for _, m := range r.waiting {
					out[id] = append(out[id], rocketchat.Waiting{User: m, Public: s.users[m].public})
				}
			}
		}
		return rocketchat.Ans{Waiting: out}
	case rocketchat.ReqProvide:
		for _, p := range q.Provide {
			if t := r.subs[p.User]; t != nil && slices.Contains(r.waiting, p.User) {
				t.suggested, t.suggestedOld = p.Key, p.Old
				r.waiting = slices.DeleteFunc(r.waiting, func(m string) bool { return m == p.User })
			}
		}
	case rocketchat.ReqAccept:
		t := r.subs[me]
		if t.suggested == "" {
			return refuse(rocketchat.CodeNoSuggestion)
		}
		t.own, t.old = t.suggested, t.suggestedOld
		t.suggested, t.suggestedOld = "", nil
	case rocketchat.ReqReject:
		t := r.subs[me]
		if t.suggested == "" {
			return refuse(rocketchat.CodeNoSuggestion)
		}
		t.suggested, t.suggestedOld = "", nil
		s.queue(r, me)
	case rocketchat.ReqReset:
		return s.reset(r, me, q)
	case rocketchat.ReqSend, rocketchat.ReqConfirm:
		for i := range s.log {
			if s.log[i].ID == q.Message.ID {
				return rocketchat.Ans{Message: &s.log[i]}
			}
		}
		if r.encrypted && q.Message.Type != rocketchat.TypeE2E {
			return refuse(rocketchat.CodeNotAllowed)
		}
		m := *q.Message
		if q.Kind == rocketchat.ReqConfirm {
			m.ID = quinta.MessageID("of" + q.File)
			for i := range s.log {
				if s.log[i].ID == m.ID {
					return rocketchat.Ans{Message: &s.log[i]}
				}
			}
		}
		m.User = s.author(me)
		s.post(m)
		return rocketchat.Ans{Message: &s.log[len(s.log)-1]}
	case rocketchat.ReqUpdate:
		for i := range s.log {
			if s.log[i].ID == q.Message.ID && s.log[i].User.ID == me {
				m := s.log[i]
				m.Content, m.Msg, m.Edited = q.Message.Content, q.Message.Msg, rocketchat.DateOf(s.now)
				s.log = append(s.log, m)
				return rocketchat.Ans{}
			}
		}
		return refuse(rocketchat.CodeNotAllowed)
	case rocketchat.ReqDelete:
		s.gone = append(s.gone, rocketchat.Deleted{Room: q.Room, ID: q.Message.ID})
	case rocketchat.ReqReact:
		for i := range s.log {
			if s.log[i].ID == q.Message.ID {
				m := s.log[i]
				m.Reactions = map[string]rocketchat.Reactors{q.Emoji: {Users: []string{u.name}}}
				s.log = append(s.log, m)
				return rocketchat.Ans{}
			}
		}
	default:
		s.t.Fatalf("unknown request %s", q.Kind)
	}
	return rocketchat.Ans{}
}

func (s *server) reset(r *room, me string, q rocketchat.Req) rocketchat.Ans {
	if r.kind != "d" && r.owner != me {
		return refuse(rocketchat.CodeNotAllowed)
	}
	for m, t := range r.subs {
		if t.own != "" {
			t.old = append([]rocketchat.OldKey{{KeyID: r.keyID, TS: rocketchat.DateOf(s.now), Key: t.own}}, t.old...)
			t.old = t.old[:min(len(t.old), 10)]
		}
		t.own, t.suggested, t.suggestedOld = "", "", nil
		_ = m
	}
	r.keyID, r.waiting = q.KeyID, nil
	r.subs[me].own = q.Key
	for _, m := range r.members {
		s.queue(r, m)
	}
	return rocketchat.Ans{}
}

func (s *server) queueEverywhere(me string) {
	for _, r := range s.rooms {
		if r.encrypted && r.subs[me] != nil {
			s.queue(r, me)
		}
	}
}

func (s *server) keyless(r *room) []rocketchat.Waiting {
	var out []rocketchat.Waiting
	for _, m := range r.members {
		if r.subs[m].own == "" && s.users[m].public != "" {
			out = append(out, rocketchat.Waiting{User: m, Public: s.users[m].public})
		}
	}
	return out
}

// clear fails the test if a word is anywhere in what the server keeps.
func (s *server) clear(words ...string) {
	s.t.Helper()
	raw, err := json.Marshal(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	all := string(raw)
	for _, r := range s.rooms {
		all += fmt.Sprint(r)
	}
	for _, w := range words {
		if slices.ContainsFunc([]string{all}, func(a string) bool { return len(w) > 0 && containsText(a, w) }) {
			s.t.Errorf("got %q in clear on the server", w)
		}
	}
}
