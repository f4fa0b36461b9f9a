package rocketchatclient_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// A liar changes what a server answers, and sees what a client sends.
type liar struct {
	answer func(r *http.Request, status int, body string) (int, string)
	seen   func(r *http.Request, body string)
}

// RoundTrip implements http.RoundTripper.
func (l *liar) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.seen != nil && r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		l.seen(r, string(raw))
		r = r.Clone(r.Context())
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || l.answer == nil {
		return resp, err
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	status, body := l.answer(r, resp.StatusCode, string(raw))
	resp.StatusCode, resp.Body, resp.ContentLength = status, io.NopCloser(strings.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// TestAttack13FetchFails: whatever stands in the place of an answer to the fetch of
// the keys, no key pair is made.
func TestAttack13FetchFails(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	for i, lie := range []struct {
		status int
		body   string
	}{{500, ""}, {502, "<html>bad gateway</html>"}, {200, "<html>log in</html>"}, {200, `{"success":false}`}, {200, `{}`}, {200, `{"status":"success"}`}, {200, `{"public_key":"x"`}, {200, `{"success":true,"public_key":"{}","private_key":"{}"}`}, {401, "<html></html>"}, {400, `{"success":false,"error":"nope"}`}} {
		set := atomic.Int64{}
		n := rocketchatclient.Network{Transport: &liar{
			answer: func(r *http.Request, status int, body string) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/e2e.fetchMyKeys") {
					return lie.status, lie.body
				}
				return status, body
			},
			seen: func(r *http.Request, _ string) {
				if strings.HasSuffix(r.URL.Path, "/e2e.setUserPublicAndPrivateKeys") {
					set.Add(1)
				}
			},
		}}
		name := "user" + string(rune('a'+i))
		if _, err := n.Register(t.Context(), memory.New(), env, client.Credentials{Server: srv.URL, User: name, Password: password}); err != nil {
			t.Fatalf("%+v: %v", lie, err)
		}
		if set.Load() != 0 {
			t.Errorf("%+v: got a key pair made", lie)
		}
	}
}

// TestAttack15Downgrade: a server that says that encryption is off gets no word in
// clear, neither by a session that knows better nor by one that allows clear text.
func TestAttack15Downgrade(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	bob := meets(t, srv.URL, "bob").runs()
	var lies atomic.Bool
	var leaked atomic.Value
	n := rocketchatclient.Network{Transport: &liar{
		answer: func(r *http.Request, status int, body string) (int, string) {
			if lies.Load() {
				body = strings.ReplaceAll(body, `"encrypted":true`, `"encrypted":false`)
			}
			return status, body
		},
		seen: func(r *http.Request, body string) {
			if strings.Contains(body, "canary") {
				leaked.Store(body)
			}
		},
	}}
	st := memory.New()
	if _, err := n.Register(t.Context(), st, env, client.Credentials{Server: srv.URL, User: "alice", Password: password}); err != nil {
		t.Fatal(err)
	}
	s, err := n.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	alice := &person{t: t, s: s.(*rocketchatclient.Session), st: st, came: make(chan struct{})}
	room := alice.opens("bob")
	if _, err := alice.s.Send(t.Context(), room, client.Text("before the lie")); err != nil {
		t.Fatal(err)
	}
	if err := alice.s.Flush(t.Context(), alice.hears); err != nil {
		t.Fatal(err)
	}
	lies.Store(true)
	if err := alice.s.Flush(t.Context(), alice.hears); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.s.Send(t.Context(), room, client.Draft{Text: "a canary", Clear: true}); err != nil {
		t.Fatal(err)
	}
	if err := alice.s.Flush(t.Context(), alice.hears); err != nil {
		t.Fatal(err)
	}
	if m := bob.reads("a canary"); !m.Encrypted {
		t.Errorf("got %+v", m)
	}
	if v := leaked.Load(); v != nil {
		t.Errorf("got %v sent in clear", v)
	}
	// A room that the server makes in clear though it was to be encrypted.
	id, err := alice.s.Create(t.Context(), client.NewRoom{Name: "plan", Invite: []quinta.UserID{"bob"}})
	if err == nil {
		if _, err = alice.s.Send(t.Context(), id, client.Text("another canary")); quinta.KindOf(err) != quinta.KindForbidden {
			t.Errorf("got %v, want KindForbidden", err)
		}
	}
	if v := leaked.Load(); v != nil {
		t.Errorf("got %v sent in clear", v)
	}
}
