// Package xmpp_test attacks the key server of the XMPP network: its calls, and
// the component by which the XMPP server vouches for its users.
package xmpp_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/hostile/attack"
)

var update = flag.Bool("update", false, "write ATTACKS.md")

const (
	romeo  = quinta.UserID("romeo@test.example")
	juliet = quinta.UserID("juliet@test.example")
	tybalt = quinta.UserID("tybalt@test.example")

	taken = "object-number-one-0001" // of romeo and juliet
	fresh = "object-number-two-0002" // no one's
)

// used are the tables that a refused call with a good proof changes.
const used = "xmpp_proof"

// read are those of a refused attempt to read a key, which is audited.
const read = "xmpp_proof xmpp_audit"

// A device is one with its keys and a token that is bound to them.
type device struct {
	st    *stage
	user  quinta.UserID
	sign  key.DeviceSigningPrivate
	agree key.IdentityPrivate
	rec   *keysrv.Device
	token string
}

// A stage is a key server with its XMPP server and the devices of three users.
type stage struct {
	*attack.Target
	t    *testing.T
	host *host
	now  time.Time
	// a and b are devices of romeo and juliet, who share the key taken; second
	// is one of juliet's that is not approved, gone one that was signed out, and
	// c is tybalt's, who belongs to nothing.
	a, b, c, second, gone *device
	in                    *keysrv.Create // what taken was made with
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, host: newHost(t), now: time.Now().Truncate(time.Second)}
	s.Target = &attack.Target{Server: quintatest.Start(t, quintatest.Networks("xmpp"), quintatest.Clock(func() time.Time { return s.now }),
		quintatest.Setting("xmpp-component", component+"@"+s.host.l.Addr().String()), quintatest.Setting("xmpp-secret", secretFile(t))), Code: attack.Problem}
	s.a, s.b, s.gone, s.second, s.c = s.device(romeo), s.device(juliet), s.device(juliet), s.device(juliet), s.device(tybalt)
	for _, d := range []*device{s.a, s.b, s.gone, s.second, s.c} {
		s.must(d, "PUT", "/devices/"+string(d.rec.ID), d.rec)
	}
	s.must(s.b, "DELETE", "/devices/"+string(s.gone.rec.ID), nil)
	s.in = s.a.create(juliet, taken, s.a, s.b)
	s.must(s.a, "POST", "/keys", s.in)
	return s
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
	return &device{st: s, user: user, sign: sign, agree: agree, rec: keysrv.NewDevice(user, s.now.UnixMilli(), sign, agree.Public()),
		token: s.host.token(string(user)+"/phone", keysrv.Thumbprint(sign.Public()))}
}

// create is a request for a sealed key, wrapped for devices.
func (d *device) create(with quinta.UserID, id string, devices ...*device) *keysrv.Create {
	d.st.t.Helper()
	k, err := key.GenerateSymmetric[key.Conversation](rand.Reader)
	if err != nil {
		d.st.t.Fatal(err)
	}
	now := d.st.now.UTC()
	c := &keysrv.Create{ID: id, With: with, Mode: keysrv.ModeSealed, Suite: keysrv.SuiteGCM, Created: now, Expires: now.Add(24 * time.Hour)}
	s := &keysrv.Statement{ObjectID: id, Conversation: keysrv.DirectID(d.user, with), Suite: c.Suite, Creator: d.user, Device: d.rec.ID, Created: now.UnixMilli(), Expires: c.Expires.UnixMilli()}
	s.Check = s.Commit(k)
	c.Check, c.Signature = s.Check, s.Sign(d.sign)
	for _, o := range devices {
		w, err := keysrv.Wrap(s, k, o.rec)
		if err != nil {
			d.st.t.Fatal(err)
		}
		c.Wrapped = append(c.Wrapped, *w)
	}
	return c
}

// A jwt is a proof before it is signed.
type jwt struct {
	head, claims map[string]any
	// sign replaces the signature of the device's key.
	sign func(text string) []byte
}

// proof makes the proof of one call, changed by fn.
func (d *device) proof(method, path string, fn func(j *jwt)) string {
	d.st.t.Helper()
	path, _, _ = strings.Cut(path, "?")
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		d.st.t.Fatal(err)
	}
	j := &jwt{
		head:   map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": map[string]any{"crv": "Ed25519", "kty": "OKP", "x": base64.RawURLEncoding.EncodeToString(d.sign.Public().Bytes())}},
		claims: map[string]any{"jti": base64.RawURLEncoding.EncodeToString(id[:]), "htm": method, "htu": d.st.URL + wire.Base + path, "iat": d.st.now.Unix(), "ath": keysrv.TokenHash(d.token)},
		sign:   func(text string) []byte { return d.sign.Sign([]byte(text)) },
	}
	if fn != nil {
		fn(j)
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			d.st.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(j.head) + "." + part(j.claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(j.sign(text))
}

// request is a call of a device.
func (s *stage) request(d *device, method, path string, body any, head http.Header) *http.Request {
	s.t.Helper()
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	q, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+wire.Base+path, bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	if d != nil {
		q.Header.Set("Authorization", "DPoP "+d.token)
		q.Header.Set("DPoP", d.proof(method, q.URL.EscapedPath()[len(wire.Base):], nil))
	}
	for k, v := range head {
		q.Header[k] = v
	}
	return q
}

// must makes a call of the stage.
func (s *stage) must(d *device, method, path string, body any) {
	s.t.Helper()
	if got := s.Answer(s.t, s.request(d, method, path, body, nil)); got != "200 not JSON" && !strings.HasPrefix(got, "20") {
		s.t.Fatalf("%s %s: got %s", method, path, got)
	}
}

// calls is an attack by a call with a good token and proof.
func (s *stage) calls(d *device, method, path string, body any) func(*testing.T, *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		return tg.Answer(t, s.request(d, method, path, body, nil))
	}
}

// proves is an attack by a proof that was changed, of romeo's device.
func (s *stage) proves(fn func(j *jwt)) func(*testing.T, *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		return tg.Answer(t, s.request(s.a, "GET", "/wants", nil, http.Header{"Dpop": {s.a.proof("GET", "/wants", fn)}}))
	}
}

// heads is an attack by headers, by default with a good token and proof.
func (s *stage) heads(fn func(h http.Header)) func(*testing.T, *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		q := s.request(s.a, "GET", "/wants", nil, nil)
		fn(q.Header)
		return tg.Answer(t, q)
	}
}

// makes is an attack by a request for a key that was changed.
func (s *stage) makes(fn func(in *keysrv.Create)) func(*testing.T, *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		in := s.a.create(juliet, fresh, s.a, s.b)
		fn(in)
		return tg.Answer(t, s.request(s.a, "POST", "/keys", in, nil))
	}
}

// token is a token with a payload of the caller's choice.
func token(payload, secret string) string {
	p := base64.RawURLEncoding.EncodeToString([]byte(payload))
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("quinta-keysrv-token/1\x00" + p))
	return p + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// TestAttackServer: attacks of strangers, of users on what is not theirs, and of
// those who speak no proper HTTP or JSON.
func TestAttackServer(t *testing.T) {
	s := newStage(t)
	payload, mac, _ := strings.Cut(s.a.token, ".")
	says, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	asJuliet := base64.RawURLEncoding.EncodeToString(bytes.Replace(says, []byte(romeo), []byte(juliet), 1))
	spent := s.a.proof("GET", "/users/"+string(romeo)+"/devices", nil)
	q := s.request(s.a, "GET", "/users/"+string(romeo)+"/devices", nil, http.Header{"Dpop": {spent}})
	if got := s.Answer(t, q); !strings.HasPrefix(got, "200") {
		t.Fatalf("a good call: got %s", got)
	}
	approve := func(d, by *device) any { return d.rec.Approve(by.sign, s.now.UnixMilli()) }
	raw := func(text string) any { return []byte(text) }
	at := func(d *device) string { return "/devices/" + string(d.rec.ID) }
	wrapped := func(d *device) wire.CopiesRequest {
		return wire.CopiesRequest{Wrapped: s.a.create(juliet, taken, d).Wrapped}
	}
	unsigned, swapped := *s.c.rec, keysrv.NewDevice(tybalt, 5, s.c.sign, s.a.agree.Public())
	unsigned.Created++
	many := slices.Repeat(s.in.Wrapped[:1], keysrv.MaxCopies+1)
	path := wire.Base + "/wants"
	rows := []attack.Row{
		// Tokens.
		{Tries: "a call without a token", Method: "GET", Path: path, Want: "401 unauthenticated"},
		{Tries: "a token in the query", Method: "GET", Path: path + "?access_token=" + s.a.token, Head: http.Header{"Dpop": {s.a.proof("GET", "/wants", nil)}}, Want: "401 unauthenticated"},
		{Tries: "a token without a proof", Do: s.heads(func(h http.Header) { h.Del("DPoP") }), Want: "401 unauthenticated"},
		{Tries: "a token that is bound to a key, as a bearer", Do: s.heads(func(h http.Header) { h.Set("Authorization", "Bearer "+s.a.token) }), Want: "401 unauthenticated"},
		{Tries: "a token in the name of another user, under the same seal", Do: s.heads(func(h http.Header) { h.Set("Authorization", "DPoP "+asJuliet+"."+mac) }), Want: "401 unauthenticated"},
		{Tries: "a token sealed with an empty key", Do: s.heads(func(h http.Header) { h.Set("Authorization", "DPoP "+token(string(says), "")) }), Want: "401 unauthenticated"},
		{Tries: "a token sealed with the secret of the component", Do: s.heads(func(h http.Header) { h.Set("Authorization", "DPoP "+token(string(says), secret)) }), Want: "401 unauthenticated"},
		{Tries: "a token without its seal", Do: s.heads(func(h http.Header) { h.Set("Authorization", "DPoP "+payload+".") }), Want: "401 unauthenticated"},
		{Tries: "a token of 8 kB", Do: s.heads(func(h http.Header) { h.Set("Authorization", "DPoP "+strings.Repeat("A", 8<<10)+"."+mac) }), Want: "401 unauthenticated"},
		{Tries: "another user's token with one's own proof", Do: s.heads(func(h http.Header) { h.Set("Authorization", "DPoP "+s.b.token) }), Want: "401 unauthenticated"},
		{Tries: "the token of a device that was signed out", Do: s.calls(s.gone, "GET", "/keys/"+taken, nil), Want: "401 unauthenticated"},
		// Proofs.
		{Tries: "a proof that was used before", Do: func(t *testing.T, tg *attack.Target) string {
			return tg.Answer(t, s.request(s.a, "GET", "/users/"+string(romeo)+"/devices", nil, http.Header{"Dpop": {spent}}))
		}, Want: "401 unauthenticated"},
		{Tries: "two proofs", Do: s.heads(func(h http.Header) { h.Add("DPoP", h.Get("DPoP")) }), Want: "401 unauthenticated"},
		{Tries: "the proof of another device", Do: s.heads(func(h http.Header) { h.Set("DPoP", s.c.proof("GET", "/wants", nil)) }), Want: "401 unauthenticated"},
		{Tries: "a proof for another method", Do: s.proves(func(j *jwt) { j.claims["htm"] = "POST" }), Want: "401 unauthenticated"},
		{Tries: "a proof for another path", Do: s.proves(func(j *jwt) { j.claims["htu"] = s.URL + wire.Base + "/keys/" + taken }), Want: "401 unauthenticated"},
		{Tries: "a proof for another server", Do: s.proves(func(j *jwt) { j.claims["htu"] = "https://evil.example" + path }), Want: "401 unauthenticated"},
		{Tries: "a proof for another server, which the header Host names", Raw: "GET " + path + " HTTP/1.1\r\nHost: evil.example\r\nAuthorization: DPoP " + s.a.token + "\r\nDPoP: " +
			s.a.proof("GET", "/wants", func(j *jwt) { j.claims["htu"] = "http://evil.example" + path }) + "\r\nConnection: close\r\n\r\n", Want: "401 unauthenticated"},
		{Tries: "a proof that is two minutes old", Do: s.proves(func(j *jwt) { j.claims["iat"] = s.now.Add(-2 * time.Minute).Unix() }), Want: "401 unauthenticated"},
		{Tries: "a proof of tomorrow", Do: s.proves(func(j *jwt) { j.claims["iat"] = s.now.Add(24 * time.Hour).Unix() }), Want: "401 unauthenticated"},
		{Tries: "a proof of the year 292 277 026 596", Do: s.proves(func(j *jwt) { j.claims["iat"] = int64(1<<63 - 1) }), Want: "401 unauthenticated"},
		{Tries: "a proof that names no token", Do: s.proves(func(j *jwt) { delete(j.claims, "ath") }), Want: "401 unauthenticated"},
		{Tries: "a proof without an id", Do: s.proves(func(j *jwt) { j.claims["jti"] = "" }), Want: "401 unauthenticated"},
		{Tries: "a proof whose id has 3,000 characters", Do: s.proves(func(j *jwt) { j.claims["jti"] = strings.Repeat("x", 3000) }), Want: "401 unauthenticated"},
		{Tries: "a proof that is signed by nobody", Do: s.proves(func(j *jwt) { j.head["alg"] = "none"; j.sign = func(string) []byte { return nil } }), Want: "401 unauthenticated"},
		{Tries: "a proof under a MAC with the public key", Do: s.proves(func(j *jwt) {
			j.head["alg"] = "HS256"
			j.sign = func(text string) []byte {
				h := hmac.New(sha256.New, s.a.sign.Public().Bytes())
				h.Write([]byte(text))
				return h.Sum(nil)
			}
		}), Want: "401 unauthenticated"},
		{Tries: "a proof that holds a private key", Do: s.proves(func(j *jwt) {
			j.head["jwk"] = map[string]any{"crv": "Ed25519", "kty": "OKP", "x": base64.RawURLEncoding.EncodeToString(s.a.sign.Public().Bytes()), "d": "AAAA"}
		}), Want: "401 unauthenticated"},
		{Tries: "a proof under a key of order 1", Do: s.proves(func(j *jwt) {
			j.head["jwk"] = map[string]any{"crv": "Ed25519", "kty": "OKP", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
		}), Want: "401 unauthenticated"},
		{Tries: "a JWT for another purpose as a proof", Do: s.proves(func(j *jwt) { j.head["typ"] = "JWT" }), Want: "401 unauthenticated"},
		// Keys of others.
		{Tries: "the key of a conversation that one is not in", Do: s.calls(s.c, "GET", "/keys/"+taken, nil), Leaves: read, Want: "404 not-found"},
		{Tries: "a key that is not there: the same answer", Do: s.calls(s.c, "GET", "/keys/"+fresh, nil), Leaves: read, Want: "404 not-found"},
		{Tries: "a key whose id climbs the path", Do: s.calls(s.c, "GET", "/keys/..%2F..%2Fsecrets.key", nil), Want: "404 not-found"},
		{Tries: "a key whose id has 1,000 characters", Do: s.calls(s.c, "GET", "/keys/"+strings.Repeat("k", 1000), nil), Want: "404 not-found"},
		{Tries: "101 keys in one call", Do: s.calls(s.c, "POST", "/keys/get", wire.GetRequest{IDs: slices.Repeat([]string{taken}, 101)}), Want: "400 invalid"},
		{Tries: "no keys in one call", Do: s.calls(s.c, "POST", "/keys/get", wire.GetRequest{}), Want: "400 invalid"},
		{Tries: "a copy for oneself of a key of others", Do: s.calls(s.c, "POST", "/keys/"+taken+"/copies", wrapped(s.c)), Leaves: used, Want: "404 not-found"},
		{Tries: "a copy for a third user, from one who has the key", Do: s.calls(s.a, "POST", "/keys/"+taken+"/copies", wrapped(s.c)), Leaves: used, Want: "409 stale"},
		{Tries: "a copy for a device that nobody approved", Do: s.calls(s.a, "POST", "/keys/"+taken+"/copies", wrapped(s.second)), Leaves: used, Want: "409 stale"},
		{Tries: "a copy for a device that was signed out", Do: s.calls(s.a, "POST", "/keys/"+taken+"/copies", wrapped(s.gone)), Leaves: used, Want: "409 stale"},
		{Tries: "no copies", Do: s.calls(s.a, "POST", "/keys/"+taken+"/copies", wire.CopiesRequest{}), Want: "400 invalid"},
		{Tries: "what is waited for, from a device that nobody approved", Do: s.calls(s.second, "GET", "/wants", nil), Leaves: used, Want: "403 unapproved"},
		// Devices.
		{Tries: "a device under another user's name", Do: s.calls(s.c, "PUT", at(s.a), s.a.rec), Want: "400 invalid"},
		{Tries: "a device under another device's id", Do: s.calls(s.c, "PUT", at(s.a), s.c.rec), Want: "400 invalid"},
		{Tries: "a device whose record was changed", Do: s.calls(s.c, "PUT", at(s.c), &unsigned), Want: "400 invalid"},
		{Tries: "another key under the id of a published device", Do: s.calls(s.c, "PUT", at(s.c), swapped), Leaves: used, Want: "409 conflict"},
		{Tries: "a device that signed out, to come back", Do: s.calls(s.gone, "PUT", at(s.gone), s.gone.rec), Want: "401 unauthenticated"},
		{Tries: "a device that approves itself", Do: s.calls(s.second, "POST", at(s.second)+"/approve", approve(s.second, s.second)), Leaves: used, Want: "403 unapproved"},
		{Tries: "another user's device, to approve", Do: s.calls(s.c, "POST", at(s.second)+"/approve", approve(s.second, s.c)), Leaves: used, Want: "404 not-found"},
		{Tries: "an approval that another user signed", Do: s.calls(s.b, "POST", at(s.second)+"/approve", approve(s.second, s.c)), Leaves: used, Want: "400 invalid"},
		{Tries: "an approval for a device that was signed out", Do: s.calls(s.b, "POST", at(s.gone)+"/approve", approve(s.gone, s.b)), Leaves: used, Want: "404 not-found"},
		{Tries: "another user's device, to sign out", Do: s.calls(s.c, "DELETE", at(s.a), nil), Leaves: used, Want: "404 not-found"},
		{Tries: "the user's other device, to sign out, from one that nobody approved", Do: s.calls(s.second, "DELETE", at(s.b), nil), Leaves: used, Want: "403 unapproved"},
		{Tries: "the devices of a user whose name is none", Do: s.calls(s.c, "GET", "/users/a%2F..%2Fb/devices", nil), Want: "400 invalid"},
		// Making keys.
		{Tries: "a key from a device that nobody approved", Do: s.calls(s.second, "POST", "/keys", s.second.create(romeo, fresh, s.second)), Leaves: used, Want: "403 unapproved"},
		{Tries: "another key under an id that is taken", Do: s.calls(s.c, "POST", "/keys", s.c.create(juliet, taken, s.c, s.b)), Leaves: used, Want: "409 conflict"},
		{Tries: "a key whose signature was changed", Do: s.makes(func(in *keysrv.Create) { in.Signature[0] ^= 1 }), Leaves: used, Want: "400 invalid"},
		{Tries: "a key whose commitment was changed", Do: s.makes(func(in *keysrv.Create) { in.Check[0] ^= 1 }), Leaves: used, Want: "400 invalid"},
		{Tries: "a key moved to another conversation", Do: s.makes(func(in *keysrv.Create) { in.With = tybalt }), Leaves: used, Want: "400 invalid"},
		{Tries: "a key of a year", Do: s.makes(func(in *keysrv.Create) { in.Expires = in.Created.AddDate(1, 0, 0) }), Leaves: used, Want: "400 invalid"},
		{Tries: "a key of an hour ago", Do: s.makes(func(in *keysrv.Create) { in.Created = in.Created.Add(-time.Hour) }), Want: "400 invalid"},
		{Tries: "a conversation lowered to keys that the server holds", Do: s.calls(s.a, "POST", "/keys", raw(`{"with":"juliet@test.example","mode":"escrow","suite":"A256GCM"}`)), Want: "409 mode"},
		{Tries: "a key of the suite without authentication", Do: s.makes(func(in *keysrv.Create) { in.Suite = keysrv.SuiteCBC }), Want: "400 invalid"},
		{Tries: "a key for a room", Do: s.makes(func(in *keysrv.Create) { in.Room = "hall@rooms.test.example" }), Want: "400 invalid"},
		{Tries: "a key with a user of another domain", Do: s.makes(func(in *keysrv.Create) { in.With = "juliet@evil.example" }), Want: "403 forbidden"},
		{Tries: "a key with a short id, to guess", Do: s.makes(func(in *keysrv.Create) { in.ID = "k" }), Want: "400 invalid"},
		{Tries: "a key with a copy for a stranger", Do: s.makes(func(in *keysrv.Create) { in.Wrapped = append(in.Wrapped, wrapped(s.c).Wrapped...) }), Leaves: used, Want: "409 stale"},
		{Tries: "a key with two copies for one device", Do: s.makes(func(in *keysrv.Create) { in.Wrapped = append(in.Wrapped, in.Wrapped[0]) }), Leaves: used, Want: "400 invalid"},
		{Tries: "a key with 1,001 copies", Do: s.makes(func(in *keysrv.Create) { in.Wrapped = many }), Want: "413 too-large"},
		// HTTP and JSON.
		{Tries: "a body that is no JSON", Do: s.calls(s.a, "POST", "/keys/get", raw("{")), Want: "400 malformed"},
		{Tries: "a body with a member twice", Do: s.calls(s.a, "POST", "/keys/get", raw(`{"ids":["x"],"ids":["`+taken+`"]}`)), Want: "400 malformed"},
		{Tries: "a body with a member of another case", Do: s.calls(s.a, "POST", "/keys/get", raw(`{"IDs":["`+taken+`"]}`)), Want: "400 invalid"},
		{Tries: "two bodies in one", Do: s.calls(s.a, "POST", "/keys/get", raw(`{"ids":["x"]}{"ids":["x"]}`)), Want: "400 malformed"},
		{Tries: "a body nested 500 deep", Do: s.calls(s.a, "POST", "/keys/get", raw(`{"ids":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`}`)), Want: "400 malformed"},
		{Tries: "a body of 600 KiB", Do: s.calls(s.a, "POST", "/keys/get", bytes.Repeat([]byte(" "), 600<<10)), Want: "413 too-large"},
		{Tries: "a gzip bomb for a body", Do: func(t *testing.T, tg *attack.Target) string {
			return tg.Answer(t, s.request(s.a, "POST", "/keys/get", []byte(attack.Bomb(t, 50<<20)), http.Header{"Content-Encoding": {"gzip"}}))
		}, Want: "400 malformed"},
		{Tries: "a list of keys since yesterday, in words", Do: s.calls(s.a, "GET", "/conversations/"+keysrv.DirectID(romeo, juliet)+"/keys?after=yesterday", nil), Want: "400 invalid"},
		{Tries: "a list of a size below nothing", Do: s.calls(s.a, "GET", "/conversations/"+keysrv.DirectID(romeo, juliet)+"/keys?limit=-1", nil), Want: "400 invalid"},
		{Tries: "a method by a header", Do: func(t *testing.T, tg *attack.Target) string {
			return tg.Answer(t, s.request(s.a, "GET", at(s.b), nil, http.Header{"X-Http-Method-Override": {"DELETE"}}))
		}, Want: "404 not-found"},
		{Tries: "a call that there is not", Do: s.calls(s.a, "GET", "/admin", nil), Want: "404 not-found"},
	}
	attack.Run(t, s.Target, append(rows, s.component()...), "ATTACKS.md", *update)
}

// component are attacks by stanzas.
func (s *stage) component() []attack.Row {
	stanzas := func(format string, args ...any) func(*testing.T, *attack.Target) string {
		return func(*testing.T, *attack.Target) string { return s.host.got(fmt.Sprintf(format, args...)) }
	}
	jkt := keysrv.Thumbprint(s.c.sign.Public())
	ask := func(from, to, kind, jkt string) func(*testing.T, *attack.Target) string {
		return stanzas(`<iq type='%s' id='a' from='%s' to='%s'><token xmlns='%s' jkt='%s'/></iq>`, kind, from, to, wire.NSKeys, jkt)
	}
	return []attack.Row{
		{Tries: "component: a token for a user without a client", Do: ask(string(romeo), component, "get", jkt), Want: "error forbidden"},
		{Tries: "component: a token for the whole domain", Do: ask(domain, component, "get", jkt), Want: "error forbidden"},
		{Tries: "component: a token for a service of the domain", Do: ask(domain+"/x", component, "get", jkt), Want: "error forbidden"},
		{Tries: "component: a token for a user of another server", Do: ask("romeo@evil.example/x", component, "get", jkt), Want: "error forbidden"},
		{Tries: "component: a token for a user of a domain below the served one", Do: ask("romeo@a.test.example/x", component, "get", jkt), Want: "error forbidden"},
		{Tries: "component: a token for an occupant of a room", Do: ask("hall@rooms.test.example/romeo", component, "get", jkt), Want: "error forbidden"},
		{Tries: "component: a token without a key", Do: ask(string(romeo)+"/x", component, "get", ""), Want: "error forbidden"},
		{Tries: "component: a token for a key that is none", Do: ask(string(romeo)+"/x", component, "get", "short"), Want: "error bad-request"},
		{Tries: "component: a token by a request that changes something", Do: ask(string(romeo)+"/x", component, "set", jkt), Want: "error service-unavailable"},
		{Tries: "component: a token by an answer", Do: ask(string(romeo)+"/x", component, "result", jkt), Want: "no answer"},
		{Tries: "component: a token by an error", Do: ask(string(romeo)+"/x", component, "error", jkt), Want: "no answer"},
		{Tries: "component: a token from a name below the component's", Do: ask(string(romeo)+"/x", "admin@"+component, "get", jkt), Want: "error item-not-found"},
		{Tries: "component: a token in a message", Do: stanzas(`<message type='chat' from='%s/x' to='%s'><token xmlns='%s' jkt='%s'/></message>`, romeo, component, wire.NSKeys, jkt), Want: "no answer"},
		{Tries: "component: a token with a presence", Do: stanzas(`<presence from='%s/x' to='%s'><token xmlns='%s' jkt='%s'/></presence>`, romeo, component, wire.NSKeys, jkt), Want: "no answer"},
		{Tries: "component: a request from a name that is none", Do: ask("a@b@c/x", component, "get", jkt), Want: "no answer"},
		{Tries: "component: a request from nobody", Do: ask("", component, "get", jkt), Want: "no answer"},
		{Tries: "component: the element of a token in another namespace", Do: stanzas(`<iq type='get' id='a' from='%s/x' to='%s'><token xmlns='evil' jkt='%s'/></iq>`, romeo, component, jkt), Want: "error service-unavailable"},
		{Tries: "component: a user's name in the request, other than the server's stamp", Do: stanzas(`<iq type='get' id='a' from='%s/x' to='%s'><token xmlns='%s' jkt='%s' from='%s/x' user='%s'/></iq>`, "eve@evil.example", component, wire.NSKeys, jkt, romeo, romeo), Want: "error forbidden"},
		{Tries: "component: a document type with an entity", Do: stanzas(`<!DOCTYPE x [<!ENTITY a "aaaa">]><iq type='get' id='a' from='%s/x' to='%s'><token xmlns='%s' jkt='&a;'/></iq>`, romeo, component, wire.NSKeys), Want: "closed"},
		{Tries: "component: a stanza of 3 MiB", Do: stanzas(`<iq type='get' id='a' from='%s/x' to='%s'><token xmlns='%s' jkt='%s'/></iq>`, romeo, component, wire.NSKeys, strings.Repeat("A", 3<<20)), Want: "closed"},
	}
}
