package matrixserver_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// TestAttackNamesListed: someone without an account asks POST /register, GET
// /register/available and GET /profile for names until they are refused.
func TestAttackNamesListed(t *testing.T) {
	s := newStage(t, quintatest.RateLimits())
	for what, ask := range map[string]func(name string) *reply{
		"register": func(name string) *reply {
			return s.nobody().post(v3+"/register", object{"username": name, "password": "x"})
		},
		"profile": func(name string) *reply { return s.nobody().get(v3 + "/profile/@" + name + ":hs1") },
		"field":   func(name string) *reply { return s.nobody().get(v3 + "/profile/@" + name + ":hs1/displayname") },
	} {
		told := 0
		for i := range 400 {
			if ask(fmt.Sprint("name", i)).Status == 429 {
				break
			}
			told++
		}
		if told > 310 {
			t.Errorf("%s: %d names told apart, want a limit", what, told)
		}
		if what == "register" && told > 12 {
			t.Errorf("register: %d names told apart, want at most 10 and what comes with time", told)
		}
	}
}

// TestAttackLockOut: a stranger who tries an account's password until the
// server refuses them, from the owner's own address, keeps the owner's device
// from nothing for which it is asked for the password again.
func TestAttackLockOut(t *testing.T) {
	s := newStage(t, quintatest.RateLimits())
	alice := s.register("alice")
	r := s.nobody().post(v3+"/login", object{"type": "m.login.password", "user": "alice", "password": "x"})
	for range 30 {
		r = s.nobody().post(v3+"/login", object{"type": "m.login.password", "user": "alice", "password": "x"})
	}
	r.fails(429, "M_LIMIT_EXCEEDED")
	auth := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "alice"}, "password": password}
	r = alice.post(v3+"/account/password", object{"new_password": "second"})
	auth["session"] = r.text("session")
	alice.post(v3+"/account/password", object{"new_password": "second", "auth": auth}).want(200)
}

// TestAttackSessions: neither someone without an account nor a user fills the
// store with authentications that they begin and never end.
func TestAttackSessions(t *testing.T) {
	t.Parallel()
	s := newStage(t, quintatest.RateLimits())
	alice := s.register("alice")
	for what, begin := range map[string]func() *reply{
		"nobody": func() *reply { return s.nobody().post(v3+"/register", object{"password": "x"}) },
		"alice":  func() *reply { return alice.post(v3+"/account/password", object{"new_password": "x"}) },
	} {
		var last *reply
		begun := 0
		for range 60 {
			if last = begin(); last.Status != 401 {
				break
			}
			begun++
		}
		last.fails(429, "M_LIMIT_EXCEEDED")
		if begun < 10 || begun > 40 {
			t.Errorf("%s: %d sessions begun, want some 30", what, begun)
		}
	}
	var rows int
	if err := s.Core.View(t.Context(), func(tx *db.Tx) error {
		return tx.Row(`SELECT COUNT(*) FROM matrix_uia`).Scan(&rows)
	}); err != nil {
		t.Fatal(err)
	}
	if rows > 80 {
		t.Errorf("%d rows are left, want at most what the limits admit", rows)
	}
}

// TestSlowUpload: a file may pause for longer than other bodies may take, for
// someone who is logged in.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	s := newStage(t, quintatest.Configure(func(c *server.Config) { c.BodyTimeout = 500 * time.Millisecond }))
	alice := s.register("alice")
	send := func(token string) int {
		in, out := io.Pipe()
		go func() {
			out.Write([]byte("one "))
			time.Sleep(1500 * time.Millisecond)
			out.Write([]byte("two"))
			out.Close()
		}()
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/_matrix/media/v3/upload", in)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		a, err := http.DefaultClient.Do(r)
		in.Close()
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		return a.StatusCode
	}
	if got := send(alice.Token); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	if got := send("none"); got != 401 {
		t.Errorf("without a token: got %d, want 401", got)
	}
}
