package matrixclient_test

import (
	"context"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// codes has one person ask and another one answer; the one of them that shows
// a code hands its bytes, as change leaves them, to the other's camera. Both
// errors are returned.
func codes(t *testing.T, asks, answers *person, askerShows bool, change func([]byte) []byte) (asked, answered error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	light := make(chan []byte, 1)
	shows := client.Comparison{
		Show:    func(code []byte) error { light <- change(code); return nil },
		Scanned: func(context.Context, quinta.Device) (bool, error) { return true, nil },
	}
	scans := client.Comparison{Scan: func(ctx context.Context) ([]byte, error) {
		select {
		case b := <-light:
			return b, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	mine, theirs := shows, scans
	if !askerShows {
		mine, theirs = scans, shows
	}
	done := make(chan error, 1)
	go func() {
		done <- answers.s.AwaitVerifyBy(ctx, func(d quinta.Device) bool { return d.ID == asks.s.Self().ID }, theirs)
	}()
	asked = asks.s.VerifyBy(ctx, answers.s.Self().User, "", mine)
	return asked, <-done
}

func same(b []byte) []byte { return b }

// TestVerifyOwnDeviceByCode has a device that has the identity and one that has
// nothing compare by a code: whoever shows it, the new one is signed and has
// the secrets in the end, those of the backup included.
func TestVerifyOwnDeviceByCode(t *testing.T) {
	t.Parallel()
	for name, oldShows := range map[string]bool{"the old device shows": true, "the new device shows": false} {
		for _, oldAsks := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				url := quintatest.Start(t).URL
				old := meets(t, url, "alice").runs().creates()
				room := old.invites()
				old.sends(room, "old one")
				old.sends(room, "old two")
				if _, err := old.s.CreateBackup(t.Context()); err != nil {
					t.Fatal(err)
				}
				late := newDevice(t, url, room)
				asks, answers := old, late
				if !oldAsks {
					asks, answers = late, old
				}
				if a, b := codes(t, asks, answers, oldShows == oldAsks, same); a != nil || b != nil {
					t.Fatalf("got %v and %v, want both verified", a, b)
				}
				if id := late.identity(); !id.Trusted || !id.SignsThis || !id.Complete {
					t.Errorf("got %+v, want the whole identity on the new device", id)
				}
				if a, b := old.trustOf(late.s.Self()), late.trustOf(old.s.Self()); a != quinta.TrustVerified || b != quinta.TrustVerified {
					t.Errorf("got trust %v and %v, want both verified", a, b)
				}
				// The key of the backup was given, too.
				late.reads("old one")
				wantOpen(t, late, room)
				if b, err := late.s.Backup(t.Context()); err != nil || !b.Unlocked {
					t.Errorf("got %+v, %v, want the backup unlocked", b, err)
				}
			})
		}
	}
}

// TestVerifyUserByCode compares two users' identities by a code.
func TestVerifyUserByCode(t *testing.T) {
	t.Parallel()
	for name, askerShows := range map[string]bool{"who asks shows": true, "who asks scans": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice, bob, _ := talks(t)
			if a, b := codes(t, alice, bob, askerShows, same); a != nil || b != nil {
				t.Fatalf("got %v and %v, want both verified", a, b)
			}
			if a, b := alice.trustOf(bob.s.Self()), bob.trustOf(alice.s.Self()); a != quinta.TrustVerified || b != quinta.TrustVerified {
				t.Errorf("got trust %v and %v, want both verified", a, b)
			}
		})
	}
}

// talks makes two people with identities in a direct conversation.
func talks(t *testing.T) (alice, bob *person, room quinta.RoomID) {
	t.Helper()
	url := quintatest.Start(t).URL
	alice, bob = meets(t, url, "alice").runs().creates(), meets(t, url, "bob").runs().creates()
	room, err := alice.s.Create(t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{"@bob:hs1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.s.Join(t.Context(), string(room)); err != nil {
		t.Fatal(err)
	}
	alice.sees("bob in the room", func(e e2ee.Event) bool {
		in, err := alice.s.Members(t.Context(), room)
		return err == nil && len(in) == 2 && in[0].Membership == "join" && in[1].Membership == "join"
	})
	return alice, bob, room
}

// TestVerifyCodeRefused scans what is not the code that was shown: no one is
// verified by it.
func TestVerifyCodeRefused(t *testing.T) {
	t.Parallel()
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = append([]byte(nil), b...)
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			return b
		}
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		kind   quinta.Kind
	}{
		"the shower's key":    {flip(-16 - 64), quinta.KindForbidden},
		"the scanner's key":   {flip(-16 - 1), quinta.KindForbidden},
		"the secret":          {flip(-1), quinta.KindForbidden},
		"the mode":            {func(b []byte) []byte { b = append([]byte(nil), b...); b[7] = 1; return b }, quinta.KindForbidden},
		"not a code":          {func([]byte) []byte { return []byte("https://example.org") }, quinta.KindInvalid},
		"a code that was cut": {func(b []byte) []byte { return b[:60] }, quinta.KindInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice, bob, _ := talks(t)
			a, b := codes(t, alice, bob, true, c.change)
			if a == nil || b == nil {
				t.Fatalf("got %v and %v, want neither verified", a, b)
			}
			wantKind(t, b, c.kind)
			if errors.Is(b, client.ErrMismatch) != (c.kind == quinta.KindForbidden) {
				t.Errorf("got %v, want a mismatch only for other keys", b)
			}
			if x, y := alice.trustOf(bob.s.Self()), bob.trustOf(alice.s.Self()); x == quinta.TrustVerified || y == quinta.TrustVerified {
				t.Errorf("got trust %v and %v after a wrong code", x, y)
			}
		})
	}
}

// TestVerifyWithoutCommonWay has one side that has codes only and one that has
// strings only, and two that have nothing which a code could show.
func TestVerifyWithoutCommonWay(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	phone := meets(t, url, "alice").runs()
	laptop := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	if a, b := codes(t, phone, laptop, true, same); a == nil || b == nil {
		t.Errorf("got %v and %v without an identity, want neither verified", a, b)
	}
	// The side that was asked says so at once, and does not refuse: another
	// device of its user may have a way.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- phone.s.VerifyBy(ctx, "", laptop.s.Self().ID, client.Comparison{
			Scan: func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		})
	}()
	strings := client.Comparison{Strings: func(context.Context, client.ShortStrings) (bool, error) { return true, nil }}
	wantKind(t, laptop.s.AwaitVerifyBy(t.Context(), func(quinta.Device) bool { return true }, strings), quinta.KindConflict)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the user gave up", err)
	}
}

// TestVerifyGivesSecrets compares short strings between an old device and a
// new one: the new one gets the identity's private keys, and signs itself.
func TestVerifyGivesSecrets(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	old := meets(t, url, "alice").runs().creates()
	bob := meets(t, url, "bob").runs()
	late := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	if a, b := verifies(t, late, old, "", "", equal); a != nil || b != nil {
		t.Fatalf("got %v and %v, want both verified", a, b)
	}
	if id := late.identity(); !id.Trusted || !id.SignsThis || !id.Complete {
		t.Errorf("got %+v, want the whole identity on the new device", id)
	}
	if got := bob.trustOf(late.s.Self()); got != quinta.TrustSigned {
		t.Errorf("got trust %v in the new device, want signed", got)
	}
	// A third device is let in by the second one.
	third := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	if a, b := verifies(t, late, third, "", third.s.Self().ID, equal); a != nil || b != nil {
		t.Fatalf("got %v and %v, want both verified", a, b)
	}
	if id := third.identity(); !id.Complete || !id.SignsThis {
		t.Errorf("got %+v, want the whole identity on the third device", id)
	}
}
