package mtprotoserver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gotd/td/bin"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
)

// overWebsocket opens a stream of bytes to the server.
func overWebsocket(t *testing.T, s *quintatest.Server) net.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), s.URL+"/apiws", &websocket.DialOptions{Subprotocols: []string{"binary"}, HTTPHeader: http.Header{"Origin": {"https://web.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	if ws.Subprotocol() != "binary" {
		t.Errorf("subprotocol: got %q, want binary", ws.Subprotocol())
	}
	c := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// TestWebsocket: a client that comes over a websocket, from a page of any
// origin, makes a key, logs in and gets what is pushed; one that is not
// obfuscated is not served.
func TestWebsocket(t *testing.T) {
	s := start(t)
	alice := logged(t, s, "alice")
	f, err := wire.Dial(overWebsocket(t, s), rand.Reader, 10003)
	if err != nil {
		t.Fatal(err)
	}
	bob := &peer{t: t, f: ours{f}, key: agree(t, s, ours{f}, 10003), session: 8}
	if err := s.Core.AddAccount(t.Context(), "bob", "a long password"); err != nil {
		t.Fatal(err)
	}
	bob.login(s, "bob")
	if got := ask[*wire.Config](bob, &wire.GetConfig{}); got.ThisDC != 3 || !got.TestMode {
		t.Errorf("got DC %d, test %v, want 3 and true", got.ThisDC, got.TestMode)
	}
	ask[*wire.State](bob, &wire.GetState{})
	ask[*wire.EncryptedChatWaiting](alice, &wire.RequestEncryption{UserID: alice.finds("bob"), RandomID: 5, GA: public(t)})
	for len(bob.pushed) == 0 {
		bob.receive()
	}
	if u, ok := bob.pushed[0].(*wire.UpdateEncryption); !ok {
		t.Errorf("pushed: got %+v, want the request", bob.pushed[0])
	} else if _, ok := u.Chat.(*wire.EncryptedChatRequested); !ok {
		t.Errorf("pushed: got %+v, want the request", u.Chat)
	}

	c := overWebsocket(t, s)
	c.Write(append([]byte{0xef, 1}, make([]byte, 80)...))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("an open framing: got %d bytes, want the end", n)
	}
}

// A posting is the transport of single packets.
type posting struct {
	url string
	got chan []byte
}

func (p *posting) Send(ctx context.Context, b *bin.Buffer) error {
	resp, err := http.Post(p.url, "application/octet-stream", bytes.NewReader(b.Buf))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	p.got <- body
	return nil
}

func (p *posting) Recv(ctx context.Context, b *bin.Buffer) error {
	select {
	case packet := <-p.got:
		b.ResetTo(packet)
		return nil
	default:
		return errors.New("there is no packet")
	}
}

func (p *posting) Close() error { return nil }

// waits has the session wait for what comes, for some milliseconds.
func (p *peer) waits(ms int32) []any {
	p.t.Helper()
	p.send(marshal(p.t, &wire.HTTPWait{MaxWait: ms}), false)
	return p.receive()
}

// TestHTTP: a client that sends single packets makes a key, logs in, and gets
// what came for it with http_wait, at once if something is there and as soon as
// it comes otherwise.
func TestHTTP(t *testing.T) {
	s := start(t)
	alice := logged(t, s, "alice")
	f := &posting{url: s.URL + "/api", got: make(chan []byte, 8)}
	bob := &peer{t: t, f: f, key: agree(t, s, f, 2), session: 8}
	f.url = s.URL + "/apiw"
	if err := s.Core.AddAccount(t.Context(), "bob", "a long password"); err != nil {
		t.Fatal(err)
	}
	bob.login(s, "bob")
	ask[*wire.State](bob, &wire.GetState{})
	if got := bob.waits(1); len(got) != 0 {
		t.Errorf("nothing has come: got %+v", got)
	}
	result := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		b := alice.do(&wire.RequestEncryption{UserID: alice.finds("bob"), RandomID: 5, GA: public(t)})
		if _, ok := b.(*wire.EncryptedChatWaiting); !ok {
			result <- fmt.Errorf("got %+v", b)
		}
		close(result)
	}()
	begun := time.Now()
	bob.waits(20_000)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if len(bob.pushed) != 1 || time.Since(begun) > 15*time.Second {
		t.Errorf("after %v: pushed %+v, want the request at once", time.Since(begun), bob.pushed)
	}

	// The same session continues over another connection, and another session of
	// the key has its own answers.
	other := &peer{t: t, f: &posting{url: s.URL + "/api", got: make(chan []byte, 8)}, key: bob.key, session: 9}
	if got := ask[*wire.UsersUserFull](other, &wire.GetFullUser{ID: &wire.InputUserSelf{}}); len(got.Users) != 1 {
		t.Errorf("the user: got %+v", got)
	}
	ask[*wire.LoggedOut](bob, &wire.LogOut{})
	bob.refused(&wire.GetState{}, 401, "AUTH_KEY_UNREGISTERED")
}

// TestHTTPRefusals: what is no packet of a known key is refused with the codes
// of the protocol, which are those of HTTP.
func TestHTTPRefusals(t *testing.T) {
	s := start(t)
	post := func(body []byte) int {
		t.Helper()
		resp, err := http.Post(s.URL+"/api", "", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	unknown := binary.LittleEndian.AppendUint64(nil, 77)
	for name, c := range map[string]struct {
		body []byte
		want int
	}{
		"nothing":                   {nil, 400},
		"an unknown key":            {append(unknown, make([]byte, 64)...), 404},
		"not an exchange":           {wire.Plain(4, marshal(t, &wire.Ping{PingID: 1})), 404},
		"the middle of an exchange": {wire.Plain(4, marshal(t, &wire.ReqDHParams{P: []byte{3}, Q: []byte{5}, EncryptedData: make([]byte, 256)})), 404},
		"a packet of 2 MB":          {make([]byte, 2<<20), 413},
	} {
		if got := post(c.body); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	r, err := http.NewRequest(http.MethodOptions, s.URL+"/apiw", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a page asks: got %d, %v", resp.StatusCode, resp.Header)
	}
	if resp, err := http.Get(s.URL + "/api"); err != nil || resp.StatusCode != 405 {
		t.Errorf("GET: got %v, %v, want 405", resp, err)
	}
}
