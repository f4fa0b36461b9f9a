package matrix_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// replace has a client make new cross-signing keys.
func (c *client) replace() {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, c.m.ReplaceCrossSigning(tx) })
}

// is asks the machine something that is true or false.
func (c *client) is(f func(tx e2ee.Tx) (bool, error)) (yes bool) {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		yes, err = f(tx)
		return nil, err
	})
	return yes
}

// TestReplaceCrossSigning makes new keys: the devices and users that this
// device vouches for are signed again, others are told, and a refusal leaves
// the keys from before.
func TestReplaceCrossSigning(t *testing.T) {
	t.Parallel()
	s, alice, bob := crossPair(t)
	bob2 := own(t, s, bob)
	if err := bob.verify("@alice:x", bob.identityOf("@alice:x").Master); err != nil {
		t.Fatal(err)
	}
	turn(bob, alice, bob2)
	alice.take()
	before := bob.private()
	s.hs.refuse = func(r matrix.Req) string {
		if r.Kind == matrix.ReqDeviceSigning {
			return "M_FORBIDDEN"
		}
		return ""
	}
	bob.replace()
	if !bob.is(bob.m.CrossSigningPending) || !bob.is(bob.m.Signing) {
		t.Error("new keys do not wait for the server")
	}
	bob.pump()
	if k := bob.private(); !k.Master.Equal(before.Master) || bob.is(bob.m.CrossSigningPending) {
		t.Error("a refusal took the keys from before, or left the new ones waiting")
	}
	s.hs.refuse = nil
	bob.replace()
	bob.pump()
	turn(bob, alice, bob2)
	if k := bob.private(); k.Master.IsZero() || k.Master.Equal(before.Master) || k.SelfSigning.Equal(before.SelfSigning) || k.UserSigning.Equal(before.UserSigning) {
		t.Error("the keys were not replaced")
	}
	i := bob.identityOf("@bob:x")
	if !i.Verified || i.Changed || !i.SignsThis || i.Master != bob.private().Master.Public() {
		t.Errorf("got %+v, want the new identity, which signs this device", i)
	}
	if i := alice.identityOf("@bob:x"); !i.Changed {
		t.Errorf("got %+v at alice's, want that it changed", i)
	}
	var changed []quinta.UserID
	alice.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		changed, err = alice.m.ChangedIdentities(tx)
		return nil, err
	})
	if len(changed) != 1 || changed[0] != "@bob:x" {
		t.Errorf("got %v, want bob as the one who changed", changed)
	}
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, alice.m.Acknowledge(tx, "@bob:x", i.Master)
	})
	for _, d := range []quinta.DeviceID{"BOB", "BOB2"} {
		if got := alice.trustIn("@bob:x", d); got != quinta.TrustSigned {
			t.Errorf("%s: got %v, want signed by the new identity", d, got)
		}
	}
	// A new device that takes the new keys sees whom bob had verified.
	bob3 := s.login("@bob:x", "BOB3")
	turn(bob3)
	bob3.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return bob3.m.ImportCrossSigning(tx, bob.private()) })
	turn(bob3)
	if i := bob3.identityOf("@alice:x"); !i.Verified {
		t.Errorf("got %+v, want alice verified by the new keys", i)
	}
}

// TestCreateCrossSigningInterrupted loses the answers: each upload has the same
// keys.
func TestCreateCrossSigningInterrupted(t *testing.T) {
	t.Parallel()
	_, alice, _ := pair(t)
	bodies := map[string]bool{}
	alice.see = func(r matrix.Req) bool {
		if r.Kind == matrix.ReqDeviceSigning {
			bodies[string(r.Body)] = true
			return false
		}
		return true
	}
	for range 3 {
		alice.crossSign() // once more by an impatient user
	}
	if k := alice.private(); len(bodies) != 1 || !k.Master.IsZero() {
		t.Errorf("got %d different uploads, want the same each time, and no key that counts before the answer", len(bodies))
	}
	alice.see = nil
	turn(alice)
	if i := alice.identityOf("@alice:x"); !i.Verified || !i.SignsThis {
		t.Errorf("got %+v, want the identity", i)
	}
	if err := alice.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.CreateCrossSigning(tx) }); !errors.Is(err, matrix.ErrHaveIdentity) {
		t.Errorf("got %v, want ErrHaveIdentity", err)
	}
}

// TestBackupLockedReason says of what was sent before the device existed that
// the backup has the key, while there is one that is locked.
func TestBackupLockedReason(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "old")
	turn(bob)
	s.wait(time.Minute)
	bob2 := s.login("@bob:x", "BOB2")
	turn(bob2)
	bob2.wantReads("! before-this-device")
	lock := func(locked bool) {
		bob2.take()
		bob2.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return bob2.m.SetBackupLocked(tx, locked) })
	}
	lock(true)
	bob2.wantReads("! backup-locked")
	lock(true)
	bob2.wantReads()
	lock(false)
	bob2.wantReads("! before-this-device")
}

// TestSecretsGiven waits until another of the user's devices has what it asked for.
func TestSecretsGiven(t *testing.T) {
	t.Parallel()
	s, _, bob := crossPair(t)
	bob2 := own(t, s, bob)
	given := func() bool {
		return bob.is(func(tx e2ee.Tx) (bool, error) { return bob.m.SecretsGiven(tx, "BOB2") })
	}
	for _, name := range []string{"m.cross_signing.master", "m.cross_signing.self_signing", "m.cross_signing.user_signing"} {
		if given() {
			t.Errorf("before %s was asked for: got that all was given", name)
		}
		bob2.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, bob2.m.RequestSecret(tx, name) })
		turn(bob2, bob)
	}
	if !given() {
		t.Error("all was asked for and is on the server: got that it was not given")
	}
	if in := func(u quinta.UserID) (m string) {
		bob.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
			m, err = bob.m.Membership(tx, "!r:x", u)
			return nil, err
		})
		return m
	}; in("@alice:x") != "join" || in("@nobody:x") != "" {
		t.Errorf("got memberships %q and %q", in("@alice:x"), in("@no one:x"))
	}
}
