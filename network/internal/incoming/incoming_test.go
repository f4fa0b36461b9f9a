package incoming_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

func TestOwner(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64 // read by the server as well
	clock.Store(time.Now().UnixMilli())
	core := quintatest.Start(t, quintatest.Clock(func() time.Time { return time.UnixMilli(clock.Load()) })).Core
	var token string
	if err := core.Update(t.Context(), func(tx *db.Tx) (err error) {
		if _, err = device.Put(tx, "ca", "alice@hs1", "PHONE", nil); err == nil {
			token, err = device.NewToken(tx, core.Rand, "ca", "alice@hs1", "PHONE")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	request := func(authorization string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Header.Set("Authorization", authorization)
		r.RemoteAddr = "192.0.2.7:1234"
		return r
	}
	now := clock.Add(time.Hour.Milliseconds())
	o, err := incoming.Owner(core, request("Bearer "+token), "ca")
	if err != nil || o.Network != "ca" || o.User != "alice@hs1" || o.Device != "PHONE" {
		t.Errorf("got %+v %v, want alice's phone", o, err)
	}
	if err := core.View(t.Context(), func(tx *db.Tx) error {
		ds, err := device.List(tx, "ca", "alice@hs1")
		if err != nil || len(ds) != 1 || ds[0].Seen != now {
			t.Errorf("got %+v %v, want a device that was seen now", ds, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for authorization, want := range map[string]error{
		"": incoming.ErrNoToken, "Bearer ": incoming.ErrNoToken, token: incoming.ErrNoToken, "Basic " + token: incoming.ErrNoToken, "Bearer x" + token: incoming.ErrToken,
	} {
		if _, err := incoming.Owner(core, request(authorization), "ca"); !errors.Is(err, want) {
			t.Errorf("%.10q: got %v, want %v", authorization, err, want)
		}
	}
	if _, err := incoming.Owner(core, request("Bearer "+token), "matrix"); !errors.Is(err, incoming.ErrToken) {
		t.Errorf("another network's: got %v, want ErrToken", err)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	core := quintatest.Start(t, quintatest.RateLimits()).Core
	if err := core.AddAccount(t.Context(), "alice", "right"); err != nil {
		t.Fatal(err)
	}
	if wait, err := incoming.Password(t.Context(), core, incoming.Stranger("192.0.2.7"), "alice", "right"); wait != 0 || err != nil {
		t.Errorf("got %s %v, want neither", wait, err)
	}
	for _, c := range [][2]string{{"alice", "wrong"}, {"bob", "right"}, {"", ""}} {
		if _, err := incoming.Password(t.Context(), core, incoming.Stranger("192.0.2.8"), account.Name(c[0]), c[1]); !errors.Is(err, incoming.ErrPassword) {
			t.Errorf("%v: got %v, want ErrPassword", c, err)
		}
	}
	for range 100 {
		if wait, err := incoming.Password(t.Context(), core, incoming.Stranger("192.0.2.9"), "alice", "wrong"); wait > 0 && err == nil {
			return
		}
	}
	t.Error("100 attempts and no limit")
}

// TestDigest: a digest verifies like the password, but not against a hash of
// an earlier version until a login in clear has replaced that; the operator is
// told why.
func TestDigest(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	core := quintatest.Start(t, quintatest.Configure(func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })).Core
	if err := core.AddAccount(t.Context(), "alice", "right"); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("right"))
	digest := hex.EncodeToString(sum[:])
	try := func(want error, name account.Name, digest string) {
		t.Helper()
		if wait, err := incoming.Digest(t.Context(), core, incoming.Stranger("192.0.2.7"), name, digest); wait != 0 || !errors.Is(err, want) {
			t.Errorf("%s: got %s %v, want %v", name, wait, err, want)
		}
	}
	try(nil, "alice", digest)
	try(incoming.ErrPassword, "alice", "right")
	try(incoming.ErrPassword, "bob", digest)
	// Of "right", as earlier versions stored it.
	const before = "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
	key := argon2.IDKey([]byte("right"), make([]byte, 16), 1, 64, 1, 32)
	if err := core.Update(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE account SET password = $1`, before+base64.RawStdEncoding.EncodeToString(key))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "digest") {
		t.Errorf("logged too early: %s", log.String())
	}
	try(incoming.ErrPassword, "alice", digest)
	if got := log.String(); !strings.Contains(got, "account=alice") || !strings.Contains(got, "log in once") || strings.Contains(got, digest) {
		t.Errorf("logged: got %s", got)
	}
	if _, err := incoming.Password(t.Context(), core, incoming.Stranger("192.0.2.7"), "alice", "wrong"); !errors.Is(err, incoming.ErrPassword) {
		t.Errorf("got %v", err)
	}
	try(incoming.ErrPassword, "alice", digest)
	if _, err := incoming.Password(t.Context(), core, incoming.Stranger("192.0.2.7"), "alice", "right"); err != nil {
		t.Errorf("got %v", err)
	}
	try(nil, "alice", digest)
}

func TestCode(t *testing.T) {
	t.Parallel()
	core := quintatest.Start(t, quintatest.RateLimits()).Core
	if err := core.AddAccount(t.Context(), "alice", "right"); err != nil {
		t.Fatal(err)
	}
	code, err := core.NewCode(t.Context(), "ca", "alice")
	if err != nil {
		t.Fatal(err)
	}
	use := func(network quinta.NetworkName, name account.Name, code string) error {
		_, err := incoming.Code(t.Context(), core, network, incoming.Stranger("192.0.2.7"), name, code)
		return err
	}
	if err := use("matrix", "alice", code); !errors.Is(err, incoming.ErrCode) {
		t.Errorf("on another network: got %v", err)
	}
	if err := use("ca", "bob", code); !errors.Is(err, incoming.ErrCode) {
		t.Errorf("for another account: got %v", err)
	}
	if err := use("ca", "alice", code); err != nil {
		t.Errorf("got %v", err)
	}
	if err := use("ca", "alice", code); !errors.Is(err, incoming.ErrCode) {
		t.Errorf("a second time: got %v", err)
	}
	for range 100 {
		if wait, err := incoming.Code(t.Context(), core, "ca", incoming.Stranger("192.0.2.9"), "alice", "000000"); wait > 0 && err == nil {
			return
		}
	}
	t.Error("100 attempts and no limit")
}

func TestBody(t *testing.T) {
	t.Parallel()
	core := quintatest.Start(t).Core
	read := func(body io.Reader, length, limit int64) (string, error) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", body)
		r.ContentLength = length
		b, err := incoming.Body(core, httptest.NewRecorder(), r, limit)
		return string(b), err
	}
	for _, length := range []int64{5, -1} {
		if got, err := read(strings.NewReader("hello"), length, 5); got != "hello" || err != nil {
			t.Errorf("length %d: got %q %v", length, got, err)
		}
		if _, err := read(strings.NewReader("hello"), length, 4); !errors.Is(err, incoming.ErrLarge) {
			t.Errorf("length %d: got %v, want ErrLarge", length, err)
		}
	}
	cut := io.MultiReader(strings.NewReader("hel"), errReader{})
	if _, err := read(cut, 5, 5); !errors.Is(err, incoming.ErrCut) {
		t.Errorf("got %v, want ErrCut", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestInt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want int64
		ok   bool
	}{{"", 7, true}, {"1", 1, true}, {"50", 10, true}, {"0", 0, false}, {"-1", 0, false}, {"x", 0, false}, {"9223372036854775808", 0, false}, {"1.5", 0, false}} {
		if got, ok := incoming.Int(c.text, 7, 1, 10); ok != c.ok || ok && got != c.want {
			t.Errorf("%q: got %d %v, want %d %v", c.text, got, ok, c.want, c.ok)
		}
	}
}

// TestTextTellsNothing: what failed inside is not for callers.
func TestTextTellsNothing(t *testing.T) {
	t.Parallel()
	if kind, text := incoming.Text(errors.New("the disk at /secret")); kind != quinta.KindInternal || text != "internal error" {
		t.Errorf("got %v %q", kind, text)
	}
	if kind, text := incoming.Text(quinta.E(quinta.KindExists, "account", "the name is taken")); kind != quinta.KindExists || text != "the name is taken" {
		t.Errorf("got %v %q", kind, text)
	}
	if kind, text := incoming.Text(&quinta.Error{Kind: quinta.KindFull, Op: "x"}); kind != quinta.KindFull || text != kind.String() {
		t.Errorf("got %v %q", kind, text)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	incoming.RetryAfter(w.Header(), 1500*time.Millisecond)
	incoming.Write(w, slog.New(slog.DiscardHandler), 429, "application/json", []byte("{}"))
	h := w.Result().Header
	if w.Code != 429 || w.Body.String() != "{}" || h.Get("Retry-After") != "2" || h.Get("Content-Type") != "application/json" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Length") != "2" {
		t.Errorf("got %d %q %v", w.Code, w.Body, h)
	}
	w = httptest.NewRecorder()
	incoming.RetryAfter(w.Header(), 0)
	if got := w.Header().Get("Retry-After"); got != "" {
		t.Errorf("got %q, want none", got)
	}
}
