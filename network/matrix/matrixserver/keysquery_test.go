package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

const query = "/_matrix/client/v3/keys/query"

func TestKeysQueryWithDeviceIDAsObjectFails(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		alice.post(query, object{"device_keys": object{alice.ID: object{"device_id": object{}}}}).fails(400, "M_BAD_JSON")
	})
}

func TestQueryRefuses(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	for _, bad := range []any{object{}, object{"device_keys": []any{}}, object{"device_keys": object{alice.ID: "D"}},
		object{"device_keys": object{alice.ID: []int{1}}}, object{"device_keys": object{}, "timeout": "x"}} {
		alice.post(query, bad).fails(400, "M_BAD_JSON")
	}
	alice.post(query, "no").fails(400, "M_NOT_JSON")
	many := object{}
	for i := range 5001 {
		many[fmt.Sprintf("@u%d:hs1", i)] = []string{}
	}
	alice.post(query, object{"device_keys": many}).fails(400, "M_TOO_LARGE")
	var devices []string
	for i := range 1001 {
		devices = append(devices, fmt.Sprint(i))
	}
	alice.post(query, object{"device_keys": object{alice.ID: devices}}).fails(400, "M_TOO_LARGE")
	s.nobody().post(query, object{"device_keys": object{}}).fails(401, "M_MISSING_TOKEN")
	r := alice.post(query, object{"device_keys": object{"@x:elsewhere": []string{}, "@bad": []string{}}}).want(200)
	same(t, "answer", r.Body, object{"device_keys": object{}, "failures": object{"elsewhere": object{}},
		"master_keys": object{}, "self_signing_keys": object{}, "user_signing_keys": object{}})
}

func TestQueryShowsDeviceNames(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		keys := alice.uploadDevice(newSigner(t))
		name := "Alice's \"\\ phone\n\u00e9<>"
		alice.put("/_matrix/client/v3/devices/"+alice.Device, object{"display_name": name}).want(200)
		want := with(keys, "unsigned", object{"device_display_name": name})
		same(t, "keys", bob.query(alice).at("device_keys", alice.ID, alice.Device), want)
	})
}

func TestQueryOfManyUsers(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		var users []*user
		for i := range 20 {
			u := s.register(fmt.Sprintf("user%d", i))
			u.post(upload, object{"device_keys": u.deviceKeys(newSigner(t))}).want(200)
			if i%2 == 0 {
				d := u.login("SECOND")
				d.post(upload, object{"device_keys": d.deviceKeys(newSigner(t))}).want(200)
			}
			users = append(users, u)
		}
		got := users[0].query(users...)
		for i, u := range users {
			devices, _ := got.at("device_keys", u.ID).(object)
			if want := 2 - i%2; len(devices) != want {
				t.Errorf("%s: got %d devices, want %d", u.ID, len(devices), want)
			}
			for id, d := range devices {
				if at(d, "user_id") != u.ID || at(d, "device_id") != id {
					t.Errorf("got %v as %s of %s", d, id, u.ID)
				}
			}
		}
	})
}

// A repeat of the upload keeps the signatures that were added since.
func TestUploadKeepsSignatures(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		k := newSigner(t)
		keys := alice.uploadDevice(k)
		c := alice.crossSign(t)
		alice.post("/_matrix/client/v3/keys/signatures/upload", object{alice.ID: object{alice.Device: c.self.sign(keys, alice.ID, c.self.pub)}}).want(200)
		before := s.here()
		alice.uploadDevice(k)
		raw := canonical(t, alice.query(alice).at("device_keys", alice.ID, alice.Device, "signatures"))
		if !strings.Contains(raw, c.self.pub) || !strings.Contains(raw, "ed25519:"+alice.Device) {
			t.Errorf("got signatures %s", raw)
		}
		if s.here() != before {
			t.Error("the repeat of an upload counts as a change")
		}
	})
}

// A user who exists and has no keys has an empty entry, logged in or not; one
// who does not exist has none.
func TestQueryOfUsersWithoutKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, in, out, closed := s.register("alice"), s.register("in"), s.register("out"), s.register("closed")
		in.login("SECOND")
		out.post("/_matrix/client/v3/logout", nil).want(200)
		r := closed.post("/_matrix/client/v3/account/deactivate", object{}).want(401)
		closed.post("/_matrix/client/v3/account/deactivate", object{"auth": closed.auth(r)}).want(200)
		same(t, "keys", alice.query(in, out, closed, &user{ID: "@never:hs1"}).at("device_keys"), object{in.ID: object{}, out.ID: object{}})
	})
}

// The keys of a closed account go with it.
func TestKeysOfAClosedAccount(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		bob.post(upload, object{"device_keys": bob.deviceKeys(newSigner(t)), "one_time_keys": oneTime("A")}).want(200)
		bob.crossSign(t)
		r := bob.post("/_matrix/client/v3/account/deactivate", object{}).want(401)
		bob.post("/_matrix/client/v3/account/deactivate", object{"auth": bob.auth(r)}).want(200)
		same(t, "answer", alice.query(bob).Body, object{"device_keys": object{}, "failures": object{},
			"master_keys": object{}, "self_signing_keys": object{}, "user_signing_keys": object{}})
		if got := alice.claim(bob); got != "" {
			t.Errorf("claimed %q", got)
		}
	})
}
