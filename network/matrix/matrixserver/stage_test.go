package matrixserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// object is a JSON object of a test.
type object = map[string]any

// each runs fn against a server on every engine, beside other tests.
func each(t *testing.T, fn func(t *testing.T, s *stage), opts ...quintatest.Option) {
	t.Helper()
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, newStage(t, append([]quintatest.Option{quintatest.Database(stores.Config(t, engine))}, opts...)...))
		})
	}
}

// A stage is a running server on which users play.
type stage struct {
	*quintatest.Server
	t *testing.T
}

func newStage(t *testing.T, opts ...quintatest.Option) *stage {
	t.Helper()
	return &stage{Server: quintatest.Start(t, opts...), t: t}
}

// A user is one logged-in device.
type user struct {
	s      *stage
	ID     string
	Device string
	Token  string
}

// no one makes calls without an access token.
func (s *stage) nobody() *user { return &user{s: s} }

// password is every test user's.
const password = "correct horse"

// register makes an account with one device.
func (s *stage) register(name string) *user {
	s.t.Helper()
	r := s.nobody().post("/_matrix/client/v3/register", object{"username": name, "password": password, "auth": object{"type": "m.login.dummy"}})
	r.want(200)
	return &user{s: s, ID: r.text("user_id"), Device: r.text("device_id"), Token: r.text("access_token")}
}

// login logs the user in on another device; an empty id lets the server choose.
func (u *user) login(device string) *user {
	u.s.t.Helper()
	q := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": u.ID}, "password": password}
	if device != "" {
		q["device_id"] = device
	}
	r := u.s.nobody().post("/_matrix/client/v3/login", q)
	r.want(200)
	return &user{s: u.s, ID: u.ID, Device: r.text("device_id"), Token: r.text("access_token")}
}

// A reply is the answer to one call.
type reply struct {
	t      *testing.T
	call   string
	Status int
	Header http.Header
	Raw    []byte
	Body   object
}

func (u *user) get(path string) *reply            { u.s.t.Helper(); return u.do("GET", path, nil) }
func (u *user) delete(path string, b any) *reply  { u.s.t.Helper(); return u.do("DELETE", path, b) }
func (u *user) post(path string, body any) *reply { u.s.t.Helper(); return u.do("POST", path, body) }
func (u *user) put(path string, body any) *reply  { u.s.t.Helper(); return u.do("PUT", path, body) }

// do makes a call, and ends the test if it cannot be made. body is nil, raw
// bytes or a string, or a value to be written as JSON.
func (u *user) do(method, path string, body any) *reply {
	u.s.t.Helper()
	r, err := u.try(u.s.t.Context(), method, path, body)
	if err != nil {
		u.s.t.Fatal(err)
	}
	return r
}

// try makes a call as do does, from any goroutine.
func (u *user) try(ctx context.Context, method, path string, body any) (*reply, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		in = bytes.NewReader(b)
	case string:
		in = bytes.NewReader([]byte(b))
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(raw)
	}
	q, err := http.NewRequestWithContext(ctx, method, u.s.URL+path, in)
	if err != nil {
		return nil, err
	}
	if u.Token != "" {
		q.Header.Set("Authorization", "Bearer "+u.Token)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := &reply{t: u.s.t, call: method + " " + path, Status: resp.StatusCode, Header: resp.Header}
	if r.Raw, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if len(r.Raw) > 0 && r.Raw[0] == '{' {
		if err := json.Unmarshal(r.Raw, &r.Body); err != nil {
			return nil, fmt.Errorf("%s: the answer is not JSON: %w", r.call, err)
		}
	}
	return r, nil
}

// want ends the test if the status is another one.
func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("%s: got %d %.500s, want %d", r.call, r.Status, r.Raw, status)
	}
	return r
}

// fails ends the test if the answer is not this error.
func (r *reply) fails(status int, code string) *reply {
	r.t.Helper()
	if got := r.Body["errcode"]; r.Status != status || got != code {
		r.t.Fatalf("%s: got %d %.500s, want %d %s", r.call, r.Status, r.Raw, status, code)
	}
	return r
}

// at returns the value at a path of member names, or nil.
func (r *reply) at(path ...string) any { return at(r.Body, path...) }

func at(v any, path ...string) any {
	for _, p := range path {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// text returns a string member; it must be there.
func (r *reply) text(path ...string) string {
	r.t.Helper()
	s, ok := r.at(path...).(string)
	if !ok {
		r.t.Fatalf("%s: no text at %q in %.500s", r.call, path, r.Raw)
	}
	return s
}

// esc escapes one segment of a path.
func esc(s string) string { return url.PathEscape(s) }
