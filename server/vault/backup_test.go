package vault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/vault"
	"github.com/quinta-chat/quinta/testkit/linear"
	"github.com/quinta-chat/quinta/testkit/stores"
)

func newBackup(t *testing.T, d *db.DB, user quinta.UserID) (v int64) {
	t.Helper()
	update(t, d, func(tx *db.Tx) (err error) {
		v, err = vault.NewBackup(tx, network, user, "alg", []byte(`{"a":1}`))
		return err
	})
	return v
}

// keysOf shows the keys of a version.
func keysOf(t *testing.T, d *db.DB, v int64, room quinta.RoomID) string {
	t.Helper()
	var out []string
	if err := d.View(t.Context(), func(tx *db.Tx) error {
		ks, err := vault.BackupKeys(tx, network, alice, v, room)
		for _, k := range ks {
			out = append(out, fmt.Sprintf("%s/%s=%s", k.Room, k.Session, k.Body))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

// wantRow checks the count and the etag of a version.
func wantRow(t *testing.T, d *db.DB, v, count, etag int64) {
	t.Helper()
	if err := d.View(t.Context(), func(tx *db.Tx) error {
		b, err := vault.BackupOf(tx, network, alice, v)
		if b.Count != count || b.Etag != etag {
			t.Errorf("version %d: got count %d etag %d, want %d %d", v, b.Count, b.Etag, count, etag)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestBackupVersions(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		latest := func() (vault.Backup, error) {
			var b vault.Backup
			err := d.View(t.Context(), func(tx *db.Tx) (err error) {
				b, err = vault.LatestBackup(tx, network, alice)
				return err
			})
			return b, err
		}
		if _, err := latest(); !errors.Is(err, vault.ErrNoBackup) {
			t.Errorf("got %v, want ErrNoBackup", err)
		}
		v1, v2 := newBackup(t, d, alice), newBackup(t, d, alice)
		if v2 <= v1 || newBackup(t, d, bob) != v1 {
			t.Errorf("got versions %d, %d: want growing ones, of each user alone", v1, v2)
		}
		b, err := latest()
		if err != nil || b.Version != v2 || b.Algorithm != "alg" || string(b.Auth) != `{"a":1}` {
			t.Errorf("got %+v %v", b, err)
		}
		update(t, d, func(tx *db.Tx) error { return vault.SetBackupAuth(tx, network, alice, v2, []byte("new")) })
		update(t, d, func(tx *db.Tx) error { return vault.DeleteBackup(tx, network, alice, v1) })
		if b, err = latest(); err != nil || b.Version != v2 || string(b.Auth) != "new" {
			t.Errorf("got %+v %v", b, err)
		}
		update(t, d, func(tx *db.Tx) error { return vault.DeleteBackup(tx, network, alice, v2) })
		if _, err := latest(); !errors.Is(err, vault.ErrNoBackup) {
			t.Errorf("got %v, want ErrNoBackup", err)
		}
		for name, fn := range map[string]func(tx *db.Tx) error{
			"auth of a deleted one": func(tx *db.Tx) error { return vault.SetBackupAuth(tx, network, alice, v2, nil) },
			"deleting one that never was": func(tx *db.Tx) error {
				return vault.DeleteBackup(tx, network, alice, 99)
			},
			"keys into a deleted one": func(tx *db.Tx) error {
				_, err := vault.PutBackupKeys(tx, network, alice, v2, []vault.BackupKey{{Room: "!r", Session: "s", Body: []byte("x")}})
				return err
			},
			"keys out of a deleted one": func(tx *db.Tx) error {
				_, err := vault.DeleteBackupKeys(tx, network, alice, v2, "", "")
				return err
			},
			"reading a deleted one": func(tx *db.Tx) error {
				_, err := vault.BackupKeys(tx, network, alice, v2, "")
				return err
			},
			"a key of a deleted one": func(tx *db.Tx) error {
				_, err := vault.BackupKeyOf(tx, network, alice, v2, "!r", "s")
				return err
			},
		} {
			if err := d.Update(t.Context(), fn); !errors.Is(err, vault.ErrNoBackup) {
				t.Errorf("%s: got %v, want ErrNoBackup", name, err)
			}
		}
		if v := newBackup(t, d, alice); v <= v2 {
			t.Errorf("got version %d again", v)
		}
	}, vault.Schema)
}

func TestBackupKeys(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		v := newBackup(t, d, alice)
		put := func(ks ...vault.BackupKey) {
			t.Helper()
			update(t, d, func(tx *db.Tx) error {
				_, err := vault.PutBackupKeys(tx, network, alice, v, ks)
				return err
			})
		}
		key := func(room quinta.RoomID, session, body string, first, forwarded int64, verified bool) vault.BackupKey {
			return vault.BackupKey{Room: room, Session: session, First: first, Forwarded: forwarded, Verified: verified, Body: []byte(body)}
		}
		put(key("!b", "2", "x", 5, 5, false), key("!a", "1", "x", 5, 5, false), key("!b", "1", "x", 5, 5, false))
		wantRow(t, d, v, 3, 1)
		if got := keysOf(t, d, v, ""); got != "!a/1=x !b/1=x !b/2=x" {
			t.Errorf("got %s", got)
		}
		for _, c := range []struct {
			k    vault.BackupKey
			want string
			etag int64
		}{
			{key("!a", "1", "later", 6, 0, false), "x", 1},
			{key("!a", "1", "forwarded more", 5, 6, false), "x", 1},
			{key("!a", "1", "same", 5, 5, false), "x", 1},
			{key("!a", "1", "forwarded less", 5, 4, false), "forwarded less", 2},
			{key("!a", "1", "earlier", 4, 9, false), "earlier", 3},
			{key("!a", "1", "verified", 9, 9, true), "verified", 4},
			{key("!a", "1", "not verified", 0, 0, false), "verified", 4},
			{key("!a", "1", "verified and earlier", 8, 9, true), "verified and earlier", 5},
		} {
			put(c.k)
			if got := keysOf(t, d, v, "!a"); got != "!a/1="+c.want {
				t.Errorf("after %s: got %s", c.k.Body, got)
			}
			wantRow(t, d, v, 3, c.etag)
		}
		// New and known, better and worse in one upload.
		put(key("!a", "1", "worse", 9, 9, false), key("!b", "1", "better", 1, 1, true), key("!c", "1", "new", 1, 1, true))
		wantRow(t, d, v, 4, 6)
		if got := keysOf(t, d, v, ""); got != "!a/1=verified and earlier !b/1=better !b/2=x !c/1=new" {
			t.Errorf("got %s", got)
		}
		update(t, d, func(tx *db.Tx) error {
			if body, err := vault.BackupKeyOf(tx, network, alice, v, "!c", "1"); string(body) != "new" || err != nil {
				t.Errorf("got %s %v", body, err)
			}
			if _, err := vault.BackupKeyOf(tx, network, alice, v, "!c", "2"); !errors.Is(err, vault.ErrNoBackupKey) {
				t.Errorf("got %v, want ErrNoBackupKey", err)
			}
			_, err := vault.DeleteBackupKeys(tx, network, alice, v, "!b", "")
			return err
		})
		wantRow(t, d, v, 2, 7)
		var many []vault.BackupKey
		for i := range 300 {
			many = append(many, key("!m", fmt.Sprint(i), "m", 1, 1, true))
		}
		put(many...)
		wantRow(t, d, v, 302, 8)
		update(t, d, func(tx *db.Tx) error { return vault.ClearBackups(tx, network, alice) })
		if n := newBackup(t, d, alice); keysOf(t, d, n, "") != "" {
			t.Error("a new backup holds old keys")
		}
	}, vault.Schema)
}

func TestDehydrated(t *testing.T) {
	stores.Each(t, func(t *testing.T, d *db.DB) {
		want := func(device quinta.DeviceID, body string) {
			t.Helper()
			err := d.View(t.Context(), func(tx *db.Tx) error {
				id, b, err := vault.Dehydrated(tx, network, alice)
				if id != device || string(b) != body {
					t.Errorf("got %s %s, want %s %s", id, b, device, body)
				}
				return err
			})
			if (device == "") != (quinta.KindOf(err) == quinta.KindNotFound) {
				t.Errorf("got %v", err)
			}
		}
		want("", "")
		update(t, d, func(tx *db.Tx) error { return vault.PutDehydrated(tx, network, alice, "A", []byte("1")) })
		update(t, d, func(tx *db.Tx) error { return vault.PutDehydrated(tx, network, alice, "B", []byte("2")) })
		update(t, d, func(tx *db.Tx) error { return vault.RemoveDehydrated(tx, network, alice, "A") })
		want("B", "2")
		update(t, d, func(tx *db.Tx) error { return vault.RemoveDehydrated(tx, network, alice, "B") })
		want("", "")
	}, vault.Schema)
}

// versions is the model: "new" gives the next number, "latest" the highest
// that is there, "delete n" takes one away. The state is how many there were,
// and those that are there.
var versions = porcupine.Model{
	Init: func() any { return "0:" },
	Step: func(state, in, out any) (bool, any) {
		var last int64
		head, tail, _ := strings.Cut(state.(string), ":")
		fmt.Sscan(head, &last)
		live := strings.Fields(tail)
		switch {
		case in == "new":
			last++
			return out == fmt.Sprint(last), fmt.Sprint(last, ":", strings.Join(append(live, fmt.Sprint(last)), " "))
		case in == "latest":
			if len(live) == 0 {
				return out == "none", state
			}
			return out == live[len(live)-1], state
		}
		n := strings.TrimPrefix(in.(string), "delete ")
		var left []string
		for _, v := range live {
			if v != n {
				left = append(left, v)
			}
		}
		return out == "ok", fmt.Sprint(last, ":", strings.Join(left, " "))
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%s = %s", in, out) },
}

func TestBackupVersionsAreLinearizable(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			nodes := []*db.DB{stores.Open(t, cfg, vault.Schema)}
			if !nodes[0].Embedded() {
				nodes = append(nodes, stores.Open(t, cfg, vault.Schema))
			}
			linear.Run(t, versions, 6, func(n int, do func(any, func() any)) {
				d := nodes[n%len(nodes)]
				mine := int64(0)
				for i := range 6 {
					switch (i + n) % 3 {
					case 0:
						do("new", func() any {
							if err := d.Update(t.Context(), func(tx *db.Tx) (err error) {
								mine, err = vault.NewBackup(tx, network, alice, "alg", []byte("{}"))
								return err
							}); err != nil {
								t.Error(err)
							}
							return fmt.Sprint(mine)
						})
					case 1:
						do("latest", func() any {
							var b vault.Backup
							err := d.View(t.Context(), func(tx *db.Tx) (err error) {
								b, err = vault.LatestBackup(tx, network, alice)
								return err
							})
							if errors.Is(err, vault.ErrNoBackup) {
								return "none"
							}
							if err != nil {
								t.Error(err)
							}
							return fmt.Sprint(b.Version)
						})
					default:
						if mine == 0 {
							continue
						}
						v := mine
						do(fmt.Sprint("delete ", v), func() any {
							if err := d.Update(t.Context(), func(tx *db.Tx) error { return vault.DeleteBackup(tx, network, alice, v) }); err != nil {
								t.Error(err)
							}
							return "ok"
						})
					}
				}
			})
		})
	}
}
