package caserver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// A shell runs programs in a folder of its own.
type shell struct {
	t   *testing.T
	dir string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	for _, p := range []string{"openssl", "curl"} {
		require.Program(t, p)
	}
	return &shell{t: t, dir: t.TempDir()}
}

// try runs a line of words and returns what it says.
func (h *shell) try(line string) (string, bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Minute)
	defer cancel()
	words := strings.Fields(line)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = h.dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func (h *shell) run(line string) string {
	h.t.Helper()
	out, ok := h.try(line)
	if !ok {
		h.t.Fatalf("%s: %s", line, out)
	}
	return out
}

func (h *shell) write(name string, data []byte) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), data, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *shell) read(name string) []byte {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

func pemOf(typ string, der ...[]byte) []byte {
	var b bytes.Buffer
	for _, d := range der {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: d}))
	}
	return b.Bytes()
}

// pair writes a key and its certificate as name.key and name.crt.
func (h *shell) pair(name string, p *pair) {
	h.t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(name+".key", pemOf("PRIVATE KEY", raw))
	h.write(name+".crt", pemOf("CERTIFICATE", p.cert.Raw))
}

// trust writes the anchors and the revocation list.
func (h *shell) trust(s *stage) {
	h.t.Helper()
	var roots wire.Roots
	s.nobody().get(wire.PathRoots).into(200, &roots)
	h.write("root.crt", pemOf("CERTIFICATE", roots.Roots...))
	h.write("mid.crt", pemOf("CERTIFICATE", roots.Intermediates...))
	h.write("ca.crt", append(h.read("root.crt"), h.read("mid.crt")...))
	h.write("list.crl", pemOf("X509 CRL", s.nobody().get(wire.PathCRL).want(200).Raw))
}

// realStage lets openssl, which has its own clock, agree with the server's.
func realStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.later(-time.Second)
	return s
}

// TestOpensslChecks: openssl reads the certificates, verifies them with the
// revocation list, asks the OCSP responder, and opens messages.
func TestOpensslChecks(t *testing.T) {
	t.Parallel()
	h, s := newShell(t), realStage(t)
	alice, bob := s.register("alice"), s.person("bob")
	alice.sign, alice.enc = alice.enrol(cert.UseSign, rsaKey()), alice.enrol(cert.UseEncrypt, p256(t))
	conv := alice.talk(bob)
	h.trust(s)
	h.pair("alice", alice.sign)
	h.pair("bob", bob.enc)
	h.pair("bobsign", bob.sign)
	if out := h.run("openssl x509 -in alice.crt -noout -text"); !strings.Contains(out, "email:alice@hs1") || !strings.Contains(out, "E-mail Protection") {
		t.Errorf("got %s", out)
	}
	verify := "openssl verify -x509_strict -crl_check -purpose any -CAfile root.crt -untrusted mid.crt -CRLfile list.crl "
	h.run(verify + "alice.crt")
	h.run(verify + "bob.crt")
	ocsp := "openssl ocsp -issuer mid.crt -CAfile ca.crt -verify_other mid.crt -no_nonce -url " + s.URL + wire.Base + wire.PathOCSP + " -cert "
	if out := h.run(ocsp + "alice.crt"); !strings.Contains(out, "alice.crt: good") || !strings.Contains(out, "verify OK") {
		t.Errorf("got %s", out)
	}
	if out, _ := h.try("openssl ocsp -issuer root.crt -CAfile ca.crt -no_nonce -url " + s.URL + wire.Base + wire.PathOCSP + " -cert mid.crt"); !strings.Contains(out, "unauthorized") {
		t.Errorf("another issuer: got %s", out)
	}
	// What the server carried opens with openssl.
	own := s.login("alice", "LAPTOP").enrolled()
	alice.says(conv, "m1", "hello", bob, own)
	items, _ := bob.mail(0)
	h.write("m.der", items[0].Body)
	h.run("openssl cms -decrypt -inform DER -in m.der -recip bob.crt -inkey bob.key -out s.der")
	h.run("openssl cms -verify -inform DER -in s.der -CAfile ca.crt -purpose any -out inner.json")
	if got := string(h.read("inner.json")); !strings.Contains(got, `"text":"hello"`) || !strings.Contains(got, `"from":"alice@hs1"`) {
		t.Errorf("got %s", got)
	}
	bad := bytes.Clone(items[0].Body)
	bad[len(bad)-5] ^= 1
	h.write("bad.der", bad)
	if _, ok := h.try("openssl cms -decrypt -inform DER -in bad.der -recip bob.crt -inkey bob.key -out x.der"); ok {
		t.Error("openssl opened a tampered message")
	}
	// After the revocation both say so.
	alice.post("/keys/"+string(alice.sign.id())+"/revoke", wire.RevokeRequest{Reason: "key-compromise"}).want(200)
	h.trust(s)
	if out, ok := h.try(verify + "alice.crt"); ok || !strings.Contains(out, "certificate revoked") {
		t.Errorf("got %s", out)
	}
	if out := h.run(ocsp + "alice.crt"); !strings.Contains(out, "alice.crt: revoked") || !strings.Contains(out, "keyCompromise") {
		t.Errorf("got %s", out)
	}
	h.run(verify + "bob.crt")
}

// TestOpensslWrites: what openssl signs and encrypts, this network opens.
func TestOpensslWrites(t *testing.T) {
	t.Parallel()
	h, s := newShell(t), realStage(t)
	alice, bob := s.person("alice"), s.person("bob")
	conv := alice.talk(bob)
	h.trust(s)
	h.pair("alice", alice.sign)
	h.pair("bob", bob.enc)
	now := s.clock.Now()
	h.write("inner.json", jsonOf(t, seal.Content{V: 1, From: alice.ID, FromKey: alice.sign.id(), To: []quinta.UserID{bob.ID}, Conv: conv, ID: "m1", Seq: 1,
		Time: now.UnixMilli(), Profile: wire.ProfileSecure, Body: []byte(`{"text":"from openssl"}`)}))
	h.run("openssl cms -sign -binary -nodetach -md sha256 -in inner.json -signer alice.crt -inkey alice.key -outform DER -out s.der")
	h.run("openssl cms -encrypt -binary -aes-256-gcm -in s.der -outform DER -out m.der -recip bob.crt")
	alice.deliver(conv, "m1", wire.Deliver{Kind: wire.KindMessage, Form: wire.FormCMS, Body: h.read("m.der"), Keys: []cert.Fingerprint{bob.enc.id()}}).want(200)
	items, _ := bob.mail(0)
	if got, err := bob.open(items[0]); got != "from openssl" || err != nil {
		t.Errorf("got %q %v", got, err)
	}
}

// TestOpensslBothKinds: a message for RSA-3072 and P-256 at once, from either
// kind, written by either side and opened by the other.
func TestOpensslBothKinds(t *testing.T) {
	t.Parallel()
	h, s := newShell(t), realStage(t)
	bob, carol, dave := s.person("bob"), s.register("carol"), s.register("dave")
	carol.sign, carol.enc = carol.enrol(cert.UseSign, p256(t)), carol.enrol(cert.UseEncrypt, rsaKey())
	second, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	dave.sign, dave.enc = dave.enrol(cert.UseSign, second), dave.enrol(cert.UseEncrypt, p256(t))
	conv := quinta.RoomID("conversation-of-both-kinds")
	bob.put("/conversations/"+string(conv), wire.ConversationRequest{Members: []quinta.UserID{bob.ID, carol.ID, dave.ID}, Profile: wire.ProfileSecure}).want(201)
	h.trust(s)
	for _, u := range []*user{bob, carol, dave} {
		h.pair(u.local(), u.enc)
		h.pair(u.local()+"sign", u.sign)
		out := h.run("openssl x509 -in " + u.local() + ".crt -noout -text")
		if want := "Public-Key: (3072 bit)"; (u == carol) != strings.Contains(out, want) {
			t.Errorf("%s: got %s", u.ID, out)
		}
		h.run("openssl verify -x509_strict -crl_check -purpose any -CAfile root.crt -untrusted mid.crt -CRLfile list.crl " + u.local() + ".crt " + u.local() + "sign.crt")
	}
	for from, to := range map[*user][]*user{bob: {carol, dave}, dave: {bob, carol}} {
		h.opensOurs(from, conv, to)
		h.writesTheirs(from, conv, to)
	}
}

func (u *user) local() string { return strings.TrimSuffix(string(u.ID), "@hs1") }

// last fetches and acknowledges what waits, and returns the last of it.
func (u *user) last() wire.Item {
	u.s.t.Helper()
	items, next := u.mail(0)
	u.post(wire.PathAck, wire.AckRequest{UpTo: next}).want(200)
	if len(items) == 0 {
		u.s.t.Fatalf("nothing waits for %s", u.ID)
	}
	return items[len(items)-1]
}

// opensOurs sends a message that openssl opens for each recipient.
func (h *shell) opensOurs(from *user, conv quinta.RoomID, to []*user) {
	h.t.Helper()
	from.says(conv, quinta.MessageID("ours-"+from.local()), "to both kinds", to...)
	for _, u := range to {
		h.write("m.der", u.last().Body)
		h.run("openssl cms -decrypt -inform DER -in m.der -recip " + u.local() + ".crt -inkey " + u.local() + ".key -out s.der")
		h.run("openssl cms -verify -inform DER -in s.der -CAfile ca.crt -purpose any -out inner.json")
		if got := string(h.read("inner.json")); !strings.Contains(got, `"text":"to both kinds"`) {
			h.t.Errorf("from %s to %s: got %s", from.ID, u.ID, got)
		}
	}
}

// writesTheirs has openssl write a message that each recipient opens.
func (h *shell) writesTheirs(from *user, conv quinta.RoomID, to []*user) {
	h.t.Helper()
	id := quinta.MessageID("theirs-" + from.local())
	d := wire.Deliver{Kind: wire.KindMessage, Form: wire.FormCMS}
	c := seal.Content{V: 1, From: from.ID, FromKey: from.sign.id(), Conv: conv, ID: id, Seq: 9, Time: from.s.clock.Now().UnixMilli(), Profile: wire.ProfileSecure, Body: []byte(`{"text":"from openssl"}`)}
	recipients := ""
	for _, u := range to {
		c.To = append(c.To, u.ID)
		d.Keys = append(d.Keys, u.enc.id())
		recipients += " -recip " + u.local() + ".crt"
		if _, ok := u.enc.key.(*rsa.PrivateKey); ok {
			recipients += " -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256"
		}
	}
	pss := ""
	if _, ok := from.sign.key.(*rsa.PrivateKey); ok {
		pss = " -keyopt rsa_padding_mode:pss"
	}
	h.write("inner.json", jsonOf(h.t, c))
	h.run("openssl cms -sign -binary -nodetach -md sha256 -in inner.json -signer " + from.local() + "sign.crt -inkey " + from.local() + "sign.key" + pss + " -outform DER -out s.der")
	h.run("openssl cms -encrypt -binary -aes-256-gcm -in s.der -outform DER -out m.der" + recipients)
	d.Body = h.read("m.der")
	from.deliver(conv, id, d).want(200)
	for _, u := range to {
		if got, err := u.open(u.last()); got != "from openssl" || err != nil {
			h.t.Errorf("%s's of %s: got %q %v", u.ID, from.ID, got, err)
		}
	}
}

// TestEST: curl and openssl enrol and renew.
func TestEST(t *testing.T) {
	t.Parallel()
	h, s := newShell(t), realStage(t)
	if err := s.Core.AddAccount(t.Context(), "alice", "pass"); err != nil {
		t.Fatal(err)
	}
	bob := s.person("bob")
	est := tlsFront(t, s) + wire.ESTBase
	h.run("curl -fsSk -o ca.p7.b64 " + est + "/cacerts")
	h.run("openssl base64 -d -in ca.p7.b64 -out ca.p7")
	h.run("openssl pkcs7 -inform DER -in ca.p7 -print_certs -out ca.crt")
	if n := strings.Count(string(h.read("ca.crt")), "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("got %d certificates of the authority, want 2", n)
	}
	request := func(name string, how string) {
		h.run("openssl req -new -nodes -subj /CN=alice " + how + " -keyout " + name + ".key -outform DER -out " + name + ".csr")
		h.run("openssl base64 -e -in " + name + ".csr -out " + name + ".b64")
	}
	certOf := func(name string) *x509.Certificate {
		h.run("openssl base64 -d -in " + name + ".p7.b64 -out " + name + ".p7")
		h.run("openssl pkcs7 -inform DER -in " + name + ".p7 -print_certs -out " + name + ".crt")
		block, _ := pem.Decode(h.read(name + ".crt"))
		if block == nil {
			t.Fatalf("no certificate in %s", h.read(name+".crt"))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	request("a", "-newkey ec -pkeyopt ec_paramgen_curve:P-256")
	post := "curl -fsSk -u alice:pass -H Content-Type:application/pkcs10 -H Content-Transfer-Encoding:base64 --data-binary "
	h.run(post + "@a.b64 -o a.p7.b64 " + est + "/sign.CRON/simpleenroll")
	a := certOf("a")
	if id, err := cert.IdentityOf(a); err != nil || id.User != "alice@hs1" || id.Device != "CRON" || id.Use != cert.UseSign {
		t.Errorf("got %+v %v", id, err)
	}
	h.run("openssl verify -x509_strict -purpose any -CAfile ca.crt a.crt")
	// Renewal: the old certificate in the TLS handshake.
	request("b", "-newkey rsa:3072")
	renew := "-H Content-Type:application/pkcs10 --data-binary "
	h.run("curl -fsSk --cert a.crt --key a.key " + renew + "@b.b64 -o b.p7.b64 " + est + "/simplereenroll")
	b := certOf("b")
	if bob.state(cert.KeyID(a)) != wire.StateRetired || bob.state(cert.KeyID(b)) != wire.StateActive {
		t.Errorf("got %s and %s", bob.state(cert.KeyID(a)), bob.state(cert.KeyID(b)))
	}
	if got := bob.keys("alice", "?state=active"); len(got) != 1 || got[0].Replaces != cert.KeyID(a) {
		t.Errorf("got %+v", got)
	}
	// What is refused: no password, a wrong one, another's name, an old
	// certificate that was renewed already.
	status := func(line string) string {
		return h.run("curl -sSk -o out -w %{http_code} " + line)
	}
	request("c", "-newkey ec -pkeyopt ec_paramgen_curve:P-256")
	for line, want := range map[string]string{
		"-H Content-Type:application/pkcs10 --data-binary @c.b64 " + est + "/sign.X/simpleenroll":                "401",
		"-u alice:wrong -H Content-Type:application/pkcs10 --data-binary @c.b64 " + est + "/sign.X/simpleenroll": "401",
		"-u alice:pass -H Content-Type:text/plain --data-binary @c.b64 " + est + "/sign.X/simpleenroll":          "415",
		"-u alice:pass -H Content-Type:application/pkcs10 --data-binary @c.b64 " + est + "/simpleenroll":         "400",
		"-u alice:pass -H Content-Type:application/pkcs10 --data-binary @c.key " + est + "/sign.X/simpleenroll":  "400",
		"-H Content-Type:application/pkcs10 --data-binary @c.b64 " + est + "/simplereenroll":                     "401",
		"--cert a.crt --key a.key " + renew + "@c.b64 " + est + "/simplereenroll":                                "409",
	} {
		if got := status(line); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
	h.pair("bob", bob.sign)
	if got := status("--cert bob.crt --key bob.key " + renew + "@c.b64 " + est + "/simplereenroll"); got != "200" {
		t.Errorf("a request without names, by bob's certificate: got %s", got)
	}
}

// TestAttack09OtherPurposeEST: what the holder of a certificate signed as a
// file, as mail or as a message is not a renewal, even if it is a certificate
// request of someone else.
func TestAttack09OtherPurposeEST(t *testing.T) {
	t.Parallel()
	h, s := newShell(t), realStage(t)
	url := tlsFront(t, s) + wire.ESTBase + "/simplereenroll"
	alice := s.person("alice")
	h.pair("alice", alice.sign)
	h.run("openssl req -new -nodes -subj /CN=alice -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout thief.key -outform DER -out thief.csr")
	h.run("openssl cms -sign -binary -nodetach -md sha256 -in thief.csr -signer alice.crt -inkey alice.key -outform DER -out file.der")
	h.run("openssl cms -sign -binary -md sha256 -in thief.csr -signer alice.crt -inkey alice.key -outform SMIME -out mail.eml")
	for body, types := range map[string][]string{
		"file.der": {"application/pkcs7-mime", "application/pkcs10"},
		"mail.eml": {"multipart/signed", "application/pkcs10"},
	} {
		for _, typ := range types {
			if got := h.run("curl -sSk -o out -w %{http_code} -H Content-Type:" + typ + " --data-binary @" + body + " " + url); got != "401" {
				t.Errorf("%s as %s: got %s, want 401", body, typ, got)
			}
		}
	}
	if got := alice.state(alice.sign.id()); got != wire.StateActive {
		t.Errorf("alice's key: got %s, want active", got)
	}
}

// TestESTOverTLS: the old certificate in the TLS handshake renews.
func TestESTOverTLS(t *testing.T) {
	t.Parallel()
	h, s := newShell(t), realStage(t)
	url := tlsFront(t, s)
	alice := s.person("alice")
	h.pair("old", alice.sign)
	h.run("openssl req -new -nodes -subj /CN=alice -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout n.key -outform DER -out n.csr")
	h.run("curl -fsSk --cert old.crt --key old.key -H Content-Type:application/pkcs10 --data-binary @n.csr -o n.p7.b64 " + url + wire.ESTBase + "/simplereenroll")
	if got := alice.state(alice.sign.id()); got != wire.StateRetired {
		t.Errorf("the old key: got %s, want retired", got)
	}
	if len(alice.keys("alice", "?state=active")) != 2 {
		t.Error("there is no new key")
	}
}

func tlsFront(t *testing.T, s *stage) string {
	t.Helper()
	front := newTLSServer(s.Core.Handler(http.NotFoundHandler()))
	t.Cleanup(front.Close)
	return front.URL
}

// newTLSServer serves with TLS and asks clients for a certificate, as the
// setting client-certificates does.
func newTLSServer(h http.Handler) *httptest.Server {
	front := httptest.NewUnstartedServer(h)
	front.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	front.StartTLS()
	return front
}
