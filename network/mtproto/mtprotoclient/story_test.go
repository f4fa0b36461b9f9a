package mtprotoclient_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// TestStory is two people from nothing to secret words in both directions, and
// the end of the chat.
func TestStory(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.asks("@bob")
	alice.says(id, "sent before you said yes")
	got := bob.room(id, "invite")
	if !strings.Contains(got.Name, "alice") || !strings.Contains(got.Name, "+888") || got.Inviter != alice.s.Self().User || got.Topic == "" {
		t.Errorf("the request: got %+v", got)
	}
	if _, err := bob.s.Join(t.Context(), string(id)); err != nil {
		t.Fatal(err)
	}
	bob.reads("sent before you said yes")
	bob.says(id, "hello alice")
	m := alice.reads("hello alice")
	if m.Sender != bob.s.Self().User || !m.Encrypted || m.Trust != quinta.TrustPinned {
		t.Errorf("got %+v", m)
	}
	if _, err := alice.s.Send(t.Context(), id, client.Draft{Text: "an answer", Relation: quinta.Relation{Kind: quinta.RelationReply, To: m.ID}}); err != nil {
		t.Fatal(err)
	}
	if r := bob.reads("an answer"); r.Relation.To != m.ID {
		t.Errorf("the reply: got %+v", r.Relation)
	}
	if err := alice.s.MarkRead(t.Context(), id, m.ID); err != nil {
		t.Fatal(err)
	}
	bob.until("a receipt", func() bool {
		_, ok := bob.find(func(e e2ee.Event) bool { return e.Kind == e2ee.EventReceipt && e.Message.ID == m.ID })
		return ok
	})
	items, err := bob.s.Read(t.Context(), id, timeline.Query{Limit: 10})
	if err != nil || len(items) != 3 {
		t.Errorf("bob's timeline has %d messages, %v, want 3", len(items), err)
	}
	if err := bob.s.Leave(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	alice.room(id, "leave")
	if _, err := alice.s.Send(t.Context(), id, client.Text("late")); quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("sending into a closed chat: got %v", err)
	}
}

// TestByNumber: people are found by number as well, and no one is found who is
// not there.
func TestByNumber(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.asks(command(t, srv, "user number", "bob"))
	bob.room(id, "invite")
	for _, nobody := range []string{"@nobody", "+88899999999", "+1 555"} {
		_, err := alice.s.Create(t.Context(), client.NewRoom{Invite: []quinta.UserID{quinta.UserID(nobody)}})
		if quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("%s: got %v, want not found", nobody, err)
		}
	}
}

// TestDeclined: a request that is declined closes with the reason.
func TestDeclined(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.asks("@bob")
	bob.room(id, "invite")
	if err := bob.s.Leave(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := alice.room(id, "leave"); got.Topic == "" {
		t.Error("alice is not told why")
	}
}

// TestAway: a request, messages and the end reach a device that was away, in
// their order, and nothing twice.
func TestAway(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	bob.kill()
	id := alice.asks("@bob")
	bob.boot()
	bob.room(id, "invite")
	if _, err := bob.s.Join(t.Context(), string(id)); err != nil {
		t.Fatal(err)
	}
	bob.says(id, "here now")
	alice.reads("here now")
	bob.kill()
	texts := []string{"one", "two", "three", "four", "five"}
	for _, s := range texts {
		alice.says(id, s)
	}
	alice.until("that all was sent", func() bool { return alice.sent("five") })
	bob.boot()
	for _, s := range texts {
		bob.reads(s)
	}
	bob.kill()
	bob.boot()
	bob.says(id, "again")
	alice.reads("again")
	for _, s := range texts {
		if n := bob.count(s); n != 1 {
			t.Errorf("%q was read %d times, want once", s, n)
		}
	}
}

// TestElsewhere: of two devices of the callee one takes the chat; the other
// says where it is.
func TestElsewhere(t *testing.T) {
	srv := start(t)
	alice, one := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.asks("@bob")
	// The request is shown on a device that logs in later, too.
	two := login(t, srv, "bob")
	one.room(id, "invite")
	two.room(id, "invite")
	if _, err := two.s.Join(t.Context(), string(id)); err != nil {
		t.Fatal(err)
	}
	if got := one.room(id, "leave"); !strings.Contains(got.Topic, "another device") {
		t.Errorf("the other device: got %q", got.Topic)
	}
	two.says(id, "from the second device")
	alice.reads("from the second device")
	if _, err := one.s.Join(t.Context(), string(id)); err == nil {
		t.Error("the first device took the chat as well")
	}
}

// TestLogout: the peer of a device that logs out is told at once.
func TestLogout(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.opens(bob)
	if err := bob.s.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.room(id, "leave")
}

// TestLoginRefused: a wrong code, an unknown number and another server's key
// are refused, each with a reason for people.
func TestLoginRefused(t *testing.T) {
	srv := start(t)
	if err := srv.Core.AddAccount(t.Context(), "alice", "a long password"); err != nil {
		t.Fatal(err)
	}
	number := command(t, srv, "user number", "alice")
	for _, c := range []struct {
		user, code string
		want       quinta.Kind
	}{
		{number, "000000x", quinta.KindUnauthenticated},
		{"+88899999999", "123456", quinta.KindUnauthenticated},
		{"alice", "123456", quinta.KindInvalid},
	} {
		d := &device{t: t, path: t.TempDir() + "/x.db"}
		st := d.store()
		_, err := (mtprotoclient.Network{}).Login(t.Context(), st, env(), client.Credentials{Server: srv.URL, User: c.user, Ask: code(c.code)})
		if quinta.KindOf(err) != c.want {
			t.Errorf("%s: got %v, want %v", c.user, err, c.want)
		}
		st.Close()
	}
	other := start(t)
	d := &device{t: t, path: t.TempDir() + "/x.db"}
	st := d.store()
	defer st.Close()
	key, _, _ := strings.Cut(command(t, other, "mtproto key"), "fingerprint")
	_, err := (mtprotoclient.Network{}).Login(t.Context(), st, env(), client.Credentials{Server: "tcp://" + srv.Addr(t, "mtproto"), ServerKey: []byte(key), User: number, Ask: code("123456")})
	if quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("another server's key: got %v, want forbidden", err)
	}
}

// TestRekeyOverTheWire: a new key is agreed on between two running devices.
func TestRekeyOverTheWire(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.opens(bob)
	alice.says(id, "under the first key")
	bob.reads("under the first key")
	if err := alice.s.RotateKey(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	alice.says(id, "meanwhile")
	bob.reads("meanwhile")
	bob.says(id, "later")
	alice.reads("later")
}

// TestOverWebsocket: a device logs in at a wss address, with the key that the
// server names or with one that is given, and the people talk. A server without
// TCP listeners is reached the same way at its web address.
func TestOverWebsocket(t *testing.T) {
	srv := start(t, quintatest.Setting("mtproto-listen", ""))
	ws := "ws" + strings.TrimPrefix(srv.URL, "http")
	key, _, _ := strings.Cut(command(t, srv, "mtproto key"), "fingerprint")
	alice := login(t, srv, "alice", func(in *client.Credentials) { in.Server, in.ServerKey = ws+"/apiws", []byte(key) })
	bob := login(t, srv, "bob")
	id := alice.opens(bob)
	alice.says(id, "over a websocket")
	bob.reads("over a websocket")
	bob.kill()
	alice.says(id, "while you were away")
	bob.boot()
	bob.reads("while you were away")
	d := &device{t: t, path: t.TempDir() + "/x.db"}
	st := d.store()
	defer st.Close()
	if _, err := (mtprotoclient.Network{}).Login(t.Context(), st, env(), client.Credentials{Server: "ws://chat.example", User: "+1555"}); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("a websocket in clear: got %v, want invalid", err)
	}
}

// TestPinned: the key with which the server proved itself is told before a code
// is requested, and one that is refused ends the login.
func TestPinned(t *testing.T) {
	srv := start(t)
	if err := srv.Core.AddAccount(t.Context(), "alice", "a long password"); err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, path: t.TempDir() + "/x.db"}
	st := d.store()
	defer st.Close()
	refused := errors.New("another key")
	var at, seen string
	in := client.Credentials{Server: srv.URL, User: command(t, srv, "user number", "alice"),
		Pin: func(server, fingerprint string) error { at, seen = server, fingerprint; return refused },
		Ask: func(context.Context, client.Question) (client.Secret, error) {
			t.Error("a code is asked for")
			return client.Secret{}, nil
		}}
	_, err := (mtprotoclient.Network{}).Login(t.Context(), st, env(), in)
	if key := command(t, srv, "mtproto key"); !errors.Is(err, refused) || at != srv.URL || seen == "" || !strings.Contains(key, "SHA-256 "+seen) {
		t.Errorf("got %v, %s at %s, want the SHA-256 of %s", err, seen, at, key)
	}
}
