package rocketchatserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatserver"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// A recorder is a gateway that keeps what it gets.
type recorder struct {
	got  chan rocketchatserver.Parcel
	fail atomic.Int32
	gone atomic.Bool
}

func newRecorder() *recorder { return &recorder{got: make(chan rocketchatserver.Parcel, 100)} }

func (g *recorder) Hand(_ context.Context, p rocketchatserver.Parcel) (bool, error) {
	if g.fail.Add(-1) >= 0 {
		return false, errors.New("out of order")
	}
	g.got <- p
	return g.gone.Load(), nil
}

func (g *recorder) next(t *testing.T) rocketchatserver.Parcel {
	t.Helper()
	select {
	case p := <-g.got:
		return p
	case <-time.After(patience):
		t.Fatal("no push came")
		return rocketchatserver.Parcel{}
	}
}

// pushes runs a test on both databases with a recording gateway.
func pushes(t *testing.T, fn func(t *testing.T, s *stage, g *recorder), opts ...quintatest.Option) {
	t.Helper()
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			g := newRecorder()
			all := append([]quintatest.Option{quintatest.Database(stores.Config(t, engine))}, opts...)
			fn(t, &stage{quintatest.StartNetworks(t, []server.Network{rocketchatserver.WithGateway(g)}, all...), t}, g)
		})
	}
}

func (p *person) pushed(token string) {
	p.s.t.Helper()
	if a := p.post("push.token", object{"type": "gcm", "value": token, "appName": "chat.rocket.android"}).ok(); a.text("result", "token", "gcm") != token {
		p.s.t.Errorf("got %s", a.raw)
	}
}

// TestPushIDOnly: by default a push holds the id of a message, for the other members
// alone, and the app fetches the rest as itself.
func TestPushIDOnly(t *testing.T) {
	pushes(t, func(t *testing.T, s *stage, g *recorder) {
		alice, bob, carol := s.keyed("alice"), s.keyed("bob"), s.keyed("carol")
		for _, p := range []*person{alice, bob, carol} {
			p.pushed("token of " + p.name)
		}
		rid := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
		k := alice.begins(rid)
		id := alice.says(rid, k, "a secret word")
		p := g.next(t)
		if p.Token != "token of bob" || p.Service != "gcm" || p.Title != "" || p.Text == "" || p.Payload.Kind != wire.PushID || string(p.Payload.MessageID) != id || p.Payload.Host != "https://chat.example.org" {
			t.Errorf("got %+v", p)
		}
		if raw, err := json.Marshal(p); err != nil || strings.Contains(string(raw), "ciphertext") || strings.Contains(string(raw), "alice") || strings.Contains(string(raw), rid) {
			t.Errorf("got %s, %v, want the id alone", raw, err)
		}
		a := bob.get("push.get", "id", id).ok()
		if a.text("data", "notification", "payload", "messageType") != "e2e" || a.text("data", "notification", "text") != "Encrypted message" || a.text("data", "notification", "payload", "content", "kid") != k.ID() ||
			a.text("data", "message", "_id") != id || a.text("data", "notification", "payload", "sender", "username") != "alice" {
			t.Errorf("got %s", a.raw)
		}
		// No one else is told, and what was taken back is not.
		carol.get("push.get", "id", id).fails(400, "error-not-allowed")
		bob.get("push.get", "id", "nothing").fails(400, "error-message-not-found")
		alice.post("chat.delete", object{"roomId": rid, "msgId": id}).ok()
		bob.get("push.get", "id", id).fails(400, "error-message-not-found")
		if id := alice.says(rid, k, "another"); string(g.next(t).Payload.MessageID) != id {
			t.Error("got a push of something else")
		}
		select {
		case p := <-g.got:
			t.Errorf("got %+v more", p)
		default:
		}
	}, quintatest.Configure(func(c *server.Config) { c.PublicURL = "https://chat.example.org" }))
}

// TestPushEncrypted: as the operator wants it, a push holds the ciphertext, and never a
// text: not of an encrypted room, and not of one in clear.
func TestPushEncrypted(t *testing.T) {
	pushes(t, func(t *testing.T, s *stage, g *recorder) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		bob.pushed("token of bob")
		rid := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
		k := alice.begins(rid)
		id := alice.says(rid, k, "a secret word")
		p := g.next(t)
		raw, err := json.Marshal(p)
		if err != nil || p.Payload.Kind != wire.PushMessage || p.Payload.MessageType != "e2e" || p.Text != "Encrypted message" || string(p.Payload.MessageID) != id || p.Payload.Msg != "" ||
			!strings.Contains(string(p.Payload.Content), k.ID()) || strings.Contains(string(raw), "a secret word") {
			t.Errorf("got %s, %v", raw, err)
		}
		open := alice.post("groups.create", object{"name": "open", "members": []string{"bob"}, "extraData": object{"encrypted": false}}).ok().text("group", "_id")
		alice.post("chat.sendMessage", object{"message": object{"rid": open, "msg": "a word in clear"}}).ok()
		p = g.next(t)
		if raw, err := json.Marshal(p); err != nil || p.Payload.Kind != wire.PushID || strings.Contains(string(raw), "a word in clear") {
			t.Errorf("got %s, %v, want the id alone", raw, err)
		}
	}, quintatest.Setting("rocketchat-push-content", "encrypted"))
}

// TestPushEnds: a push is tried again; a token that no app has any more, a login that
// ended and a user who left are told nothing more.
func TestPushEnds(t *testing.T) {
	var skew atomic.Int64
	clock := quintatest.Clock(func() time.Time { return time.Now().Add(time.Duration(skew.Load())) })
	pushes(t, func(t *testing.T, s *stage, g *recorder) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		bob.pushed("phone")
		rid := alice.post("groups.create", object{"name": "plan", "members": []string{"bob"}, "extraData": object{"encrypted": true}}).ok().text("group", "_id")
		k := alice.begins(rid)
		g.fail.Store(1)
		id := alice.says(rid, k, "one")
		for end := time.Now().Add(patience); g.fail.Load() >= 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the gateway was not tried again")
			}
			if g.fail.Load() == 0 {
				skew.Add(int64(time.Minute))
				if err := s.Core.Update(t.Context(), func(tx *db.Tx) error { tx.Wake("rocketchat push"); return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		if p := g.next(t); string(p.Payload.MessageID) != id {
			t.Errorf("got %+v", p)
		}
		tokens := func() (n int) {
			if err := s.Core.View(t.Context(), func(tx *db.Tx) error {
				return tx.Row(`SELECT COUNT(*) FROM rocketchat_push_token`).Scan(&n)
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		// The token is of another login from now on.
		second := bob.logsIn()
		second.pushed("phone")
		if n := tokens(); n != 1 {
			t.Errorf("got %d tokens, want 1", n)
		}
		bob.request(http.MethodDelete, "push.token", "application/json", strings.NewReader(`{"token":"not mine"}`), nil).fails(404, "error-not-found")
		second.post("logout", object{}).ok()
		if n := tokens(); n != 0 {
			t.Errorf("got %d tokens after the logout", n)
		}
		bob.pushed("phone")
		g.gone.Store(true)
		alice.says(rid, k, "two")
		g.next(t)
		for end := time.Now().Add(patience); tokens() != 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("got the token that no app has any more")
			}
		}
		g.gone.Store(false)
		bob.pushed("phone")
		bob.request(http.MethodDelete, "push.token", "application/json", strings.NewReader(`{"token":"phone"}`), nil).ok()
		alice.says(rid, k, "nobody is told")
		bob.pushed("phone")
		alice.post("groups.kick", object{"roomId": rid, "userId": bob.id}).ok()
		alice.says(rid, k, "he is not told")
		other := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
		if id := alice.says(other, alice.begins(other), "he is told"); string(g.next(t).Payload.MessageID) != id {
			t.Error("got a push of something else")
		}
	}, clock)
}

// TestPushGateway: the gateway of a setting gets what Rocket.Chat's own gateway takes.
func TestPushGateway(t *testing.T) {
	t.Parallel()
	got := make(chan object, 10)
	answer := http.StatusOK
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var q object
		if err != nil || json.Unmarshal(raw, &q) != nil || r.Method != http.MethodPost {
			t.Errorf("got %s %s, %v", r.Method, raw, err)
		}
		q["path"] = r.URL.Path
		w.WriteHeader(answer)
		got <- q
	}))
	t.Cleanup(gateway.Close)
	s := &stage{quintatest.Start(t, quintatest.Setting("rocketchat-push", gateway.URL+"/")), t}
	alice, bob := s.keyed("alice"), s.keyed("bob")
	bob.post("push.token", object{"id": "phone", "type": "apn", "value": "a token", "appName": "chat.rocket.ios"}).ok()
	rid := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
	id := alice.says(rid, alice.begins(rid), "a secret word")
	select {
	case q := <-got:
		o, _ := q["options"].(object)
		payload, _ := o["payload"].(object)
		if q["path"] != "/push/apn/send" || q["token"] != "a token" || o["topic"] != "chat.rocket.ios" || payload["messageId"] != id || payload["notificationType"] != "message-id-only" || o["uniqueId"] == "" {
			t.Errorf("got %v", q)
		}
	case <-time.After(patience):
		t.Fatal("no push came")
	}
	for name, q := range map[string]object{
		"type":  {"type": "pigeon", "value": "x", "appName": "x"},
		"value": {"type": "gcm", "value": "", "appName": "x"},
		"size":  {"type": "gcm", "value": strings.Repeat("x", 5000), "appName": "x"},
		"name":  {"type": "gcm", "value": "x"},
	} {
		if a := bob.post("push.token", q); a.status != 400 || !strings.Contains(a.text("errorType"), "param-not-valid") {
			t.Errorf("%s: got %d %s", name, a.status, a.raw)
		}
	}
}

// TestPushSettings: an address that is none of a gateway is refused, and so is a content
// that would hold a text.
func TestPushSettings(t *testing.T) {
	t.Parallel()
	for name, values := range map[string]map[string]bool{
		"rocketchat-push":         {"": true, "https://gateway.example.org": true, "http://127.0.0.1:8000/": true, "gateway.example.org": false, "ftp://x": false, "https://a:b@x": false, "https://x/?a=b": false},
		"rocketchat-push-content": {"id-only": true, "encrypted": true, "text": false, "": false},
	} {
		for _, s := range rocketchatserver.Network.Settings {
			if s.Name != name {
				continue
			}
			for v, good := range values {
				if err := s.Accepts(v); (err == nil) != good {
					t.Errorf("%s %q: got %v", name, v, err)
				}
			}
		}
	}
}
