package caclient_test

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// details returns the reasons and details of the events of a kind.
func (p *person) details(k e2ee.EventKind) (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == k {
			out = append(out, string(e.Reason)+" "+e.Detail)
		}
	}
	return out
}

// TestClockWrong: a device whose clock is wrong by a day says so, sends
// nothing, loses nothing, and continues when the clock is right again.
func TestClockWrong(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{"slow": -25 * time.Hour, "fast": 49 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := quintatest.Start(t).URL
			c := newClock()
			alice := meets(t, url, "alice").runs()
			bob := enters(t, url, "bob", caclient.Network{}, memory.New(), e2ee.Env{Now: c.Now, Rand: rand.Reader}, true)
			room := alice.talks(bob)
			bob.catchesUp()
			if bob.talks(alice) != room {
				t.Fatal("the conversation of two is another one for bob")
			}
			c.later(wrong)
			alice.sends(room, "today")
			bob.puts(room, client.Text("with a wrong clock"))
			bob.catchesUp()
			if n := bob.saw("today"); n != 0 && name == "fast" {
				t.Error("got a message judged by a list of revocations that is out of date by this clock")
			}
			found, err := bob.s.Examine(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				if f.Name == "clock" && (f.OK || f.Remedy == "") {
					t.Errorf("got %+v, want a word on the clock", f)
				}
			}
			if len(bob.details(e2ee.EventUndecryptable))+len(bob.details(e2ee.EventTrouble)) == 0 {
				t.Error("got no word on what is wrong")
			}
			c.later(-wrong)
			for range 3 {
				c.later(70 * time.Second)
				bob.catchesUp()
			}
			bob.reads("today")
			alice.reads("with a wrong clock")
			if n := bob.saw("today"); n != 1 {
				t.Errorf("got the message %d times, want once", n)
			}
			if n := bob.count(e2ee.EventFailed); n != 0 {
				t.Errorf("got %d messages given up, want none", n)
			}
		})
	}
}

// TestExpired: a device whose keys ran out sends nothing and is sent nothing;
// each side hears one clear reason.
func TestExpired(t *testing.T) {
	t.Parallel()
	c := newClock()
	url := quintatest.Start(t, quintatest.Clock(c.Now)).URL
	moving := e2ee.Env{Now: c.Now, Rand: rand.Reader}
	alice := enters(t, url, "alice", caclient.Network{}, memory.New(), moving, true)
	bob := enters(t, url, "bob", caclient.Network{}, memory.New(), moving, true)
	room := alice.talks(bob)
	alice.puts(room, client.Text("before"))
	alice.catchesUp()
	bob.catchesUp()
	bob.reads("before")
	for range 2 { // alice renews, bob is away
		c.later(20 * 24 * time.Hour)
		alice.catchesUp()
	}
	bob.puts(room, client.Text("with an expired key"))
	bob.catchesUp()
	bob.sees("the need of an approval", func(e e2ee.Event) bool {
		return e.Kind == e2ee.EventVerification && strings.HasPrefix(e.Detail, "approval ")
	})
	alice.puts(room, client.Text("to nobody"))
	alice.catchesUp()
	if alice.saw("with an expired key") != 0 || bob.saw("to nobody") != 0 {
		t.Error("a message went with or to an expired key")
	}
	found, err := bob.s.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Name == "keys" && (f.OK || !strings.Contains(f.Remedy, "approve")) {
			t.Errorf("got %+v, want to hear of the approval", f)
		}
	}
}

// TestListWithheld: without a revocation list nothing is sent or opened, and
// nothing is lost; with it everything continues.
func TestListWithheld(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := middle.Start(t, quintatest.Start(t, quintatest.Clock(c.Now)).URL)
	moving := e2ee.Env{Now: c.Now, Rand: rand.Reader}
	alice := enters(t, p.URL, "alice", caclient.Network{}, memory.New(), moving, true)
	bob := enters(t, p.URL, "bob", caclient.Network{}, memory.New(), moving, true)
	room := alice.talks(bob)
	for name, answer := range map[string]func(*http.Request, int, []byte) (int, []byte){
		"none":      changeOf("/crl", func([]byte) []byte { return nil }),
		"no list":   changeOf("/crl", func([]byte) []byte { return []byte("no list") }),
		"cut":       changeOf("/crl", func(b []byte) []byte { return b[:len(b)-1] }),
		"bad bytes": changeOf("/crl", func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }),
		"gone": func(r *http.Request, status int, b []byte) (int, []byte) {
			if strings.HasSuffix(r.URL.Path, "/crl") {
				return http.StatusNotFound, []byte(`{"type":"urn:quinta:ca:error:not-found","detail":"no list"}`)
			}
			return status, b
		},
	} {
		c.later(25 * time.Hour)
		p.Answers(answer)
		text := "with the list: " + name
		before := len(bodiesOf(p, http.MethodPut, "/messages/"))
		alice.puts(room, client.Text(text))
		alice.catchesUp()
		if n := len(bodiesOf(p, http.MethodPut, "/messages/")); n != before {
			t.Errorf("%s: a message left without a list of revocations", name)
		}
		p.Answers(nil)
		c.later(2 * time.Minute)
		alice.catchesUp()
		bob.catchesUp()
		bob.reads(text)
	}
	if len(alice.details(e2ee.EventTrouble)) == 0 {
		t.Error("got no word on the list")
	}
}

// TestOldList: an older list of revocations, from before a key was revoked,
// does not put the key back.
func TestOldList(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := middle.Start(t, quintatest.Start(t, quintatest.Clock(c.Now)).URL)
	moving := e2ee.Env{Now: c.Now, Rand: rand.Reader}
	alice := enters(t, p.URL, "alice", caclient.Network{}, memory.New(), moving, true)
	bob := enters(t, p.URL, "bob", caclient.Network{}, memory.New(), moving, true)
	lost := enters(t, p.URL, "bob", caclient.Network{}, memory.New(), moving, false)
	room := alice.talks(bob)
	var old []byte
	p.Answers(changeOf("/crl", func(b []byte) []byte { old = bytes.Clone(b); return b }))
	if _, err := alice.s.Examine(t.Context()); err != nil || old == nil {
		t.Fatalf("got no list: %v", err)
	}
	p.Answers(nil)
	c.later(time.Hour)
	for _, k := range lost.ownValid() {
		if err := bob.s.Revoke(t.Context(), k.ID, client.RevokeCompromised); err != nil {
			t.Fatal(err)
		}
	}
	alice.catchesUp()
	p.Answers(changeOf("/crl", func([]byte) []byte { return old }))
	c.later(13 * time.Hour)
	alice.puts(room, client.Text("after the old list"))
	alice.catchesUp()
	p.Answers(nil)
	c.later(2 * time.Minute)
	alice.catchesUp()
	bob.catchesUp()
	bob.reads("after the old list")
	lost.catchesUp()
	if lost.saw("after the old list") != 0 {
		t.Error("an old list of revocations put a key back")
	}
}

// TestWrongLogin: what is wrong with a login is one clear error, and nothing
// stays in the store that would stand in the way of the next one.
func TestWrongLogin(t *testing.T) {
	t.Parallel()
	s := quintatest.Start(t)
	p := middle.Start(t, s.URL)
	meets(t, p.URL, "alice")
	st := memory.New()
	login := func(in client.Credentials) error {
		_, err := caclient.Network{}.Login(t.Context(), st, env, in)
		return err
	}
	wantKind(t, login(client.Credentials{Server: p.URL, Password: password}), quinta.KindInvalid)
	wantKind(t, login(client.Credentials{Server: p.URL, User: "alice", Password: client.NewSecret("wrong")}), quinta.KindUnauthenticated)
	wantKind(t, login(client.Credentials{Server: p.URL, User: "nobody", Password: password}), quinta.KindUnauthenticated)
	wantKind(t, login(client.Credentials{Server: "http://example.org", User: "alice", Password: password}), quinta.KindInvalid)
	wantKind(t, login(client.Credentials{User: "alice", Password: password}), quinta.KindInvalid)
	_, err := caclient.Network{}.Register(t.Context(), st, env, client.Credentials{Server: p.URL, User: "alice", Password: password})
	wantKind(t, err, quinta.KindExists)
	for name, part := range map[string][2]string{"user": {`"alice@hs1"`, `"mallory@hs1"`}, "no token": {`"token"`, `"tokens"`}, "no device": {`"device"`, `"devices"`}} {
		p.Answers(changeOf("/login", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(part[0]), []byte(part[1])) }))
		err := login(client.Credentials{Server: p.URL, User: "alice", Password: password})
		if err == nil || quinta.KindOf(err) != quinta.KindMalformed {
			t.Errorf("%s: got %v, want it malformed", name, err)
		}
	}
	p.Answers(nil)
	if err := login(client.Credentials{Server: p.URL, User: "alice@hs1", Password: password}); err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Seen() {
		if strings.Contains(r.Path+r.Query, password.Reveal()) {
			t.Errorf("%s: the password is in the address", r.Path)
		}
	}
}
