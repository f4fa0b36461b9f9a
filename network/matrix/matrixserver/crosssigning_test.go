package matrixserver_test

import (
	"strings"
	"testing"
)

const (
	signing    = "/_matrix/client/v3/keys/device_signing/upload"
	signatures = "/_matrix/client/v3/keys/signatures/upload"
)

// crossSigning is a user's three keys.
type crossSigning struct {
	master, self, user signer
	masterKey          object
	selfKey, userKey   object
}

// crossKey returns an unsigned cross-signing key.
func crossKey(u *user, usage string, k signer) object {
	return object{"user_id": u.ID, "usage": []string{usage}, "keys": object{"ed25519:" + k.pub: k.pub}}
}

// newCrossSigning makes keys for the user without uploading them.
func (u *user) newCrossSigning(t *testing.T) *crossSigning {
	t.Helper()
	c := &crossSigning{master: newSigner(t), self: newSigner(t), user: newSigner(t)}
	c.masterKey = crossKey(u, "master", c.master)
	c.selfKey = c.master.sign(crossKey(u, "self_signing", c.self), u.ID, c.master.pub)
	c.userKey = c.master.sign(crossKey(u, "user_signing", c.user), u.ID, c.master.pub)
	return c
}

func (c *crossSigning) body() object {
	return object{"master_key": c.masterKey, "self_signing_key": c.selfKey, "user_signing_key": c.userKey}
}

// crossSign makes and uploads the user's first keys.
func (u *user) crossSign(t *testing.T) *crossSigning {
	t.Helper()
	c := u.newCrossSigning(t)
	u.post(signing, c.body()).want(200)
	return c
}

// auth answers the challenge of a 401 with the password.
func (u *user) auth(r *reply) object {
	return object{"type": "m.login.password", "session": r.text("session"), "password": password,
		"identifier": object{"type": "m.id.user", "user": u.ID}}
}

func TestCrossSigningUpload(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		t.Run("Can upload self-signing keys", func(t *testing.T) {
			c := alice.crossSign(t)
			r := alice.query(alice)
			same(t, "master", r.at("master_keys", alice.ID), with(c.masterKey, "signatures", object{}))
			same(t, "self", r.at("self_signing_keys", alice.ID), c.selfKey)
			same(t, "user", r.at("user_signing_keys", alice.ID), c.userKey)
			r = bob.query(alice)
			same(t, "self for bob", r.at("self_signing_keys", alice.ID), c.selfKey)
			same(t, "user-signing keys for bob", r.at("user_signing_keys"), object{})
			alice.post("/_matrix/client/unstable/keys/device_signing/upload", c.body()).want(200)
			alice.post("/_matrix/client/r0/keys/device_signing/upload", c.body()).want(200)
		})
		t.Run("Fails to replace cross-signing keys with no auth", func(t *testing.T) {
			c := alice.newCrossSigning(t)
			r := alice.post(signing, c.body()).want(401)
			if r.text("session") == "" || r.Body["flows"] == nil {
				t.Errorf("got %s", r.Raw)
			}
			r = alice.query(alice)
			if strings.Contains(string(r.Raw), c.master.pub) {
				t.Error("the keys were replaced")
			}
		})
		t.Run("Fails to upload self-signing key without master key", func(t *testing.T) {
			c := bob.newCrossSigning(t)
			bob.post(signing, object{"self_signing_key": c.selfKey}).fails(400, "M_MISSING_PARAM")
			bob.post(signing, object{"user_signing_key": c.userKey}).fails(400, "M_MISSING_PARAM")
			bob.post(signing, object{}).fails(400, "M_MISSING_PARAM")
		})
	})
}

// TestMSC3967: the first upload needs no further authentication, a repeat
// neither; a replacement does.
func TestMSC3967(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		c := alice.crossSign(t)
		alice.post(signing, c.body()).want(200)
		alice.post(signing, object{"user_signing_key": c.userKey}).want(200)
		n := alice.newCrossSigning(t)
		r := alice.post(signing, n.body()).want(401)
		alice.post(signing, with(n.body(), "auth", alice.auth(r))).want(200)
		same(t, "self", alice.query(alice).at("self_signing_keys", alice.ID), n.selfKey)
		// Not only a new master key, each new key needs it.
		other := newSigner(t)
		one := object{"user_signing_key": n.master.sign(crossKey(alice, "user_signing", other), alice.ID, n.master.pub)}
		r = alice.post(signing, one).want(401)
		alice.post(signing, with(one, "auth", alice.auth(r))).want(200)
		same(t, "user", alice.query(alice).at("user_signing_keys", alice.ID), one["user_signing_key"])
	})
}

// A master key alone may come first; a key that is added later needs the
// password.
func TestCrossSigningStepByStep(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		c := alice.newCrossSigning(t)
		alice.post(signing, object{"master_key": c.masterKey}).want(200)
		r := alice.post(signing, object{"self_signing_key": c.selfKey}).want(401)
		alice.post(signing, object{"self_signing_key": c.selfKey, "auth": alice.auth(r)}).want(200)
		// A new master key ends the keys that the old one signed.
		n := alice.newCrossSigning(t)
		r = alice.post(signing, object{"master_key": n.masterKey}).want(401)
		alice.post(signing, object{"master_key": n.masterKey, "auth": alice.auth(r)}).want(200)
		same(t, "self", alice.query(alice).at("self_signing_keys"), object{})
	})
}

func TestCrossSigningRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		c := alice.newCrossSigning(t)
		forged := c.user.sign(crossKey(alice, "self_signing", c.self), alice.ID, c.master.pub)
		for name, q := range map[string]struct {
			body object
			code string
		}{
			"of another user":         {with(c.body(), "master_key", crossKey(bob, "master", c.master)), "M_BAD_JSON"},
			"of another usage":        {with(c.body(), "master_key", crossKey(alice, "self_signing", c.master)), "M_BAD_JSON"},
			"usage a text":            {with(c.body(), "master_key", with(c.masterKey, "usage", "master")), "M_BAD_JSON"},
			"two keys":                {with(c.body(), "master_key", with(c.masterKey, "keys", object{"ed25519:a": "a", "ed25519:b": "b"})), "M_BAD_JSON"},
			"no key":                  {with(c.body(), "master_key", with(c.masterKey, "keys", object{})), "M_BAD_JSON"},
			"another name":            {with(c.body(), "master_key", with(c.masterKey, "keys", object{"ed25519:name": c.master.pub})), "M_BAD_JSON"},
			"another algorithm":       {with(c.body(), "master_key", with(c.masterKey, "keys", object{"x:" + c.master.pub: c.master.pub})), "M_BAD_JSON"},
			"not a key":               {with(c.body(), "master_key", with(c.masterKey, "keys", object{"ed25519:abc": "abc"})), "M_INVALID_PARAM"},
			"a weak key":              {with(c.body(), "master_key", with(c.masterKey, "keys", object{"ed25519:" + weak: weak})), "M_INVALID_PARAM"},
			"a list":                  {object{"master_key": []any{}}, "M_BAD_JSON"},
			"no signature":            {with(c.body(), "self_signing_key", crossKey(alice, "self_signing", c.self)), "M_INVALID_SIGNATURE"},
			"signature by another":    {with(c.body(), "self_signing_key", forged), "M_INVALID_SIGNATURE"},
			"changed after signing":   {with(c.body(), "user_signing_key", with(c.userKey, "extra", 1)), "M_INVALID_SIGNATURE"},
			"signature of another":    {with(c.body(), "user_signing_key", c.master.sign(crossKey(alice, "user_signing", c.user), bob.ID, c.master.pub)), "M_INVALID_SIGNATURE"},
			"signatures not a object": {with(c.body(), "user_signing_key", with(c.userKey, "signatures", "x")), "M_BAD_JSON"},
		} {
			if r := alice.post(signing, q.body); r.Status != 400 || r.Body["errcode"] != q.code {
				t.Errorf("%s: got %d %s, want 400 %s", name, r.Status, r.Raw, q.code)
			}
		}
		same(t, "keys", alice.query(alice).at("master_keys"), object{})
	})
}

// weak is a point of small order, for which anyone can make signatures.
const weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Devices and cross-signing keys share a name space.
func TestDeviceIDEqualToCrossSigningKey(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		c := alice.newCrossSigning(t)
		clash := alice.login(c.self.pub)
		alice.post(signing, c.body()).fails(403, "M_FORBIDDEN")
		same(t, "keys", alice.query(alice).at("master_keys"), object{})
		clash.post("/_matrix/client/v3/logout", nil).want(200)
		alice.post(signing, c.body()).want(200)
		for _, k := range []signer{c.master, c.self, c.user} {
			s.nobody().post("/_matrix/client/v3/login", object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": alice.ID},
				"password": password, "device_id": k.pub}).fails(403, "M_FORBIDDEN")
		}
		// One key in two roles is a clash of names too.
		dora := s.register("dora")
		d := dora.newCrossSigning(t)
		dora.post(signing, with(d.body(), "self_signing_key", d.master.sign(crossKey(dora, "self_signing", d.master), dora.ID, d.master.pub))).fails(403, "M_FORBIDDEN")
	})
}

// Authentication is bound to the user and to just these keys.
func TestCrossSigningAuthIsBound(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		alice.crossSign(t)
		bob.crossSign(t)
		first, second := alice.newCrossSigning(t), alice.newCrossSigning(t)
		r := alice.post(signing, first.body()).want(401)
		alice.post(signing, with(second.body(), "auth", alice.auth(r))).fails(403, "M_FORBIDDEN")
		other := bob.post(signing, bob.newCrossSigning(t).body()).want(401)
		alice.post(signing, with(first.body(), "auth", alice.auth(other))).fails(403, "M_FORBIDDEN")
		wrong := alice.auth(r)
		wrong["password"] = "wrong"
		alice.post(signing, with(first.body(), "auth", wrong)).want(401)
		alice.post(signing, with(first.body(), "auth", with(alice.auth(r), "identifier", object{"type": "m.id.user", "user": bob.ID}))).want(401)
		alice.post(signing, with(first.body(), "auth", alice.auth(r))).want(200)
	})
}

func TestSignaturesUpload(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		ka := newSigner(t)
		device := alice.uploadDevice(ka)
		a, b := alice.crossSign(t), bob.crossSign(t)

		r := alice.post(signatures, object{alice.ID: object{
			alice.Device: a.self.sign(device, alice.ID, a.self.pub),
			a.master.pub: ka.sign(a.masterKey, alice.ID, alice.Device),
		}, bob.ID: object{b.master.pub: a.user.sign(b.masterKey, alice.ID, a.user.pub)}}).want(200)
		same(t, "failures", r.Body, object{"failures": object{}})

		has := func(who *user, of *user, part, id string, want bool) {
			t.Helper()
			r := who.query(of)
			v := r.at(part, of.ID)
			if part == "device_keys" {
				v = at(v, of.Device)
			}
			if got := strings.Contains(canonical(t, at(v, "signatures")), "ed25519:"+id); got != want {
				t.Errorf("%s looks at %s of %s: got signature %v, want %v in %s", who.ID, part, of.ID, got, want, r.Raw)
			}
		}
		for _, who := range []*user{alice, bob} {
			has(who, alice, "device_keys", a.self.pub, true)
			has(who, alice, "device_keys", alice.Device, true)
			has(who, alice, "master_keys", alice.Device, true)
		}
		has(alice, bob, "master_keys", a.user.pub, true)
		has(bob, bob, "master_keys", a.user.pub, false) // who verified whom is for the signer alone
		has(carol, bob, "master_keys", a.user.pub, false)
		has(alice, bob, "self_signing_keys", b.master.pub, true)

		// A user with signatures of his own on the master key, and others':
		// the object is still whole.
		kb := newSigner(t)
		bob.uploadDevice(kb)
		bob.post(signatures, object{bob.ID: object{b.master.pub: kb.sign(b.masterKey, bob.ID, bob.Device)}}).want(200)
		has(alice, bob, "master_keys", bob.Device, true)
		has(alice, bob, "master_keys", a.user.pub, true)

		// New keys end what was signed with or of the old ones.
		n := bob.newCrossSigning(t)
		r = bob.post(signing, n.body()).want(401)
		bob.post(signing, with(n.body(), "auth", bob.auth(r))).want(200)
		has(alice, bob, "master_keys", a.user.pub, false)
	})
}

func TestSignaturesUploadRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		ka, kb := newSigner(t), newSigner(t)
		device, bobs := alice.uploadDevice(ka), bob.uploadDevice(kb)
		a, b := alice.crossSign(t), bob.crossSign(t)
		signed := a.self.sign(device, alice.ID, a.self.pub)
		for name, c := range map[string]struct {
			user, id string
			o        object
			code     string
		}{
			"changed":                    {alice.ID, alice.Device, with(signed, "algorithms", []string{}), "M_INVALID_SIGNATURE"},
			"no signature":               {alice.ID, alice.Device, device, "M_INVALID_SIGNATURE"},
			"by the wrong key":           {alice.ID, alice.Device, a.user.sign(device, alice.ID, a.self.pub), "M_INVALID_SIGNATURE"},
			"by the user-signing key":    {alice.ID, alice.Device, a.user.sign(device, alice.ID, a.user.pub), "M_INVALID_SIGNATURE"},
			"unknown device":             {alice.ID, "NONE", signed, "M_NOT_FOUND"},
			"device of another":          {bob.ID, bob.Device, a.self.sign(bobs, alice.ID, a.self.pub), "M_NOT_FOUND"},
			"self-signing of another":    {bob.ID, b.self.pub, a.user.sign(b.selfKey, alice.ID, a.user.pub), "M_NOT_FOUND"},
			"another's signature":        {bob.ID, b.master.pub, b.user.sign(b.masterKey, bob.ID, b.user.pub), "M_INVALID_SIGNATURE"},
			"in another's name":          {bob.ID, b.master.pub, a.user.sign(b.masterKey, bob.ID, a.user.pub), "M_INVALID_SIGNATURE"},
			"forged":                     {bob.ID, b.master.pub, a.self.sign(b.masterKey, alice.ID, a.user.pub), "M_INVALID_SIGNATURE"},
			"of a changed master key":    {bob.ID, b.master.pub, a.user.sign(with(b.masterKey, "x", 1), alice.ID, a.user.pub), "M_INVALID_SIGNATURE"},
			"master key by no device":    {alice.ID, a.master.pub, ka.sign(a.masterKey, alice.ID, "NONE"), "M_INVALID_SIGNATURE"},
			"master key by wrong device": {alice.ID, a.master.pub, kb.sign(a.masterKey, alice.ID, alice.Device), "M_INVALID_SIGNATURE"},
			"unknown user":               {"@nobody:hs1", "x", signed, "M_NOT_FOUND"},
		} {
			r := alice.post(signatures, object{c.user: object{c.id: c.o}}).want(200)
			if got := at(r.Body, "failures", c.user, c.id, "errcode"); got != c.code {
				t.Errorf("%s: got %s, want %s", name, r.Raw, c.code)
			}
		}
		// One that is refused does not take the others along.
		r := alice.post(signatures, object{alice.ID: object{alice.Device: signed, "NONE": signed}}).want(200)
		if f, _ := r.at("failures", alice.ID).(object); len(f) != 1 || f["NONE"] == nil {
			t.Errorf("got %s", r.Raw)
		}
		if raw := canonical(t, bob.query(alice).at("device_keys", alice.ID)); !strings.Contains(raw, a.self.pub) {
			t.Errorf("the good signature was not kept: %s", raw)
		}
		for _, bad := range []any{[]any{}, object{alice.ID: []any{}}, object{alice.ID: object{"D": "x"}}, object{alice.ID: object{"D": object{"signatures": 1}}}} {
			alice.post(signatures, bad).fails(400, "M_BAD_JSON")
		}
		s.nobody().post(signatures, object{}).fails(401, "M_MISSING_TOKEN")
	})
}
