package room_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
	"github.com/quinta-chat/quinta/testkit/stores"
)

const (
	r1    = quinta.RoomID("!r1")
	r2    = quinta.RoomID("!r2")
	alice = quinta.UserID("@alice")
	bob   = quinta.UserID("@bob")
	carol = quinta.UserID("@carol")
	end   = quinta.Pos(1 << 60)
)

// A house is a store with the rooms r1 and r2.
type house struct {
	t *testing.T
	d *db.DB
	n int
}

func each(t *testing.T, fn func(h *house)) {
	t.Parallel()
	stores.Each(t, func(t *testing.T, d *db.DB) {
		h := &house{t: t, d: d}
		h.update(func(tx *db.Tx) error {
			for _, id := range []quinta.RoomID{r1, r2} {
				if err := room.Create(tx, room.Room{ID: id, Version: "v", Creator: alice}); err != nil {
					return err
				}
			}
			return nil
		})
		fn(h)
	}, room.Schema)
}

func (h *house) update(fn func(*db.Tx) error) {
	h.t.Helper()
	if err := h.d.Update(h.t.Context(), fn); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) view(fn func(*db.Tx) error) {
	h.t.Helper()
	if err := h.d.View(h.t.Context(), fn); err != nil {
		h.t.Fatal(err)
	}
}

// add appends an event; key "-" means that it is not state.
func (h *house) add(id quinta.RoomID, typ, key string, sender quinta.UserID, change func(*room.Event)) *room.Event {
	h.t.Helper()
	h.n++
	e := &room.Event{Room: id, ID: quinta.MessageID(fmt.Sprintf("$%d", h.n)), Type: typ, Sender: sender, Time: int64(h.n) * 10, Depth: int64(h.n), Content: []byte(`{}`)}
	if key != "-" {
		e.StateKey = &key
	}
	if change != nil {
		change(e)
	}
	h.update(func(tx *db.Tx) error { return room.Append(tx, e, nil) })
	return e
}

// set gives member a membership.
func (h *house) set(id quinta.RoomID, member quinta.UserID, membership string) quinta.Pos {
	h.t.Helper()
	h.n++
	key := string(member)
	e := &room.Event{Room: id, ID: quinta.MessageID(fmt.Sprintf("$%d", h.n)), Type: "member", StateKey: &key, Sender: member, Time: int64(h.n) * 10, Depth: int64(h.n), Content: []byte(membership)}
	h.update(func(tx *db.Tx) error {
		return room.Append(tx, e, &room.Membership{Member: member, Membership: membership})
	})
	return e.Pos
}

func ids(list []*room.Event) string {
	var out []string
	for _, e := range list {
		out = append(out, string(e.ID))
	}
	return strings.Join(out, " ")
}

func is(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func kind(err error) quinta.Kind {
	return quinta.KindOf(err)
}

func TestRooms(t *testing.T) {
	each(t, func(h *house) {
		err := h.d.Update(h.t.Context(), func(tx *db.Tx) error { return room.Create(tx, room.Room{ID: r1}) })
		is(h.t, "creating twice", kind(err), quinta.KindExists)
		h.set(r1, alice, "join")
		h.set(r1, bob, "join")
		h.set(r2, alice, "join")
		h.update(func(tx *db.Tx) error {
			if err := room.SetListed(tx, r1, true); err != nil {
				return err
			}
			return room.SetListed(tx, r2, true)
		})
		h.view(func(tx *db.Tx) error {
			r, err := room.Get(tx, r1)
			is(h.t, "room", fmt.Sprint(r.ID, r.Version, r.Creator, r.Listed, r.Joined, r.Created > 0, err), "!r1v@alicetrue 2 true <nil>")
			_, err = room.Get(tx, "!none")
			is(h.t, "unknown room", kind(err), quinta.KindNotFound)
			list, err := room.Listed(tx, 0, 10)
			is(h.t, "listed", fmt.Sprint(len(list), list[0].ID, list[1].ID, err), "2!r1!r2<nil>")
			list, err = room.Listed(tx, 1, 1)
			is(h.t, "second page", fmt.Sprint(len(list), list[0].ID, err), "1!r2<nil>")
			return nil
		})
		h.update(func(tx *db.Tx) error { return room.SetListed(tx, r1, false) })
		h.view(func(tx *db.Tx) error {
			list, err := room.Listed(tx, 0, 10)
			is(h.t, "after taking out", fmt.Sprint(len(list), err), "1 <nil>")
			return nil
		})
		err = h.d.Update(h.t.Context(), func(tx *db.Tx) error { return room.SetListed(tx, "!none", true) })
		is(h.t, "listing an unknown room", kind(err), quinta.KindNotFound)
	})
}

func TestLog(t *testing.T) {
	each(t, func(h *house) {
		var list []*room.Event
		for i := range 6 {
			list = append(list, h.add(r1, "m", "-", alice, nil))
			if i == 2 {
				h.add(r2, "m", "-", alice, nil)
			}
		}
		h.view(func(tx *db.Tx) error {
			for _, c := range []struct {
				what string
				fn   func(*db.Tx, quinta.RoomID, room.Range, int) ([]*room.Event, bool, error)
				r    room.Range
				n    int
				want string
			}{
				{"all", room.Forward, room.Range{To: end}, 10, "$1 $2 $3 $5 $6 $7 false"},
				{"newest two", room.Backward, room.Range{To: end}, 2, "$7 $6 true"},
				{"since", room.Backward, room.Range{From: list[3].Pos, To: end}, 2, "$7 $6 false"},
				{"up to", room.Backward, room.Range{To: list[3].Pos}, 2, "$5 $3 true"},
				{"back", room.Backward, room.Range{To: list[4].Pos}, 3, "$6 $5 $3 true"},
				{"forth", room.Forward, room.Range{From: list[0].Pos, To: end}, 3, "$2 $3 $5 true"},
				{"forth to the end", room.Forward, room.Range{From: list[3].Pos, To: end}, 2, "$6 $7 false"},
				{"nothing", room.Backward, room.Range{From: end, To: end}, 2, " false"},
			} {
				got, more, err := c.fn(tx, r1, c.r, c.n)
				if err != nil {
					return err
				}
				is(h.t, c.what, ids(got)+" "+fmt.Sprint(more), c.want)
			}
			id, depth, err := room.Tip(tx, r1)
			is(h.t, "tip", fmt.Sprint(id, depth, err), "$77 <nil>")
			id, depth, err = room.Tip(tx, "!none")
			is(h.t, "tip of nothing", fmt.Sprint(id, depth, err), "0 <nil>")
			e, err := room.ByID(tx, r1, "$4")
			is(h.t, "event of another room", fmt.Sprint(e == nil, kind(err)), fmt.Sprint(true, quinta.KindNotFound))
			e, err = room.ByPos(tx, r1, list[1].Pos)
			is(h.t, "by position", fmt.Sprint(e.ID, err), "$2<nil>")
			_, err = room.ByPos(tx, r2, list[1].Pos)
			is(h.t, "by a position of another room", kind(err), quinta.KindNotFound)
			return nil
		})
	})
}

func TestAppendKeepsAll(t *testing.T) {
	each(t, func(h *house) {
		key := "k"
		h.add(r1, "s", "k", alice, nil)
		want := h.add(r1, "s", "k", alice, func(e *room.Event) {
			e.Device, e.Txn, e.Redacts, e.RelType, e.RelTo, e.Content = "DEV", "t1", "$x", "rel", "$1", []byte("{\"a\":\"\\u0000\"}")
		})
		h.view(func(tx *db.Tx) error {
			got, err := room.ByID(tx, r1, "$2")
			if err != nil {
				return err
			}
			is(h.t, "event", fmt.Sprintf("%s %d %s %s %s %d %d %s %s %s %s %s %s %v", got.Type, got.Pos, *got.StateKey, got.Sender, got.Room, got.Time, got.Depth, got.Content, got.Device, got.Txn, got.Redacts, got.RelType, got.RelTo, got.Related),
				fmt.Sprintf("s %d k @alice !r1 20 2 {\"a\":\"\\u0000\"} DEV t1 $x rel $1 false", want.Pos))
			is(h.t, "state", got.IsState("s", "k") && !got.IsState("s", "") && want.IsState("s", key), true)
			first, err := room.ByID(tx, r1, "$1")
			is(h.t, "first", fmt.Sprint(first.Related, got.Replaces == first.Pos, want.Replaces == first.Pos, first.Replaces, err), "true true true 0 <nil>")
			return nil
		})
		err := h.d.Update(h.t.Context(), func(tx *db.Tx) error {
			return room.Append(tx, &room.Event{Room: r2, ID: "$1", Type: "m", Sender: bob, Content: []byte(`{}`)}, nil)
		})
		if err == nil {
			h.t.Error("a second event with the same id was appended")
		}
	})
}

func TestState(t *testing.T) {
	each(t, func(h *house) {
		a := h.add(r1, "name", "", alice, nil)
		h.add(r1, "topic", "", alice, nil)
		h.add(r1, "m", "-", alice, nil)
		b := h.add(r1, "name", "", alice, nil)
		h.add(r1, "name", "x", alice, nil)
		c := h.add(r1, "topic", "", alice, nil)
		h.add(r2, "name", "", alice, nil)
		h.view(func(tx *db.Tx) error {
			check := func(what string, want string, list []*room.Event, err error) {
				h.t.Helper()
				if err != nil {
					h.t.Fatal(err)
				}
				is(h.t, what, ids(list), want)
			}
			list, err := room.State(tx, r1)
			check("current", "$4 $5 $6", list, err)
			list, err = room.StateExcept(tx, r1, "name")
			check("without names", "$6", list, err)
			list, err = room.StateAt(tx, r1, a.Pos)
			check("after the first", "$1", list, err)
			list, err = room.StateAt(tx, r1, b.Pos)
			check("after the second name", "$2 $4", list, err)
			list, err = room.StateBetween(tx, r1, room.Range{From: b.Pos, To: c.Pos})
			check("changed since", "$5 $6", list, err)
			list, err = room.StateBetween(tx, r1, room.Range{From: a.Pos, To: b.Pos})
			check("changed between", "$2 $4", list, err)
			list, err = room.StateLog(tx, r1, "name", "")
			check("all names", "$1 $4", list, err)
			e, err := room.StateOf(tx, r1, "name", "x")
			check("one", "$5", []*room.Event{e}, err)
			e, err = room.StateOfAt(tx, r1, "name", "", b.Pos-1)
			check("one at", "$1", []*room.Event{e}, err)
			e, err = room.StateOfAt(tx, r1, "name", "x", b.Pos)
			is(h.t, "none at", fmt.Sprint(e == nil, err), "true <nil>")
			e, err = room.StateOf(tx, r1, "name", "y")
			is(h.t, "none", fmt.Sprint(e == nil, err), "true <nil>")
			byPos, err := room.ByPositions(tx, r1, []quinta.Pos{a.Pos, b.Pos, end})
			is(h.t, "by positions", fmt.Sprint(len(byPos), byPos[a.Pos].ID, byPos[b.Pos].ID, err), "2$1$4<nil>")
			many := make([]quinta.MessageID, 1000)
			for i := range many {
				many[i] = quinta.MessageID(fmt.Sprint("$", i))
			}
			byID, err := room.ByIDs(tx, r1, many)
			is(h.t, "by ids", fmt.Sprint(len(byID), byID["$6"].Type, err), "6topic<nil>")
			none, err := room.ByIDs(tx, r1, nil)
			is(h.t, "by no ids", fmt.Sprint(len(none), err), "0 <nil>")
			list, err = room.StateOfType(tx, r1, "name")
			check("of one type", "$4 $5", list, err)
			list, err = room.StateOfTypeAt(tx, r1, "name", a.Pos)
			check("of one type then", "$1", list, err)
			return nil
		})
	})
}

func TestSentIsPerDevice(t *testing.T) {
	each(t, func(h *house) {
		send := func(dev quinta.DeviceID, txn quinta.TxnID) {
			h.add(r1, "m", "-", alice, func(e *room.Event) { e.Device, e.Txn = dev, txn })
		}
		send("A", "1")
		send("B", "1")
		send("A", "2")
		send("A", "1")
		h.view(func(tx *db.Tx) error {
			for _, c := range []struct {
				u    quinta.UserID
				d    quinta.DeviceID
				x    quinta.TxnID
				want string
			}{{alice, "A", "1", "$1 $4"}, {alice, "B", "1", "$2"}, {alice, "B", "2", ""}, {bob, "A", "1", ""}} {
				list, err := room.Sent(tx, c.u, c.d, c.x)
				if err != nil {
					return err
				}
				is(h.t, fmt.Sprint(c.u, c.d, c.x), ids(list), c.want)
			}
			return nil
		})
	})
}

func TestRedactAndRelations(t *testing.T) {
	each(t, func(h *house) {
		root := h.add(r1, "m", "-", alice, nil)
		rel := func(typ, rel string, to quinta.MessageID, who quinta.UserID) *room.Event {
			return h.add(r1, typ, "-", who, func(e *room.Event) { e.RelType, e.RelTo = rel, to })
		}
		rel("m", "thread", root.ID, bob)     // 2
		rel("react", "note", root.ID, carol) // 3
		rel("m", "thread", root.ID, carol)   // 4
		other := h.add(r1, "m", "-", alice, nil)
		rel("m", "thread", other.ID, bob) // 6
		query := func(q room.RelationQuery) string {
			var out string
			h.view(func(tx *db.Tx) error {
				q.Room, q.Range.To = r1, end
				list, more, err := room.Relations(tx, q)
				out = fmt.Sprint(ids(list), more)
				return err
			})
			return out
		}
		is(h.t, "all", query(room.RelationQuery{To: root.ID, Limit: 9}), "$4 $3 $2false")
		is(h.t, "by relation", query(room.RelationQuery{To: root.ID, RelType: "thread", Limit: 9}), "$4 $2false")
		is(h.t, "by type, oldest first", query(room.RelationQuery{To: root.ID, RelType: "thread", Type: "m", Forward: true, Limit: 1}), "$2true")
		is(h.t, "by sender", query(room.RelationQuery{To: root.ID, Sender: carol, Limit: 9}), "$4 $3false")
		is(h.t, "by another type", query(room.RelationQuery{To: root.ID, RelType: "thread", Type: "react", Limit: 1}), "false")
		h.view(func(tx *db.Tx) error {
			n, took, err := room.CountRelations(tx, r1, root.ID, "thread", bob)
			is(h.t, "count", fmt.Sprint(n, took, err), "2 true <nil>")
			n, took, err = room.CountRelations(tx, r1, root.ID, "thread", alice)
			is(h.t, "count of a stranger", fmt.Sprint(n, took, err), "2 false <nil>")
			roots, more, err := room.Roots(tx, r1, "thread", end, 1)
			is(h.t, "newest thread", fmt.Sprint(len(roots), roots[0].ID, more, err), "1$5true <nil>")
			roots, more, err = room.Roots(tx, r1, "thread", roots[0].Last, 1)
			is(h.t, "next thread", fmt.Sprint(len(roots), roots[0].ID, more, err), "1$1false <nil>")
			return nil
		})
		h.update(func(tx *db.Tx) error { return room.Redact(tx, r1, "$4", "$9", []byte(`{"left":1}`)) })
		is(h.t, "after a redaction", query(room.RelationQuery{To: root.ID, Limit: 9}), "$3 $2false")
		h.view(func(tx *db.Tx) error {
			e, err := room.ByID(tx, r1, "$4")
			is(h.t, "redacted", fmt.Sprint(string(e.Content), e.RedactedBy, e.RelTo, err), `{"left":1}$9<nil>`)
			return nil
		})
		for what, id := range map[string]quinta.MessageID{"twice": "$4", "unknown": "$99"} {
			err := h.d.Update(h.t.Context(), func(tx *db.Tx) error { return room.Redact(tx, r1, id, "$8", []byte(`{}`)) })
			is(h.t, "redacting "+what, kind(err), quinta.KindNotFound)
		}
		err := h.d.Update(h.t.Context(), func(tx *db.Tx) error { return room.Redact(tx, r2, "$2", "$8", []byte(`{}`)) })
		is(h.t, "redacting in another room", kind(err), quinta.KindNotFound)
	})
}

func TestNearest(t *testing.T) {
	each(t, func(h *house) {
		for range 20 {
			h.add(r1, "m", "-", alice, nil)
			h.add(r2, "m", "-", alice, nil)
		}
		h.view(func(tx *db.Tx) error {
			// Events of r1 have the times 10, 30, 50 ... 390.
			for _, c := range []struct {
				time int64
				back bool
				want int64
			}{{0, false, 10}, {10, false, 10}, {11, false, 30}, {390, false, 390}, {391, false, 0}, {5, true, 0}, {10, true, 10}, {29, true, 10}, {30, true, 30}, {999, true, 390}} {
				e, err := room.Nearest(tx, r1, c.time, c.back)
				if err != nil {
					return err
				}
				var got int64
				if e != nil {
					got = e.Time
				}
				is(h.t, fmt.Sprint("nearest to ", c.time, c.back), got, c.want)
			}
			e, err := room.Nearest(tx, "!none", 5, true)
			is(h.t, "in no room", fmt.Sprint(e == nil, err), "true <nil>")
			return nil
		})
	})
}

func TestConcurrentAppends(t *testing.T) {
	each(t, func(h *house) {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				err := h.d.Update(context.Background(), func(tx *db.Tx) error {
					_, depth, err := room.Tip(tx, r1)
					if err != nil {
						return err
					}
					return room.Append(tx, &room.Event{Room: r1, ID: quinta.MessageID(fmt.Sprint("$c", i)), Type: "m", Sender: alice, Depth: depth + 1, Content: []byte(`{}`)}, nil)
				})
				if err != nil {
					h.t.Error(err)
				}
			})
		}
		wg.Wait()
		h.view(func(tx *db.Tx) error {
			list, _, err := room.Forward(tx, r1, room.Range{To: end}, 100)
			if err != nil {
				return err
			}
			is(h.t, "events", len(list), 40)
			for i, e := range list {
				is(h.t, "depth in the order of the log", e.Depth, i+1)
			}
			return nil
		})
	})
}
