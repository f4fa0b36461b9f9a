package room_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func TestSharing(t *testing.T) {
	each(t, func(h *house) {
		sharing := func(since quinta.Pos, who ...quinta.UserID) (out string) {
			h.view(func(tx *db.Tx) error {
				m, err := room.Sharing(tx, alice, who, since)
				for _, u := range slices.Sorted(maps.Keys(m)) {
					out += string(u)
				}
				return err
			})
			return out
		}
		is(h.t, "nobody", sharing(end, bob), "")
		p1 := h.set(r1, alice, room.Join)
		p2 := h.set(r1, bob, room.Join)
		h.set(r1, carol, room.Invite)
		is(h.t, "joined", sharing(end, alice, bob, carol), "@bob")
		is(h.t, "not asked for", sharing(end, carol), "")
		is(h.t, "since before bob came", sharing(p1, bob), "")
		is(h.t, "since bob came", sharing(p2, bob), "@bob")
		h.set(r1, bob, "leave")
		is(h.t, "gone", sharing(end, bob), "")
		p5 := h.set(r1, bob, room.Join)
		is(h.t, "back, but not without a break", sharing(p5-1, bob), "")
		h.set(r2, alice, room.Join)
		h.set(r2, bob, room.Join)
		h.set(r1, alice, "leave")
		is(h.t, "in another room", sharing(end, bob), "@bob")
		var many []quinta.UserID
		for i := range 200 {
			u := quinta.UserID(fmt.Sprintf("@u%03d", i))
			many = append(many, u)
			if i%2 == 0 {
				h.set(r2, u, room.Join)
			}
		}
		is(h.t, "many", strings.Count(sharing(end, many...), "@"), 100)
	})
}

func TestChangesSeen(t *testing.T) {
	each(t, func(h *house) {
		show := func(list []room.Change, err error) (string, error) {
			var out []string
			for _, c := range list {
				out = append(out, fmt.Sprintf("%s %s %s", c.Room, c.Member, c.Membership))
			}
			return strings.Join(out, ", "), err
		}
		var got string
		p0 := h.set(r1, alice, room.Join)
		h.add(r1, "topic", "", alice, nil)
		h.add(r1, "message", "-", alice, nil)
		h.set(r1, bob, room.Join)
		h.set(r2, carol, room.Join)
		p1 := h.set(r1, carol, room.Invite)
		p2 := h.set(r1, bob, "leave")
		seen := func(from, to quinta.Pos) string {
			h.view(func(tx *db.Tx) (err error) {
				got, err = show(room.ChangesSeen(tx, alice, room.Range{From: from, To: to}))
				return err
			})
			return got
		}
		is(h.t, "all", seen(0, end), "!r1 @bob join, !r1 @carol invite, !r1 @bob leave")
		is(h.t, "a part", seen(p0, p1), "!r1 @bob join, !r1 @carol invite")
		is(h.t, "the last", seen(p1, p2), "!r1 @bob leave")
		is(h.t, "nothing", seen(p2, end), "")
		h.view(func(tx *db.Tx) (err error) {
			got, err = show(room.ChangesIn(tx, r1, room.Range{From: 0, To: p1}))
			return err
		})
		is(h.t, "in the room", got, "!r1 @alice join, !r1 @bob join, !r1 @carol invite")
		h.set(r1, alice, "leave")
		is(h.t, "not in the room any more", seen(0, end), "")
	})
}
