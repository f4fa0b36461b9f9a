package caserver_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/quintatest"
)

// renewal makes the request that renews a key of the device.
func (u *user) renewal(old *pair, use cert.Use, fresh crypto.Signer, change func(*cert.RenewalStatement)) wire.RenewRequest {
	u.s.t.Helper()
	var n wire.Nonce
	u.post("/keys/"+string(old.id())+"/nonce", wire.Empty{}).into(200, &n)
	csr := u.csr(use, fresh)
	r, err := cert.ParseRequest(csr, u.identity(use))
	if err != nil {
		u.s.t.Fatal(err)
	}
	st := cert.RenewalStatement{Username: u.ID, Device: u.Device, OldKeyID: old.id(), NewKey: cert.FingerprintOf(r.SPKI),
		Expires: u.s.clock.Now().Add(cert.Validity).Unix(), Nonce: n.Nonce, Time: u.s.clock.Now().UnixMilli()}
	if change != nil {
		change(&st)
	}
	signed, err := cert.NewRenewal(rand.Reader, st, old.key, fresh)
	if err != nil {
		u.s.t.Fatal(err)
	}
	return wire.RenewRequest{CSR: csr, RenewalStatement: signed.Statement, OldSignature: signed.OldSignature, NewSignature: signed.NewSignature}
}

// renew renews a key of the device.
func (u *user) renew(old *pair, use cert.Use) *pair {
	u.s.t.Helper()
	p := &pair{key: p256(u.s.t)}
	u.post("/keys/"+string(old.id())+"/renew", u.renewal(old, use, p.key, nil)).into(200, &p.info)
	return p.parsed(u.s.t)
}

// state is what the directory says of a key.
func (u *user) state(id cert.Fingerprint) wire.State {
	u.s.t.Helper()
	var i wire.KeyInfo
	u.get("/keys/"+string(id)).into(200, &i)
	return i.State
}

// keys looks a user up.
func (u *user) keys(who, query string) []wire.KeyInfo {
	u.s.t.Helper()
	var l wire.KeyList
	u.get("/users/"+who+"/keys"+query).into(200, &l)
	return l.Keys
}

func TestEnrolAndLookUp(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.person("bob")
		if got := bob.keys("alice", ""); len(got) != 0 {
			t.Errorf("before: got %+v, want none", got)
		}
		before := s.clock.Now()
		s.later(time.Hour)
		k := alice.enrol(cert.UseSign, rsaKey())
		e := alice.enrol(cert.UseEncrypt, p256(t))
		got := bob.keys("alice@hs1", "")
		if len(got) != 2 || got[0].ID != k.id() || got[0].State != wire.StateActive || got[0].Device != alice.Device || got[0].Use != "sign" || got[1].ID != e.id() {
			t.Errorf("got %+v, want the two keys", got)
		}
		if got := bob.keys("alice", "?at="+url.QueryEscape(before.UTC().Format(time.RFC3339))); len(got) != 0 {
			t.Errorf("an hour ago: got %+v, want none", got)
		}
		if got := bob.keys("alice", "?state=revoked"); len(got) != 0 {
			t.Errorf("revoked: got %+v, want none", got)
		}
		if _, err := s.verifier().Verify(k.cert, cert.UseSign, s.clock.Now(), s.clock.Now()); err != nil {
			t.Errorf("the certificate: %v", err)
		}
		// The same request again is the same key; another one is to renew.
		var again wire.KeyInfo
		alice.post(wire.PathKeys, wire.EnrolRequest{Profile: wire.ProfileSecure, Use: "sign", Pop: alice.csr(cert.UseSign, k.key)}).into(200, &again)
		if string(again.Cert) != string(k.info.Cert) {
			t.Error("a repeated enrolment gave another certificate")
		}
		alice.post(wire.PathKeys, wire.EnrolRequest{Profile: wire.ProfileSecure, Use: "sign", Pop: alice.csr(cert.UseSign, p256(t))}).fails(409, wire.CodeState)
		alice.post(wire.PathKeys, wire.EnrolRequest{Profile: wire.ProfileSecure, Use: "encrypt", Pop: alice.csr(cert.UseEncrypt, k.key)}).fails(409, wire.CodeConflict)
	})
}

// TestBadInput: each is refused for one clear reason, and nothing is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob := s.register("alice"), s.person("bob")
	key := p256(t)
	good := alice.csr(cert.UseSign, key)
	past, far := s.clock.Now().Add(-time.Hour), s.clock.Now().Add(1000*24*time.Hour)
	legacy, err := cert.NewLegacyKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := cert.LegacySPKI(&legacy.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		q      wire.EnrolRequest
		status int
		code   wire.Code
	}{
		"no proof":             {wire.EnrolRequest{Profile: "secure", Use: "sign"}, 400, wire.CodePossession},
		"another user":         {wire.EnrolRequest{Profile: "secure", Use: "sign", Username: "bob@hs1", Pop: good}, 403, wire.CodeForbidden},
		"another device":       {wire.EnrolRequest{Profile: "secure", Use: "sign", Device: bob.Device, Pop: good}, 403, wire.CodeForbidden},
		"another use":          {wire.EnrolRequest{Profile: "secure", Use: "encrypt", Pop: good}, 403, wire.CodeForbidden},
		"no use":               {wire.EnrolRequest{Profile: "secure", Pop: good}, 400, wire.CodeInvalid},
		"another's request":    {wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: bob.csr(cert.UseSign, p256(t))}, 403, wire.CodeForbidden},
		"another key":          {wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: good, PublicKey: spki}, 403, wire.CodePossession},
		"cut":                  {wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: good[:len(good)-3]}, 400, wire.CodeInvalid},
		"expired before it is": {wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: good, Expires: &past}, 400, wire.CodeInvalid},
		"for years":            {wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: good, Expires: &far}, 400, wire.CodeInvalid},
		"no profile":           {wire.EnrolRequest{Use: "sign", Pop: good}, 400, wire.CodeUnsupported},
		"legacy, no expiry":    {wire.EnrolRequest{Profile: "legacy", PublicKey: spki}, 400, wire.CodeInvalid},
		"legacy, for years":    {wire.EnrolRequest{Profile: "legacy", PublicKey: spki, Expires: &far}, 400, wire.CodeInvalid},
		"legacy, a strong key": {wire.EnrolRequest{Profile: "legacy", PublicKey: bob.sign.info.PublicKey, Expires: &far}, 400, wire.CodeUnsupported},
		"legacy, bytes behind": {wire.EnrolRequest{Profile: "legacy", PublicKey: append(spki, 0), Expires: &far}, 400, wire.CodeInvalid},
		"legacy, with a use":   {wire.EnrolRequest{Profile: "legacy", Use: "sign", PublicKey: spki, Expires: &far}, 400, wire.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) { alice.post(wire.PathKeys, c.q).fails(c.status, c.code) })
	}
	if got := bob.keys("alice", ""); len(got) != 0 {
		t.Errorf("something was stored: %+v", got)
	}
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		code         wire.Code
	}{
		{"POST", wire.PathKeys, []byte("{"), 400, wire.CodeMalformed},
		{"POST", wire.PathKeys, []byte(`{"profil":"secure"}`), 400, wire.CodeMalformed},
		{"POST", wire.PathKeys, []byte(`{"profile":"` + strings.Repeat("x", 300<<10) + `"}`), 413, wire.CodeTooLarge},
		{"GET", "/users/nobody/keys", nil, 404, wire.CodeNotFound},
		{"GET", "/users/bob/keys?at=yesterday", nil, 400, wire.CodeInvalid},
		{"GET", "/users/bob/keys?at=2999-01-01T00:00:00Z", nil, 400, wire.CodeInvalid},
		{"GET", "/users/bob/keys?state=fine", nil, 400, wire.CodeInvalid},
		{"GET", "/keys/abc", nil, 404, wire.CodeNotFound},
		{"GET", "/keys/" + strings.Repeat("0", 64), nil, 404, wire.CodeNotFound},
		{"POST", "/keys/" + string(bob.sign.id()) + "/revoke", wire.RevokeRequest{Reason: "bored"}, 400, wire.CodeInvalid},
		{"POST", "/keys/" + string(bob.sign.id()) + "/revoke", wire.RevokeRequest{Reason: "cessation"}, 403, wire.CodeForbidden},
		{"POST", "/keys/" + string(bob.sign.id()) + "/nonce", nil, 403, wire.CodeForbidden},
		{"PATCH", wire.PathKeys, nil, 405, wire.CodeMethod},
		{"GET", "/nothing", nil, 404, wire.CodeNotFound},
		{"GET", wire.PathMailbox + "?after=-1", nil, 400, wire.CodeInvalid},
		{"PUT", "/conversations/short", wire.ConversationRequest{Profile: "secure"}, 400, wire.CodeInvalid},
		{"PUT", "/conversations/0123456789abcdef", wire.ConversationRequest{Profile: "secure", Members: []quinta.UserID{"nobody@hs1"}}, 404, wire.CodeNotFound},
		{"PUT", "/conversations/0123456789abcdef", wire.ConversationRequest{Profile: "secure", Members: make([]quinta.UserID, 5000)}, 404, wire.CodeNotFound},
		{"PUT", "/conversations/" + string(wire.Direct("bob@hs1", "carol@hs1", "secure")), wire.ConversationRequest{Profile: "secure", Members: []quinta.UserID{"bob@hs1"}}, 400, wire.CodeInvalid},
		{"PUT", wire.PathBackup, wire.Backup{Sealed: []byte(`"text"`)}, 400, wire.CodeInvalid},
		{"GET", wire.PathBackup, nil, 404, wire.CodeNotFound},
		{"GET", "/files/none", nil, 404, wire.CodeNotFound},
	} {
		alice.do(c.method, c.path, c.body).fails(c.status, c.code)
	}
}

// TestTokens: a token of this network is for this network only, and the other
// way round; without one nothing but the public calls answers.
func TestTokens(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.person("alice")
	nobody := s.nobody()
	nobody.get(wire.PathMailbox).fails(401, wire.CodeUnauthenticated)
	nobody.Token = "q_wrong"
	nobody.get(wire.PathMailbox).fails(401, wire.CodeUnauthenticated)
	for _, q := range []wire.LoginRequest{{Username: "alice", Password: "wrong"}, {Username: "nobody", Password: password}, {Username: "alice@elsewhere", Password: password}, {}} {
		nobody.post(wire.PathLogin, q).fails(401, wire.CodeUnauthenticated)
	}
	nobody.post(wire.PathLogin, wire.LoginRequest{Username: "alice", Password: password, Device: "a b"}).fails(400, wire.CodeInvalid)
	if r := matrixWhoami(t, s, alice.Token); r != 401 {
		t.Errorf("another network takes the token: %d", r)
	}
	s.login("alice", alice.Device)
	alice.get(wire.PathDevices).fails(401, wire.CodeUnauthenticated)
}

func TestAttack14EnrolmentWithoutLogin(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.register("alice")
	body := wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: alice.csr(cert.UseSign, p256(t))}
	s.nobody().post(wire.PathKeys, body).fails(401, wire.CodeUnauthenticated)
	s.register("mallory").post(wire.PathKeys, body).fails(403, wire.CodeForbidden)
	for _, name := range []string{"аlice", "ALICE@hs1.", "alice@hs1@hs1"} {
		s.nobody().post(wire.PathLogin, wire.LoginRequest{Username: name, Password: password}).fails(401, wire.CodeUnauthenticated)
	}
}

func TestRenew(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		old := bob.enc
		d := alice.seal(conv, "m1", "in flight", bob)
		_, before := bob.mail(0)
		bob.enc = bob.renew(old, cert.UseEncrypt)
		if got := alice.state(old.id()); got != wire.StateGrace {
			t.Errorf("the old key: got %s, want grace", got)
		}
		if bob.enc.info.Replaces != old.id() {
			t.Errorf("got %q, want the old key", bob.enc.info.Replaces)
		}
		// The directory shows that the old key itself has signed for the new one.
		shown := alice.keys("bob", "?state=active")
		if proof := shown[len(shown)-1].Renewal; proof == nil {
			t.Error("the directory shows no proof of the renewal")
		} else {
			want := cert.RenewalStatement{Username: bob.ID, Device: bob.Device, OldKeyID: old.id(), NewKey: bob.enc.id(), Expires: bob.enc.cert.NotAfter.Unix()}
			if _, err := proof.Check(want, old.cert.PublicKey, bob.enc.cert.PublicKey, s.clock.Now()); err != nil {
				t.Errorf("the proof of the renewal: %v", err)
			}
			want.OldKeyID = bob.sign.id()
			if _, err := proof.Check(want, old.cert.PublicKey, bob.enc.cert.PublicKey, s.clock.Now()); err == nil {
				t.Error("the proof holds for another old key")
			}
		}
		// What was sealed just before still arrives and opens with the old key.
		alice.deliver(conv, "m1", d).want(200)
		items, next := bob.mail(before)
		self := bob.self()
		self.Older = []seal.Pair{{Cert: old.cert, Key: old.key}}
		if len(items) != 1 {
			t.Fatalf("got %d messages, want 1", len(items))
		}
		if _, err := seal.Open(items[0].Body, self, s.verifier(), seal.Expect{From: alice.ID, Conv: conv, Self: bob.ID, Now: s.clock.Now()}); err != nil {
			t.Error(err)
		}
		// A signing key has no grace: it is superseded at once.
		sign := bob.sign
		bob.sign = bob.renew(sign, cert.UseSign)
		if got := alice.state(sign.id()); got != wire.StateRetired {
			t.Errorf("the old signing key: got %s, want retired", got)
		}
		after := s.clock.Now().Add(cert.MaxAhead + time.Second)
		if _, err := s.verifier().Verify(sign.cert, cert.UseSign, after, after); !errors.Is(err, cert.ErrExpired) {
			t.Errorf("a renewed key signs: got %v, want ErrExpired", err)
		}
		bob.post(wire.PathAck, wire.AckRequest{UpTo: next}).want(200)
		bob.delete("/keys/"+string(old.id()), nil).want(200)
		if got := alice.state(old.id()); got != wire.StateRetired {
			t.Errorf("got %s, want retired", got)
		}
		alice.deliver(conv, "m2", d).fails(409, wire.CodeStaleKeys)
	})
}

// TestRenewAgain: a renewal that was carried out gives its result to who asks
// again, however late, and to no one else.
func TestRenewAgain(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.person("alice")
		fresh := p256(t)
		q := alice.renewal(alice.sign, cert.UseSign, fresh, nil)
		path := "/keys/" + string(alice.sign.id()) + "/renew"
		var first, again wire.KeyInfo
		alice.post(path, q).into(200, &first)
		s.later(11 * time.Minute)
		alice.post(path, q).into(200, &again)
		if string(first.Cert) != string(again.Cert) {
			t.Error("a repeated renewal gave another certificate")
		}
		phone := s.login("alice", "PHONE")
		phone.post(path, q).fails(403, wire.CodeForbidden)
		// For another key of the device it is no renewal that was done.
		alice.post("/keys/"+string(alice.enc.id())+"/renew", q).fails(403, wire.CodeForbidden)
		old := alice.renewal(alice.enc, cert.UseEncrypt, p256(t), nil)
		s.later(11 * time.Minute)
		alice.post("/keys/"+string(alice.enc.id())+"/renew", old).fails(409, wire.CodeNonce)
	})
}

func TestAttack07ExpiryChangedOnTheWay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.person("alice")
	q := alice.renewal(alice.sign, cert.UseSign, p256(t), nil)
	later := alice.renewal(alice.sign, cert.UseSign, p256(t), func(st *cert.RenewalStatement) { st.Expires += 3600 })
	q.RenewalStatement = later.RenewalStatement
	alice.post("/keys/"+string(alice.sign.id())+"/renew", q).fails(403, wire.CodeForbidden)
	q = alice.renewal(alice.sign, cert.UseSign, p256(t), func(st *cert.RenewalStatement) { st.Expires = s.clock.Now().Add(1000 * 24 * time.Hour).Unix() })
	alice.post("/keys/"+string(alice.sign.id())+"/renew", q).fails(400, wire.CodeInvalid)
}

func TestAttack08RenewalToSomebodyElsesKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob := s.person("alice"), s.person("bob")
	// Bob's key is enrolled: no one can renew to it, or enrol it.
	q := alice.renewal(alice.sign, cert.UseSign, p256(t), nil)
	q.CSR = bob.csr(cert.UseSign, bob.sign.key)
	alice.post("/keys/"+string(alice.sign.id())+"/renew", q).fails(403, wire.CodeForbidden)
	// The new key's signature is missing.
	q = alice.renewal(alice.sign, cert.UseSign, p256(t), nil)
	q.NewSignature = q.OldSignature
	alice.post("/keys/"+string(alice.sign.id())+"/renew", q).fails(403, wire.CodePossession)
}

func TestAttack15KeysNotInForce(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		bob.post("/keys/"+string(bob.enc.id())+"/revoke", wire.RevokeRequest{Reason: "cessation"}).want(200)
		alice.deliver(conv, "m1", alice.seal(conv, "m1", "to a revoked key", bob)).fails(409, wire.CodeStaleKeys)
		alice.post("/keys/"+string(alice.sign.id())+"/revoke", wire.RevokeRequest{Reason: "key-compromise"}).want(200)
		alice.deliver(conv, "m2", alice.seal(conv, "m2", "by a revoked key", alice)).fails(409, wire.CodeState)
		alice.post("/keys/"+string(alice.sign.id())+"/nonce", nil).want(200)
		alice.post("/keys/"+string(alice.sign.id())+"/renew", alice.renewal(alice.sign, cert.UseSign, p256(t), nil)).fails(409, wire.CodeState)
		carol := s.person("carol")
		s.later(cert.Validity + time.Hour)
		if got := carol.state(carol.sign.id()); got != wire.StateExpired {
			t.Errorf("got %s, want expired", got)
		}
		carol.post("/keys/"+string(carol.sign.id())+"/renew", carol.renewal(carol.sign, cert.UseSign, p256(t), nil)).fails(409, wire.CodeState)
	})
}

// TestAttack18: a nonce is good once, of two renewals one wins, and the owner
// hears of what another device did with his keys.
func TestAttack18RacesAndNonces(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.person("alice")
		watch := s.login("alice", "WATCH")
		_, seen := watch.mail(0)
		path := "/keys/" + string(alice.sign.id()) + "/renew"
		var n [2]wire.RenewRequest
		for i := range n {
			n[i] = alice.renewal(alice.sign, cert.UseSign, p256(t), nil)
		}
		var wg sync.WaitGroup
		var status [2]int
		for i := range n {
			wg.Go(func() { status[i] = alice.post(path, n[i]).Status })
		}
		wg.Wait()
		if status[0]+status[1] != 200+409 {
			t.Errorf("got %v, want one renewal to win", status)
		}
		won := n[0]
		if status[1] == 200 {
			won = n[1]
		}
		// The winner may repeat its request, and gets the same.
		alice.post(path, won).want(200)
		// Another renewal with a nonce that was used, or for another key.
		bob := s.person("bob")
		q := bob.renewal(bob.enc, cert.UseEncrypt, p256(t), func(st *cert.RenewalStatement) { st.Nonce = "made up" })
		bob.post("/keys/"+string(bob.enc.id())+"/renew", q).fails(409, wire.CodeNonce)
		var m wire.Mailbox
		watch.get(wire.PathMailbox+"?after="+text(seen)).into(200, &m)
		told := false
		for _, it := range m.Items {
			told = told || it.Kind == wire.KindKeys && strings.Contains(string(it.Body), `"renewed"`)
		}
		if !told {
			t.Errorf("the owner was not told: %+v", m.Items)
		}
	})
}

func TestAttack19UndeliveredKeepTheKey(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		alice.says(conv, "m1", "waits", bob)
		old := bob.enc
		bob.enc = bob.renew(old, cert.UseEncrypt)
		bob.delete("/keys/"+string(old.id()), nil).fails(409, wire.CodeUndelivered)
		items, next := bob.mail(0)
		if len(items) != 1 {
			t.Fatalf("got %d messages, want 1", len(items))
		}
		bob.delete("/keys/"+string(old.id()), nil).fails(409, wire.CodeUndelivered)
		bob.post(wire.PathAck, wire.AckRequest{UpTo: next}).want(200)
		bob.delete("/keys/"+string(old.id()), nil).want(200)
	})
}

func TestRevocationIsSeen(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		alice.talk(bob)
		_, seen := bob.mail(0)
		before := s.verifier()
		if _, err := before.Verify(alice.sign.cert, cert.UseSign, s.clock.Now(), s.clock.Now()); err != nil {
			t.Fatal(err)
		}
		alice.post("/keys/"+string(alice.sign.id())+"/revoke", wire.RevokeRequest{Reason: "key-compromise"}).want(200)
		if _, err := s.verifier().Verify(alice.sign.cert, cert.UseSign, s.clock.Now(), s.clock.Now()); !errors.Is(err, cert.ErrExpired) {
			t.Errorf("by the list: got %v, want ErrExpired", err)
		}
		got := bob.keys("alice", "?state=revoked")
		if len(got) != 1 || got[0].Reason != "key-compromise" {
			t.Errorf("got %+v, want the revoked key", got)
		}
		var m wire.Mailbox
		bob.get(wire.PathMailbox+"?after="+text(seen)).into(200, &m)
		if len(m.Items) != 1 || m.Items[0].Kind != wire.KindKeys {
			t.Errorf("who shares a conversation was not told: %+v", m.Items)
		}
		// A list lives for a day; the next is made before that.
		s.later(20 * time.Hour)
		if until := s.verifier().StatusUntil(); until.Before(s.clock.Now().Add(time.Hour)) {
			t.Errorf("the list ends at %s", until)
		}
	})
}

// TestExpiredKeyNeedsApproval: a device whose key has expired gets another
// only with the approval of another device.
func TestExpiredKeyNeedsApproval(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.person("alice")
		s.later(cert.Validity + time.Hour)
		laptop := s.login("alice", "LAPTOP").enrolled()
		alice = &user{s: s, ID: alice.ID, Device: alice.Device, Token: alice.Token}
		key := p256(t)
		q := wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: alice.csr(cert.UseSign, key)}
		alice.post(wire.PathKeys, q).fails(403, wire.CodeApproval)
		r, err := cert.ParseRequest(q.Pop, alice.identity(cert.UseSign))
		if err != nil {
			t.Fatal(err)
		}
		id := cert.FingerprintOf(r.SPKI)
		st := cert.ApprovalStatement{Username: alice.ID, Device: alice.Device, KeyID: id, By: laptop.sign.id(), Time: s.clock.Now().UnixMilli()}
		a, err := cert.NewApproval(rand.Reader, st, laptop.sign.key)
		if err != nil {
			t.Fatal(err)
		}
		body := wire.ApprovalRequest{Statement: a.Statement, Signature: a.Signature}
		alice.put("/keys/"+string(id)+"/approval", body).fails(403, wire.CodeForbidden)
		s.person("bob").put("/keys/"+string(id)+"/approval", body).fails(403, wire.CodeForbidden)
		bad := body
		bad.Signature = []byte("none")
		laptop.put("/keys/"+string(id)+"/approval", bad).fails(403, wire.CodePossession)
		laptop.put("/keys/"+string(id)+"/approval", body).want(200)
		alice.post(wire.PathKeys, q).want(201)
	})
}

// TestLegacyKeys: enrolment, look-up by user name, and the renewal of the
// published scheme.
func TestLegacyKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		expires := s.clock.Now().Add(30 * 24 * time.Hour)
		enrol := func(u *user) (*rsa.PrivateKey, wire.KeyInfo) {
			k, spki := legacyKey(t)
			var i wire.KeyInfo
			u.post(wire.PathKeys, wire.EnrolRequest{Profile: "legacy", PublicKey: spki, Expires: &expires}).into(201, &i)
			return k, i
		}
		key, info := enrol(alice)
		if got := bob.keys("alice", "?state=active"); len(got) != 1 || got[0].ID != info.ID || got[0].Profile != "legacy" || got[0].Cert != nil || !got[0].Expires.Equal(expires) {
			t.Errorf("got %+v", got)
		}
		fresh, spki := legacyKey(t)
		sig, err := cert.SignLegacyRenewal(spki, key)
		if err != nil {
			t.Fatal(err)
		}
		wrong, err := cert.SignLegacyRenewal(spki, fresh)
		if err != nil {
			t.Fatal(err)
		}
		path := "/keys/" + string(info.ID) + "/renew"
		alice.post(path, wire.RenewRequest{PublicKey: spki, Signature: wrong, Expires: &expires}).fails(403, wire.CodePossession)
		bob.post(path, wire.RenewRequest{PublicKey: spki, Signature: sig, Expires: &expires}).fails(403, wire.CodeForbidden)
		var renewed wire.KeyInfo
		alice.post(path, wire.RenewRequest{PublicKey: spki, Signature: sig, Expires: &expires}).into(200, &renewed)
		if renewed.Replaces != info.ID || bob.state(info.ID) != wire.StateGrace {
			t.Errorf("got %+v and the old key %s", renewed, bob.state(info.ID))
		}
		// Messages flow only once both have chosen the profile.
		conv := wire.Direct(alice.ID, bob.ID, wire.ProfileLegacy)
		bobKey, bobInfo := enrol(bob)
		secret, err := seal.NewLegacySecret(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		m, err := seal.SealLegacy(rand.Reader, alice.ID, bob.ID, secret, []byte("hello"))
		if err == nil {
			err = m.Announce(rand.Reader, secret, fresh, &seal.LegacyRecord{Username: bob.ID, KeyID: bobInfo.ID, Key: &bobKey.PublicKey, NotBefore: bobInfo.NotBefore, Expires: bobInfo.Expires}, seal.LegacyOAEP, s.clock.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		d := wire.Deliver{Kind: wire.KindMessage, Form: wire.FormLegacy, Body: jsonOf(t, m), Keys: []cert.Fingerprint{bobInfo.ID}}
		q := wire.ConversationRequest{Profile: "legacy", Members: []quinta.UserID{alice.ID, bob.ID}}
		alice.put("/conversations/"+string(conv), q).want(201)
		alice.deliver(conv, "m1", d).fails(409, wire.CodeNotChosen)
		bob.put("/conversations/"+string(conv), q).want(200)
		alice.deliver(conv, "m1", d).want(200)
		items, _ := bob.mail(0)
		if len(items) != 1 {
			t.Fatalf("got %d messages, want 1", len(items))
		}
		got, err := seal.ParseLegacyMessage(items[0].Body)
		if err != nil {
			t.Fatal(err)
		}
		rec := &seal.LegacyRecord{Username: alice.ID, KeyID: renewed.ID, Key: &fresh.PublicKey, NotBefore: renewed.NotBefore, Expires: renewed.Expires}
		r := &seal.LegacyReader{Self: bob.ID, Own: map[cert.Fingerprint]*rsa.PrivateKey{bobInfo.ID: bobKey}, Padding: seal.LegacyOAEP}
		if plain, _, err := r.Open(got, items[0].From, rec, s.clock.Now()); err != nil || string(plain) != "hello" {
			t.Errorf("got %q %v", plain, err)
		}
	})
}

// TestAttack17: a legacy body in a secure conversation is refused.
func TestAttack17LegacyInASecureConversation(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob := s.person("alice"), s.person("bob")
	conv := alice.talk(bob)
	alice.deliver(conv, "m1", wire.Deliver{Kind: wire.KindMessage, Form: wire.FormLegacy, Body: []byte("{}"), Keys: []cert.Fingerprint{bob.enc.id()}}).fails(409, wire.CodeUnsupported)
	alice.put("/conversations/"+string(conv), wire.ConversationRequest{Profile: "legacy", Members: []quinta.UserID{bob.ID}}).fails(400, wire.CodeInvalid)
}

func TestLogoutRevokes(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		laptop := s.login("alice", "LAPTOP").enrolled()
		laptop.delete("/devices/"+string(alice.Device), wire.RemoveRequest{Password: "wrong"}).fails(401, wire.CodeUnauthenticated)
		laptop.delete("/devices/"+string(alice.Device), wire.RemoveRequest{Password: password, Reason: "key-compromise"}).want(200)
		alice.get(wire.PathDevices).fails(401, wire.CodeUnauthenticated)
		if got := bob.keys("alice", "?state=active"); len(got) != 2 || got[0].Device != "LAPTOP" {
			t.Errorf("got %+v, want the laptop's two", got)
		}
		laptop.post(wire.PathLogout, nil).want(200)
		if got := bob.keys("alice", "?state=active"); len(got) != 0 {
			t.Errorf("after logout: got %+v, want none", got)
		}
		// Closing the account takes all of it.
		if err := s.Core.RemoveAccount(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		bob.get(wire.PathDevices).fails(401, wire.CodeUnauthenticated)
		s.login("alice", "NEW").get("/users/bob/keys").fails(404, wire.CodeNotFound)
	})
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	s := newStage(t, quintatest.RateLimits())
	alice := s.person("alice")
	for range 100 {
		if r := alice.post("/keys/"+string(alice.sign.id())+"/nonce", nil); r.Status != 200 {
			e := r.fails(429, wire.CodeLimited)
			if e.RetryAfter <= 0 || r.Header.Get("Retry-After") == "" {
				t.Errorf("got %+v, want when to try again", e)
			}
			return
		}
	}
	t.Error("100 nonces and no limit")
}

func legacyKey(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	k, err := cert.NewLegacyKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := cert.LegacySPKI(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return k, spki
}
