package matrixserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
)

// A gateway is a push gateway that fails as often as it is told.
type gateway struct {
	url    string
	got    chan object
	fail   atomic.Int32
	reject atomic.Bool
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{got: make(chan object, 20)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var q object
		if err == nil {
			err = json.Unmarshal(b, &q)
		}
		if err != nil || r.URL.Path != "/_matrix/push/v1/notify" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		if g.fail.Add(-1) >= 0 {
			http.Error(w, "later", http.StatusBadGateway)
			return
		}
		g.got <- q
		if g.reject.Load() {
			io.WriteString(w, `{"rejected":["phone key"]}`)
			return
		}
		io.WriteString(w, `{"rejected":[]}`)
	}))
	t.Cleanup(srv.Close)
	g.url = srv.URL + "/_matrix/push/v1/notify"
	return g
}

func (g *gateway) next(t *testing.T) object {
	t.Helper()
	select {
	case q := <-g.got:
		return q["notification"].(object)
	case <-time.After(time.Minute):
		t.Fatal("no notification")
		return nil
	}
}

func (g *gateway) pusher(format string) object {
	return object{"kind": "http", "app_id": "org.example.app", "pushkey": "phone key", "app_display_name": "App", "device_display_name": "phone", "lang": "en",
		"data": object{"url": g.url, "format": format, "extra": 7}}
}

func TestPushers(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		g := newGateway(t)
		bob.post(v3+"/pushers/set", g.pusher("")).want(200)
		if r := bob.get(v3 + "/pushers").want(200); len(r.at("pushers").([]any)) != 1 {
			t.Fatalf("got %s, want one pusher", r.Raw)
		}
		if r := alice.get(v3 + "/pushers").want(200); len(r.at("pushers").([]any)) != 0 {
			t.Errorf("alice sees the pusher of bob: %s", r.Raw)
		}
		// An invitation, then a message of two people.
		room := alice.post(v3+"/createRoom", object{"preset": "private_chat", "invite": []string{bob.ID}, "is_direct": true}).want(200).text("room_id")
		if n := g.next(t); n["type"] != "m.room.member" || n["room_id"] != room {
			t.Errorf("the invitation: got %v", n)
		}
		bob.post(v3+"/rooms/"+esc(room)+"/join", nil).want(200)
		ev := alice.put(v3+"/rooms/"+esc(room)+"/send/m.room.message/1", object{"msgtype": "m.text", "body": "psst"}).want(200).text("event_id")
		n := g.next(t)
		dev := n["devices"].([]any)[0].(object)
		if n["event_id"] != ev || at(n, "content", "body") != "psst" || n["sender"] != alice.ID || dev["pushkey"] != "phone key" {
			t.Errorf("the message: got %v", n)
		}
		if data := dev["data"].(object); data["url"] != nil || data["extra"] != 7.0 {
			t.Errorf("data: got %v, want it without the url", data)
		}
		// Only ids leave the server for who asked for that; no one hears of
		// what he wrote himself.
		bob.post(v3+"/pushers/set", g.pusher("event_id_only")).want(200)
		bob.put(v3+"/rooms/"+esc(room)+"/send/m.room.message/1", object{"msgtype": "m.text", "body": "own"}).want(200)
		ev = alice.put(v3+"/rooms/"+esc(room)+"/send/m.room.message/2", object{"msgtype": "m.text", "body": "secret"}).want(200).text("event_id")
		if n := g.next(t); n["event_id"] != ev || n["content"] != nil || n["sender"] != nil {
			t.Errorf("ids alone: got %v", n)
		}
		// A gateway that does not know the key any more ends the pusher.
		g.reject.Store(true)
		alice.put(v3+"/rooms/"+esc(room)+"/send/m.room.message/3", object{"msgtype": "m.text", "body": "x"}).want(200)
		g.next(t)
		for i := 0; len(bob.get(v3+"/pushers").want(200).at("pushers").([]any)) != 0; i++ {
			if i > 200 {
				t.Fatal("the rejected pusher is still there")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}, quintatest.Setting("private-gateways", "on"))
}

func TestPusherGoesWithItsDevice(t *testing.T) {
	s := newStage(t, quintatest.Setting("private-gateways", "on"))
	bob := s.register("bob")
	phone := bob.login("PHONE")
	g := newGateway(t)
	phone.post(v3+"/pushers/set", g.pusher("")).want(200)
	phone.post(v3+"/logout", nil).want(200)
	if r := bob.get(v3 + "/pushers").want(200); len(r.at("pushers").([]any)) != 0 {
		t.Errorf("after the logout: got %s, want none", r.Raw)
	}
	bob.post(v3+"/pushers/set", g.pusher("")).want(200)
	carol := s.register("carol")
	carol.post(v3+"/pushers/set", g.pusher("")).want(200)
	if r := bob.get(v3 + "/pushers").want(200); len(r.at("pushers").([]any)) != 0 {
		t.Errorf("the app belongs to carol now: got %s, want none", r.Raw)
	}
	q := g.pusher("")
	q["kind"] = nil
	carol.post(v3+"/pushers/set", q).want(200)
	if r := carol.get(v3 + "/pushers").want(200); len(r.at("pushers").([]any)) != 0 {
		t.Errorf("removed: got %s, want none", r.Raw)
	}
}

func TestPusherIsRefused(t *testing.T) {
	s := newStage(t)
	bob := s.register("bob")
	for name, c := range map[string]struct {
		change func(object)
		code   string
	}{
		"plain http":      {func(q object) { q["data"] = object{"url": "http://example.org/_matrix/push/v1/notify"} }, "M_INVALID_PARAM"},
		"another path":    {func(q object) { q["data"] = object{"url": "https://example.org/admin"} }, "M_INVALID_PARAM"},
		"a password":      {func(q object) { q["data"] = object{"url": "https://a:b@example.org/_matrix/push/v1/notify"} }, "M_INVALID_PARAM"},
		"no address":      {func(q object) { q["data"] = object{} }, "M_INVALID_PARAM"},
		"by mail":         {func(q object) { q["kind"] = "email" }, "M_INVALID_PARAM"},
		"no key":          {func(q object) { q["pushkey"] = "" }, "M_MISSING_PARAM"},
		"a long key":      {func(q object) { q["pushkey"] = strings.Repeat("x", 600) }, "M_INVALID_PARAM"},
		"a large body":    {func(q object) { q["lang"] = strings.Repeat("x", 10000) }, "M_TOO_LARGE"},
		"of a wrong type": {func(q object) { q["app_id"] = 7 }, "M_BAD_JSON"},
	} {
		q := object{"kind": "http", "app_id": "a", "pushkey": "k", "data": object{"url": "https://example.org/_matrix/push/v1/notify"}}
		c.change(q)
		if r := bob.post(v3+"/pushers/set", q); r.Status != 400 || r.at("errcode") != c.code {
			t.Errorf("%s: got %d %s, want 400 %s", name, r.Status, r.Raw, c.code)
		}
	}
	s.nobody().get(v3+"/pushers").fails(401, "M_MISSING_TOKEN")
}

func TestPushIsTriedAgain(t *testing.T) {
	var skew atomic.Int64
	s := newStage(t, quintatest.Setting("private-gateways", "on"),
		quintatest.Clock(func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }))
	alice, bob := s.register("alice"), s.register("bob")
	g := newGateway(t)
	bob.post(v3+"/pushers/set", g.pusher("")).want(200)
	g.fail.Store(1)
	alice.post(v3+"/createRoom", object{"preset": "private_chat", "invite": []string{bob.ID}, "is_direct": true}).want(200)
	for i := 0; g.fail.Load() >= 0; i++ {
		if i > 1000 {
			t.Fatal("the gateway was not tried")
		}
		time.Sleep(10 * time.Millisecond)
		// A minute later, by the server's clock, something else happens.
		if g.fail.Load() == 0 {
			skew.Add(int64(time.Minute))
			alice.post(v3+"/createRoom", object{"preset": "private_chat", "invite": []string{bob.ID}, "is_direct": true}).want(200)
		}
	}
	g.next(t)
	g.next(t)
}
