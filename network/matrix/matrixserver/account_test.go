package matrixserver_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

const v3 = "/_matrix/client/v3"

func TestRegistration(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		anon := s.nobody()
		q := object{"username": "Alice", "password": password, "device_id": "PHONE", "initial_device_display_name": "my phone"}

		r := anon.post(v3+"/register", q)
		if r.Status != 401 || r.text("session") == "" || r.at("flows") == nil || r.at("params") == nil {
			t.Fatalf("without auth: got %d %s, want a 401 with flows, params and session", r.Status, r.Raw)
		}
		q["auth"] = object{"type": "m.login.dummy", "session": r.text("session")}
		r = anon.post(v3+"/register", q).want(200)
		if r.text("user_id") != "@alice:hs1" || r.text("device_id") != "PHONE" || r.text("access_token") == "" {
			t.Errorf("got %s", r.Raw)
		}
		// A session is used once.
		q["username"] = "other"
		anon.post(v3+"/register", q).fails(403, "M_FORBIDDEN")

		for _, c := range []struct {
			name, body, code string
			status           int
		}{
			{"taken", `{"username":"alice","password":"x"}`, "M_USER_IN_USE", 400},
			{"bad letters", `{"username":"al ice","password":"x"}`, "M_INVALID_USERNAME", 400},
			{"not ASCII", `{"username":"ålice","password":"x"}`, "M_INVALID_USERNAME", 400},
			{"too long", `{"username":"` + strings.Repeat("a", 200) + `","password":"x"}`, "M_INVALID_USERNAME", 400},
			{"wrong type", `{"username":7}`, "M_BAD_JSON", 400},
			{"no password", `{"username":"carol","auth":{"type":"m.login.dummy"}}`, "M_MISSING_PARAM", 400},
			{"empty password", `{"username":"carol","password":"","auth":{"type":"m.login.dummy"}}`, "M_WEAK_PASSWORD", 400},
			{"unknown stage", `{"username":"carol","password":"x","auth":{"type":"m.login.sso"}}`, "M_UNRECOGNIZED", 400},
			{"long device id", `{"username":"carol","password":"x","device_id":"` + strings.Repeat("D", 300) + `","auth":{"type":"m.login.dummy"}}`, "M_INVALID_PARAM", 400},
		} {
			if r := anon.post(v3+"/register", c.body); r.Status != c.status || r.at("errcode") != c.code {
				t.Errorf("%s: got %d %s, want %d %s", c.name, r.Status, r.Raw, c.status, c.code)
			}
		}
		anon.post(v3+"/register?kind=guest", object{}).fails(403, "M_FORBIDDEN")

		r = anon.post(v3+"/register", object{"username": "quiet", "password": "x", "inhibit_login": true, "auth": object{"type": "m.login.dummy"}}).want(200)
		if r.at("access_token") != nil {
			t.Errorf("inhibit_login: got a token in %s", r.Raw)
		}
		r = anon.post(v3+"/register", object{"password": "x", "auth": object{"type": "m.login.dummy"}}).want(200)
		if !strings.HasSuffix(r.text("user_id"), ":hs1") {
			t.Errorf("no name asked for: got %s", r.Raw)
		}
		anon.get(v3 + "/register/available?username=free").want(200)
		anon.get(v3+"/register/available?username=alice").fails(400, "M_USER_IN_USE")
		anon.get(v3+"/register/available").fails(400, "M_MISSING_PARAM")
	})
}

func TestRegistrationClosed(t *testing.T) {
	s := newStage(t, quintatest.Registration(server.RegistrationClosed))
	s.nobody().post(v3+"/register", object{"username": "alice", "password": "x"}).fails(403, "M_FORBIDDEN")
}

func TestRegistrationByInvite(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		anon := s.nobody()
		var token string
		if err := s.Core.Update(t.Context(), func(tx *db.Tx) (err error) {
			token, err = account.NewInvite(tx, s.Core.Rand, account.Invite{Uses: 1})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		try := func(name, token string) *reply {
			return anon.post(v3+"/register", object{"username": name, "password": "x", "auth": object{"type": "m.login.registration_token", "token": token}})
		}
		valid := "/_matrix/client/v1/register/m.login.registration_token/validity?token="
		if r := anon.get(valid + token).want(200); r.at("valid") != true {
			t.Errorf("got %s, want valid", r.Raw)
		}
		anon.post(v3+"/register", object{"username": "mallory", "password": "x", "auth": object{"type": "m.login.dummy"}}).fails(400, "M_UNRECOGNIZED")
		try("mallory", "wrong").fails(401, "M_FORBIDDEN")
		try("alice", token).want(200)
		try("bob", token).fails(401, "M_FORBIDDEN")
		if r := anon.get(valid + token).want(200); r.at("valid") != false {
			t.Errorf("got %s, want not valid any more", r.Raw)
		}
	}, quintatest.Registration(server.RegistrationInvite))
}

func TestLogin(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		s.register("alice")
		anon := s.nobody()
		if r := anon.get(v3 + "/login").want(200); !strings.Contains(string(r.Raw), "m.login.password") {
			t.Errorf("flows: got %s", r.Raw)
		}
		for _, c := range []struct {
			name, body, code string
			status           int
		}{
			{"wrong password", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"no"}`, "M_FORBIDDEN", 403},
			{"nobody", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"nobody"},"password":"no"}`, "M_FORBIDDEN", 403},
			{"other server", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"@alice:elsewhere"},"password":"` + password + `"}`, "M_FORBIDDEN", 403},
			{"no user", `{"type":"m.login.password","password":"no"}`, "M_MISSING_PARAM", 400},
			{"unknown type", `{"type":"m.login.token"}`, "M_UNKNOWN", 400},
			{"unknown identifier", `{"type":"m.login.password","identifier":{"type":"m.id.phone"},"password":"no"}`, "M_UNKNOWN", 400},
			{"wrong type", `{"type":"m.login.password","password":{}}`, "M_BAD_JSON", 400},
			{"not JSON", `{`, "M_NOT_JSON", 400},
			{"not UTF-8", "{\"type\":\"\xff\"}", "M_NOT_JSON", 400},
		} {
			if r := anon.post(v3+"/login", c.body); r.Status != c.status || r.at("errcode") != c.code {
				t.Errorf("%s: got %d %s, want %d %s", c.name, r.Status, r.Raw, c.status, c.code)
			}
		}
		for _, body := range []string{
			`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"` + password + `"}`,
			`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"@alice:hs1"},"password":"` + password + `"}`,
			`{"type":"m.login.password","user":"alice","password":"` + password + `"}`,
		} {
			r := anon.post("/_matrix/client/r0/login", body).want(200)
			if r.text("user_id") != "@alice:hs1" || r.text("device_id") == "" {
				t.Errorf("got %s", r.Raw)
			}
		}
	})
}

func TestPasswordChange(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		other := alice.login("OTHER")
		r := alice.post(v3+"/account/password", object{"new_password": "second"})
		if r.Status != 401 {
			t.Fatalf("without auth: got %d %s", r.Status, r.Raw)
		}
		auth := object{"type": "m.login.password", "session": r.text("session"), "identifier": object{"type": "m.id.user", "user": "alice"}, "password": "wrong"}
		alice.post(v3+"/account/password", object{"new_password": "second", "auth": auth}).fails(401, "M_FORBIDDEN")
		auth["password"] = password
		alice.post(v3+"/account/password", object{"new_password": "second", "auth": auth}).want(200)
		alice.get(v3 + "/account/whoami").want(200)
		other.get(v3+"/account/whoami").fails(401, "M_UNKNOWN_TOKEN")
		login := object{"type": "m.login.password", "user": "alice", "password": password}
		s.nobody().post(v3+"/login", login).fails(403, "M_FORBIDDEN")
		login["password"] = "second"
		s.nobody().post(v3+"/login", login).want(200)
	})
}

func TestDeactivate(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		alice.post(v3+"/account/deactivate", object{}).want(401)
		alice.post(v3+"/account/deactivate", object{"auth": object{"type": "m.login.password", "user": "alice", "password": password}}).want(200)
		alice.get(v3+"/account/whoami").fails(401, "M_UNKNOWN_TOKEN")
		s.nobody().post(v3+"/login", object{"type": "m.login.password", "user": "alice", "password": password}).fails(403, "M_FORBIDDEN")
		s.nobody().post(v3+"/register", object{"username": "alice", "password": "x"}).fails(400, "M_USER_IN_USE")
		s.nobody().get(v3+"/profile/"+esc(alice.ID)).fails(404, "M_NOT_FOUND")
	})
}

func TestDeviceManagement(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		two := alice.login("TWO")
		dev := v3 + "/devices/"
		if r := alice.get(dev + "TWO").want(200); r.text("device_id") != "TWO" {
			t.Errorf("GET /device/{deviceId}: got %s", r.Raw)
		}
		alice.get(dev+"NONE").fails(404, "M_NOT_FOUND")
		bob.get(dev+"TWO").fails(404, "M_NOT_FOUND")
		if r := alice.get(v3 + "/devices").want(200); len(r.at("devices").([]any)) != 2 {
			t.Errorf("GET /devices: got %s, want two", r.Raw)
		}
		alice.put(dev+"TWO", object{"display_name": "second"}).want(200)
		if r := alice.get(dev + "TWO").want(200); r.text("display_name") != "second" {
			t.Errorf("PUT /device/{deviceId}: got %s", r.Raw)
		}
		alice.put(dev+"NONE", object{"display_name": "x"}).fails(404, "M_NOT_FOUND")
		bob.put(dev+"TWO", object{"display_name": "x"}).fails(404, "M_NOT_FOUND")
		alice.put(dev+"TWO", object{"display_name": strings.Repeat("x", 2000)}).fails(400, "M_TOO_LARGE")

		// DELETE needs the password of the owner, for just this.
		r := alice.delete(dev+"TWO", object{}).want(401)
		session := r.text("session")
		auth := func(name string) object {
			return object{"auth": object{"type": "m.login.password", "session": session, "identifier": object{"type": "m.id.user", "user": name}, "password": password}}
		}
		alice.delete(dev+"TWO", auth("bob")).fails(401, "M_FORBIDDEN")
		alice.delete(dev+alice.Device, auth("alice")).fails(403, "M_FORBIDDEN")
		bob.delete(dev+bob.Device, auth("bob")).fails(403, "M_FORBIDDEN")
		alice.delete(dev+"TWO", auth("alice")).want(200)
		two.get(v3+"/account/whoami").fails(401, "M_UNKNOWN_TOKEN")
		alice.get(dev+"TWO").fails(404, "M_NOT_FOUND")

		alice.login("THREE")
		alice.login("FOUR")
		r = alice.post(v3+"/delete_devices", object{"devices": []string{"FOUR", "THREE"}}).want(401)
		session = r.text("session")
		q := auth("alice")
		q["devices"] = []string{"THREE", "FOUR", "FOUR"}
		alice.post(v3+"/delete_devices", q).fails(403, "M_FORBIDDEN")
		q["devices"] = []string{"THREE", "FOUR"}
		alice.post(v3+"/delete_devices", q).want(200)
		if r := alice.get(v3 + "/devices").want(200); len(r.at("devices").([]any)) != 1 {
			t.Errorf("got %s, want one device", r.Raw)
		}
		alice.login("FIVE")
		alice.post(v3+"/logout/all", nil).want(200)
		alice.get(v3+"/account/whoami").fails(401, "M_UNKNOWN_TOKEN")
	})
}

func TestProfile(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		own := v3 + "/profile/" + esc(alice.ID)
		if r := bob.get(own + "/displayname").want(200); len(r.Body) != 0 {
			t.Errorf("unset: got %s", r.Raw)
		}
		alice.put(own+"/displayname", object{"displayname": "Alice <é>"}).want(200)
		alice.put(own+"/avatar_url", object{"avatar_url": "mxc://hs1/abc"}).want(200)
		alice.put(own+"/m.tz", object{"m.tz": "Europe/Lisbon"}).want(200)
		if r := s.nobody().get(own).want(200); r.text("displayname") != "Alice <é>" || r.text("avatar_url") != "mxc://hs1/abc" || r.text("m.tz") != "Europe/Lisbon" {
			t.Errorf("got %s", r.Raw)
		}
		bob.put(own+"/displayname", object{"displayname": "Mallory"}).fails(403, "M_FORBIDDEN")
		alice.put(own+"/displayname", object{"displayname": 7}).fails(400, "M_BAD_JSON")
		alice.put(own+"/displayname", object{}).fails(400, "M_MISSING_PARAM")
		alice.put(own+"/avatar_url", object{"avatar_url": "https://x"}).fails(400, "M_INVALID_PARAM")
		alice.put(own+"/m.big", object{"m.big": strings.Repeat("x", 10000)}).fails(400, "M_PROFILE_TOO_LARGE")
		alice.put(own+"/Bad Key", object{"Bad Key": 1}).fails(400, "M_INVALID_PARAM")
		alice.delete(own+"/m.tz", nil).want(200)
		bob.get(own+"/m.tz").fails(404, "M_NOT_FOUND")
		bob.get(v3+"/profile/"+esc("@nobody:hs1")).fails(404, "M_NOT_FOUND")

		search := func(term string) *reply {
			return bob.post(v3+"/user_directory/search", object{"search_term": term}).want(200)
		}
		for _, term := range []string{"ali", "ALICE <é", "@alice:hs1"} {
			if r := search(term); !strings.Contains(string(r.Raw), alice.ID) {
				t.Errorf("search %q: got %s, want alice", term, r.Raw)
			}
		}
		for _, term := range []string{"", "%", "zz"} {
			if r := search(term); len(r.at("results").([]any)) != 0 {
				t.Errorf("search %q: got %s, want no one", term, r.Raw)
			}
		}
	})
}

func TestPushRules(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		rules := v3 + "/pushrules/"
		if r := alice.get(rules).want(200); r.at("global", "override") == nil {
			t.Errorf("got %s", r.Raw)
		}
		mine := rules + "global/content/mine"
		alice.get(mine).fails(404, "M_NOT_FOUND")
		alice.put(mine, object{"actions": []any{"notify"}, "pattern": "cake*"}).want(200)
		if r := alice.get(mine).want(200); r.text("pattern") != "cake*" || r.at("enabled") != true {
			t.Errorf("got %s", r.Raw)
		}
		alice.put(mine+"/enabled", object{"enabled": false}).want(200)
		if r := alice.get(mine + "/enabled").want(200); r.at("enabled") != false {
			t.Errorf("got %s", r.Raw)
		}
		alice.put(mine+"/actions", object{"actions": []any{}}).want(200)
		alice.get(mine + "/actions").want(200)
		alice.put(rules+"global/override/.m.rule.master/enabled", object{"enabled": true}).want(200)
		alice.put(rules+"global/nokind/x", object{"actions": []any{}}).fails(404, "M_NOT_FOUND")
		alice.delete(rules+"global/override/.m.rule.master", nil).fails(400, "M_INVALID_PARAM")
		alice.delete(mine, nil).want(200)
		alice.delete(mine, nil).fails(404, "M_NOT_FOUND")
	})
}

func TestServerCapabilities(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	s.nobody().get(v3+"/capabilities").fails(401, "M_MISSING_TOKEN")
	r := alice.get(v3 + "/capabilities").want(200)
	if r.at("capabilities", "m.room_versions", "default") == nil || r.at("capabilities", "m.change_password", "enabled") != true {
		t.Errorf("got %s", r.Raw)
	}
	if r := s.nobody().get("/_matrix/client/versions").want(200); r.at("versions") == nil || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("got %s", r.Raw)
	}
	if r := s.nobody().do("OPTIONS", v3+"/login", nil).want(204); r.Header.Get("Access-Control-Allow-Headers") == "" {
		t.Error("OPTIONS has no CORS headers")
	}
}

func TestLimits(t *testing.T) {
	s := newStage(t, quintatest.RateLimits())
	s.nobody().post(v3+"/login", `{"a":"`+strings.Repeat("x", 2<<20)+`"}`).fails(413, "M_TOO_LARGE")
	s.nobody().post(v3+"/login", strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 200)).fails(400, "M_BAD_JSON")
	r := s.nobody().post(v3+"/login", object{"type": "m.login.password", "user": "alice", "password": "x"})
	for range 20 {
		if r.Status == 429 {
			break
		}
		r = s.nobody().post(v3+"/login", object{"type": "m.login.password", "user": "alice", "password": "x"})
	}
	r.fails(429, "M_LIMIT_EXCEEDED")
	if r.Header.Get("Retry-After") == "" || r.at("retry_after_ms") == nil {
		t.Errorf("got %v %s, want Retry-After and retry_after_ms", r.Header, r.Raw)
	}
}
