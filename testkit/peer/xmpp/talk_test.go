//go:build peers

package xmpp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/xmpp/xmppclient"
	"github.com/quinta-chat/quinta/server"
)

// TestTalk: two users write to each other over an XMPP server, with the lines that
// "xmpp setup" prints and nothing else.
func TestTalk(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.login("romeo"), s.login("juliet")
		romeo.says(juliet, "but soft")
		if m := juliet.reads(romeo, "but soft"); !m.Encrypted || m.Trust != quinta.TrustPinned || m.Device != romeo.Self().ID {
			t.Errorf("got %+v", m)
		}
		juliet.says(romeo, "ay me")
		romeo.reads(juliet, "ay me")
		if got := juliet.timeline(romeo); got != "but soft | ay me" {
			t.Errorf("got %q", got)
		}
		// Neither server has the text.
		if strings.Contains(s.xmpp.Files(), "but soft") {
			t.Error("the XMPP server has the text in clear")
		}
	})
}

// TestDirect: a connection that begins with TLS.
func TestDirect(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.loginAt("romeo", "xmpps://"+s.xmpp.Direct), s.login("juliet")
		romeo.says(juliet, "but soft")
		juliet.reads(romeo, "but soft")
	})
}

// TestOffline: what is sent while a device is away comes once, though the
// server has it in its offline storage and in its archive.
func TestOffline(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.login("romeo"), s.login("juliet")
		romeo.says(juliet, "first")
		juliet.reads(romeo, "first")
		juliet.stop()
		for i := range 5 {
			romeo.says(juliet, fmt.Sprint("away ", i))
		}
		juliet.close()
		juliet.run()
		for i := range 5 {
			juliet.reads(romeo, fmt.Sprint("away ", i))
		}
		if got := juliet.timeline(romeo); got != "first | away 0 | away 1 | away 2 | away 3 | away 4" {
			t.Errorf("got %q", got)
		}
	})
}

// TestSecondDevice: a second device reads nothing, not even what is new, until
// the first one has approved it; then it reads everything, and both see what
// the other one sends.
func TestSecondDevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.login("romeo"), s.login("juliet")
		romeo.says(juliet, "old")
		juliet.reads(romeo, "old")
		second := s.login("juliet")
		second.until("that it cannot read", func(list []e2ee.Event) bool {
			for _, e := range list {
				if e.Kind == e2ee.EventUndecryptable && e.Reason == quinta.ReasonNoKeyYet {
					return true
				}
			}
			return false
		})
		a, ok := client.As[client.Approver](juliet.Session)
		if !ok {
			t.Fatal("the session approves no one")
		}
		if err := a.Approve(t.Context(), second.Self().ID); err != nil {
			t.Fatal(err)
		}
		second.reads(romeo, "old")
		romeo.says(juliet, "new")
		second.reads(romeo, "new")
		juliet.reads(romeo, "new")
		second.says(romeo, "from the second")
		romeo.reads(juliet, "from the second")
		juliet.reads(second, "from the second")
		// Signed out, it gets nothing any more.
		d, ok := client.As[client.DeviceJudge](juliet.Session)
		if !ok {
			t.Fatal("the session judges no one")
		}
		if err := d.SignOut(t.Context(), second.Self().ID, client.Secret{}); err != nil {
			t.Fatal(err)
		}
		romeo.until("that a device went", func(list []e2ee.Event) bool {
			for _, e := range list {
				if e.Kind == e2ee.EventDevice && e.Device == second.Self().ID && e.Detail == "gone" {
					return true
				}
			}
			return false
		})
		romeo.says(juliet, "for the first alone")
		juliet.reads(romeo, "for the first alone")
		if strings.Contains(second.timeline(romeo), "for the first alone") {
			t.Error("a device that was signed out reads what is new")
		}
	})
}

// TestRestarts: the XMPP server and the key server go away and come back; what
// is sent meanwhile waits and arrives once.
func TestRestarts(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.login("romeo"), s.login("juliet")
		romeo.says(juliet, "one")
		juliet.reads(romeo, "one")
		s.xmpp.Stop()
		romeo.post(juliet, "while it was away")
		s.xmpp.Start()
		juliet.reads(romeo, "while it was away")
		romeo.until("that it was sent", func(list []e2ee.Event) bool { return romeo.count(list, e2ee.EventSent, "while it was away") == 1 })
		// A client that was stopped goes on with what it has.
		romeo.stop()
		romeo.close()
		romeo.run()
		romeo.says(juliet, "after a restart")
		juliet.reads(romeo, "after a restart")
		if got := juliet.timeline(romeo); got != "one | while it was away | after a restart" {
			t.Errorf("got %q", got)
		}
	})
}

// TestWrongPassword: a wrong password is an error of its kind.
func TestWrongPassword(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		p := s.seat("romeo")
		_, err := xmppclient.Network{}.Login(t.Context(), p.store, env(), client.Credentials{Server: "xmpp://" + s.xmpp.Client, User: string(p.user), Password: client.NewSecret("wrong")})
		if quinta.KindOf(err) != quinta.KindUnauthenticated {
			t.Errorf("got %v, want unauthenticated", err)
		}
		if strings.Contains(fmt.Sprint(err), "wrong\"") {
			t.Errorf("the error shows the password: %v", err)
		}
	})
}

// TestNobodyThere: a message to a user that the server does not have fails.
func TestNobodyThere(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo := s.login("romeo")
		romeo.post(&seat{user: "nobody@localhost"}, "hello")
		romeo.until("that it waits", func(list []e2ee.Event) bool {
			for _, e := range list {
				if e.Kind == e2ee.EventTrouble && strings.Contains(e.Detail, "no device") {
					return true
				}
			}
			return false
		})
	})
}

// TestAudit: the audit has who was given which key, and no text.
func TestAudit(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.login("romeo"), s.login("juliet")
		romeo.says(juliet, "secret")
		juliet.reads(romeo, "secret")
		out, err := s.keys.Core.RunCommand(t.Context(), "xmpp audit", server.CommandInput{Flags: map[string]string{"user": "", "conversation": "", "limit": "500"}})
		if err != nil || !strings.Contains(out, "create") || !strings.Contains(out, "read") || strings.Contains(out, "secret") {
			t.Errorf("got %v, %s", err, out)
		}
	})
}

// TestDoctor: a device beside a whole server has nothing to complain about.
func TestDoctor(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo := s.login("romeo")
		d, ok := client.As[client.Doctor](romeo.Session)
		if !ok {
			t.Fatal("the session has no doctor")
		}
		list, err := d.Examine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, f := range list {
			seen[f.Name] = true
			if !f.OK {
				t.Errorf("%s: %s", f.Name, f.Text)
			}
		}
		for _, name := range []string{"connection", "archive", "carbons", "component", "token", "clock", "approval", "waiting"} {
			if !seen[name] {
				t.Errorf("%s was not looked at", name)
			}
		}
	})
}
