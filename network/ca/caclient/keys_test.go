package caclient_test

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// ownValid returns the valid keys of a device as the server claims.
func (p *person) ownValid() map[string]client.KeyInfo {
	p.t.Helper()
	keys, err := p.s.Keys(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	out := map[string]client.KeyInfo{}
	for _, k := range keys {
		if k.Self && k.State == "active" {
			out[k.Use] = k
		}
	}
	return out
}

// TestRenew: a renewal puts two new keys in the place of the old ones, the old
// decryption key stays valid for a while, and both sides continue without
// being told of a changed key.
func TestRenew(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) client.Store) {
		url := quintatest.Start(t).URL
		alice := enters(t, url, "alice", caclient.Network{}, open(t), env, true).runs()
		bob := meets(t, url, "bob").runs()
		room := bob.talks(alice)
		bob.sends(room, "before")
		alice.reads("before")
		old := alice.ownValid()
		if len(old) != 2 || old["sign"].ID == "" || old["encrypt"].ID == "" || !old["sign"].Expires.After(time.Now().Add(29*24*time.Hour)) {
			t.Fatalf("got %+v, want a key for each use, for 30 days", old)
		}
		fresh, err := alice.s.Renew(t.Context())
		if err != nil || len(fresh) != 2 {
			t.Fatalf("got %+v %v, want two new keys", fresh, err)
		}
		now := alice.ownValid()
		for use, k := range now {
			if k.ID == old[use].ID || !slices.ContainsFunc(fresh, func(f client.KeyInfo) bool { return f.ID == k.ID && f.Self && f.State == "active" }) {
				t.Errorf("%s: got %+v, want a new key", use, k)
			}
		}
		keys, err := alice.s.Keys(t.Context())
		if err != nil || !slices.ContainsFunc(keys, func(k client.KeyInfo) bool { return k.ID == old["encrypt"].ID && k.State == "grace" }) {
			t.Errorf("got %+v %v, want the old key in grace", keys, err)
		}
		bob.sends(room, "after")
		alice.reads("after")
		alice.sends(room, "with the new key")
		if m := bob.reads("with the new key"); m.Trust != quinta.TrustPinned {
			t.Errorf("got trust %v, want %v", m.Trust, quinta.TrustPinned)
		}
		if n := bob.count(e2ee.EventKeyChanged); n != 0 {
			t.Errorf("bob was told %d times of a changed key, want a renewal to be none", n)
		}
	})
}

// count counts the events of a kind that came so far.
func (p *person) count(k e2ee.EventKind) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// TestRenewedOnTheWay: a message that is sealed for the old key is read after
// the renewal, also one that waited, and one whose sender had not heard of it.
func TestRenewedOnTheWay(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.talks(bob)
	alice.sends(room, "before")
	bob.reads("before")
	alice.stop()
	// Alice is away while Bob renews; what he is sent meanwhile by others is
	// for the old key until they hear of it.
	carol := meets(t, url, "carol").runs()
	with := carol.talks(bob)
	carol.sends(with, "for the first key")
	bob.stop()
	carol.sends(with, "waits for the first key")
	away := resumes(t, bob.net, bob.st, bob.env)
	if _, err := away.s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := away.runs()
	back.reads("waits for the first key")
	alice = resumes(t, alice.net, alice.st, alice.env).runs()
	alice.sends(room, "from one who had not heard")
	back.reads("from one who had not heard")
	back.sends(room, "all is well")
	alice.reads("all is well")
}

// TestRenewsByItself: after two thirds of their life the keys are renewed
// automatically, and messages continue long after the first keys have
// expired.
func TestRenewsByItself(t *testing.T) {
	t.Parallel()
	c := newClock()
	url := quintatest.Start(t, quintatest.Clock(c.Now)).URL
	moving := e2ee.Env{Now: c.Now, Rand: rand.Reader}
	alice := enters(t, url, "alice", caclient.Network{}, memory.New(), moving, true)
	bob := enters(t, url, "bob", caclient.Network{}, memory.New(), moving, true)
	room := alice.talks(bob)
	first := alice.ownValid()
	for range 4 {
		c.later(21 * 24 * time.Hour)
		for _, p := range []*person{alice, bob, alice} {
			p.catchesUp()
		}
	}
	alice.puts(room, client.Text("after twelve weeks"))
	alice.catchesUp()
	bob.catchesUp()
	bob.reads("after twelve weeks")
	for use, k := range alice.ownValid() {
		if k.ID == first[use].ID {
			t.Errorf("%s: got the first key, want it renewed", use)
		}
	}
	if n := bob.count(e2ee.EventKeyChanged); n != 0 {
		t.Errorf("got %d changed keys, want none", n)
	}
}

// TestRevokedDevice: a device whose keys are revoked gets nothing more, and
// what it sends is refused; the others continue.
func TestRevokedDevice(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	lost := another(t, url, "bob").runs()
	room := alice.talks(bob)
	alice.sends(room, "for both")
	bob.reads("for both")
	lost.reads("for both")
	for _, k := range lost.ownValid() {
		if err := bob.s.Revoke(t.Context(), k.ID, client.RevokeCompromised); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := bob.s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	revoked := 0
	for _, k := range keys {
		if k.State == "revoked" && k.Reason == client.RevokeCompromised && k.Device == lost.device() && !k.Self {
			revoked++
		}
	}
	if revoked != 2 {
		t.Errorf("got %d revoked keys of %+v, want two", revoked, keys)
	}
	alice.sends(room, "for one only")
	bob.reads("for one only")
	lost.puts(room, client.Text("from the thief"))
	lost.sees("the revocation", func(e e2ee.Event) bool {
		return e.Kind == e2ee.EventKeyChanged && strings.Contains(e.Detail, "revoked")
	})
	alice.sends(room, "after the thief")
	bob.reads("after the thief")
	for _, p := range []*person{alice, bob} {
		if p.saw("from the thief") != 0 {
			t.Errorf("%s read what a revoked device has sent", p.id())
		}
	}
	for _, text := range []string{"for one only", "after the thief"} {
		if lost.saw(text) != 0 {
			t.Errorf("the revoked device read %q", text)
		}
	}
	_, err = lost.s.Renew(t.Context())
	wantKind(t, err, quinta.KindForbidden)
}

// TestRevokeBad: what is not to be revoked.
func TestRevokeBad(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	key := bob.ownValid()["sign"].ID
	wantKind(t, alice.s.Revoke(t.Context(), key, ""), quinta.KindForbidden)
	wantKind(t, alice.s.Revoke(t.Context(), key, "because"), quinta.KindInvalid)
	wantKind(t, alice.s.Revoke(t.Context(), strings.Repeat("0", 64), ""), quinta.KindNotFound)
}

// TestSignedOut: a device that another one signs out with the password is told
// so, and its keys are revoked; a wrong password does nothing.
func TestSignedOut(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	one := meets(t, url, "bob").runs()
	two := another(t, url, "bob")
	wantKind(t, one.s.SignOut(t.Context(), two.device(), client.Secret{}), quinta.KindUnauthenticated)
	wantKind(t, one.s.SignOut(t.Context(), two.device(), client.NewSecret("wrong")), quinta.KindUnauthenticated)
	wantKind(t, one.s.SignOut(t.Context(), one.device(), password), quinta.KindInvalid)
	if err := one.s.SignOut(t.Context(), two.device(), password); err != nil {
		t.Fatal(err)
	}
	wantKind(t, two.s.Run(t.Context(), nil), quinta.KindUnauthenticated)
	keys, err := one.s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Device == two.device() && k.State != "revoked" {
			t.Errorf("got %+v, want it revoked", k)
		}
	}
}

// TestLogout: a device that logs out leaves no valid key, and its store is of
// no use.
func TestLogout(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice")
	other := another(t, url, "alice")
	for range 2 { // the second time it is signed out already
		if err := alice.s.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := caclient.Network{}.Open(t.Context(), alice.st, env)
	wantKind(t, err, quinta.KindUnauthenticated)
	keys, err := other.s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Device == alice.device() && k.State != "revoked" {
			t.Errorf("got %+v, want it revoked", k)
		}
	}
}

// TestApproval: a device whose keys ran out gets new ones only when another
// device of the account approves them, and then talks again.
func TestApproval(t *testing.T) {
	t.Parallel()
	c := newClock()
	url := quintatest.Start(t, quintatest.Clock(c.Now)).URL
	moving := e2ee.Env{Now: c.Now, Rand: rand.Reader}
	away := enters(t, url, "bob", caclient.Network{}, memory.New(), moving, true)
	other := enters(t, url, "bob", caclient.Network{}, memory.New(), moving, false)
	alice := enters(t, url, "alice", caclient.Network{}, memory.New(), moving, true)
	room := alice.talks(other)
	for range 2 {
		c.later(21 * 24 * time.Hour)
		other.catchesUp()
		alice.catchesUp()
	}
	_, err := away.s.Renew(t.Context())
	wantKind(t, err, quinta.KindForbidden)
	away.catchesUp()
	var keys []string
	away.mu.Lock()
	for _, e := range away.events {
		if id, ok := strings.CutPrefix(e.Detail, "approval "); ok && e.Kind == e2ee.EventVerification {
			keys = append(keys, id)
		}
	}
	away.mu.Unlock()
	if len(keys) != 2 {
		t.Fatalf("got %q, want two keys that need an approval; %s", keys, told(away.events))
	}
	if err := other.s.Approve(t.Context(), away.device(), keys...); err != nil {
		t.Fatal(err)
	}
	if err := away.s.Retry(t.Context()); err != nil {
		t.Fatal(err)
	}
	away.catchesUp()
	if got := away.ownValid(); len(got) != 2 {
		t.Fatalf("got %+v, want new keys", got)
	}
	alice.puts(room, client.Text("welcome back"))
	alice.catchesUp()
	away.catchesUp()
	away.reads("welcome back")
}
