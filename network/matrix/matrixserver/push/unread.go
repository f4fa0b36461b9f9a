package push

import (
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// maxUnread is how many events of a room are counted at most. No one tells
// larger numbers apart.
const maxUnread = 500

// tallies count the unread events of each thread.
type tallies = map[string]wire.UnreadCount

// A Judge applies the push rules of users. It remembers what it counted, so
// that a sync only judges what is new. It holds nothing that is not in the
// store, and its size is limited.
type Judge struct {
	mu    sync.Mutex
	rooms map[memoKey]*counted
	rules map[quinta.UserID]*compiledRules
}

type memoKey struct {
	user quinta.UserID
	room quinta.RoomID
}

// counted is what was counted of one room for one user. It is not changed.
type counted struct {
	// read is the position of the user's newest receipt, joined the position
	// at which they joined, rules the position of their push rules. If one of
	// them changes, everything is counted again.
	read, joined, rules quinta.Pos
	upTo                quinta.Pos
	tallies             tallies
}

// compiledRules are a user's push rules as of a position.
type compiledRules struct {
	pos quinta.Pos
	ev  *pushrule.Evaluator
}

// The bounds of what is remembered.
const (
	maxCounted  = 20_000
	maxCompiled = 500
)

// NewJudge returns a judge that remembers nothing.
func NewJudge() *Judge {
	return &Judge{rooms: map[memoKey]*counted{}, rules: map[quinta.UserID]*compiledRules{}}
}

// remember sets an entry of a bounded map; any other may have to go.
func remember[K comparable, V any](m map[K]V, k K, v V, bound int) {
	if _, there := m[k]; !there && len(m) >= bound {
		for old := range m {
			delete(m, old)
			break
		}
	}
	m[k] = v
}

func (j *Judge) room(k memoKey) *counted {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rooms[k]
}

func (j *Judge) setRoom(k memoKey, c *counted) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if have := j.rooms[k]; have == nil || have.upTo <= c.upTo {
		remember(j.rooms, k, c, maxCounted)
	}
}

// evaluator returns the user's push rules ready for use, and their position.
func (j *Judge) evaluator(tx *db.Tx, user quinta.UserID) (*pushrule.Evaluator, quinta.Pos, error) {
	set, pos, err := RulesOf(tx, user)
	if err != nil {
		return nil, 0, err
	}
	j.mu.Lock()
	have := j.rules[user]
	j.mu.Unlock()
	if have != nil && have.pos == pos {
		return have.ev, pos, nil
	}
	ev := pushrule.Compile(set.Rules(string(user)), string(user))
	j.mu.Lock()
	defer j.mu.Unlock()
	remember(j.rules, user, &compiledRules{pos, ev}, maxCompiled)
	return ev, pos, nil
}

// A counter counts the unread events of one room for one user.
type counter struct {
	tx   *db.Tx
	m    room.Member
	upTo quinta.Pos
	ev   *pushrule.Evaluator
	// whole is how far the user has read everything, threads how far they have
	// read each thread.
	whole   quinta.Pos
	threads map[string]quinta.Pos
	out     tallies
	scene   *scene
}

// Unread counts the events up to a position that the user has not read, by
// their push rules (client-server API, "Receiving notifications"). A message
// that the user sends in a thread marks the thread as read. recent has the
// newest events, newest first, or is nil; it holds all events after the
// position after.
func (j *Judge) Unread(tx *db.Tx, m room.Member, upTo quinta.Pos, recent []*room.Event, after quinta.Pos) (tallies, error) {
	c := &counter{tx: tx, m: m, upTo: upTo, whole: m.Joined, threads: map[string]quinta.Pos{}}
	now := &counted{joined: m.Joined, upTo: upTo}
	receipts, err := room.ReceiptsOf(tx, m.Room, m.Member)
	if err != nil {
		return nil, err
	}
	for _, r := range receipts {
		if r.Kind != wire.ReceiptRead && r.Kind != wire.ReceiptPrivate {
			continue
		}
		now.read = max(now.read, r.Pos)
		if r.Thread == "" {
			c.whole = max(c.whole, r.Upto)
		} else {
			c.threads[r.Thread] = max(c.threads[r.Thread], r.Upto)
		}
	}
	if c.ev, now.rules, err = j.evaluator(tx, m.Member); err != nil {
		return nil, err
	}
	k := memoKey{m.Member, m.Room}
	old := j.room(k)
	if old == nil || old.read != now.read || old.joined != now.joined || old.rules != now.rules || old.upTo > upTo {
		old = nil
	}
	if err := c.count(old, recent, after); err != nil {
		return nil, err
	}
	now.tallies = c.out
	j.setRoom(k, now)
	return c.out, nil
}

// count continues from what was counted, or starts from scratch.
func (c *counter) count(old *counted, recent []*room.Event, after quinta.Pos) error {
	if old != nil {
		c.out = make(tallies, len(old.tallies))
		for t, n := range old.tallies {
			c.out[t] = n
		}
		if old.upTo == c.upTo {
			return nil
		}
		more := false
		if recent == nil || after > old.upTo {
			var err error
			if recent, more, err = room.Backward(c.tx, c.m.Room, room.Range{From: old.upTo, To: c.upTo}, maxUnread); err != nil {
				return err
			}
		}
		done, err := c.add(recent, old.upTo)
		if err != nil || done && !more {
			return err
		}
	}
	// The first count, or one that a redaction or a gap has made wrong.
	c.out = tallies{}
	list, _, err := room.Backward(c.tx, c.m.Room, room.Range{From: c.whole, To: c.upTo}, maxUnread)
	if err != nil {
		return err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if err := c.one(list[i]); err != nil {
			return err
		}
	}
	return nil
}

// add counts the events of a list, newest first, that come after a position.
// It reports false if one of them may have made less of what was counted.
func (c *counter) add(list []*room.Event, after quinta.Pos) (bool, error) {
	for i := len(list) - 1; i >= 0; i-- {
		e := list[i]
		if e.Pos <= after {
			continue
		}
		if e.Redacts != "" {
			return false, nil
		}
		if err := c.one(e); err != nil {
			return false, err
		}
	}
	return true, nil
}

// one counts one event.
func (c *counter) one(e *room.Event) error {
	thread := wire.ThreadMain
	if e.RelType == "m.thread" && e.RelTo != "" {
		thread = string(e.RelTo)
	}
	switch {
	case e.Sender == c.m.Member:
		delete(c.out, thread)
		return nil
	case e.Pos <= c.whole, e.Pos <= c.threads[thread], e.RedactedBy != "":
		return nil
	}
	raw, err := wire.Encode(&wire.Event{Content: e.Content, ID: e.ID, Time: e.Time, Redacts: e.Redacts, Room: e.Room, Sender: e.Sender, StateKey: e.StateKey, Type: e.Type})
	if err != nil {
		return err
	}
	pe, err := pushrule.NewEvent(raw)
	if err != nil {
		return err
	}
	if c.scene == nil {
		if c.scene, err = sceneOf(c.tx, c.m.Room, c.m.Member); err != nil {
			return err
		}
	}
	match := c.ev.Match(pe, c.scene.of(e))
	if !match.Notify() {
		return nil
	}
	n := c.out[thread]
	n.Notify++
	if match.Highlight() {
		n.Highlight++
	}
	c.out[thread] = n
	return nil
}
