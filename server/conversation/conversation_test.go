package conversation_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

const (
	network, other = quinta.NetworkName("n"), quinta.NetworkName("m")
	alice, bob     = quinta.UserID("alice@hs1"), quinta.UserID("bob@hs1")
	room           = quinta.RoomID("c1")
)

func update(t *testing.T, d *db.DB, fn func(*db.Tx) error) {
	t.Helper()
	if err := d.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// members shows the members of a conversation, those who left in brackets.
func members(t *testing.T, d *db.DB, n quinta.NetworkName) string {
	t.Helper()
	var out []string
	update(t, d, func(tx *db.Tx) error {
		ms, err := conversation.Members(tx, n, room)
		for _, m := range ms {
			s := strings.TrimSuffix(string(m.User), "@hs1") + ":" + m.Role
			if !m.In() {
				if s = "(" + s + ")"; m.Left <= m.Joined {
					t.Errorf("%s left at %d, joined at %d", m.User, m.Left, m.Joined)
				}
			}
			out = append(out, s)
		}
		return err
	})
	return strings.Join(out, " ")
}

func TestMembers(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		made := conversation.Conversation{ID: room, Kind: "direct", Creator: alice}
		update(t, d, func(tx *db.Tx) error { return conversation.New(tx, network, made) })
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return conversation.New(tx, network, made) }); !errors.Is(err, conversation.ErrExists) {
			t.Errorf("made twice: got %v", err)
		}
		update(t, d, func(tx *db.Tx) error {
			c, err := conversation.Get(tx, network, room)
			if c.ID != room || c.Kind != "direct" || c.Creator != alice || c.Created <= 0 || c.Created > tx.Millis() {
				t.Errorf("got %+v, want %+v", c, made)
			}
			return err
		})
		if err := d.View(t.Context(), func(tx *db.Tx) error { _, err := conversation.Get(tx, other, room); return err }); !errors.Is(err, conversation.ErrUnknown) {
			t.Errorf("on another network: got %v", err)
		}
		update(t, d, func(tx *db.Tx) error { return conversation.New(tx, other, made) })
		join := func(n quinta.NetworkName, user quinta.UserID, role string, want bool) {
			t.Helper()
			update(t, d, func(tx *db.Tx) error {
				fresh, err := conversation.Join(tx, n, room, user, role)
				if fresh != want {
					t.Errorf("%s joins: new: got %v", user, fresh)
				}
				return err
			})
		}
		want := func(what, want string) {
			t.Helper()
			if got := members(t, d, network); got != want {
				t.Errorf("%s: got %s, want %s", what, got, want)
			}
		}
		join(network, bob, "", true)
		join(network, alice, "owner", true)
		join(network, alice, "guest", false)
		join(other, alice, "x", true)
		want("both", "alice:owner bob:")
		peers := func(n quinta.NetworkName, user quinta.UserID) (s string) {
			update(t, d, func(tx *db.Tx) error {
				us, err := conversation.Peers(tx, n, user, 10)
				ids, err2 := conversation.Of(tx, n, user, 10)
				s = fmt.Sprint(us, ids)
				return errors.Join(err, err2)
			})
			return s
		}
		if got := peers(network, alice) + peers(other, alice); got != "[bob@hs1] [c1][] [c1]" {
			t.Errorf("peers and conversations of alice: got %s", got)
		}
		update(t, d, func(tx *db.Tx) error {
			if ok, err := conversation.SetRole(tx, network, room, bob, "moderator"); !ok || err != nil {
				t.Errorf("a role for bob: got %v %v", ok, err)
			}
			for i := range 2 {
				if was, err := conversation.Leave(tx, network, room, alice); was != (i == 0) || err != nil {
					t.Errorf("alice leaves, time %d: got %v %v", i+1, was, err)
				}
			}
			ok, err := conversation.SetRole(tx, network, room, alice, "owner")
			if ok {
				t.Error("someone who left got a role")
			}
			return err
		})
		want("after alice left", "(alice:) bob:moderator")
		if got := peers(network, bob) + peers(network, alice); got != "[] [c1][] []" {
			t.Errorf("after alice left: got %s", got)
		}
		join(network, alice, "again", true)
		want("after she came back", "alice:again bob:moderator")
		update(t, d, func(tx *db.Tx) error { return conversation.LeaveAll(tx, network, alice) })
		want("after her account ended", "(alice:) bob:moderator")
		if got := members(t, d, other); got != "alice:x" {
			t.Errorf("on the other network: got %s", got)
		}
	}, conversation.Schema)
}

func TestLog(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		add := func(n quinta.NetworkName, m conversation.Message) (conversation.Message, error) {
			err := d.Update(t.Context(), func(tx *db.Tx) (err error) { m, err = conversation.Append(tx, n, m); return err })
			return m, err
		}
		msg := func(id quinta.MessageID, txn quinta.TxnID, typ string) conversation.Message {
			return conversation.Message{Conv: room, ID: id, Sender: alice, Device: "A", Txn: txn, Type: typ, Form: "f", Body: []byte("body of " + id), Sum: []byte(id)}
		}
		var last quinta.Pos
		for _, m := range []conversation.Message{msg("1", "t1", "message"), msg("2", "", "notice"), msg("3", "t3", "message"), msg("4", "", "message")} {
			got, err := add(network, m)
			if err != nil || got.Pos <= last || got.Time == 0 {
				t.Fatalf("got %+v %v", got, err)
			}
			last = got.Pos
		}
		for what, m := range map[string]conversation.Message{"an id twice": msg("1", "t9", "message"), "a transaction twice": msg("9", "t1", "message")} {
			if _, err := add(network, m); !errors.Is(err, conversation.ErrExists) {
				t.Errorf("%s: got %v", what, err)
			}
		}
		if _, err := add(other, msg("1", "t1", "message")); err != nil {
			t.Errorf("on another network: got %v", err)
		}
		back := func(after, before quinta.Pos, typ string, limit int) string {
			t.Helper()
			var out []string
			if err := d.View(t.Context(), func(tx *db.Tx) error {
				for m, err := range conversation.Backward(tx, network, room, after, before, typ, limit) {
					if err != nil {
						return err
					}
					if m.Sender != alice || m.Device != "A" || m.Form != "f" || string(m.Body) != "body of "+string(m.ID) || string(m.Sum) != string(m.ID) {
						t.Errorf("got %+v", m)
					}
					out = append(out, string(m.ID))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return strings.Join(out, " ")
		}
		for _, c := range []struct {
			after, before quinta.Pos
			typ           string
			limit         int
			want          string
		}{{0, math.MaxInt64, "", 10, "4 3 2 1"}, {0, math.MaxInt64, "message", 2, "4 3"}, {0, last, "message", 10, "3 1"}, {last, math.MaxInt64, "", 10, ""}} {
			if got := back(c.after, c.before, c.typ, c.limit); got != c.want {
				t.Errorf("%+v: got %s", c, got)
			}
		}
		if err := d.View(t.Context(), func(tx *db.Tx) error {
			a, err1 := conversation.At(tx, network, room, last)
			b, err2 := conversation.ByID(tx, network, room, "3")
			c, err3 := conversation.ByTxn(tx, network, alice, "A", "t1")
			if a.ID != "4" || b.Txn != "t3" || c.ID != "1" {
				t.Errorf("got %s %s %s", a.ID, b.Txn, c.ID)
			}
			for what, err := range map[string]error{
				"no such position":  second(conversation.At(tx, other, room, last)),
				"no such id":        second(conversation.ByID(tx, other, room, "3")),
				"no such txn":       second(conversation.ByTxn(tx, other, alice, "A", "t3")),
				"another's txn":     second(conversation.ByTxn(tx, network, bob, "A", "t3")),
				"in no such a room": second(conversation.ByID(tx, network, "c2", "3")),
			} {
				if !errors.Is(err, conversation.ErrUnknown) {
					t.Errorf("%s: got %v", what, err)
				}
			}
			return errors.Join(err1, err2, err3)
		}); err != nil {
			t.Fatal(err)
		}
	}, conversation.Schema)
}

func second[T any](_ T, err error) error { return err }

func TestReceipts(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		set := func(n quinta.NetworkName, user quinta.UserID, kind string, upTo quinta.Pos, want bool) {
			t.Helper()
			update(t, d, func(tx *db.Tx) error {
				moved, err := conversation.SetReceipt(tx, n, room, user, kind, upTo)
				if moved != want {
					t.Errorf("%s %s to %d: moved: got %v", user, kind, upTo, moved)
				}
				return err
			})
		}
		set(network, bob, "read", 5, true)
		set(network, alice, "read", 7, true)
		set(network, bob, "read", 5, false)
		set(network, bob, "read", 4, false)
		set(network, bob, "read", 6, true)
		set(network, bob, "got", 9, true)
		set(other, bob, "read", 1, true)
		update(t, d, func(tx *db.Tx) error {
			rs, err := conversation.Receipts(tx, network, room)
			var out []string
			var pos []quinta.Pos
			for _, r := range rs {
				out = append(out, fmt.Sprintf("%s %s %d", r.User, r.Kind, r.UpTo))
				pos = append(pos, r.Pos)
				if r.Time == 0 {
					t.Error("a receipt without a time")
				}
			}
			if got := strings.Join(out, ", "); got != "alice@hs1 read 7, bob@hs1 got 9, bob@hs1 read 6" {
				t.Errorf("got %s", got)
			}
			if len(pos) == 3 && !(pos[0] < pos[2] && pos[2] < pos[1]) {
				t.Errorf("got positions %v", pos)
			}
			return err
		})
	}, conversation.Schema)
}
