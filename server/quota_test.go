package server_test

import (
	"crypto/rand"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/quota"
	"github.com/quinta-chat/quinta/server/vault"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// store puts something of every class into a store for alice on two networks.
func store(t *testing.T, s *quintatest.Server) {
	t.Helper()
	w, err := s.Core.Blobs.Write(t.Context(), strings.NewReader(strings.Repeat("x", 10_000)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Core.Update(t.Context(), func(tx *db.Tx) error {
		if err := blob.Put(tx, blob.Blob{ID: "file", Owner: db.UserOf("matrix", "@alice:hs1"), Bytes: w}); err != nil {
			return err
		}
		if err := vault.PutData(tx, "matrix", "@alice:hs1", "", "name", make([]byte, 100)); err != nil {
			return err
		}
		if err := vault.PutData(tx, "ca", "alice@hs1", "", "name", make([]byte, 20)); err != nil {
			return err
		}
		v, err := vault.NewBackup(tx, "matrix", "@alice:hs1", "a", make([]byte, 7))
		if err != nil {
			return err
		}
		if _, err := vault.PutBackupKeys(tx, "matrix", "@alice:hs1", v, []vault.BackupKey{{Room: "r", Session: "s", Body: make([]byte, 50)}}); err != nil {
			return err
		}
		return mailbox.Put(tx, "matrix", 0, quinta.Envelope{From: "@alice:hs1", To: "@bob:hs1", Device: "D", Body: make([]byte, 33)})
	}); err != nil {
		t.Fatal(err)
	}
}

func usage(t *testing.T, s *quintatest.Server) quota.Used {
	t.Helper()
	u, err := s.Core.Usage(t.Context(), []account.Name{"alice"})
	if err != nil {
		t.Fatal(err)
	}
	return u["alice"]
}

// TestUsageOfAnEarlierStore: what a store holds that was written before bytes
// were counted is counted when it is opened, once.
func TestUsageOfAnEarlierStore(t *testing.T) {
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cfg := stores.Config(t, engine)
			media, secret := "file://"+t.TempDir(), "file://"+t.TempDir()+"/secrets.key"
			open := func() *quintatest.Server {
				return quintatest.StartNetworks(t, servers.All(), quintatest.Database(cfg), quintatest.Configure(func(c *server.Config) { c.BlobURL, c.SecretsURL = media, secret }))
			}
			s := open()
			store(t, s)
			want := quota.Used{db.ClassMedia: 10_000, db.ClassData: 120, db.ClassBackup: 59 + db.RowBytes, db.ClassQueue: 33 + db.RowBytes}
			same := func(what string) {
				t.Helper()
				got := usage(t, s)
				for _, class := range db.Classes() {
					if got[class] != want[class] {
						t.Errorf("%s: got %d bytes of %s, want %d", what, got[class], class, want[class])
					}
				}
			}
			same("as they were stored")
			s.Stop()
			// The tables of an earlier version: nothing is counted, and there is no
			// such set.
			d := stores.Open(t, cfg)
			if err := d.Update(t.Context(), func(tx *db.Tx) error {
				for _, sql := range []string{`DROP TABLE quota_used`, `DELETE FROM store_set WHERE name = 'quota'`, `DELETE FROM store_fact WHERE name = 'usage-counted-2'`} {
					if err := tx.Queue(sql); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			s = open()
			same("after the upgrade")
			s.Stop()
			s = open()
			same("opened again")
		})
	}
}

// TestQuotaFailsWhole: a transaction that goes beyond a limit leaves nothing
// behind, whatever else it did, and one that gives back more than it takes goes
// through also beyond it.
func TestQuotaFailsWhole(t *testing.T) {
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := quintatest.Start(t, quintatest.Database(stores.Config(t, engine)), quintatest.Quotas(quota.Limits{db.ClassData: 100}))
			put := func(try, name string, n int) error {
				return s.Core.Update(t.Context(), func(tx *db.Tx) error {
					if err := db.SetFact(tx, "touched", try); err != nil {
						return err
					}
					return vault.PutData(tx, "matrix", "@alice:hs1", "", name, make([]byte, n))
				})
			}
			for i, c := range []struct {
				name string
				n    int
				ok   bool
			}{{"a", 60, true}, {"b", 41, false}, {"b", 40, true}, {"c", 1, false}, {"a", 59, true}, {"c", 1, true}} {
				if err := put(strconv.Itoa(i), c.name, c.n); (err == nil) != c.ok || err != nil && quinta.KindOf(err) != quinta.KindQuota {
					t.Errorf("%s of %d bytes: got %v, want ok %v", c.name, c.n, err, c.ok)
				}
				if err := s.Core.View(t.Context(), func(tx *db.Tx) error {
					touched, err := db.Fact(tx, "touched")
					if (touched == strconv.Itoa(i)) != c.ok {
						t.Errorf("%s of %d bytes: the fact is of try %s, want all of a transaction or nothing", c.name, c.n, touched)
					}
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestFreeDisk: the real disk is asked, and a floor above all disks is low.
func TestFreeDisk(t *testing.T) {
	t.Parallel()
	cfg := server.Config{Name: "hs1", DB: stores.Config(t, "sqlite"), Now: time.Now, Rand: rand.Reader, MinFreeDisk: 1}
	c, err := server.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	fact := func(tx *db.Tx) error { return db.SetFact(tx, "a", "b") }
	if err := c.Update(t.Context(), fact); err != nil {
		t.Errorf("with a floor of a byte: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.MinFreeDisk = 1 << 62
	if c, err = server.Open(t.Context(), cfg, nil); err == nil {
		defer c.Close()
		if err := c.Update(t.Context(), fact); quinta.KindOf(err) != quinta.KindFull {
			t.Errorf("with a floor of 4 EiB: got %v, want KindFull", err)
		}
		if err := c.UpdateAlways(t.Context(), fact); err != nil {
			t.Errorf("UpdateAlways: %v", err)
		}
		if _, err := c.Blobs.Write(t.Context(), strings.NewReader("x"), 10); quinta.KindOf(err) != quinta.KindFull {
			t.Errorf("a file: got %v, want KindFull", err)
		}
	} else {
		t.Error(err)
	}
}
