package sim_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/testkit/sim"
)

// The bounds of what a server keeps of a room, and how long a reset shuts out
// another one.
const (
	rcOldKeys   = 10
	rcResetLock = 10 * time.Second
)

// rcPassword opens the key pairs of all users. It is too weak for a blob of v2, so
// the blobs stay those of v1, whose thousand rounds cost little.
const rcPassword = "weak"

// A workspace is what a Rocket.Chat machine sees of its server, in memory: the key
// pairs, the rooms with each member's copies of their keys, and the messages. Its
// time never stands still, so that a time is a position.
type workspace struct {
	now      func() time.Time
	at       rocketchat.Date
	users    map[quinta.UserID]*rcUser
	rooms    map[quinta.RoomID]*rcRoom
	messages []rocketchat.Message
	devices  map[quinta.UserID]int
	// began has the position at which a device first received.
	began map[sim.Seat]rocketchat.Date
	// author has the device that sent the message of a position.
	author map[rocketchat.Date]sim.Seat
}

type rcUser struct{ public, private string }

type rcRoom struct {
	id    quinta.RoomID
	keyID string
	// keys are the ids of all keys that the room had, oldest first.
	keys           []string
	named, resetAt rocketchat.Date
	subs           map[quinta.UserID]*rcSub
	// left has the position at which each former member left, spans when each
	// user was a member.
	left  map[quinta.UserID]rocketchat.Date
	spans map[quinta.UserID][]rcSpan
	asked rocketchat.Date
}

type rcSub struct {
	own, suggested    string
	old, suggestedOld []rocketchat.OldKey
	waits, updated    rocketchat.Date
	// had are the ids of the keys of which the member accepted a copy.
	had map[string]bool
}

// keep has a copy of a room key count as the member's own.
func (s *rcSub) keep(key string) {
	s.own, s.suggested, s.waits = key, "", 0
	for _, o := range append([]rocketchat.OldKey{{Key: key}}, s.old...) {
		id, _, err := rocketchat.SplitWrapped(o.Key)
		s.had[sure(id, err)] = true
	}
}

type rcSpan struct {
	from, to rocketchat.Date
	open     bool
}

// rcPairs are key pairs for the users of all runs: to make one takes long, and this
// is no test of that.
var rcPairs = sync.OnceValue(func() (pairs [4]rcUser) {
	for i := range pairs {
		k := sure(rocketchat.GeneratePrivateKey(nil))
		pairs[i] = rcUser{k.Public().String(), sealed(k, rcID(rcUserOf(i)))}
	}
	return pairs
})

// sealed writes the blob of a private key as the specification has it, under
// rcPassword.
func sealed(k rocketchat.PrivateKey, id string) string {
	master := sure(pbkdf2.Key(sha256.New, rcPassword, []byte(id), 1000, 32))
	plain := []byte(k.Secret())
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	plain = append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	iv := make([]byte, aes.BlockSize, aes.BlockSize+len(plain))
	cipher.NewCBCEncrypter(sure(aes.NewCipher(master)), iv).CryptBlocks(plain, plain)
	return fmt.Sprintf(`{"$binary":%q}`, base64.StdEncoding.EncodeToString(append(iv, plain...)))
}

func newWorkspace(out sim.Outside) *workspace {
	w := &workspace{now: out.Now, users: map[quinta.UserID]*rcUser{}, rooms: map[quinta.RoomID]*rcRoom{}, devices: map[quinta.UserID]int{}, began: map[sim.Seat]rocketchat.Date{},
		author: map[rocketchat.Date]sim.Seat{}}
	for i, u := range rcPairs() {
		w.users[rcUserOf(i)] = &u
	}
	return w
}

// rcUserOf is the name of the n-th user.
func rcUserOf(n int) quinta.UserID { return quinta.UserID(fmt.Sprintf("u%d", n)) }

// rcID is the id of a user, and rcName the name of an id.
func rcID(u quinta.UserID) string    { return "id-" + string(u) }
func rcName(id string) quinta.UserID { return quinta.UserID(id[len("id-"):]) }

func rcAuthor(u quinta.UserID) rocketchat.Author {
	return rocketchat.Author{ID: rcID(u), Name: string(u)}
}

func (w *workspace) tick() rocketchat.Date {
	w.at = max(w.at+1, rocketchat.DateOf(w.now()))
	return w.at
}

func (w *workspace) post(m rocketchat.Message) *rocketchat.Message {
	m.TS = w.tick()
	m.Updated = m.TS
	w.messages = append(w.messages, m)
	return &w.messages[len(w.messages)-1]
}

// join brings a user into a room; one with a key waits for it.
func (w *workspace) join(id quinta.RoomID, u quinta.UserID) {
	r := w.rooms[id]
	if r == nil {
		r = &rcRoom{id: id, subs: map[quinta.UserID]*rcSub{}, left: map[quinta.UserID]rocketchat.Date{}, spans: map[quinta.UserID][]rcSpan{}}
		w.rooms[id] = r
	}
	at := w.tick()
	r.subs[u] = &rcSub{updated: at, had: map[string]bool{}}
	r.spans[u] = append(r.spans[u], rcSpan{from: at, open: true})
	delete(r.left, u)
	w.wait(r, u)
	w.post(rocketchat.Message{ID: quinta.MessageID("joined-" + at.Time().Format("150405.000000")), Room: id, Type: rocketchat.TypeAdded, Msg: string(u), User: rcAuthor(u)})
}

// leave takes a user out of a room.
func (w *workspace) leave(id quinta.RoomID, u quinta.UserID) {
	r, at := w.rooms[id], w.tick()
	delete(r.subs, u)
	r.left[u] = at
	last := &r.spans[u][len(r.spans[u])-1]
	last.to, last.open = at, false
	w.post(rocketchat.Message{ID: quinta.MessageID("left-" + at.Time().Format("150405.000000")), Room: id, Type: rocketchat.TypeLeft, Msg: string(u), User: rcAuthor(u)})
}

// wait puts a member who has no copy of a room's key into its queue.
func (w *workspace) wait(r *rcRoom, u quinta.UserID) {
	s := r.subs[u]
	if r.keyID == "" || s.own != "" || s.suggested != "" {
		return
	}
	if s.waits == 0 {
		s.waits = w.tick()
	}
	r.asked = w.tick()
}

// state is a room as one member sees it.
func (r *rcRoom) state(u quinta.UserID) rocketchat.RoomState {
	s := r.subs[u]
	return rocketchat.RoomState{ID: r.id, Type: "p", Name: string(r.id), Encrypted: true, KeyID: r.keyID, OwnKey: s.own, Suggested: s.suggested,
		Old: slices.Clone(s.old), SuggestedOld: slices.Clone(s.suggestedOld)}
}

// touch marks a room as changed for all of its members.
func (w *workspace) touch(r *rcRoom) {
	for _, s := range r.subs {
		s.updated = w.at
	}
}

// lost reports whether a room has had a key for an hour of which no member with a
// device has a copy: then a person has it replaced.
func (w *workspace) lost(id quinta.RoomID) bool {
	r := w.rooms[id]
	for u, s := range r.subs {
		if w.devices[u] > 0 && (s.own != "" || s.suggested != "") {
			return false
		}
	}
	return r.keyID != "" && w.tick()-r.named > rocketchat.Date(time.Hour.Milliseconds())
}

// fetch is what changed for a device after a position; at first, its rooms alone.
func (w *workspace) fetch(s sim.Seat, since rocketchat.Date) rocketchat.In {
	in := rocketchat.In{Version: "8.5.1", Complete: since == 0}
	mine := map[quinta.RoomID]bool{}
	for _, id := range slices.Sorted(maps.Keys(w.rooms)) {
		r := w.rooms[id]
		if sub := r.subs[s.User]; sub != nil {
			mine[id] = true
			if sub.updated > since || since == 0 {
				in.Rooms = append(in.Rooms, r.state(s.User))
			}
			in.Asked = in.Asked || r.asked > since
		} else if r.left[s.User] > since {
			in.Gone = append(in.Gone, id)
		}
	}
	if since == 0 {
		w.began[s] = w.tick()
	} else {
		for _, m := range w.messages {
			if mine[m.Room] && m.Updated > since {
				in.Messages = append(in.Messages, m)
			}
		}
	}
	in.Since = w.tick()
	return in
}

func rcRefuse(code string) rocketchat.Ans {
	return rocketchat.Ans{Code: code, Detail: "the simulated server refuses"}
}

// handle carries out a request of a device.
func (w *workspace) handle(s sim.Seat, q rocketchat.Req) rocketchat.Ans {
	r := w.rooms[q.Room]
	if q.Room != "" && (r == nil || r.subs[s.User] == nil) {
		return rcRefuse(rocketchat.CodeNoRoom)
	}
	switch q.Kind {
	case rocketchat.ReqKeys:
		u := w.users[s.User]
		return rocketchat.Ans{Public: u.public, Private: u.private}
	case rocketchat.ReqRequestKeys:
		for _, id := range slices.Sorted(maps.Keys(w.rooms)) {
			if r := w.rooms[id]; r.subs[s.User] != nil {
				w.wait(r, s.User)
			}
		}
		return rocketchat.Ans{}
	case rocketchat.ReqRoom:
		st := r.state(s.User)
		return rocketchat.Ans{Room: &st}
	case rocketchat.ReqUsers:
		return rocketchat.Ans{Waiting: map[quinta.RoomID][]rocketchat.Waiting{q.Room: w.keyless(r, s.User, false)}}
	case rocketchat.ReqWaiting:
		out := map[quinta.RoomID][]rocketchat.Waiting{}
		for _, id := range q.Rooms {
			if r := w.rooms[id]; r != nil && r.subs[s.User] != nil {
				out[id] = w.keyless(r, s.User, true)
			}
		}
		return rocketchat.Ans{Waiting: out}
	case rocketchat.ReqSend:
		return w.take(s, q.Message)
	}
	return w.roomKey(s, r, q)
}

// keyless lists the members that have no copy of a room's key, or of them those in
// the queue.
func (w *workspace) keyless(r *rcRoom, but quinta.UserID, queued bool) (out []rocketchat.Waiting) {
	for _, u := range slices.Sorted(maps.Keys(r.subs)) {
		if s := r.subs[u]; u != but && s.own == "" && s.suggested == "" && (!queued || s.waits != 0) {
			out = append(out, rocketchat.Waiting{User: rcID(u), Name: string(u), Public: w.users[u].public})
		}
	}
	return out
}

// take keeps a message, once.
func (w *workspace) take(s sim.Seat, m *rocketchat.Message) rocketchat.Ans {
	for i := range w.messages {
		if have := &w.messages[i]; have.ID == m.ID {
			if have.User.ID != rcID(s.User) || string(have.Content) != string(m.Content) {
				return rcRefuse(rocketchat.CodeNotAllowed)
			}
			return rocketchat.Ans{Message: have}
		}
	}
	if m.Type != rocketchat.TypeE2E {
		return rcRefuse(rocketchat.CodeNotAllowed)
	}
	kept := *m
	kept.User = rcAuthor(s.User)
	have := w.post(kept)
	w.author[have.TS] = s
	return rocketchat.Ans{Message: have}
}

// roomKey carries out a request about the key of a room.
func (w *workspace) roomKey(s sim.Seat, r *rcRoom, q rocketchat.Req) rocketchat.Ans {
	own := r.subs[s.User]
	switch q.Kind {
	case rocketchat.ReqSetRoomKey:
		if r.keyID != "" {
			return rcRefuse(rocketchat.CodeRoomKeyExists)
		}
		w.name(r, q.KeyID)
	case rocketchat.ReqOwnRoomKey:
		if !wraps(q.Key, r.keyID) {
			return rcRefuse(rocketchat.CodeNoRoom)
		}
		own.keep(q.Key)
	case rocketchat.ReqProvide:
		for _, p := range q.Provide {
			sub := r.subs[rcName(p.User)]
			if sub == nil || sub == own || own.own == "" || sub.own != "" || !wraps(p.Key, r.keyID) {
				continue
			}
			sub.suggested, sub.suggestedOld, sub.waits, sub.updated = p.Key, p.Old, 0, w.tick()
		}
		return rocketchat.Ans{}
	case rocketchat.ReqAccept, rocketchat.ReqReject:
		if own.suggested == "" {
			return rcRefuse(rocketchat.CodeNoSuggestion)
		}
		if q.Kind == rocketchat.ReqAccept {
			if len(own.suggestedOld) > 0 {
				own.old = own.suggestedOld
			}
			own.keep(own.suggested)
		}
		own.suggested, own.suggestedOld = "", nil
		w.wait(r, s.User)
	case rocketchat.ReqReset:
		return w.reset(s, r, q)
	default:
		panic("unknown request " + string(q.Kind))
	}
	own.updated = w.tick()
	return rocketchat.Ans{}
}

// wraps reports whether a wrapped key has an id.
func wraps(key, id string) bool {
	have, _, err := rocketchat.SplitWrapped(key)
	return err == nil && have == id
}

// name gives a room a key, for which all members wait.
func (w *workspace) name(r *rcRoom, id string) {
	r.keyID, r.named = id, w.tick()
	r.keys = append(r.keys, id)
	for _, u := range slices.Sorted(maps.Keys(r.subs)) {
		w.wait(r, u)
	}
	w.touch(r)
}

// reset puts a new key in the place of a room's.
func (w *workspace) reset(s sim.Seat, r *rcRoom, q rocketchat.Req) rocketchat.Ans {
	if r.keyID == q.KeyID {
		return rocketchat.Ans{}
	}
	if slices.Contains(r.keys, q.KeyID) {
		return rcRefuse(rocketchat.CodeNotAllowed)
	}
	if now := w.tick(); r.resetAt != 0 && now < r.resetAt+rocketchat.Date(rcResetLock.Milliseconds()) {
		return rcRefuse(rocketchat.CodeResetRunning)
	}
	for _, t := range r.subs {
		if t.own != "" {
			t.old = append([]rocketchat.OldKey{{KeyID: r.keyID, TS: w.at, Key: t.own}}, t.old...)
			t.old = t.old[:min(len(t.old), rcOldKeys)]
		}
		t.own, t.suggested, t.suggestedOld, t.waits = "", "", nil, 0
	}
	r.subs[s.User].keep(q.Key)
	r.resetAt = w.at
	w.name(r, q.KeyID)
	return rocketchat.Ans{}
}
