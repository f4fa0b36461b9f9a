package xmppserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/network/xmpp/xmppserver"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// FuzzCalls sends any bytes to every call of the key server, with the proof of
// a device: it answers in its form, and never fails inside.
func FuzzCalls(f *testing.F) {
	c := &clock{now: time.Now().Truncate(time.Second)}
	s := &stage{Server: quintatest.StartNetworks(f, []server.Network{xmppserver.Network}, quintatest.Clock(c.Now), quintatest.Setting("xmpp-domains", "test.example"), secrets(f)), t: f, clock: c}
	a, b := s.published(romeo), s.published(juliet)
	create, _ := a.create(juliet, "AAAAAAAAAAAAAAAAAAAAAA", a, b)
	body, err := json.Marshal(create)
	if err != nil {
		f.Fatal(err)
	}
	record, err := json.Marshal(a.rec)
	if err != nil {
		f.Fatal(err)
	}
	for _, call := range []struct{ method, path, body string }{
		{"POST", wire.PathKeys, string(body)},
		{"POST", wire.PathKeysGet, `{"ids":["AAAAAAAAAAAAAAAAAAAAAA"]}`},
		{"GET", "/keys/AAAAAAAAAAAAAAAAAAAAAA", ""},
		{"POST", "/keys/AAAAAAAAAAAAAAAAAAAAAA/copies", `{"copies":[]}`},
		{"GET", "/conversations/x/keys?after=1&limit=-1", ""},
		{"PUT", "/devices/" + string(a.rec.ID), string(record)},
		{"DELETE", "/devices/x", ""},
		{"POST", "/devices/x/approve", `{}`},
		{"GET", "/users/juliet@test.example/devices", ""},
		{"GET", wire.PathWants + "?wait=0", ""},
	} {
		f.Add(call.method, call.path, []byte(call.body))
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "wait") || method == http.MethodConnect {
			return
		}
		u, err := url.Parse(s.URL + wire.Base + path)
		if err != nil || u.Host != strings.TrimPrefix(s.URL, "http://") || u.Fragment != "" || strings.Contains(u.RequestURI(), " ") {
			return
		}
		if _, err := http.NewRequest(method, u.String(), nil); err != nil {
			return
		}
		s.t = t
		// The path as it goes over the wire, which the proof names too.
		ans := a.call(method, strings.TrimPrefix(u.RequestURI(), wire.Base), body)
		if ans.Status >= 500 {
			t.Errorf("%s %q %q: got %d %s", method, path, body, ans.Status, ans.Body)
		}
		if ans.Status >= 400 && method != http.MethodHead && !json.Valid(ans.Body) {
			t.Errorf("%s %q: got %d %q", method, path, ans.Status, ans.Body)
		}
	})
}
