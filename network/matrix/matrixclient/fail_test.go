package matrixclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/middle"
)

func login(t *testing.T, url, user, pass string) error {
	t.Helper()
	_, err := matrixclient.Network{}.Login(t.Context(), memory.New(), env, client.Credentials{Server: url, User: user, Password: client.NewSecret(pass)})
	return err
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	meets(t, url, "alice")
	for _, user := range []string{"alice", "@alice:hs1", "nobody"} {
		err := login(t, url, user, "hunter2")
		wantKind(t, err, quinta.KindUnauthenticated)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got the password in %q", err)
		}
	}
	st := memory.New()
	enters(t, url, "alice", matrixclient.Network{}, st, false)
	_, err := matrixclient.Network{}.Login(t.Context(), st, env, client.Credentials{Server: url, User: "alice", Password: password})
	wantKind(t, err, quinta.KindExists)
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	s := quintatest.Start(t, quintatest.Registration(server.RegistrationInvite))
	in := client.Credentials{Server: s.URL, User: "alice", Password: password}
	_, err := matrixclient.Network{}.Register(t.Context(), memory.New(), env, in)
	wantKind(t, err, quinta.KindUnauthenticated)
	if !strings.Contains(err.Error(), "m.login.registration_token") {
		t.Errorf("got %q, want what the server asks for", err)
	}
	in.Token = client.NewSecret("not an invitation")
	_, err = matrixclient.Network{}.Register(t.Context(), memory.New(), env, in)
	wantKind(t, err, quinta.KindUnauthenticated)
	open := quintatest.Start(t).URL
	meets(t, open, "alice")
	_, err = matrixclient.Network{}.Register(t.Context(), memory.New(), env, client.Credentials{Server: open, User: "alice", Password: password})
	wantKind(t, err, quinta.KindExists)
	closed := quintatest.Start(t, quintatest.Registration(server.RegistrationClosed)).URL
	_, err = matrixclient.Network{}.Register(t.Context(), memory.New(), env, client.Credentials{Server: closed, User: "alice", Password: password})
	wantKind(t, err, quinta.KindForbidden)
}

// TestLoginRepeated loses the answer to a login: the second try is the same
// device, so that none is left behind.
func TestLoginRepeated(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/login") {
			return 502, nil
		}
		return status, b
	})
	st := memory.New()
	in := client.Credentials{Server: p.URL, User: "alice", Password: password}
	if _, err := (matrixclient.Network{}).Login(t.Context(), st, env, in); quinta.KindOf(err) != quinta.KindUnavailable {
		t.Fatalf("got %v, want kind %v", err, quinta.KindUnavailable)
	}
	p.Answers(nil)
	d, err := matrixclient.Network{}.Login(t.Context(), st, env, in)
	if err != nil {
		t.Fatal(err)
	}
	devices, err := alice.s.Devices(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(devices) != 2 || devices[0].ID != d.ID && devices[1].ID != d.ID {
		t.Errorf("got devices %+v, want the first and %s", devices, d.ID)
	}
}

func TestSignedOutElsewhere(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	other := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false)
	ended := make(chan error, 1)
	go func() { ended <- other.s.Run(t.Context(), other.on) }()
	err := alice.s.SignOut(t.Context(), other.s.Self().ID, client.NewSecret("wrong"))
	wantKind(t, err, quinta.KindUnauthenticated)
	if err := alice.s.SignOut(t.Context(), other.s.Self().ID, password); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		wantKind(t, err, quinta.KindUnauthenticated)
	case <-time.After(patience):
		t.Fatal("the session went on after it was signed out")
	}
	if err := other.s.Logout(t.Context()); err != nil {
		t.Errorf("got %v for signing out what is signed out, want no error", err)
	}
	if _, err := (matrixclient.Network{}).Open(t.Context(), other.st, env); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v, want kind %v", err, quinta.KindUnauthenticated)
	}
}

func TestRateLimited(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	room := alice.invites()
	var tries atomic.Int64
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/send/") || tries.Add(1) > 3 {
			return false
		}
		if tries.Load() == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"errcode":"M_LIMIT_EXCEEDED","error":"slow down","retry_after_ms":150}`)
		return true
	})
	begin := time.Now()
	alice.sends(room, "patience")
	if took := time.Since(begin); took < 1300*time.Millisecond {
		t.Errorf("the message left after %s, want what the server asked for: 1.3 s", took)
	}
	e := alice.sees("trouble", func(e e2ee.Event) bool { return e.Kind == e2ee.EventTrouble && strings.Contains(e.Detail, "slow down") })
	if !strings.Contains(e.Detail, "M_LIMIT_EXCEEDED") {
		t.Errorf("got %q, want the server's code", e.Detail)
	}
}

// TestPoisonedRequest: what the server never takes is tried again and again,
// and holds up nothing that does not depend on it.
func TestPoisonedRequest(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob, carol := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs(), meets(t, p.URL, "carol").runs()
	withBob, withCarol := alice.invites(bob), alice.invites(carol)
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/sendToDevice/") {
			return false
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte("@carol:hs1")) {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"errcode":"M_UNKNOWN","error":"always wrong"}`)
		return true
	})
	if _, err := alice.s.Send(t.Context(), withCarol, client.Text("for carol")); err != nil {
		t.Fatal(err)
	}
	alice.sees("trouble", func(e e2ee.Event) bool {
		return e.Kind == e2ee.EventTrouble && strings.Contains(e.Detail, "always wrong")
	})
	for _, text := range []string{"one", "two", "three"} {
		alice.sends(withBob, text)
		bob.reads(text)
	}
	if carol.saw("for carol") != 0 {
		t.Error("carol has a message whose key she cannot have")
	}
	p.Before(nil)
	carol.reads("for carol")
}

func TestRefusedMessageFails(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	room := alice.invites()
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/send/") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errcode":"M_FORBIDDEN","error":"not you"}`)
		return true
	})
	txn, err := alice.s.Send(t.Context(), room, client.Text("never mind"))
	if err != nil {
		t.Fatal(err)
	}
	e := alice.sees("failure", func(e e2ee.Event) bool { return e.Kind == e2ee.EventFailed })
	if e.Message.Txn != txn || !strings.Contains(e.Detail, "M_FORBIDDEN") {
		t.Errorf("got %+v, want the failure of %s with the server's code", e, txn)
	}
	p.Before(nil)
	alice.sends(room, "goes on")
}

func TestSlowServer(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice")
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		select {
		case <-r.Context().Done():
		case <-release:
		}
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := alice.s.Flush(ctx, nil); err == nil {
		t.Error("got no error from a server that does not answer")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := alice.s.Run(ctx, alice.on); err != nil {
		t.Errorf("got %v, want no error when the context ends", err)
	}
}

// TestUnreachableIsNamed says at the end of the wait what stood in the way.
func TestUnreachableIsNamed(t *testing.T) {
	t.Parallel()
	s := quintatest.Start(t)
	alice := meets(t, s.URL, "alice")
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := alice.s.Flush(ctx, func(e e2ee.Event) {
		if e.Kind == e2ee.EventTrouble {
			cancel()
		}
	})
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want that the connection was refused", err)
	}
}

// TestHostileAnswers plays answers that no good server gives.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	room := alice.invites()
	alice.sends(room, "a message")
	var elsewhere atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		if r.Header.Get("Authorization") != "" || strings.Contains(r.URL.RawQuery, "token") {
			t.Error("another host got the access token")
		}
	}))
	t.Cleanup(thief.Close)
	for name, c := range map[string]struct {
		status int
		header string
		body   string
		kind   quinta.Kind
		says   string
	}{
		"not JSON":          {200, "", "<html>", quinta.KindMalformed, "not what the specification says"},
		"a page of a proxy": {404, "", "<html>no</html>", quinta.KindNotFound, "answered 404"},
		"words that harm":   {403, "", `{"errcode":"M_FORBIDDEN","error":"a\u001b[2J\u202eb\nc` + strings.Repeat("x", 5000) + `"}`, quinta.KindForbidden, "M_FORBIDDEN: a[2Jb c"},
		"code that harms":   {400, "", `{"errcode":"M_\u001b[1m X","error":7}`, quinta.KindInvalid, "answered 400"},
		"sent elsewhere":    {307, thief.URL, "", quinta.KindInvalid, "not followed"},
		"too large":         {200, "", strings.Repeat(" ", 9<<20), quinta.KindTooLarge, "too large"},
	} {
		p.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/createRoom") {
				return false
			}
			if c.header != "" {
				w.Header().Set("Location", c.header)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
			return true
		})
		_, err := alice.s.Create(t.Context(), client.NewRoom{})
		if err == nil || quinta.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || strings.ContainsAny(err.Error(), "\x1b\n\u202e") || len(err.Error()) > 500 {
			t.Errorf("%s: got %q of kind %v, want kind %v and %q", name, err, quinta.KindOf(err), c.kind, c.says)
		}
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("another host got %d requests, want none", n)
	}
}

// TestMediaElsewhere has a server send a download to another host: the token
// does not go with it, and plain http is refused.
func TestMediaElsewhere(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a download went to plain http") }))
	t.Cleanup(thief.Close)
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/media/download/") {
			return false
		}
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		return true
	})
	err := alice.s.Fetch(t.Context(), &quinta.File{Ref: []byte(`{"url":"mxc://hs1/abc"}`)}, &bytes.Buffer{})
	wantKind(t, err, quinta.KindForbidden)
	for _, ref := range []string{`{"url":"mxc://hs1/../../client/v3/account"}`, `{"url":"https://hs1/abc"}`, `{"url":"mxc://hs1/a?b"}`, `{"url":"mxc://hs1@evil/a"}`, `{}`, `no`} {
		err := alice.s.Fetch(t.Context(), &quinta.File{Ref: []byte(ref)}, &bytes.Buffer{})
		wantKind(t, err, quinta.KindMalformed)
	}
}

// TestHostileSync plays /sync answers that are wrong in shape: the session
// neither ends nor loses what is right in them.
func TestHostileSync(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "first")
	bob.reads("first")
	var n atomic.Int64
	p.Answers(changeOf("/sync", func(b []byte) []byte {
		switch n.Add(1) {
		case 1:
			return []byte("[")
		case 2:
			return []byte(`{"rooms":{"join":7}}`)
		}
		var v map[string]any
		if json.Unmarshal(b, &v) != nil {
			return b
		}
		v["account_data"] = map[string]any{"events": []any{map[string]any{"type": "m.direct", "content": []int{1}}}}
		out, err := json.Marshal(v)
		if err != nil {
			return b
		}
		return out
	}))
	alice.sends(room, "second")
	bob.reads("second")
}

func TestClearTransportIsRefused(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"http://example.org", "ftp://example.org", "https://user:pass@example.org", "https://example.org/?a=b", "https://", "//"} {
		wantKind(t, login(t, server, "alice", "secret"), quinta.KindInvalid)
	}
	wantKind(t, login(t, "", "alice", "secret"), quinta.KindInvalid)
}

func TestNotAHomeserver(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"hello":"world"}`) }))
	t.Cleanup(s.Close)
	wantKind(t, login(t, s.URL, "alice", "secret"), quinta.KindMalformed)
}

// TestDiscovery finds a homeserver by the name of a server whose web site says
// where it is.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	home := quintatest.Start(t).URL
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/matrix/client" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"m.homeserver":{"base_url":%q}}`, home+"/")
	}))
	t.Cleanup(site.Close)
	n := matrixclient.Network{Transport: site.Client().Transport}
	name := strings.Replace(site.URL, "127.0.0.1", "example.com", 1) // the name in the certificate
	tr := site.Client().Transport.(*http.Transport).Clone()
	dial := tr.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dial(ctx, network, strings.Replace(addr, "example.com", "127.0.0.1", 1))
	}
	n.Transport = tr
	for _, server := range []string{strings.TrimPrefix(name, "https://"), name} {
		in := client.Credentials{Server: server, User: "u" + fmt.Sprint(len(server)), Password: password}
		if _, err := n.Register(t.Context(), memory.New(), env, in); err != nil {
			t.Errorf("%s: got %v, want it to be found", server, err)
		}
	}
	// A certificate that no one vouches for ends it.
	err := login(t, site.URL, "alice", "secret")
	wantKind(t, err, quinta.KindUnavailable)
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %q, want that the certificate is not good", err)
	}
}
