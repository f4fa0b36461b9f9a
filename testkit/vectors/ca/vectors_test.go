// Package ca_test runs the vectors of both profiles of the CA network: text
// files with head lines, of which "expect" says what must happen, and the
// bytes in base64. "go test -update" makes them anew; they are else fixed, so
// that a change of the forms is seen.
package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/town"
)

var update = flag.Bool("update", false, "make the vectors anew")

// heads are all lines that a vector may have; another one fails.
var heads = []string{"comment", "profile", "expect", "text", "now", "received", "from", "self", "conv",
	"root", "intermediate", "crl", "certificate", "key", "sender-key", "padding", "message"}

type vector map[string]string

func (v vector) bytes(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(v[name])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return raw
}

func (v vector) time(t *testing.T, name string) time.Time {
	t.Helper()
	if v[name] == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, v[name])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func parse(t *testing.T, raw []byte) vector {
	t.Helper()
	v := vector{}
	for line := range strings.Lines(string(raw)) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		if !ok || !slices.Contains(heads, name) || v[name] != "" {
			t.Fatalf("a line that is not known: %.60q", line)
		}
		v[name] = value
	}
	return v
}

func (v vector) write(t *testing.T, name string) {
	t.Helper()
	var b bytes.Buffer
	for _, h := range heads {
		if v[h] != "" {
			b.WriteString(h + ": " + v[h] + "\n")
		}
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVectors(t *testing.T) {
	if *update {
		generate(t)
	}
	files, err := filepath.Glob("*.txt")
	if err != nil || len(files) < 15 {
		t.Fatalf("got %d files %v, want all", len(files), err)
	}
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			v := parse(t, raw)
			open := openSecure
			if v["profile"] == cert.ProfileLegacy {
				open = openLegacy
			}
			text, err := open(t, v)
			got := "success"
			if err != nil {
				got = string(ca.ReasonOf(err))
			}
			if got != v["expect"] || text != v["text"] {
				t.Errorf("got %s %q (%v), want %s %q", got, text, err, v["expect"], v["text"])
			}
		})
	}
}

func openSecure(t *testing.T, v vector) (string, error) {
	root, mid := certificate(t, v, "root"), certificate(t, v, "intermediate")
	ver := cert.NewVerifier([]*x509.Certificate{root}, []*x509.Certificate{mid}, "hs1")
	if v["crl"] != "" {
		if err := ver.SetCRL(v.bytes(t, "crl")); err != nil {
			t.Fatal(err)
		}
	}
	k, err := x509.ParsePKCS8PrivateKey(v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	self := &seal.Self{Encrypt: certificate(t, v, "certificate"), EncryptKey: k.(crypto.Signer)}
	o, err := seal.Open(v.bytes(t, "message"), self, ver, seal.Expect{From: quinta.UserID(v["from"]), Conv: quinta.RoomID(v["conv"]), Self: quinta.UserID(v["self"]),
		Now: v.time(t, "now"), Received: v.time(t, "received")})
	if err != nil {
		return "", err
	}
	return string(o.Content.Body), nil
}

func certificate(t *testing.T, v vector, name string) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(v.bytes(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openLegacy(t *testing.T, v vector) (string, error) {
	k, err := x509.ParsePKCS8PrivateKey(v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	own := k.(*rsa.PrivateKey)
	spki, err := cert.LegacySPKI(&own.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := cert.ParseLegacyKey(v.bytes(t, "sender-key"))
	if err != nil {
		return "", err
	}
	m, err := seal.ParseLegacyMessage(v.bytes(t, "message"))
	if err != nil {
		return "", err
	}
	now := v.time(t, "now")
	r := &seal.LegacyReader{Self: quinta.UserID(v["self"]), Own: map[cert.Fingerprint]*rsa.PrivateKey{cert.FingerprintOf(spki): own}, Padding: seal.LegacyPadding(v["padding"])}
	rec := &seal.LegacyRecord{Username: quinta.UserID(v["from"]), KeyID: cert.FingerprintOf(v.bytes(t, "sender-key")), Key: sender,
		NotBefore: begin, Expires: begin.Add(30 * 24 * time.Hour)}
	text, _, err := r.Open(m, quinta.UserID(v["from"]), rec, now)
	return string(text), err
}

// begin is when everything of the vectors begins.
var begin = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

func p256() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// generate makes the files.
func generate(t *testing.T) {
	rootKey, midKey := p256(), p256()
	root := must(cert.NewRoot(rand.Reader, "hs1", rootKey, begin))
	mid := must(cert.NewIntermediate(rand.Reader, "hs1", midKey, root, rootKey, begin))
	issuer := &cert.Issuer{Root: root, Cert: mid, Key: midKey, Rand: rand.Reader}
	person := func(user quinta.UserID, sign, enc crypto.Signer) *seal.Self {
		s := &seal.Self{SignKey: sign, EncryptKey: enc}
		for _, use := range []cert.Use{cert.UseSign, cert.UseEncrypt} {
			k := sign
			if use == cert.UseEncrypt {
				k = enc
			}
			id := cert.Identity{User: user, Device: "D", Use: use}
			c := must(issuer.Issue(must(cert.ParseRequest(must(cert.NewRequest(rand.Reader, id, k)), id)), begin, cert.Validity))
			if use == cert.UseSign {
				s.Sign = c
			} else {
				s.Encrypt = c
			}
		}
		return s
	}
	strong := func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 3072)) }
	alice, bob, carol := person("alice@hs1", p256(), p256()), person("bob@hs1", p256(), p256()), person("carol@hs1", p256(), p256())
	rsaAlice, rsaBob := person("alice@hs1", strong(), strong()), person("bob@hs1", strong(), strong())
	crl := func(at time.Time, list ...cert.Revoked) string {
		return b64(must(issuer.NewCRL(1, list, at, at.Add(24*time.Hour))))
	}
	content := seal.Content{To: []quinta.UserID{"bob@hs1"}, Conv: "conv", ID: "m1", Seq: 1, Time: begin.UnixMilli(), Body: json.RawMessage(`{"text":"hi"}`)}
	sealed := func(from *seal.Self, to ...*seal.Self) []byte {
		var certs []*x509.Certificate
		for _, s := range to {
			certs = append(certs, s.Encrypt)
		}
		return must(seal.Seal(rand.Reader, from, content, certs))
	}
	secure := func(name, comment, expect string, message []byte, self *seal.Self, change func(vector)) {
		v := vector{"comment": comment, "profile": cert.ProfileSecure, "expect": expect, "now": begin.Add(time.Minute).Format(time.RFC3339), "received": begin.Format(time.RFC3339),
			"from": "alice@hs1", "self": "bob@hs1", "conv": "conv", "root": b64(root.Raw), "intermediate": b64(mid.Raw), "crl": crl(begin),
			"certificate": b64(self.Encrypt.Raw), "key": b64(must(x509.MarshalPKCS8PrivateKey(self.EncryptKey))), "message": b64(message)}
		if expect == "success" {
			v["text"] = string(content.Body)
		}
		if change != nil {
			change(v)
		}
		v.write(t, "secure-"+name+".txt")
	}
	good := sealed(alice, bob)
	tampered := bytes.Clone(good)
	tampered[len(tampered)-1] ^= 1
	secure("p256", "one recipient, P-256", "success", good, bob, nil)
	secure("rsa", "one recipient, RSA-3072: PSS and OAEP", "success", sealed(rsaAlice, rsaBob), rsaBob, nil)
	secure("several", "several recipients of both kinds", "success", sealed(alice, carol, rsaBob, bob), bob, nil)
	secure("tampered", "the last byte of the tag is changed", "tampered", tampered, bob, nil)
	secure("cut", "the last byte is missing", "malformed", good[:len(good)-1], bob, nil)
	secure("behind", "a byte stands behind", "malformed", append(bytes.Clone(good), 0), bob, nil)
	secure("other-device", "sealed for another device", "before-this-device", sealed(alice, carol), bob, nil)
	secure("forwarded", "signed for Bob, sealed again for Carol", "sender-mismatch", town.Forward(t, good, bob, carol.Encrypt), carol, func(v vector) { v["self"] = "carol@hs1" })
	secure("other-sender", "the transport names another sender", "sender-mismatch", good, bob, func(v vector) { v["from"] = "carol@hs1" })
	secure("other-conversation", "it came in another conversation", "sender-mismatch", good, bob, func(v vector) { v["conv"] = "other" })
	secure("revoked", "the sender's key is in other hands", "expired", good, bob, func(v vector) {
		v["crl"] = crl(begin, cert.Revoked{Serial: alice.Sign.SerialNumber, At: begin.Add(time.Hour), Reason: cert.ReasonKeyCompromise})
	})
	secure("no-status", "no revocation list", "expired", good, bob, func(v vector) { v["crl"] = "" })
	secure("clock-behind", "the clock of the receiver is a day behind", "replayed", good, bob, func(v vector) {
		at := begin.Add(-24 * time.Hour)
		v["now"], v["received"] = at.Format(time.RFC3339), ""
	})
	unsigned := must(cms.Seal(rand.Reader, []byte("no signature"), []*x509.Certificate{bob.Encrypt}))
	secure("unsigned", "sealed, and not signed", "malformed", unsigned, bob, nil)

	a, b := must(cert.NewLegacyKey(rand.Reader)), must(cert.NewLegacyKey(rand.Reader))
	aSPKI, bSPKI := must(cert.LegacySPKI(&a.PublicKey)), must(cert.LegacySPKI(&b.PublicKey))
	legacy := func(name, comment, expect string, p seal.LegacyPadding, change func(vector, *seal.LegacyMessage)) {
		s := must(seal.NewLegacySecret(rand.Reader))
		m := must(seal.SealLegacy(rand.Reader, "alice@hs1", "bob@hs1", s, []byte("hello")))
		rec := &seal.LegacyRecord{Username: "bob@hs1", KeyID: cert.FingerprintOf(bSPKI), Key: &b.PublicKey, NotBefore: begin, Expires: begin.Add(time.Hour)}
		if err := m.Announce(rand.Reader, s, a, rec, p, begin); err != nil {
			t.Fatal(err)
		}
		v := vector{"comment": comment, "profile": cert.ProfileLegacy, "expect": expect, "now": begin.Format(time.RFC3339), "from": "alice@hs1", "self": "bob@hs1",
			"key": b64(must(x509.MarshalPKCS8PrivateKey(b))), "sender-key": b64(aSPKI), "padding": string(p)}
		if expect == "success" {
			v["text"] = "hello"
		}
		if change != nil {
			change(v, m)
		}
		v["message"] = b64(must(json.Marshal(m)))
		v.write(t, "legacy-"+name+".txt")
	}
	legacy("oaep", "the first message of a negotiation, OAEP with SHA-1", "success", seal.LegacyOAEP, nil)
	legacy("pkcs1", "the first message of a negotiation, PKCS #1 v1.5", "success", seal.LegacyPKCS1, nil)
	legacy("flipped", "a bit of the vector is changed: nothing notices", "success", seal.LegacyOAEP, func(v vector, m *seal.LegacyMessage) {
		m.Body[0] ^= 'h' ^ 'j'
		v["text"] = "jello"
	})
	legacy("wrapped-key", "the wrapped key is changed", "tampered", seal.LegacyPKCS1, func(_ vector, m *seal.LegacyMessage) { m.Ext.E2EE.EK[9] ^= 1 })
	legacy("signature", "the signature is changed", "tampered", seal.LegacyOAEP, func(_ vector, m *seal.LegacyMessage) { m.Ext.E2EE.Sig[9] ^= 1 })
	legacy("expired", "the sender's key record is over", "expired", seal.LegacyOAEP, func(v vector, _ *seal.LegacyMessage) {
		v["now"] = begin.Add(31 * 24 * time.Hour).Format(time.RFC3339)
	})
	legacy("other-sender", "the transport names another sender", "sender-mismatch", seal.LegacyOAEP, func(v vector, _ *seal.LegacyMessage) { v["from"] = "carol@hs1" })
	legacy("version", "a version that is not read", "unsupported", seal.LegacyOAEP, func(_ vector, m *seal.LegacyMessage) { m.Ext.E2EE.V = 1 })
}
