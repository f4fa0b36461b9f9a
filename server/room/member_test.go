package room_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func names(list []room.Member) string {
	var out []string
	for _, m := range list {
		out = append(out, fmt.Sprint(m.Room, m.Member, " ", m.Membership))
	}
	return strings.Join(out, ", ")
}

func TestMembers(t *testing.T) {
	each(t, func(h *house) {
		h.set(r1, alice, "join")
		h.set(r1, bob, "invite")
		h.set(r2, bob, "join")
		joined := h.set(r1, bob, "join")
		h.set(r1, carol, "knock")
		again := h.set(r1, bob, "join") // a new display name
		h.view(func(tx *db.Tx) error {
			m, err := room.MemberOf(tx, r1, bob)
			is(h.t, "bob", fmt.Sprint(m.Membership, m.Pos == again, m.Joined == joined, m.Forgotten, err), "jointrue true false <nil>")
			m, err = room.MemberOf(tx, r1, "@nobody")
			is(h.t, "nobody", fmt.Sprint(m.Membership, m.Pos, err), "0 <nil>")
			list, err := room.RoomsOf(tx, bob)
			is(h.t, "rooms of bob", fmt.Sprint(names(list), err), "!r2@bob join, !r1@bob join<nil>")
			list, err = room.RoomsWith(tx, carol, "join")
			is(h.t, "rooms that carol joined", fmt.Sprint(names(list), err), "<nil>")
			list, err = room.Members(tx, r1, "join", 1)
			is(h.t, "first member", fmt.Sprint(names(list), err), "!r1@alice join<nil>")
			r, err := room.Get(tx, r1)
			is(h.t, "counts", fmt.Sprint(r.Joined, r.Invited, err), "2 0 <nil>")
			return nil
		})
		h.set(r1, bob, "leave")
		h.view(func(tx *db.Tx) error {
			m, err := room.MemberOf(tx, r1, bob)
			is(h.t, "after leaving", fmt.Sprint(m.Membership, m.Joined == joined, err), "leavetrue <nil>")
			r, err := room.Get(tx, r1)
			is(h.t, "counts", fmt.Sprint(r.Joined, r.Invited, err), "1 0 <nil>")
			return nil
		})
	})
}

func TestMembershipHistory(t *testing.T) {
	each(t, func(h *house) {
		a := h.set(r1, bob, "invite")
		b := h.set(r1, bob, "join")
		h.add(r1, "m", "-", alice, nil)
		c := h.set(r1, bob, "leave")
		h.set(r2, bob, "ban")
		h.view(func(tx *db.Tx) error {
			for _, x := range []struct {
				pos  quinta.Pos
				want string
			}{{a - 1, ""}, {a, "invite"}, {b, "join"}, {c - 1, "join"}, {c, "leave"}, {end, "leave"}} {
				got, err := room.MembershipAt(tx, r1, bob, x.pos)
				if err != nil {
					return err
				}
				is(h.t, fmt.Sprint("at ", x.pos), got, x.want)
			}
			var got []string
			hist, err := room.History(tx, r1, bob)
			for _, x := range hist {
				got = append(got, x.Membership)
			}
			is(h.t, "history", fmt.Sprint(got, err), "[invite join leave] <nil>")
			got = nil
			changes, err := room.ChangesOf(tx, bob, room.Range{From: b, To: end})
			for _, x := range changes {
				got = append(got, string(x.Room)+x.Membership)
			}
			is(h.t, "changes since", fmt.Sprint(got, err), "[!r1leave !r2ban] <nil>")
			return nil
		})
	})
}

func TestForget(t *testing.T) {
	each(t, func(h *house) {
		forgotten := func() bool {
			var m room.Member
			h.view(func(tx *db.Tx) (err error) { m, err = room.MemberOf(tx, r1, bob); return err })
			return m.Forgotten
		}
		h.set(r1, bob, "join")
		h.set(r1, bob, "leave")
		is(h.t, "before", forgotten(), false)
		h.update(func(tx *db.Tx) error { return room.Forget(tx, r1, bob) })
		is(h.t, "forgotten", forgotten(), true)
		h.set(r1, bob, "invite")
		is(h.t, "after a new invitation", forgotten(), false)
	})
}

func TestReceipts(t *testing.T) {
	each(t, func(h *house) {
		h.set(r1, alice, "join")
		var e []*room.Event
		for range 3 {
			e = append(e, h.add(r1, "m", "-", alice, nil))
		}
		put := func(who quinta.UserID, kind, thread string, ev *room.Event) (kept bool, pos quinta.Pos) {
			r := room.Receipt{Room: r1, Member: who, Kind: kind, Thread: thread, Event: ev.ID, Upto: ev.Pos}
			h.update(func(tx *db.Tx) (err error) { kept, err = room.PutReceipt(tx, &r); return err })
			return kept, r.Pos
		}
		kept, first := put(alice, "read", "", e[1])
		is(h.t, "first", kept, true)
		kept, _ = put(alice, "read", "", e[0])
		is(h.t, "older", kept, false)
		kept, _ = put(alice, "read", "", e[1])
		is(h.t, "same", kept, false)
		kept, _ = put(alice, "read", "$t", e[0])
		is(h.t, "thread", kept, true)
		kept, _ = put(alice, "private", "", e[2])
		is(h.t, "another kind", kept, true)
		kept, _ = put(bob, "read", "", e[2])
		is(h.t, "another member", kept, true)
		list := func(r room.Range) string {
			var out []string
			h.view(func(tx *db.Tx) error {
				l, err := room.Receipts(tx, r1, r)
				for _, x := range l {
					out = append(out, fmt.Sprint(x.Member, x.Kind, x.Thread, x.Event, x.Time > 0))
				}
				return err
			})
			return strings.Join(out, " ")
		}
		is(h.t, "all", list(room.Range{To: end}), "@aliceread$3true @aliceread$t$2true @aliceprivate$4true @bobread$4true")
		is(h.t, "since", list(room.Range{From: first, To: end}), "@aliceread$t$2true @aliceprivate$4true @bobread$4true")
		put(alice, "read", "", e[2])
		is(h.t, "moved on", list(room.Range{To: end}), "@aliceread$t$2true @aliceprivate$4true @bobread$4true @aliceread$4true")
		h.view(func(tx *db.Tx) error {
			l, err := room.ReceiptsOf(tx, r1, bob)
			is(h.t, "of bob", fmt.Sprint(len(l), err), "1 <nil>")
			return nil
		})
	})
}

func TestTyping(t *testing.T) {
	each(t, func(h *house) {
		h.set(r1, alice, "join")
		set := func(who quinta.UserID, until int64) (seen bool) {
			h.update(func(tx *db.Tx) (err error) { seen, err = room.SetTyping(tx, r1, who, until); return err })
			return seen
		}
		var pos quinta.Pos
		typing := func() string {
			var out string
			h.view(func(tx *db.Tx) error {
				who, changed, err := room.Typing(tx, r1, pos)
				out = fmt.Sprint(who, changed)
				if err == nil {
					pos, err = tx.Pos()
				}
				return err
			})
			return out
		}
		future := int64(1) << 50
		is(h.t, "stopping before it began", set(bob, 0), false)
		is(h.t, "begins", set(bob, future), true)
		is(h.t, "who", typing(), "[@bob] true")
		is(h.t, "goes on", set(bob, future+1), false)
		is(h.t, "who, unchanged", typing(), "[@bob] false")
		is(h.t, "carol begins", set(carol, 1), true)
		is(h.t, "both", typing(), "[@bob @carol] true")
		h.update(func(tx *db.Tx) error {
			over, err := room.EndTyping(tx)
			is(h.t, "over in", over, []quinta.RoomID{r1})
			return err
		})
		is(h.t, "after carol's time", typing(), "[@bob] true")
		h.update(func(tx *db.Tx) error {
			over, err := room.EndTyping(tx)
			is(h.t, "over in none", len(over), 0)
			return err
		})
		is(h.t, "stops", set(bob, 0), true)
		is(h.t, "nobody", typing(), "[] true")
		h.view(func(tx *db.Tx) error {
			return nil
		})
	})
}

func TestAliases(t *testing.T) {
	each(t, func(h *house) {
		h.update(func(tx *db.Tx) error {
			for _, a := range []string{"#b", "#a"} {
				if err := room.PutAlias(tx, room.Alias{Alias: a, Room: r1, Creator: alice}); err != nil {
					return err
				}
			}
			return nil
		})
		err := h.d.Update(h.t.Context(), func(tx *db.Tx) error {
			return room.PutAlias(tx, room.Alias{Alias: "#a", Room: r2, Creator: bob})
		})
		is(h.t, "taken", kind(err), quinta.KindExists)
		h.view(func(tx *db.Tx) error {
			a, err := room.AliasOf(tx, "#a")
			is(h.t, "alias", fmt.Sprint(a, err), "{#a !r1 @alice} <nil>")
			_, err = room.AliasOf(tx, "#c")
			is(h.t, "unknown", kind(err), quinta.KindNotFound)
			list, err := room.Aliases(tx, r1)
			is(h.t, "all", fmt.Sprint(list, err), "[{#a !r1 @alice} {#b !r1 @alice}] <nil>")
			return nil
		})
		h.update(func(tx *db.Tx) error {
			if err := room.DeleteAlias(tx, "#a"); err != nil {
				return err
			}
			return room.MoveAliases(tx, r1, r2)
		})
		h.view(func(tx *db.Tx) error {
			list, err := room.Aliases(tx, r2)
			is(h.t, "moved", fmt.Sprint(list, err), "[{#b !r2 @alice}] <nil>")
			list, err = room.Aliases(tx, r1)
			is(h.t, "left", fmt.Sprint(len(list), err), "0 <nil>")
			return nil
		})
	})
}

// TestChanged: a room counts as changed by an event, a receipt, or typing
// after the position, for those who are joined to it.
func TestChanged(t *testing.T) {
	each(t, func(h *house) {
		h.set(r1, alice, "join")
		e := h.add(r1, "m", "-", bob, nil)
		pos := h.set(r2, alice, "join")
		check := func(what string, who quinta.UserID, want string) {
			h.t.Helper()
			h.view(func(tx *db.Tx) error {
				got, err := room.Changed(tx, who, pos)
				is(h.t, what, fmt.Sprint(got, err), want+" <nil>")
				pos, err = tx.Pos()
				return err
			})
		}
		check("nothing", alice, "[]")
		h.update(func(tx *db.Tx) error {
			_, err := room.PutReceipt(tx, &room.Receipt{Room: r1, Member: bob, Kind: "read", Event: e.ID, Upto: e.Pos})
			return err
		})
		check("a receipt", alice, "[!r1]")
		h.update(func(tx *db.Tx) error { _, err := room.SetTyping(tx, r2, bob, 1<<50); return err })
		check("typing", alice, "[!r2]")
		h.add(r1, "m", "-", bob, nil)
		check("an event", alice, "[!r1]")
		h.add(r1, "m", "-", bob, nil)
		check("an event where he is not", bob, "[]")
		h.view(func(tx *db.Tx) error {
			got, err := room.Joined(tx, alice)
			is(h.t, "joined", fmt.Sprint(len(got), err), "2 <nil>")
			return nil
		})
	})
}
