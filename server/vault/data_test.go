package vault_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/vault"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// network is the network of these tests.
const network quinta.NetworkName = "n"

const alice, bob = quinta.UserID("@alice:hs1"), quinta.UserID("@bob:hs1")

// update runs fn in one transaction and ends the test if it fails.
func update(t *testing.T, d *db.DB, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := d.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, d *db.DB, user quinta.UserID, scope, name, value string) {
	t.Helper()
	update(t, d, func(tx *db.Tx) error { return vault.PutData(tx, network, user, scope, name, []byte(value)) })
}

// since returns what changed after a position as "scope/name=value".
func since(t *testing.T, d *db.DB, user quinta.UserID, after quinta.Pos) (got []string, last quinta.Pos) {
	t.Helper()
	last = after
	err := d.View(t.Context(), func(tx *db.Tx) error {
		list, err := vault.DataSince(tx, network, user, after)
		for _, v := range list {
			value := string(v.Value)
			if v.Value == nil {
				value = "removed"
			}
			got = append(got, v.Scope+"/"+v.Name+"="+value)
			last = v.Pos
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, last
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestDataSince(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		put(t, d, alice, "", "m.direct", `{"a":1}`)
		put(t, d, alice, "!r:hs1", "m.tag", `{}`)
		put(t, d, bob, "", "m.direct", `{"b":1}`)
		got, pos := since(t, d, alice, 0)
		wantList(t, "all", got, `/m.direct={"a":1}`, `!r:hs1/m.tag={}`)

		put(t, d, alice, "!r:hs1", "m.tag", `{}`)
		got, _ = since(t, d, alice, pos)
		wantList(t, "after storing the same again", got)

		put(t, d, alice, "", "m.direct", `{"a":2}`)
		got, pos = since(t, d, alice, pos)
		wantList(t, "after a change", got, `/m.direct={"a":2}`)

		update(t, d, func(tx *db.Tx) error {
			there, err := vault.DeleteData(tx, network, alice, "", "m.direct")
			if !there {
				t.Error("got nothing to remove, want the value")
			}
			return err
		})
		got, pos = since(t, d, alice, pos)
		wantList(t, "after removing", got, `/m.direct=removed`)
		got, _ = since(t, d, alice, 0)
		wantList(t, "all, after removing", got, `!r:hs1/m.tag={}`)

		update(t, d, func(tx *db.Tx) error {
			there, err := vault.DeleteData(tx, network, alice, "", "m.direct")
			if there {
				t.Error("removed twice")
			}
			return err
		})
		got, pos = since(t, d, alice, pos)
		wantList(t, "after removing again", got)

		err := d.View(t.Context(), func(tx *db.Tx) error {
			for scope, want := range map[string]int{"": 0, "!r:hs1": 1, "!x:hs1": 0} {
				list, err := vault.DataIn(tx, network, alice, scope)
				if err != nil || len(list) != want {
					t.Errorf("in %q: got %v %v, want %d values", scope, list, err, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}

		put(t, d, alice, "", "m.direct", `{"a":2}`)
		got, _ = since(t, d, alice, pos)
		wantList(t, "after coming back", got, `/m.direct={"a":2}`)

		update(t, d, func(tx *db.Tx) error { return vault.ClearData(tx, network, alice) })
		got, _ = since(t, d, alice, 0)
		wantList(t, "after the end of the account", got)
		got, _ = since(t, d, bob, 0)
		wantList(t, "bob's", got, `/m.direct={"b":1}`)
	}, vault.Schema)
}

func TestGetData(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		put(t, d, alice, "", "x", `{"x":"é"}`)
		for _, c := range []struct {
			user        quinta.UserID
			scope, name string
			want        string
		}{{alice, "", "x", `{"x":"é"}`}, {bob, "", "x", ""}, {alice, "!r", "x", ""}, {alice, "", "y", ""}} {
			err := d.View(t.Context(), func(tx *db.Tx) error {
				got, err := vault.GetData(tx, network, c.user, c.scope, c.name)
				if string(got) != c.want {
					t.Errorf("%v: got %q, want %q", c, got, c.want)
				}
				return err
			})
			if c.want == "" && quinta.KindOf(err) != quinta.KindNotFound || c.want != "" && err != nil {
				t.Errorf("%v: got %v", c, err)
			}
		}
	}, vault.Schema)
}

// TestDataBounds: no user can fill the store with data, and what is refused
// leaves what there was.
func TestDataBounds(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		try := func(name string, n int) quinta.Kind {
			err := d.Update(t.Context(), func(tx *db.Tx) error {
				return vault.PutData(tx, network, alice, "", name, bytes.Repeat([]byte("x"), n))
			})
			if err == nil {
				return -1
			}
			return quinta.KindOf(err)
		}
		if got := try("big", vault.MaxDataValue+1); got != quinta.KindTooLarge {
			t.Errorf("a too long value: got %v, want %v", got, quinta.KindTooLarge)
		}
		if got := try(string(bytes.Repeat([]byte("n"), vault.MaxDataName+1)), 1); got != quinta.KindTooLarge {
			t.Errorf("a too long name: got %v, want %v", got, quinta.KindTooLarge)
		}
		for i := range vault.MaxDataTotal / vault.MaxDataValue {
			if got := try(fmt.Sprint(i), vault.MaxDataValue); got != -1 {
				t.Fatalf("value %d: got %v", i, got)
			}
		}
		if got := try("more", 1); got != quinta.KindLimited {
			t.Errorf("too much in all: got %v, want %v", got, quinta.KindLimited)
		}
		if got := try("0", 1); got != -1 {
			t.Errorf("a shorter value in place of one: got %v", got)
		}
		if got := try("more", 1); got != -1 {
			t.Errorf("one more after that: got %v", got)
		}
	}, vault.Schema)
}
