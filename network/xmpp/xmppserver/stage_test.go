package xmppserver_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/network/xmpp/xmppserver"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/stores"
)

const (
	romeo  = quinta.UserID("romeo@test.example")
	juliet = quinta.UserID("juliet@test.example")
	tybalt = quinta.UserID("tybalt@test.example")
)

// A clock is the server's, and moves only when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// A stage is a key server on which devices play; there is no XMPP server.
type stage struct {
	*quintatest.Server
	t     testing.TB
	clock *clock
}

// each runs fn against a server on every engine.
func each(t *testing.T, fn func(t *testing.T, s *stage), opts ...quintatest.Option) {
	t.Helper()
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := &clock{now: time.Now().Truncate(time.Second)}
			all := append([]quintatest.Option{quintatest.Database(stores.Config(t, engine)), quintatest.Clock(c.Now), quintatest.Setting("xmpp-domains", "test.example"), secrets(t)}, opts...)
			fn(t, &stage{Server: quintatest.StartNetworks(t, []server.Network{xmppserver.Network}, all...), t: t, clock: c})
		})
	}
}

// secrets gives the server a key of its own, also on PostgreSQL.
func secrets(t testing.TB) quintatest.Option {
	dir := t.TempDir()
	return quintatest.Configure(func(c *server.Config) { c.SecretsURL = "file://" + dir + "/secrets.key" })
}

func (s *stage) later(d time.Duration) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.now = s.clock.now.Add(d)
}

// A device is one with its keys and a token that is bound to them.
type device struct {
	s     *stage
	user  quinta.UserID
	sign  key.DeviceSigningPrivate
	agree key.IdentityPrivate
	rec   *keysrv.Device
	token string
}

func (s *stage) device(user quinta.UserID) *device {
	s.t.Helper()
	sign, err := key.GenerateSigning[key.Device](rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	agree, err := key.GenerateAgreement[key.Identity](rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	d := &device{s: s, user: user, sign: sign, agree: agree, rec: keysrv.NewDevice(user, s.clock.Now().UnixMilli(), sign, agree.Public())}
	d.renew()
	return d
}

// renew gets another token.
func (d *device) renew() {
	d.s.t.Helper()
	var err error
	if d.token, err = xmppserver.Mint(d.s.t.Context(), d.s.Core, d.user, keysrv.Thumbprint(d.sign.Public())); err != nil {
		d.s.t.Fatal(err)
	}
}

// published makes a device and publishes it.
func (s *stage) published(user quinta.UserID) *device {
	s.t.Helper()
	d := s.device(user)
	d.put().status(200)
	return d
}

func (d *device) put() *answer {
	d.s.t.Helper()
	return d.call("PUT", "/devices/"+string(d.rec.ID), d.rec)
}

// An answer is what came of a call.
type answer struct {
	t      testing.TB
	what   string
	Status int
	Body   []byte
	Header http.Header
}

func (a *answer) status(want int) *answer {
	a.t.Helper()
	if a.Status != want {
		a.t.Fatalf("%s: got %d, want %d: %s", a.what, a.Status, want, a.Body)
	}
	return a
}

// refused ends the test unless the answer is a refusal with a code.
func (a *answer) refused(status int, code wire.Code) {
	a.t.Helper()
	a.status(status)
	if e := wire.ParseError(a.Status, a.Body); e.Code != code {
		a.t.Fatalf("%s: got the code %q, want %q: %s", a.what, e.Code, code, a.Body)
	}
}

func (a *answer) into(v any) {
	a.t.Helper()
	a.status(a.Status / 100 * 100)
	if err := json.Unmarshal(a.Body, v); err != nil {
		a.t.Fatal(err)
	}
}

func (a *answer) object() *keysrv.Object {
	a.t.Helper()
	if a.Status/100 != 2 {
		a.status(200)
	}
	o, err := keysrv.ParseObject(a.Body)
	if err != nil {
		a.t.Fatalf("%s: %v: %s", a.what, err, a.Body)
	}
	return o
}

// raw makes a call with headers of the caller's choice.
func (s *stage) raw(method, path string, body any, headers map[string]string) *answer {
	s.t.Helper()
	var in io.Reader
	if body != nil {
		raw, ok := body.([]byte)
		if !ok {
			var err error
			if raw, err = json.Marshal(body); err != nil {
				s.t.Fatal(err)
			}
		}
		in = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+wire.Base+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &answer{t: s.t, what: method + " " + path, Status: resp.StatusCode, Body: raw, Header: resp.Header}
}

// proof makes a proof for one call.
func (d *device) proof(method, path string, now time.Time) string {
	d.s.t.Helper()
	p, err := keysrv.NewProof(rand.Reader, d.sign, method, d.s.URL+wire.Base+path, d.token, now)
	if err != nil {
		d.s.t.Fatal(err)
	}
	return p
}

// call makes a call with a proof of its own.
func (d *device) call(method, path string, body any) *answer {
	d.s.t.Helper()
	whole, _, _ := bytes.Cut([]byte(path), []byte("?"))
	return d.s.raw(method, path, body, map[string]string{"Authorization": "DPoP " + d.token, "DPoP": d.proof(method, string(whole), d.s.clock.Now())})
}

// create makes a sealed key with a peer, wrapped for devices.
func (d *device) create(with quinta.UserID, id string, devices ...*device) (*keysrv.Create, key.ConversationKey) {
	d.s.t.Helper()
	k, err := key.GenerateSymmetric[key.Conversation](rand.Reader)
	if err != nil {
		d.s.t.Fatal(err)
	}
	now := d.s.clock.Now().UTC()
	c := &keysrv.Create{ID: id, With: with, Mode: keysrv.ModeSealed, Suite: keysrv.SuiteGCM, Created: now, Expires: now.Add(24 * time.Hour)}
	st := d.statement(c)
	st.Check = st.Commit(k)
	c.Check, c.Signature = st.Check, st.Sign(d.sign)
	for _, o := range devices {
		w, err := keysrv.Wrap(st, k, o.rec)
		if err != nil {
			d.s.t.Fatal(err)
		}
		c.Wrapped = append(c.Wrapped, *w)
	}
	return c, k
}

func (d *device) statement(c *keysrv.Create) *keysrv.Statement {
	return &keysrv.Statement{ObjectID: c.ID, Conversation: keysrv.DirectID(d.user, c.With), Suite: c.Suite, Creator: d.user, Device: d.rec.ID, Created: c.Created.UnixMilli(), Expires: c.Expires.UnixMilli(), Check: c.Check}
}

// opens unwraps the caller's copy of an object.
func (d *device) opens(o *keysrv.Object) key.ConversationKey {
	d.s.t.Helper()
	s := o.Statement()
	k, err := keysrv.Unwrap(&s, o.Wrapped, d.user, d.rec.ID, d.agree)
	if err != nil {
		d.s.t.Fatal(err)
	}
	return k
}

// lines returns the audit.
func (s *stage) lines() string {
	s.t.Helper()
	out, err := s.Core.RunCommand(s.t.Context(), "xmpp audit", server.CommandInput{Flags: map[string]string{"user": "", "conversation": "", "limit": "1000"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}
