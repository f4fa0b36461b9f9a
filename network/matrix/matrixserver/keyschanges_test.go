package matrixserver_test

import (
	"strings"
	"testing"
)

// changes asks what changed between two tokens, and returns the local parts.
func (u *user) changes(from, to string) (changed, left string) {
	u.s.t.Helper()
	r := u.get("/_matrix/client/v3/keys/changes?from=" + from + "&to=" + to).want(200)
	local := func(ids []string) string {
		for i := range ids {
			ids[i], _, _ = strings.Cut(strings.TrimPrefix(ids[i], "@"), ":")
		}
		return strings.Join(ids, " ")
	}
	if r.Body["changed"] == nil || r.Body["left"] == nil {
		u.s.t.Errorf("got %s, want both lists", r.Raw)
	}
	return local(list(r.Body["changed"])), local(list(r.Body["left"]))
}

// A track follows what one user gets to see.
type track struct {
	*user
	from string
}

func (u *user) track() *track { return &track{u, u.s.here()} }

// want checks what changed since the last look, and that another look finds
// nothing.
func (k *track) want(t *testing.T, what, changed, left string) {
	t.Helper()
	to := k.s.here()
	if c, l := k.changes(k.from, to); c != changed || l != left {
		t.Errorf("%s: %s got changed %q left %q, want %q and %q", what, k.ID, c, l, changed, left)
	}
	if c, l := k.changes(to, to); c != "" || l != "" {
		t.Errorf("%s: got changed %q left %q between equal tokens", what, c, l)
	}
	k.from = to
}

func (s *stage) room(t *testing.T, owner *user, others ...*user) string {
	t.Helper()
	id := owner.create(object{"preset": "public_chat"})
	for _, o := range others {
		o.join(id)
	}
	return id
}

func (u *user) leave(room string) {
	u.s.t.Helper()
	u.post("/_matrix/client/v3/rooms/"+esc(room)+"/leave", object{}).want(200)
}

func TestKeyChangesLocal(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		s.room(t, alice, bob)
		a, b, c := alice.track(), bob.track(), carol.track()
		all := func(what, wantA, wantB, wantC string) {
			t.Helper()
			a.want(t, what, wantA, "")
			b.want(t, what, wantB, "")
			c.want(t, what, wantC, "")
		}
		t.Run("New login should create a device_lists.changed entry", func(t *testing.T) {
			bob.login("PHONE")
			all("login", "bob", "bob", "")
		})
		phone := bob.login("PHONE")
		all("login on a known device", "", "", "")
		k := newSigner(t)
		t.Run("Local device key changes appear in /keys/changes", func(t *testing.T) {
			phone.uploadDevice(k)
			all("upload", "bob", "bob", "")
			phone.uploadDevice(k)
			all("the same upload again", "", "", "")
			phone.post(upload, object{"one_time_keys": oneTime("A"), "fallback_keys": oneTime("F")}).want(200)
			alice.claim(phone)
			all("one-time keys", "", "", "")
		})
		t.Run("Local update device changes", func(t *testing.T) {
			bob.put("/_matrix/client/v3/devices/PHONE", object{"display_name": "x"}).want(200)
			all("a new name", "bob", "bob", "")
		})
		var x, y *crossSigning
		t.Run("Changing master key notifies local users", func(t *testing.T) {
			x, y = bob.crossSign(t), alice.crossSign(t)
			all("first keys", "alice bob", "alice bob", "")
			n := bob.newCrossSigning(t)
			r := bob.post(signing, n.body()).want(401)
			bob.post(signing, with(n.body(), "auth", bob.auth(r))).want(200)
			x = n
			all("new keys", "bob", "bob", "")
			bob.post(signing, n.body()).want(200)
			all("the same keys again", "", "", "")
		})
		t.Run("Changing user-signing key notifies local users", func(t *testing.T) {
			x.user = newSigner(t)
			q := object{"user_signing_key": x.master.sign(crossKey(bob, "user_signing", x.user), bob.ID, x.master.pub)}
			r := bob.post(signing, q).want(401)
			bob.post(signing, with(q, "auth", bob.auth(r))).want(200)
			all("a new user-signing key is for its owner alone", "", "bob", "")
		})
		t.Run("signatures", func(t *testing.T) {
			keys := phone.deviceKeys(k)
			for _, want := range []string{"bob", ""} {
				bob.post(signatures, object{bob.ID: object{"PHONE": x.self.sign(keys, bob.ID, x.self.pub)}}).want(200)
				all("on a device", want, want, "")
			}
			for _, want := range []string{"bob", ""} {
				bob.post(signatures, object{bob.ID: object{x.master.pub: k.sign(x.masterKey, bob.ID, "PHONE")}}).want(200)
				all("on the own master key", want, want, "")
			}
			for _, want := range []string{"bob", ""} {
				alice.post(signatures, object{bob.ID: object{x.master.pub: y.user.sign(x.masterKey, alice.ID, y.user.pub)}}).want(200)
				all("on another's master key", want, "", "")
			}
		})
		t.Run("Local delete device changes", func(t *testing.T) {
			phone.post("/_matrix/client/v3/logout", nil).want(200)
			all("logout", "bob", "bob", "")
		})
		t.Run("Users receive device_list updates for their own devices", func(t *testing.T) {
			carol.login("")
			all("own", "", "", "carol")
		})
	})
}

func TestDeviceListUpdatesOfRooms(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		id := s.room(t, alice)
		a, b, c := alice.track(), bob.track(), carol.track()
		all := func(what, wantA, leftA, wantB, leftB string) {
			t.Helper()
			a.want(t, what, wantA, leftA)
			b.want(t, what, wantB, leftB)
		}
		t.Run("when local user joins a room", func(t *testing.T) {
			bob.join(id)
			all("join", "bob", "", "alice", "")
		})
		second := s.room(t, alice, bob)
		all("a second room with the same people is no news", "", "", "", "")
		bob.put("/_matrix/client/v3/profile/"+esc(bob.ID)+"/displayname", object{"displayname": "B"}).want(200)
		all("another name", "", "", "", "")
		bob.leave(second)
		all("one room is left", "", "", "", "")
		t.Run("when local user leaves a room", func(t *testing.T) {
			bob.leave(id)
			all("leave", "", "bob", "", "alice")
			bob.uploadDevice(newSigner(t))
			all("no room is shared", "", "", "bob", "")
		})
		t.Run("when local user rejoins a room", func(t *testing.T) {
			bob.join(id)
			all("rejoin", "bob", "", "alice", "")
		})
		t.Run("Get left notifs in sync and /keys/changes when other user leaves", func(t *testing.T) {
			carol.join(id)
			all("carol joins", "carol", "", "carol", "")
			c.want(t, "carol joins", "alice bob", "")
			carol.leave(id)
			all("carol leaves", "", "carol", "", "carol")
			c.want(t, "carol leaves", "", "alice bob")
		})
		t.Run("leaving and coming back in between", func(t *testing.T) {
			bob.leave(id)
			bob.uploadDevice(newSigner(t))
			bob.join(id)
			all("back", "bob", "", "alice bob", "")
			carol.join(id)
			carol.leave(id)
			all("there and gone", "", "", "", "")
		})
		t.Run("both leave", func(t *testing.T) {
			carol.join(id)
			a.from, b.from, c.from = s.here(), s.here(), s.here()
			bob.leave(id)
			carol.leave(id)
			b.want(t, "bob and carol leave", "", "alice carol")
			c.want(t, "bob and carol leave", "", "alice bob")
			a.want(t, "bob and carol leave", "", "bob carol")
		})
	})
}

func TestKeyChangesRefuses(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	const path = "/_matrix/client/v3/keys/changes"
	alice.get(path).fails(400, "M_MISSING_PARAM")
	alice.get(path+"?from=s1").fails(400, "M_MISSING_PARAM")
	alice.get(path+"?to=s1").fails(400, "M_MISSING_PARAM")
	for _, bad := range []string{"x", "s", "s-1", "1", "s1_9", "s99999999999999999999999"} {
		alice.get(path+"?from="+bad+"&to=s1").fails(400, "M_INVALID_PARAM")
		alice.get(path+"?from=s1&to="+bad).fails(400, "M_INVALID_PARAM")
	}
	s.nobody().get(path+"?from=s1&to=s2").fails(401, "M_MISSING_TOKEN")
	// A token of the future tells nothing of the future, and one of the past
	// everything since.
	if c, l := alice.changes("s999999999", "s9999999999"); c != "" || l != "" {
		t.Errorf("got %q %q", c, l)
	}
	if c, _ := alice.changes("s0", "s9999999999"); c != "alice" {
		t.Errorf("got %q, want alice", c)
	}
}
