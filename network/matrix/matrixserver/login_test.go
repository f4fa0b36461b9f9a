package matrixserver_test

import (
	"testing"
)

func TestRegisterLoginLogout(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		if alice.ID != "@alice:hs1" {
			t.Errorf("got %s, want @alice:hs1", alice.ID)
		}
		r := alice.get("/_matrix/client/v3/account/whoami").want(200)
		if r.text("user_id") != alice.ID || r.text("device_id") != alice.Device {
			t.Errorf("got %s", r.Raw)
		}
		again := alice.login(alice.Device)
		alice.get("/_matrix/client/r0/account/whoami").fails(401, "M_UNKNOWN_TOKEN")
		again.get("/_matrix/client/r0/account/whoami").want(200)
		again.post("/_matrix/client/v3/logout", nil).want(200)
		again.get("/_matrix/client/v3/account/whoami").fails(401, "M_UNKNOWN_TOKEN")
		s.nobody().get("/_matrix/client/v3/account/whoami").fails(401, "M_MISSING_TOKEN")
	})
}

func TestUnknownCalls(t *testing.T) {
	s := newStage(t)
	s.nobody().get("/_matrix/client/v3/nothing").fails(404, "M_UNRECOGNIZED")
	s.nobody().put("/_matrix/client/v3/login", nil).fails(405, "M_UNRECOGNIZED")
	s.nobody().post("/_matrix/client/v3/login", "no json").fails(400, "M_NOT_JSON")
	s.nobody().post("/_matrix/client/v3/login", "[]").fails(400, "M_BAD_JSON")
	s.nobody().post("/_matrix/client/v3/login", object{"type": 7}).fails(400, "M_BAD_JSON")
}
