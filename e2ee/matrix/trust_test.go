package matrix_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
)

// crossSign makes cross-signing keys for a client.
func (c *client) crossSign() {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, c.m.CreateCrossSigning(tx) })
	c.pump()
}

// private returns the private cross-signing keys of a client.
func (c *client) private() matrix.CrossSigning {
	c.s.t.Helper()
	var k matrix.CrossSigning
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		k, err = c.m.CrossSigning(tx)
		return nil, err
	})
	return k
}

func (c *client) verify(u quinta.UserID, master key.MasterPublic) error {
	return c.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return c.m.VerifyUser(tx, u, master) })
}

func (c *client) identityOf(u quinta.UserID) matrix.IdentityInfo {
	c.s.t.Helper()
	var i matrix.IdentityInfo
	c.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		i, err = c.m.UserIdentity(tx, u)
		return nil, err
	})
	return i
}

// crossPair is a pair in which both have cross-signing keys.
func crossPair(t *testing.T) (s *stage, alice, bob *client) {
	s, alice, bob = pair(t)
	alice.crossSign()
	bob.crossSign()
	turn(alice, bob)
	alice.take()
	bob.take()
	return s, alice, bob
}

func TestCrossSigning(t *testing.T) {
	t.Parallel()
	s, alice, bob := crossPair(t)
	if got := alice.trustIn("@bob:x", "BOB"); got != quinta.TrustSigned {
		t.Errorf("before verification: got %v, want signed", got)
	}
	if got := bob.trustIn("@bob:x", "BOB"); got != quinta.TrustVerified {
		t.Errorf("own device: got %v", got)
	}
	master := alice.identityOf("@bob:x").Master
	if err := alice.verify("@bob:x", alice.identityOf("@alice:x").Master); !errors.Is(err, matrix.ErrMismatch) {
		t.Errorf("another master key: got %v, want ErrMismatch", err)
	}
	if err := alice.verify("@bob:x", master); err != nil {
		t.Fatal(err)
	}
	alice.pump()
	if got := alice.trustIn("@bob:x", "BOB"); got != quinta.TrustVerified {
		t.Errorf("after verification: got %v, want verified", got)
	}
	// A new device of Alice trusts Bob once it trusts Alice's own keys.
	alice2 := s.login("@alice:x", "ALICE2")
	turn(alice2)
	if got := alice2.trustIn("@bob:x", "BOB"); got != quinta.TrustSigned {
		t.Errorf("new device before: got %v, want signed", got)
	}
	alice2.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return alice2.m.ImportCrossSigning(tx, alice.private()) })
	turn(alice2, alice, bob)
	if got := alice2.trustIn("@bob:x", "BOB"); got != quinta.TrustVerified {
		t.Errorf("new device after: got %v, want verified", got)
	}
	if got := bob.trustIn("@alice:x", "ALICE2"); got != quinta.TrustSigned {
		t.Errorf("Bob of the new device: got %v, want signed", got)
	}
	if err := alice.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.CreateCrossSigning(tx) }); err != matrix.ErrHaveIdentity {
		t.Errorf("made twice: got %v, want ErrHaveIdentity", err)
	}
	if err := bob.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return bob.m.ImportCrossSigning(tx, alice.private()) }); err != matrix.ErrMismatch {
		t.Errorf("another's keys: got %v, want ErrMismatch", err)
	}
}

func TestCrossSigningRefused(t *testing.T) {
	t.Parallel()
	s, alice, _ := pair(t)
	s.hs.refuse = func(r matrix.Req) string {
		if r.Kind == matrix.ReqDeviceSigning {
			return "M_FORBIDDEN"
		}
		return ""
	}
	alice.crossSign()
	if k := alice.private(); !k.Master.IsZero() {
		t.Error("keys that the server refused were kept")
	}
	s.hs.refuse = nil
	alice.crossSign()
	turn(alice)
	if i := alice.identityOf("@alice:x"); i.Master.IsZero() || !i.Verified {
		t.Errorf("got %+v", i)
	}
}

// TestAttack02ServerAddsDevice adds a device to a user who signs their own.
func TestAttack02ServerAddsDevice(t *testing.T) {
	t.Parallel()
	s, alice, bob := crossPair(t)
	ghost := s.forgeWithKeys("@bob:x", "GHOST")
	_ = ghost
	turn(alice)
	seen := false
	for _, e := range alice.take() {
		seen = seen || e.Kind == e2ee.EventDevice && e.Device == "GHOST"
	}
	if !seen {
		t.Error("the new device was not shown")
	}
	alice.says("!r:x", "secret")
	turn(bob)
	bob.wantReads("@alice: secret")
	if got := s.withheldTo(t, "@bob:x", "GHOST"); len(got) != 1 || got[0] != "m.unverified" {
		t.Errorf("got codes %v, want m.unverified", got)
	}
	if n := len(s.hs.users["@bob:x"].devices["GHOST"].inbox); n != 1 {
		t.Errorf("the device got %d messages, want the refusal alone", n)
	}
}

// TestChangedPolicy: a device that goes over to a machine for verified devices
// only uses no session again whose key others have; and one that comes back
// gives the key to all once more.
func TestChangedPolicy(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob := s.login("@alice:x", "ALICE"), s.login("@bob:x", "BOB")
	s.hs.create("!r:x", "@alice:x", "@bob:x")
	turn(alice, bob)
	alice.says("!r:x", "first")
	turn(bob)
	bob.wantReads("@alice: first")
	alice.m = matrix.NewVerifiedOnly(s.env(), alice.user, alice.device)
	alice.says("!r:x", "for nobody yet")
	if got := s.distinct("!r:x"); got != 2 {
		t.Errorf("got %d sessions, want a new one after the change", got)
	}
	if got := s.withheldTo(t, "@bob:x", "BOB"); len(got) != 1 || got[0] != "m.unverified" {
		t.Errorf("got codes %v, want m.unverified", got)
	}
	turn(bob)
	bob.take()
	alice.m = matrix.New(s.env(), alice.user, alice.device)
	alice.says("!r:x", "for all again")
	turn(bob)
	bob.wantReads("@alice: for all again")
}

// TestAttack01GhostUser adds a member: a machine for verified devices only
// gives them nothing, and the other one rotates when they leave.
func TestAttack01GhostUser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make maker
		want string
	}{"verified only": {matrix.NewVerifiedOnly, "m.unverified"}, "usual": {matrix.New, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			alice := s.loginWith(c.make, "@alice:x", "ALICE")
			bob := s.login("@bob:x", "BOB")
			s.hs.create("!r:x", "@alice:x", "@bob:x")
			turn(alice, bob)
			alice.decide(bob, matrix.Accept)
			s.forgeWithKeys("@ghost:x", "GHOST")
			s.hs.member("!r:x", "@ghost:x", "join")
			turn(alice)
			bob.take()
			alice.says("!r:x", "secret")
			turn(bob)
			bob.wantReads("@alice: secret")
			got := strings.Join(s.withheldTo(t, "@ghost:x", "GHOST"), " ")
			if got != c.want {
				t.Errorf("the ghost was told %q, want %q", got, c.want)
			}
			if c.make != nil && c.want == "" {
				s.hs.member("!r:x", "@ghost:x", "leave")
				turn(alice)
				alice.says("!r:x", "after")
				if s.distinct("!r:x") != 2 {
					t.Error("no rotation after the ghost left")
				}
			}
		})
	}
}

// replaceIdentity gives a user new cross-signing keys, as a server that lies
// would, or as a user who lost theirs.
func replaceIdentity(t *testing.T, s *stage, u quinta.UserID, seed byte) key.MasterPublic {
	t.Helper()
	msk, err := key.NewSigningPrivate[key.Master]([]byte(strings.Repeat(string(rune(seed)), 32)))
	if err != nil {
		t.Fatal(err)
	}
	object := func(usage, pub string) []byte {
		return mustJSON(map[string]any{"user_id": u, "usage": []string{usage}, "keys": map[string]string{"ed25519:" + pub: pub}})
	}
	master := msk.Public().String()
	self, err := canonicaljson.Sign(object("self_signing", master), string(u), "ed25519:"+master, msk.Sign)
	if err != nil {
		t.Fatal(err)
	}
	a := s.hs.users[u]
	a.cross = map[string]json.RawMessage{"master_keys": object("master", master), "self_signing_keys": self}
	for id, d := range a.devices {
		if d.keys != nil {
			if a.devices[id].keys, err = canonicaljson.Sign(d.keys, string(u), "ed25519:"+master, msk.Sign); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.changed = s.hs.next()
	return msk.Public()
}

// TestAttack21IdentityChanged replaces the identity of a verified user, and
// of one who was never verified.
func TestAttack21IdentityChanged(t *testing.T) {
	t.Parallel()
	for _, verified := range []bool{true, false} {
		s, alice, bob := crossPair(t)
		if verified {
			if err := alice.verify("@bob:x", alice.identityOf("@bob:x").Master); err != nil {
				t.Fatal(err)
			}
			turn(alice)
		}
		alice.says("!r:x", "before")
		alice.take()
		fake := replaceIdentity(t, s, "@bob:x", 'z')
		turn(alice)
		loud := ""
		for _, e := range alice.take() {
			if e.Kind == e2ee.EventKeyChanged {
				loud += fmt.Sprint(e.User, " ", e.Detail)
			}
		}
		want := "@bob:x identity changed"
		if verified {
			want = "@bob:x a verified identity has changed"
		}
		if loud != want {
			t.Errorf("verified %v: got %q, want %q", verified, loud, want)
		}
		if got := alice.trustIn("@bob:x", "BOB"); got > quinta.TrustPinned {
			t.Errorf("verified %v: the device is still %v", verified, got)
		}
		err := alice.trySend("!r:x", "secret")
		if verified != errors.Is(err, matrix.ErrIdentityChanged) {
			t.Errorf("verified %v: sending: got %v", verified, err)
		}
		if !verified {
			continue
		}
		if err := alice.try(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return nil, alice.m.Acknowledge(tx, "@bob:x", alice.identityOf("@alice:x").Master)
		}); err != matrix.ErrMismatch {
			t.Errorf("acknowledging another key: got %v", err)
		}
		alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Acknowledge(tx, "@bob:x", fake) })
		turn(alice)
		if got := alice.trustIn("@bob:x", "BOB"); got != quinta.TrustSigned {
			t.Errorf("acknowledged: got %v, want signed", got)
		}
		turn(bob)
		bob.take()
		alice.says("!r:x", "after")
		turn(bob)
		bob.wantReads("@alice: after")
	}
}

// TestAttack21ChangeWhileWaiting changes the identity while a message waits:
// it does not leave.
func TestAttack21ChangeWhileWaiting(t *testing.T) {
	t.Parallel()
	s, alice, _ := crossPair(t)
	if err := alice.verify("@bob:x", alice.identityOf("@bob:x").Master); err != nil {
		t.Fatal(err)
	}
	turn(alice)
	alice.send("!r:x", "secret")
	replaceIdentity(t, s, "@bob:x", 'z')
	alice.sync()
	alice.pump()
	n := 0
	alice.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		n, err = alice.m.Unsent(tx, "!r:x")
		return nil, err
	})
	if n != 1 || len(s.sessions("!r:x")) != 0 {
		t.Errorf("got %d unsent, %d sent, want 1 and 0", n, len(s.sessions("!r:x")))
	}
}

// TestAttack21OwnIdentityUnverified has a user-signing key that no one
// verified vouch for Bob: it counts for nothing.
func TestAttack21OwnIdentityUnverified(t *testing.T) {
	t.Parallel()
	s, alice, _ := crossPair(t)
	if err := alice.verify("@bob:x", alice.identityOf("@bob:x").Master); err != nil {
		t.Fatal(err)
	}
	turn(alice)
	alice2 := s.login("@alice:x", "ALICE2")
	turn(alice2)
	if i := alice2.identityOf("@bob:x"); i.Verified || alice2.trustIn("@bob:x", "BOB") == quinta.TrustVerified {
		t.Errorf("got %+v", i)
	}
	own := alice2.identityOf("@alice:x")
	if own.Verified {
		t.Errorf("own identity: got %+v", own)
	}
	if err := alice2.verify("@alice:x", own.Master); err != nil { // by SAS with the first device
		t.Fatal(err)
	}
	if i := alice2.identityOf("@bob:x"); !i.Verified {
		t.Errorf("after the own identity was verified: got %+v", i)
	}
}

// TestAttack03DeviceNamedAsKey gives Bob a device whose id is Bob's master key.
func TestAttack03DeviceNamedAsKey(t *testing.T) {
	t.Parallel()
	s, alice, _ := crossPair(t)
	master := alice.identityOf("@bob:x").Master
	s.forge("@bob:x", quinta.DeviceID(master.String()))
	turn(alice)
	if err := alice.verify("@bob:x", master); err != matrix.ErrMismatch {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}

// TestForgedCrossSigning lists keys that are not what they should be.
func TestForgedCrossSigning(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(a *account){
		"of another user": func(a *account) {
			a.cross["master_keys"] = json.RawMessage(strings.Replace(string(a.cross["master_keys"]), "@bob:x", "@eve:x", 1))
		},
		"of another usage": func(a *account) {
			a.cross["master_keys"] = json.RawMessage(strings.Replace(string(a.cross["master_keys"]), `"master"`, `"other"`, 1))
		},
		"with two keys": func(a *account) {
			raw := string(a.cross["master_keys"])
			a.cross["master_keys"] = json.RawMessage(strings.Replace(raw, `"keys":{`, `"keys":{"ed25519:x":"x",`, 1))
		},
		"self-signing key not signed": func(a *account) {
			a.cross["self_signing_keys"], _ = canonicaljson.Delete(a.cross["self_signing_keys"], "signatures")
		},
		"no self-signing key": func(a *account) { delete(a.cross, "self_signing_keys") },
		"not an object":       func(a *account) { a.cross["master_keys"] = json.RawMessage(`7`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, bob := pair(t)
			bob.crossSign()
			turn(bob)
			change(s.hs.users["@bob:x"])
			carol := s.login("@carol:x", "CAROL")
			s.hs.member("!r:x", "@carol:x", "join")
			turn(carol)
			if got := carol.trustIn("@bob:x", "BOB"); got != quinta.TrustPinned {
				t.Errorf("got %v, want pinned", got)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	decide := func(u quinta.UserID, d quinta.DeviceID, fingerprint key.DeviceSigningPublic) error {
		return alice.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { return alice.m.Decide(tx, u, d, fingerprint, matrix.Reject) })
	}
	if err := decide("@bob:x", "NONE", bob.identity()); err != matrix.ErrUnknownDevice {
		t.Errorf("no such device: got %v", err)
	}
	if err := decide("@bob:x", "BOB", alice.identity()); err != matrix.ErrMismatch {
		t.Errorf("another fingerprint: got %v", err)
	}
	alice.decide(bob, matrix.Accept)
	if got := alice.trustIn("@bob:x", "BOB"); got != quinta.TrustVerified {
		t.Errorf("accepted: got %v", got)
	}
	alice.decide(bob, matrix.Reject)
	if got := alice.trustIn("@bob:x", "BOB"); got != quinta.TrustRejected {
		t.Errorf("rejected: got %v", got)
	}
	alice.says("!r:x", "not for bob")
	turn(bob)
	bob.wantReads("! withheld: m.blacklisted")
	if got := s.withheldTo(t, "@bob:x", "BOB"); len(got) > 1 {
		t.Errorf("told %v", got)
	}
	alice.decide(bob, matrix.Skip)
	alice.says("!r:x", "for all")
	turn(bob)
	bob.wantReads("@alice: for all")
}
