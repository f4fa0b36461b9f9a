//go:build peers

package rocketchat_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
	"github.com/quinta-chat/quinta/testkit/peer/rocketchat/sdk"
)

const password = "correct horse battery staple"

// each runs a story on SQLite, on PostgreSQL, and with the two users on two nodes.
func each(t *testing.T, story func(t *testing.T, near, far string)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		s := quintad.Start(t, quintad.Config{})
		story(t, s.URL(), s.URL())
	})
	t.Run("two nodes", func(t *testing.T) {
		url, media := postgres.URL(t), t.TempDir()
		a := quintad.Start(t, quintad.Config{Database: url, Media: media})
		b := quintad.Start(t, quintad.Config{Database: url, Media: media})
		story(t, a.URL(), b.URL())
	})
}

// A peer is one client of the official libraries.
type peer struct {
	t    *testing.T
	p    *driver.Process
	name string
	id   string
}

func (p *peer) call(call string, args, result any) {
	p.t.Helper()
	if err := p.p.Call(p.name, call, args, result, driver.Patience); err != nil {
		p.t.Fatal(err)
	}
}

func registers(t *testing.T, p *driver.Process, url, name string) *peer {
	t.Helper()
	out := &peer{t: t, p: p, name: name}
	var a struct{ ID, Username string }
	out.call("register", map[string]string{"server": url, "username": name, "password": password}, &a)
	if a.Username != name || len(a.ID) != 17 {
		t.Fatalf("got %+v", a)
	}
	out.id = a.ID
	out.call("setKeys", map[string]string{"password": "twelve words or so"}, nil)
	return out
}

// A quinta is a running session of the client that is tested.
type session struct {
	t      *testing.T
	s      *rocketchatclient.Session
	mu     sync.Mutex
	events []e2ee.Event
}

func runs(t *testing.T, url, name string) *session {
	t.Helper()
	st, env := memory.New(), e2ee.Env{Now: time.Now, Rand: rand.Reader}
	n := rocketchatclient.Network{}
	if _, err := n.Register(t.Context(), st, env, client.Credentials{Server: url, User: name, Password: client.NewSecret(password)}); err != nil {
		t.Fatal(err)
	}
	opened, err := n.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, s: opened.(*rocketchatclient.Session)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.s.Run(ctx, func(e e2ee.Event) { s.mu.Lock(); defer s.mu.Unlock(); s.events = append(s.events, e) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the session ended: %v", err)
		}
	})
	return s
}

func (s *session) waits(what string, fits func(e2ee.Event) bool) e2ee.Event {
	s.t.Helper()
	for end := time.Now().Add(driver.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		for _, e := range s.events {
			if fits(e) {
				s.mu.Unlock()
				return e
			}
		}
		s.mu.Unlock()
	}
	var story strings.Builder
	for _, e := range s.events {
		fmt.Fprintf(&story, "\n%v %s %s %s", e.Kind, e.Message.Text, e.Reason, e.Detail)
	}
	s.t.Fatalf("waited in vain for %s: %s", what, story.String())
	return e2ee.Event{}
}

func (s *session) reads(text string) quinta.Message {
	s.t.Helper()
	return s.waits(text, func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && e.Message.Text == text }).Message
}

func (s *session) sends(room quinta.RoomID, d client.Draft) {
	s.t.Helper()
	txn, err := s.s.Send(s.t.Context(), room, d)
	if err != nil {
		s.t.Fatal(err)
	}
	s.waits("the end of "+d.Text, func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn })
}

// TestOfficialClients: the official libraries log in in both ways, make an encrypted
// group, exchange keys, messages and files with quinta, hear it live, lose a race
// and reset a room key.
func TestOfficialClients(t *testing.T) {
	each(t, func(t *testing.T, near, far string) {
		alice := registers(t, sdk.Start(t), near, "alice")
		bob := runs(t, far, "bob")
		var g struct{ Room quinta.RoomID }
		alice.call("group", map[string]any{"name": "plan", "members": []string{"bob"}}, &g)
		var made struct {
			Lost   bool
			Shared int
		}
		alice.call("makeKey", map[string]any{"room": g.Room}, &made)
		if made.Lost || made.Shared != 1 {
			t.Errorf("got %+v, want bob to get the key", made)
		}
		alice.call("send", map[string]any{"room": g.Room, "text": "from the official client"}, nil)
		if m := bob.reads("from the official client"); m.Sender != "alice" || !m.Encrypted || m.Weakness != "" {
			t.Errorf("got %+v", m)
		}
		bob.sends(g.Room, client.Text("from quinta: Grüße, 東京 😀"))
		var got struct{ ID, Sender string }
		alice.call("read", map[string]string{"text": "from quinta: Grüße, 東京 😀"}, &got)
		if got.Sender != "bob" {
			t.Errorf("got %+v", got)
		}
		// Files, both ways.
		alice.call("upload", map[string]any{"room": g.Room, "name": "notes.txt", "text": "a file for bob", "contents": "the contents"}, nil)
		var out bytes.Buffer
		if m := bob.reads("a file for bob"); m.File == nil || m.File.Name != "notes.txt" {
			t.Fatalf("got %+v", m)
		} else if err := bob.s.Fetch(t.Context(), m.File, &out); err != nil || out.String() != "the contents" {
			t.Errorf("got %q, %v", out.String(), err)
		}
		bob.sends(g.Room, client.Draft{Text: "a file for alice", File: &client.Upload{Name: "b.txt", MediaType: "text/plain", Size: 3, From: strings.NewReader("abc")}})
		var file struct{ Plain json.RawMessage }
		alice.call("read", map[string]string{"text": "a file for alice"}, &file)
		var contents struct{ Contents string }
		alice.call("download", map[string]any{"plain": file.Plain}, &contents)
		if contents.Contents != "abc" {
			t.Errorf("got %q", contents.Contents)
		}
		// A room key reset by the official client, then the waiting queue.
		alice.call("reset", map[string]any{"room": g.Room}, nil)
		bob.waits("the new key", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && strings.Contains(e.Detail, "new key") })
		bob.sends(g.Room, client.Text("under the new key"))
		alice.call("read", map[string]string{"text": "under the new key"}, nil)
		// A race for a room key: quinta was first.
		direct, err := bob.s.Create(t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{"alice"}})
		if err != nil {
			t.Fatal(err)
		}
		bob.sends(direct, client.Text("quinta was first"))
		alice.call("makeKey", map[string]any{"room": direct}, &made)
		if !made.Lost {
			t.Errorf("got %+v, want a lost race", made)
		}
		alice.call("read", map[string]string{"text": "quinta was first"}, nil)
		alice.call("send", map[string]any{"room": direct, "text": "adopted"}, nil)
		bob.reads("adopted")
		// The late joiner gets the key from quinta.
		carol := registers(t, sdk.Start(t), near, "carol")
		bobs, err := bob.s.Create(t.Context(), client.NewRoom{Name: "bobs"})
		if err != nil {
			t.Fatal(err)
		}
		bob.sends(bobs, client.Text("before carol"))
		if err := bob.s.Invite(t.Context(), bobs, "carol"); err != nil {
			t.Fatal(err)
		}
		bob.sends(bobs, client.Text("hello carol"))
		carol.call("read", map[string]string{"text": "hello carol"}, nil)
	})
}

// TestForms: what this module writes opens in the other implementation, and the
// other way round, in every form.
func TestForms(t *testing.T) {
	t.Parallel()
	p := &peer{t: t, p: sdk.Start(t), name: "forms"}
	form := func(what string, result any, args ...any) {
		t.Helper()
		var a struct{ Result json.RawMessage }
		p.call("form", map[string]any{"what": what, "args": args}, &a)
		if err := json.Unmarshal(a.Result, result); err != nil {
			t.Fatal(err)
		}
	}
	mine, err := rocketchat.GeneratePrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const user = "abcdefghijklmnopq"
	for name, seal := range map[string]func() (string, error){
		"v1": func() (string, error) {
			return rocketchat.SealPrivateKeyV1(rand.Reader, mine, "twelve words or so", user)
		},
		"v2": func() (string, error) {
			return rocketchat.SealPrivateKey(rand.Reader, mine, "twelve words or so", user)
		},
	} {
		blob, err := seal()
		if err != nil {
			t.Fatal(err)
		}
		var text string
		form("openPair", &text, blob, "twelve words or so", user)
		if k, err := rocketchat.ParsePrivateKey(text); err != nil || !k.Equal(mine) {
			t.Errorf("%s: got %v", name, err)
		}
		form("sealPair", &blob, mine.Secret(), "twelve words or so", user, name)
		if k, _, err := rocketchat.OpenPrivateKey(blob, "twelve words or so", user); err != nil || !k.Equal(mine) {
			t.Errorf("%s of the other: got %v", name, err)
		}
	}
	v1, err := rocketchat.GenerateRoomKeyV1(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v2, err := rocketchat.GenerateRoomKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		ID  string `json:"id"`
		JWK string `json:"jwk"`
	}
	for _, k := range []rocketchat.RoomKey{v1, v2} {
		theirs := key{k.ID(), k.Secret()}
		wrapped, err := k.Wrap(rand.Reader, mine.Public())
		if err != nil {
			t.Fatal(err)
		}
		var got key
		form("unwrap", &got, wrapped, mine.Secret())
		if got != theirs {
			t.Errorf("got %+v", got)
		}
		form("wrap", &wrapped, theirs, mine.Public().String())
		if back, err := rocketchat.Unwrap(mine, wrapped); err != nil || !back.Equal(k) {
			t.Errorf("got %v", err)
		}
		c, err := rocketchat.SealContent(rand.Reader, k, rocketchat.TextBody("Grüße 😀"))
		if err != nil {
			t.Fatal(err)
		}
		var plain struct{ Msg string }
		form("openContent", &plain, theirs, c)
		if plain.Msg != "Grüße 😀" {
			t.Errorf("got %q", plain.Msg)
		}
		form("sealContent", &c, theirs, map[string]string{"msg": "back"})
		if text, err := rocketchat.OpenContent(k, c); err != nil || string(text) != `{"msg":"back"}` {
			t.Errorf("got %q, %v", text, err)
		}
	}
	sealed, err := rocketchat.SealString(rand.Reader, v1, rocketchat.StringBody("id", "as written down", user, time.UnixMilli(1)))
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Text, UserID string }
	form("openString", &body, key{v1.ID(), v1.Secret()}, sealed)
	if body.Text != "as written down" || body.UserID != user {
		t.Errorf("got %+v", body)
	}
}
