package caserver_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// password is every test user's.
const password = "correct horse"

// each runs fn against a server on every engine.
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

// A stage is a running server on which devices play.
type stage struct {
	*quintatest.Server
	t     *testing.T
	clock *clock
}

func newStage(t *testing.T, opts ...quintatest.Option) *stage {
	t.Helper()
	c := &clock{now: time.Now().Truncate(time.Second)}
	return &stage{Server: quintatest.Start(t, append([]quintatest.Option{quintatest.Clock(c.Now)}, opts...)...), t: t, clock: c}
}

// later moves the server's clock.
func (s *stage) later(d time.Duration) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.now = s.clock.now.Add(d)
}

// A user is one logged-in device.
type user struct {
	s      *stage
	ID     quinta.UserID
	Device quinta.DeviceID
	Token  string
	Login  wire.LoginAnswer
	sign   *pair
	enc    *pair
	seq    uint64
}

// A pair is a key that was enrolled.
type pair struct {
	key  crypto.Signer
	cert *x509.Certificate
	info wire.KeyInfo
}

func (p *pair) id() cert.Fingerprint { return p.info.ID }

func (s *stage) nobody() *user { return &user{s: s} }

// register makes an account and logs one device in, without keys.
func (s *stage) register(name string) *user {
	s.t.Helper()
	if err := s.Core.AddAccount(s.t.Context(), name, password); err != nil {
		s.t.Fatal(err)
	}
	return s.login(name, "")
}

func (s *stage) login(name string, device quinta.DeviceID) *user {
	s.t.Helper()
	u := s.nobody()
	u.post(wire.PathLogin, wire.LoginRequest{Username: name, Password: password, Device: device}).into(200, &u.Login)
	u.ID, u.Device, u.Token = u.Login.Username, u.Login.Device, u.Login.Token
	return u
}

// person makes an account whose device has both of its keys.
func (s *stage) person(name string) *user {
	s.t.Helper()
	return s.register(name).enrolled()
}

// enrolled gives the device both of its keys.
func (u *user) enrolled() *user {
	u.s.t.Helper()
	u.sign, u.enc = u.enrol(cert.UseSign, p256(u.s.t)), u.enrol(cert.UseEncrypt, p256(u.s.t))
	return u
}

func p256(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := newP256()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newP256() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// rsaKey is one key for all tests that need no own one: they are slow to make.
var rsaKey = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		panic(err)
	}
	return k
})

func (u *user) identity(use cert.Use) cert.Identity {
	return cert.Identity{User: u.ID, Device: u.Device, Use: use}
}

func (u *user) csr(use cert.Use, key crypto.Signer) []byte {
	u.s.t.Helper()
	raw, err := cert.NewRequest(rand.Reader, u.identity(use), key)
	if err != nil {
		u.s.t.Fatal(err)
	}
	return raw
}

func (u *user) enrol(use cert.Use, key crypto.Signer) *pair {
	u.s.t.Helper()
	p := &pair{key: key}
	u.post(wire.PathKeys, wire.EnrolRequest{Profile: wire.ProfileSecure, Use: use, Pop: u.csr(use, key)}).into(201, &p.info)
	return p.parsed(u.s.t)
}

func (p *pair) parsed(t testing.TB) *pair {
	t.Helper()
	var err error
	if p.cert, err = x509.ParseCertificate(p.info.Cert); err != nil {
		t.Fatal(err)
	}
	return p
}

// self is the device as package ca knows it.
func (u *user) self() *seal.Self {
	return &seal.Self{Sign: u.sign.cert, SignKey: u.sign.key, Encrypt: u.enc.cert, EncryptKey: u.enc.key}
}

// verifier trusts what the server says its roots are.
func (s *stage) verifier() *cert.Verifier {
	s.t.Helper()
	var roots wire.Roots
	s.nobody().get(wire.PathRoots).into(200, &roots)
	parse := func(list [][]byte) (out []*x509.Certificate) {
		for _, raw := range list {
			c, err := x509.ParseCertificate(raw)
			if err != nil {
				s.t.Fatal(err)
			}
			out = append(out, c)
		}
		return out
	}
	v := cert.NewVerifier(parse(roots.Roots), parse(roots.Intermediates), roots.Domain)
	if err := v.SetCRL(s.nobody().get(wire.PathCRL).want(200).Raw); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// talk makes the direct conversation.
func (u *user) talk(other *user) quinta.RoomID {
	u.s.t.Helper()
	id := wire.Direct(u.ID, other.ID, wire.ProfileSecure)
	u.put("/conversations/"+string(id), wire.ConversationRequest{Members: []quinta.UserID{other.ID}, Profile: wire.ProfileSecure}).want(201)
	return id
}

// seal makes a delivery of a text for devices.
func (u *user) seal(conv quinta.RoomID, id quinta.MessageID, text string, to ...*user) wire.Deliver {
	u.s.t.Helper()
	u.seq++
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		u.s.t.Fatal(err)
	}
	c := seal.Content{Conv: conv, ID: id, Seq: u.seq, Time: u.s.clock.Now().UnixMilli(), Body: body}
	d := wire.Deliver{Kind: wire.KindMessage, Form: wire.FormCMS}
	var certs []*x509.Certificate
	for _, t := range to {
		c.To = append(c.To, t.ID)
		certs = append(certs, t.enc.cert)
		d.Keys = append(d.Keys, t.enc.id())
	}
	if d.Body, err = seal.Seal(rand.Reader, u.self(), c, certs); err != nil {
		u.s.t.Fatal(err)
	}
	return d
}

func (u *user) deliver(conv quinta.RoomID, id quinta.MessageID, d wire.Deliver) *reply {
	u.s.t.Helper()
	return u.put("/conversations/"+string(conv)+"/messages/"+string(id), d)
}

// says sends a text and expects that it is taken in.
func (u *user) says(conv quinta.RoomID, id quinta.MessageID, text string, to ...*user) wire.Delivered {
	u.s.t.Helper()
	var a wire.Delivered
	u.deliver(conv, id, u.seal(conv, id, text, to...)).into(200, &a)
	return a
}

// mail fetches all messages of the mailbox, without the server's own word.
func (u *user) mail(after quinta.Pos) (items []wire.Item, next quinta.Pos) {
	u.s.t.Helper()
	for {
		var m wire.Mailbox
		u.get(wire.PathMailbox+"?after="+text(after)).into(200, &m)
		for _, it := range m.Items {
			if it.Kind != wire.KindKeys {
				items = append(items, it)
			}
		}
		after = m.Next
		if !m.More {
			return items, after
		}
	}
}

// open opens an item as this device.
func (u *user) open(it wire.Item) (string, error) {
	u.s.t.Helper()
	o, err := seal.Open(it.Body, u.self(), u.s.verifier(), seal.Expect{From: it.From, Conv: it.Conv, Self: u.ID, Now: u.s.clock.Now(), Received: it.Received})
	if err != nil {
		return "", err
	}
	var v map[string]string
	if err := json.Unmarshal(o.Content.Body, &v); err != nil {
		u.s.t.Fatal(err)
	}
	return v["text"], nil
}

func text(p quinta.Pos) string {
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// A reply is the answer to one call.
type reply struct {
	t      *testing.T
	call   string
	Status int
	Header http.Header
	Raw    []byte
}

func (u *user) get(path string) *reply            { u.s.t.Helper(); return u.do("GET", path, nil) }
func (u *user) post(path string, body any) *reply { u.s.t.Helper(); return u.do("POST", path, body) }
func (u *user) put(path string, body any) *reply  { u.s.t.Helper(); return u.do("PUT", path, body) }
func (u *user) delete(path string, b any) *reply  { u.s.t.Helper(); return u.do("DELETE", path, b) }

// do makes a call below wire.Base, and ends the test if it cannot be made.
// body is nil, bytes, or a value to be written as JSON.
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
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(raw)
	}
	q, err := http.NewRequestWithContext(ctx, method, u.s.URL+wire.Base+path, in)
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
	r.Raw, err = io.ReadAll(resp.Body)
	return r, err
}

// want ends the test if the status is another one.
func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("%s: got %d %.500s, want %d", r.call, r.Status, r.Raw, status)
	}
	return r
}

// into reads the answer into v, strictly.
func (r *reply) into(status int, v any) {
	r.t.Helper()
	r.want(status)
	if err := wire.Decode(r.Raw, v); err != nil {
		r.t.Fatalf("%s: %v in %.500s", r.call, err, r.Raw)
	}
}

// fails ends the test if the answer is not this error in the form of RFC 9457.
func (r *reply) fails(status int, code wire.Code) *wire.Error {
	r.t.Helper()
	e := wire.ParseError(r.Status, r.Raw)
	if r.Status != status || e.Code != code || r.Header.Get("Content-Type") != wire.ErrorType {
		r.t.Fatalf("%s: got %d %.500s, want %d %s", r.call, r.Status, r.Raw, status, code)
	}
	return e
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// matrixWhoami asks another network of the same server whose a token is, and
// returns the status.
func matrixWhoami(t *testing.T, s *stage, token string) int {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/_matrix/client/v3/account/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
