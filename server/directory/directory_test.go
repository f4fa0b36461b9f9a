package directory_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// network is the network of these tests.
const network quinta.NetworkName = "n"

const (
	alice = quinta.UserID("@alice:hs1")
	bob   = quinta.UserID("@bob:hs1")
	carol = quinta.UserID("@carol:hs1")
)

// A shelf is a store with a clock of its own.
type shelf struct {
	*db.DB
	t     *testing.T
	clock atomic.Int64
}

func each(t *testing.T, fn func(s *shelf)) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := &shelf{t: t}
			s.clock.Store(1_700_000_000_000)
			cfg := stores.Config(t, engine)
			cfg.Now = func() time.Time { return time.UnixMilli(s.clock.Load()) }
			s.DB = stores.Open(t, cfg, directory.Schema)
			fn(s)
		})
	}
}

func (s *shelf) update(fn func(tx *db.Tx) error) quinta.Pos {
	s.t.Helper()
	var pos quinta.Pos
	if err := s.Update(s.t.Context(), func(tx *db.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		var err error
		pos, err = tx.Pos()
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return pos
}

func (s *shelf) want(what, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// devices shows the device keys of users.
func (s *shelf) devices(users ...quinta.UserID) string {
	s.t.Helper()
	var out []string
	s.update(func(tx *db.Tx) error {
		ds, err := directory.Devices(tx, network, users)
		for _, d := range ds {
			out = append(out, fmt.Sprintf("%s/%s=%s", d.User, d.Device, d.Body))
		}
		return err
	})
	return strings.Join(out, " ")
}

// identities shows the identity keys of users.
func (s *shelf) identities(users ...quinta.UserID) string {
	s.t.Helper()
	var out []string
	s.update(func(tx *db.Tx) error {
		ids, err := directory.Identities(tx, network, users)
		for _, id := range ids {
			out = append(out, fmt.Sprintf("%s/%s/%s=%s", id.User, id.Usage, id.Key, id.Body))
		}
		return err
	})
	return strings.Join(out, " ")
}

// signatures shows what signer sees of his signatures.
func (s *shelf) signatures(signer quinta.UserID, users ...quinta.UserID) string {
	s.t.Helper()
	var out []string
	s.update(func(tx *db.Tx) error {
		ss, err := directory.SignaturesBy(tx, network, signer, users)
		for _, x := range ss {
			out = append(out, fmt.Sprintf("%s/%s by %s=%s", x.User, x.Target, x.Key, x.Signature))
		}
		return err
	})
	return strings.Join(out, " ")
}

func TestDevices(t *testing.T) {
	each(t, func(s *shelf) {
		s.update(func(tx *db.Tx) error {
			for _, d := range []directory.Device{{bob, "B2", []byte("2")}, {bob, "B1", []byte("old")}, {alice, "A", []byte("a")}, {bob, "B1", []byte("1")}} {
				if err := directory.PutDevice(tx, network, d.User, d.Device, d.Body); err != nil {
					return err
				}
			}
			body, err := directory.DeviceOf(tx, network, bob, "B2")
			s.want("one device", string(body), "2")
			if none, err := directory.DeviceOf(tx, network, bob, "none"); none != nil || err != nil {
				s.t.Errorf("got %q %v, want nothing", none, err)
			}
			return err
		})
		s.want("all", s.devices(bob, alice, carol), "@alice:hs1/A=a @bob:hs1/B1=1 @bob:hs1/B2=2")
		s.update(func(tx *db.Tx) error { return directory.RemoveDevice(tx, network, bob, "B1") })
		s.want("after removal", s.devices(bob), "@bob:hs1/B2=2")
		s.want("nobody", s.devices(), "")
	})
}

func TestDevicesOfManyUsers(t *testing.T) {
	each(t, func(s *shelf) {
		var users []quinta.UserID
		s.update(func(tx *db.Tx) error {
			for i := range 200 {
				u := quinta.UserID(fmt.Sprintf("@u%03d:hs1", i))
				users = append(users, u)
				if err := directory.PutDevice(tx, network, u, "D", []byte{'x'}); err != nil {
					return err
				}
			}
			return nil
		})
		if got := strings.Count(s.devices(users...), "/D=x"); got != 200 {
			s.t.Errorf("got %d devices, want 200", got)
		}
	})
}

func put(tx *db.Tx, user quinta.UserID, usage, key string) error {
	return directory.PutIdentity(tx, network, directory.Identity{User: user, Usage: usage, Key: key, Body: []byte("{" + key + "}")})
}

func sign(tx *db.Tx, signer, user quinta.UserID, target, key, sig string) (bool, error) {
	return directory.PutSignature(tx, network, directory.Signature{Signer: signer, User: user, Target: target, Key: key, Signature: sig})
}

func TestIdentitiesAndSignatures(t *testing.T) {
	each(t, func(s *shelf) {
		s.update(func(tx *db.Tx) error {
			if err := put(tx, bob, "master", "M1"); err != nil {
				return err
			}
			if err := put(tx, bob, "self", "S1"); err != nil {
				return err
			}
			for _, c := range []struct {
				sig  string
				want bool
			}{{"x", true}, {"x", false}, {"y", true}} {
				if changed, err := sign(tx, alice, bob, "M1", "U1", c.sig); err != nil || changed != c.want {
					s.t.Errorf("signature %s: got changed %v %v, want %v", c.sig, changed, err, c.want)
				}
			}
			_, err := sign(tx, carol, bob, "M1", "U2", "z")
			return err
		})
		s.want("keys", s.identities(bob, alice), "@bob:hs1/master/M1={M1} @bob:hs1/self/S1={S1}")
		s.want("alice sees her own only", s.signatures(alice, bob, carol), "@bob:hs1/M1 by U1=y")
		s.want("bob sees none", s.signatures(bob, bob), "")

		s.update(func(tx *db.Tx) error { return put(tx, bob, "master", "M1") }) // the same key again
		s.want("after a repeat", s.signatures(alice, bob), "@bob:hs1/M1 by U1=y")
		s.update(func(tx *db.Tx) error { return put(tx, bob, "master", "M2") })
		s.want("after a new key", s.signatures(alice, bob)+s.signatures(carol, bob), "")
		s.want("new key", s.identities(bob), "@bob:hs1/master/M2={M2} @bob:hs1/self/S1={S1}")

		s.update(func(tx *db.Tx) error {
			if _, err := sign(tx, alice, bob, "M2", "U1", "x"); err != nil {
				return err
			}
			return directory.ForgetSignatures(tx, network, alice, "U1")
		})
		s.want("after alice's new key", s.signatures(alice, bob), "")
		s.update(func(tx *db.Tx) error {
			if _, err := sign(tx, alice, bob, "M2", "U2", "x"); err != nil {
				return err
			}
			return directory.RemoveIdentity(tx, network, bob, "master")
		})
		s.want("after removal", s.signatures(alice, bob)+s.identities(bob), "@bob:hs1/self/S1={S1}")
	})
}

func TestRemoveUser(t *testing.T) {
	each(t, func(s *shelf) {
		s.update(func(tx *db.Tx) error {
			for _, u := range []quinta.UserID{alice, bob} {
				if err := put(tx, u, "master", "M"+string(u[1])); err != nil {
					return err
				}
				if err := directory.PutDevice(tx, network, u, "D", []byte("d")); err != nil {
					return err
				}
			}
			if _, err := sign(tx, alice, bob, "Mb", "U", "x"); err != nil {
				return err
			}
			if _, err := sign(tx, bob, alice, "Ma", "V", "y"); err != nil {
				return err
			}
			return directory.Remove(tx, network, bob)
		})
		s.want("keys", s.devices(alice, bob)+s.identities(alice, bob), "@alice:hs1/D=d@alice:hs1/master/Ma={Ma}")
		s.want("signatures", s.signatures(alice, bob)+s.signatures(bob, alice), "")
	})
}

func TestChangedBetween(t *testing.T) {
	each(t, func(s *shelf) {
		changed := func(viewer quinta.UserID, from, to quinta.Pos) (out string) {
			s.t.Helper()
			s.update(func(tx *db.Tx) error {
				us, err := directory.ChangedBetween(tx, network, viewer, from, to)
				for _, u := range us {
					out += string(u[1])
				}
				return err
			})
			return out
		}
		p0 := s.update(func(tx *db.Tx) error { tx.NextPos(); return nil })
		p1 := s.update(func(tx *db.Tx) error { return directory.Changed(tx, network, bob) })
		p2 := s.update(func(tx *db.Tx) error { return directory.Changed(tx, network, alice) })
		p3 := s.update(func(tx *db.Tx) error { return directory.Changed(tx, network, bob) })
		p4 := s.update(func(tx *db.Tx) error { return directory.ChangedFor(tx, network, carol, alice) })
		for _, c := range []struct {
			viewer   quinta.UserID
			from, to quinta.Pos
			want     string
		}{
			{alice, 0, p4, "abc"}, {bob, 0, p4, "ab"}, {carol, 0, p4, "ab"},
			{alice, p0, p1, "b"}, {alice, p1, p2, "a"}, {alice, p1, p3, "ab"}, {alice, p3, p4, "c"}, {bob, p3, p4, ""}, {alice, p4, p4, ""}, {alice, p4, p1, ""},
		} {
			s.want(fmt.Sprintf("%s %d..%d", c.viewer, c.from, c.to), changed(c.viewer, c.from, c.to), c.want)
		}
		// Old changes that a later one has overtaken go; what a reader from
		// before gets to see stays the same.
		s.clock.Add(8 * 24 * 60 * 60 * 1000)
		p5 := s.update(func(tx *db.Tx) error { return directory.Changed(tx, network, bob) })
		s.want("from the beginning", changed(alice, 0, p5), "abc")
		s.update(func(tx *db.Tx) error {
			n := 0
			err := tx.Row(`SELECT COUNT(*) FROM directory_change WHERE user_id = $1`, db.UserOf(network, bob)).Scan(&n)
			if n != 1 {
				s.t.Errorf("got %d changes of bob, want 1", n)
			}
			return err
		})
	})
}

// TestChangesAreBounded: however often somebody's devices change, few of the
// changes are kept, and the latest one is heard.
func TestChangesAreBounded(t *testing.T) {
	each(t, func(s *shelf) {
		var last quinta.Pos
		for range 3 {
			last = s.update(func(tx *db.Tx) error {
				for range 500 {
					if err := directory.Changed(tx, network, alice); err != nil {
						return err
					}
				}
				return directory.ChangedFor(tx, network, bob, carol)
			})
		}
		s.update(func(tx *db.Tx) error {
			var kept int
			if err := tx.Row(`SELECT COUNT(*) FROM directory_change`).Scan(&kept); err != nil {
				return err
			}
			heard, err := directory.ChangedBetween(tx, network, carol, last-10, last)
			if kept != 1003 || fmt.Sprint(heard) != "[@alice:hs1 @bob:hs1]" {
				s.t.Errorf("kept %d, heard of %v", kept, heard)
			}
			return err
		})
	})
}
