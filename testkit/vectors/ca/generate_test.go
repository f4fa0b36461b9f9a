package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/town"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// A maker makes the vectors of a town.
type maker struct {
	*town.Town
	t                 *testing.T
	alice, bob, carol *seal.Self
	all               []*vectors.File
}

func newMaker(t *testing.T) *maker {
	w := town.New(t)
	return &maker{Town: w, t: t, alice: w.Person("alice@hs1", "A"), bob: w.Person("bob@hs1", "B"), carol: w.Person("carol@hs1", "C")}
}

type heads map[string]string

// add adds a vector; in are its inputs, over those of base.
func (m *maker) add(kind, name, what, expect, why string, clock time.Time, body []byte, base heads, over ...heads) {
	m.t.Helper()
	in := heads{}
	for _, h := range append([]heads{base}, over...) {
		maps.Copy(in, h)
	}
	if expect != vectors.Success {
		delete(in, "plain")
	}
	m.all = append(m.all, &vectors.File{Name: kind + "-" + name, What: what, Kind: kind, Expect: expect, Why: why, Clock: clock, Inputs: in, Body: body})
}

func b64(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// flip returns b with one bit of byte i changed; i counts from the end if it
// is negative.
func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 1
	return b
}

// swap returns b with old, which is in it, replaced once.
func (m *maker) swap(b []byte, old, new string) []byte {
	m.t.Helper()
	if !bytes.Contains(b, []byte(old)) {
		m.t.Fatalf("%q is not there", old)
	}
	return bytes.Replace(b, []byte(old), []byte(new), 1)
}

func (m *maker) strong() crypto.Signer {
	return must[*rsa.PrivateKey](m.t)(rsa.GenerateKey(rand.Reader, cert.MinRSA))
}

func (m *maker) private(k any) string {
	return b64(must[[]byte](m.t)(x509.MarshalPKCS8PrivateKey(k)))
}

func (m *maker) spki(k crypto.Signer) []byte {
	return must[[]byte](m.t)(x509.MarshalPKIXPublicKey(k.Public()))
}

func (m *maker) crl(at time.Time, list ...cert.Revoked) string {
	return b64(must[[]byte](m.t)(m.Issuer.NewCRL(1, list, at, at.Add(24*time.Hour))))
}

// chain are the inputs that a verifier needs.
func (m *maker) chain() heads {
	return heads{"root": b64(m.Issuer.Root.Raw), "intermediate": b64(m.Issuer.Cert.Raw), "crl": m.crl(begin)}
}

// person makes a device with given keys.
func (m *maker) person(user quinta.UserID, sign, encrypt crypto.Signer) *seal.Self {
	return &seal.Self{SignKey: sign, EncryptKey: encrypt, Sign: m.Certify(cert.Identity{User: user, Device: "R", Use: cert.UseSign}, sign),
		Encrypt: m.Certify(cert.Identity{User: user, Device: "R", Use: cert.UseEncrypt}, encrypt)}
}

func (m *maker) sealed(from *seal.Self, c seal.Content, to ...*seal.Self) []byte {
	var certs []*x509.Certificate
	for _, s := range to {
		certs = append(certs, s.Encrypt)
	}
	return must[[]byte](m.t)(seal.Seal(rand.Reader, from, c, certs))
}

// layers seals any content under any signature, as a sender can.
func (m *maker) layers(content []byte, from *seal.Self, to *seal.Self) []byte {
	signed := must[[]byte](m.t)(cms.Sign(rand.Reader, content, cms.Signer{Certificate: from.Sign, Key: from.SignKey}, begin))
	return must[[]byte](m.t)(cms.Seal(rand.Reader, signed, []*x509.Certificate{to.Encrypt}))
}

func (m *maker) secure() {
	content := seal.Content{To: []quinta.UserID{"bob@hs1"}, Conv: "conv", ID: "m1", Seq: 1, Time: begin.UnixMilli(), Body: json.RawMessage(`{"text":"hi"}`)}
	reader := func(s *seal.Self) heads {
		return heads{"certificate": b64(s.Encrypt.Raw), "key": m.private(s.EncryptKey)}
	}
	base := m.chain()
	maps.Copy(base, heads{"received": stamp(begin), "from": "alice@hs1", "self": "bob@hs1", "conv": "conv", "plain": b64(content.Body)})
	maps.Copy(base, reader(m.bob))
	now := begin.Add(time.Minute)
	add := func(name, what, expect, why string, body []byte, over ...heads) {
		m.add("secure", name, what, expect, why, now, body, base, over...)
	}
	good := m.sealed(m.alice, content, m.bob)
	const whole = "the message is one structure, and nothing stands behind it"
	add("p256", "one recipient, P-256", vectors.Success, "it is genuine", good)
	rsaAlice, rsaBob := m.person("alice@hs1", m.strong(), m.strong()), m.person("bob@hs1", m.strong(), m.strong())
	add("rsa", "one recipient, RSA with 3072 bits: PSS and OAEP", vectors.Success, "it is genuine", m.sealed(rsaAlice, content, rsaBob), reader(rsaBob))
	add("several", "recipients of both kinds", vectors.Success, "it is genuine", m.sealed(m.alice, content, m.carol, rsaBob, m.bob))
	add("tag", "a bit of the tag is changed", "tampered", "what is not authentic is not opened", flip(good, -1))
	add("text", "a bit of the ciphertext is changed", "tampered", "what is not authentic is not opened", flip(good, -40))
	add("cut", "the last byte is missing", "malformed", whole, good[:len(good)-1])
	add("behind", "a byte stands behind", "malformed", whole, append(bytes.Clone(good), 0))
	add("empty", "no byte at all", "malformed", whole, nil)
	add("other-device", "sealed for another device", "not a recipient", "it cannot be read here", m.sealed(m.alice, content, m.carol))
	add("forwarded", "signed for Bob, sealed again for Carol", "mismatch", "the recipients are inside the signature: Bob could have Carol think that Alice wrote to her",
		town.Forward(m.t, good, m.bob, m.carol.Encrypt), reader(m.carol), heads{"self": "carol@hs1"})
	add("other-sender", "the transport names another sender", "mismatch", "the sender is inside the signature", good, heads{"from": "carol@hs1"})
	add("other-conversation", "it came in another conversation", "mismatch", "the conversation is inside the signature", good, heads{"conv": "other"})
	add("revoked", "the sender's key is in other hands", "expired", "a key that was revoked for compromise proves nothing, whenever it signed", good,
		heads{"crl": m.crl(begin, cert.Revoked{Serial: m.alice.Sign.SerialNumber, At: begin.Add(time.Hour), Reason: cert.ReasonKeyCompromise})})
	add("no-status", "no revocation list", "no status", "who hides the list could use a revoked key", good, heads{"crl": ""})
	add("unsigned", "sealed, and not signed", "malformed", "anybody can seal: only a signature says who did",
		must[[]byte](m.t)(cms.Seal(rand.Reader, []byte("no signature"), []*x509.Certificate{m.bob.Encrypt})))
	add("signed-by-other", "Carol signs a content that names Alice", "mismatch", "the certificate says who signed", m.layers([]byte(`{"content":{},"conv":"conv","from":"alice@hs1","fromKey":"`+
		string(cert.KeyID(m.carol.Sign))+`","mid":"m","profile":"secure","seq":1,"to":["bob@hs1"],"ts":1777636800000,"v":1}`), m.carol, m.bob))
	add("not-json", "a signed content that is not JSON", "malformed", "there is nothing to show", m.layers([]byte("hello"), m.alice, m.bob))
	behind := begin.Add(-24 * time.Hour)
	m.add("secure", "clock-behind", "the reader's clock is a day behind", "replayed", "a message from the future has a wrong time", behind, good, base, heads{"received": ""})
	late := begin.Add(seal.MaxAge + time.Hour)
	m.add("secure", "late", "it comes after more than 90 days", "replayed", "what was seen is remembered for 90 days", late, good, base, heads{"crl": m.crl(late), "received": ""})
}

func (m *maker) legacy() {
	a, b := town.NewPal(m.t, "alice@hs1"), town.NewPal(m.t, "bob@hs1")
	add := func(name, what, expect, why string, p seal.LegacyPadding, clock time.Time, change func(*seal.LegacyMessage), over ...heads) {
		s := must[*seal.LegacySecret](m.t)(seal.NewLegacySecret(rand.Reader))
		msg := must[*seal.LegacyMessage](m.t)(seal.SealLegacy(rand.Reader, "alice@hs1", "bob@hs1", s, []byte("hello")))
		if err := msg.Announce(rand.Reader, s, a.Key, b.Record(), p, begin); err != nil {
			m.t.Fatal(err)
		}
		if change != nil {
			change(msg)
		}
		m.add("legacy", name, what, expect, why, clock, must[[]byte](m.t)(json.Marshal(msg)), heads{"from": "alice@hs1", "self": "bob@hs1", "key": m.private(b.Key),
			"sender-key": b64(a.SPKI), "padding": string(p), "plain": b64([]byte("hello"))}, over...)
	}
	const proved = "the key is wrapped for its reader and signed by its sender"
	add("oaep", "the first message of a negotiation, OAEP with SHA-1", vectors.Success, "it is genuine", seal.LegacyOAEP, begin, nil)
	add("pkcs1", "the first message of a negotiation, PKCS #1 v1.5", vectors.Success, "it is genuine", seal.LegacyPKCS1, begin, nil)
	add("flipped", "a bit of the vector is changed", vectors.Success, "the published scheme does not authenticate the text: another one comes out", seal.LegacyOAEP, begin,
		func(m *seal.LegacyMessage) { m.Body[0] ^= 'h' ^ 'j' }, heads{"plain": b64([]byte("jello"))})
	add("wrapped-pkcs1", "the wrapped key is changed, PKCS #1 v1.5", "tampered", "there is one refusal for padding and content", seal.LegacyPKCS1, begin, func(m *seal.LegacyMessage) { m.Ext.E2EE.EK[9] ^= 1 })
	add("wrapped-oaep", "the wrapped key is changed, OAEP", "tampered", "there is one refusal for padding and content", seal.LegacyOAEP, begin, func(m *seal.LegacyMessage) { m.Ext.E2EE.EK[9] ^= 1 })
	add("signature", "the signature is changed", "tampered", proved, seal.LegacyOAEP, begin, func(m *seal.LegacyMessage) { m.Ext.E2EE.Sig[9] ^= 1 })
	add("no-signature", "no signature", "tampered", proved, seal.LegacyOAEP, begin, func(m *seal.LegacyMessage) { m.Ext.E2EE.Sig = make([]byte, 128) })
	add("expired", "the sender's key has expired", "expired", "the authority's record bounds its time", seal.LegacyOAEP, begin.Add(31*24*time.Hour), nil)
	add("other-sender", "the transport names another sender", "mismatch", "the sender stands in the message", seal.LegacyOAEP, begin, nil, heads{"from": "carol@hs1"})
	add("version", "a version that is not read", "unsupported", "what is not known is not guessed at", seal.LegacyOAEP, begin, func(m *seal.LegacyMessage) { m.Ext.E2EE.V = 1 })
}

func (m *maker) cms() {
	k := m.bob.EncryptKey.(*ecdsa.PrivateKey)
	base := heads{"certificate": b64(m.bob.Encrypt.Raw), "key": m.private(k), "plain": b64([]byte("hello"))}
	good := must[[]byte](m.t)(cms.Seal(rand.Reader, []byte("hello"), []*x509.Certificate{m.bob.Encrypt}))
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("cms-sealed", name, what, expect, why, time.Time{}, raw, base, over...)
	}
	const der = "the form is DER, and complete"
	add("plain", "AuthEnvelopedData", vectors.Success, "it is genuine", good)
	add("tag", "a bit of the tag is changed", "cannot open", "what is not authentic is not opened", flip(good, -1))
	add("cut", "the last byte is missing", "malformed", der, good[:len(good)-1])
	add("behind", "a byte stands behind", "malformed", der, append(bytes.Clone(good), 0))
	add("empty", "no byte at all", "malformed", der, nil)
	add("indefinite", "a length that is not given", "malformed", "BER has many forms of one message", append([]byte{0x30, 0x80}, good[4:]...))
	add("length-huge", "a length of 4 GB", "malformed", "a length is held against what is there", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	add("other", "sealed for another certificate", "not a recipient", "it cannot be read here", good, heads{"certificate": b64(m.carol.Encrypt.Raw)})
	add("other-key", "opened with another key", "cannot open", "there is one refusal for each way in which it does not open", good, heads{"key": m.private(m.carol.EncryptKey)})

	signed := must[[]byte](m.t)(cms.Sign(rand.Reader, []byte("hello"), cms.Signer{Certificate: m.alice.Sign, Key: m.alice.SignKey}, begin))
	base = heads{"issuer": b64(m.Issuer.Cert.Raw), "plain": b64([]byte("hello"))}
	add = func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("cms-signed", name, what, expect, why, time.Time{}, raw, base, over...)
	}
	add("plain", "SignedData", vectors.Success, "it is genuine", signed)
	add("content", "another content", "bad signature", "the digest of the content is inside the signature", m.swap(signed, "hello", "jello"))
	add("signature", "a bit of the signature is changed", "bad signature", "the signature is over the attributes", flip(signed, -1))
	add("sealed", "a sealed message", "unsupported", "the two forms are not mixed up", good)
	add("issuer", "a signer of another authority", "untrusted", "anybody can make a certificate", signed, heads{"issuer": b64(m.Issuer.Root.Raw)})
	add("cut", "the last byte is missing", "malformed", der, signed[:len(signed)-1])
	add("behind", "a byte stands behind", "malformed", der, append(bytes.Clone(signed), 0))
	add("empty", "no byte at all", "malformed", der, nil)
}
