package device_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// network is the network of these tests.
const network quinta.NetworkName = "n"

const alice, bob quinta.UserID = "@alice:hs1", "@bob:hs1"

func TestDevices(t *testing.T) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			now := time.UnixMilli(1_000_000)
			cfg := stores.Config(t, engine)
			cfg.Now = func() time.Time { return now }
			d := stores.Open(t, cfg, device.Schema)
			update := func(fn func(*db.Tx) error) {
				t.Helper()
				if err := d.Update(t.Context(), fn); err != nil {
					t.Fatal(err)
				}
			}
			name := "phone"
			var fresh, again bool
			var token string
			update(func(tx *db.Tx) (err error) {
				if fresh, err = device.Put(tx, network, alice, "B", &name); err != nil {
					return err
				}
				other := "other name"
				if again, err = device.Put(tx, network, alice, "B", &other); err != nil {
					return err
				}
				if _, err = device.Put(tx, network, alice, "A", nil); err != nil {
					return err
				}
				if _, err = device.Put(tx, network, bob, "B", nil); err != nil {
					return err
				}
				token, err = device.NewToken(tx, rand.Reader, network, alice, "B")
				return err
			})
			if !fresh || again {
				t.Errorf("fresh: got %v, then %v", fresh, again)
			}
			owner := func(token string) (device.Owner, error) {
				var o device.Owner
				err := d.View(t.Context(), func(tx *db.Tx) (err error) { o, err = device.ByToken(tx, network, token); return err })
				return o, err
			}
			if o, err := owner(token); err != nil || o.User != alice || o.Device != "B" || o.Seen != 0 {
				t.Errorf("got %+v, %v", o, err)
			}
			for _, bad := range []string{"", token + "x", token[1:], strings.Repeat("x", 10000)} {
				if _, err := owner(bad); !errors.Is(err, device.ErrNoToken) {
					t.Errorf("token %.10q...: got %v", bad, err)
				}
			}
			update(func(tx *db.Tx) error { return device.Saw(tx, network, alice, "B", "127.0.0.1") })
			now = now.Add(time.Second)
			update(func(tx *db.Tx) error { return device.Saw(tx, network, alice, "B", "127.0.0.2") })
			list := func() []device.Device {
				var ds []device.Device
				if err := d.View(t.Context(), func(tx *db.Tx) (err error) { ds, err = device.List(tx, network, alice); return err }); err != nil {
					t.Fatal(err)
				}
				return ds
			}
			ds := list()
			if len(ds) != 2 || ds[0].ID != "A" || ds[0].HasName || ds[1].Name != "phone" || ds[1].Seen != 1_000_000 || ds[1].SeenAddr != "127.0.0.1" {
				t.Errorf("got %+v, want A without a name, and B seen once", ds)
			}
			update(func(tx *db.Tx) error {
				there, err := device.Remove(tx, network, alice, "B")
				if !there {
					t.Error("removed: it was not there")
				}
				return err
			})
			if _, err := owner(token); !errors.Is(err, device.ErrNoToken) {
				t.Errorf("token of a removed device: got %v", err)
			}
			if len(list()) != 1 {
				t.Errorf("got %+v, want only A", list())
			}
			if err := d.Update(t.Context(), func(tx *db.Tx) error { return device.Rename(tx, network, alice, "B", &name) }); quinta.KindOf(err) != quinta.KindNotFound {
				t.Errorf("rename of a removed device: got %v", err)
			}
		})
	}
}

func TestTooManyDevices(t *testing.T) {
	t.Parallel()
	d := stores.Open(t, stores.Config(t, "sqlite"), device.Schema)
	err := d.Update(t.Context(), func(tx *db.Tx) error {
		for i := range device.MaxDevices + 1 {
			if _, err := device.Put(tx, network, alice, quinta.DeviceID(strings.Repeat("x", i+1)[:1]+string(rune('a'+i%26))+strings.Repeat("y", i/26)), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if quinta.KindOf(err) != quinta.KindLimited {
		t.Errorf("got %v, want limited", err)
	}
}
