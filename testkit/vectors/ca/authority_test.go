package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/giant"
	"github.com/quinta-chat/quinta/testkit/town"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

func (m *maker) certificates() {
	base := m.chain()
	base["use"], base["at"], base["plain"] = string(cert.UseSign), stamp(begin), b64([]byte("alice@hs1"))
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("certificate", name, what, expect, why, begin.Add(time.Minute), raw, base, over...)
	}
	good := m.alice.Sign
	add("plain", "a device's certificate", vectors.Success, "it is genuine", good.Raw)
	add("signature", "a bit of the signature is changed", "untrusted", "the authority has not signed it", flip(good.Raw, -1))
	add("name", "another user", "untrusted", "the authority has not signed it", bytes.ReplaceAll(good.Raw, []byte("alice"), []byte("clara")))
	add("use", "used to encrypt", "untrusted", "a certificate is for one use", good.Raw, heads{"use": string(cert.UseEncrypt)})
	add("early", "used before it began", "expired", "a certificate bounds its time", good.Raw, heads{"at": stamp(begin.Add(-24 * time.Hour))})
	add("late", "used after its end", "expired", "a certificate bounds its time", good.Raw, heads{"at": stamp(begin.Add(cert.Validity + time.Hour))})
	add("revoked", "revoked", "expired", "the authority took it back", good.Raw, heads{"crl": m.crl(begin, cert.Revoked{Serial: good.SerialNumber, At: begin, Reason: cert.ReasonKeyCompromise})})
	add("no-status", "no revocation list", "no status", "who hides the list could use a revoked certificate", good.Raw, heads{"crl": ""})
	add("status-old", "a revocation list that has expired", "no status", "who holds the list back could use a revoked certificate", good.Raw, heads{"crl": m.crl(begin.Add(-10 * 24 * time.Hour))})
	stranger := town.New(m.t)
	add("stranger", "of another authority with the same name", "untrusted", "anybody can found an authority", stranger.Person("alice@hs1", "A").Sign.Raw)
	add("authority", "the authority's own certificate", "malformed", "it names no device", m.Issuer.Cert.Raw)
	add("cut", "the last byte is missing", "malformed", "the form is DER, and complete", good.Raw[:len(good.Raw)-1])
	add("behind", "a byte stands behind", "malformed", "the form is DER, and complete", append(bytes.Clone(good.Raw), 0))
	add("giant", "an RSA key of 16384 bits", "malformed", "a stranger's number does not go into arithmetic", giant.Certificate(16384))
}

func (m *maker) requests() {
	k := town.Key(m.t)
	id := cert.Identity{User: "alice@hs1", Device: "A", Use: cert.UseSign}
	good := must[[]byte](m.t)(cert.NewRequest(rand.Reader, id, k))
	base := heads{"user": "alice@hs1", "device": "A", "use": string(cert.UseSign)}
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("request", name, what, expect, why, time.Time{}, raw, base, over...)
	}
	bare := func(k crypto.Signer) []byte {
		return must[[]byte](m.t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice@hs1"}}, k))
	}
	const der = "the form is DER, and complete"
	add("plain", "a request", vectors.Success, "it is genuine", good)
	add("user", "for another user", "mismatch", "who asks is known, and gets a certificate for themselves", good, heads{"user": "bob@hs1"})
	add("device", "for another device", "mismatch", "who asks is known, and gets a certificate for themselves", good, heads{"device": "B"})
	add("use", "for another use", "mismatch", "each use has its key", good, heads{"use": string(cert.UseEncrypt)})
	add("signature", "a bit of the signature is changed", "possession", "a request is signed by its own key", flip(good, -1))
	add("name", "another user inside", "possession", "a request is signed by its own key", bytes.ReplaceAll(good, []byte("alice"), []byte("clara")))
	add("cut", "the last byte is missing", "malformed", der, good[:len(good)-1])
	add("behind", "a byte stands behind", "malformed", der, append(bytes.Clone(good), 0))
	add("empty", "no byte at all", "malformed", der, nil)
	add("large", "more than 16 KiB", "malformed", "a stranger's request costs little", make([]byte, 17<<10))
	add("p384", "a key on P-384", "unsupported", "keys are RSA or P-256", bare(must[*ecdsa.PrivateKey](m.t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))))
	add("weak", "an RSA key of 2048 bits", "unsupported", "an RSA key has 3072 bits", bare(must[*rsa.PrivateKey](m.t)(rsa.GenerateKey(rand.Reader, 2048))))
	add("giant", "an RSA key of 16384 bits", "unsupported", "a stranger's number does not go into arithmetic", giant.Request(16384))
	add("no-names", "no alternative names", vectors.Success, "the certificate is for the device that is known to ask", bare(town.Key(m.t)))
}

func (m *maker) lists() {
	good := must[[]byte](m.t)(m.Issuer.NewCRL(1, []cert.Revoked{{Serial: m.carol.Sign.SerialNumber, At: begin, Reason: cert.ReasonKeyCompromise}}, begin, begin.Add(24*time.Hour)))
	base := heads{"issuer": b64(m.Issuer.Cert.Raw)}
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("crl", name, what, expect, why, time.Time{}, raw, base, over...)
	}
	add("plain", "a revocation list", vectors.Success, "it is genuine", good)
	add("signature", "a bit of the signature is changed", "untrusted", "the issuer signs its list", flip(good, -1))
	add("serial", "another serial number", "untrusted", "the issuer signs its list", m.swap(good, string(m.carol.Sign.SerialNumber.Bytes()), string(flip(m.carol.Sign.SerialNumber.Bytes(), -1))))
	add("issuer", "of another issuer", "untrusted", "an issuer speaks for its own certificates", good, heads{"issuer": b64(m.Issuer.Root.Raw)})
	add("stranger", "of another issuer with the same name", "untrusted", "a name is no key", good, heads{"issuer": b64(town.New(m.t).Issuer.Cert.Raw)})
	add("cut", "the last byte is missing", "malformed", "the form is DER, and complete", good[:len(good)-1])
	add("empty", "no byte at all", "malformed", "the form is DER, and complete", nil)
	add("certificate", "a certificate", "malformed", "it is no list", m.alice.Sign.Raw)
}

func (m *maker) statements() {
	oldKey, newKey, other := town.Key(m.t), town.Key(m.t), town.Key(m.t)
	oldID, newID := cert.FingerprintOf(m.spki(oldKey)), cert.FingerprintOf(m.spki(newKey))
	st := cert.RenewalStatement{Username: "alice@hs1", Device: "A", OldKeyID: oldID, NewKey: newID, Expires: begin.Unix(), Nonce: "nonce", Time: begin.UnixMilli()}
	base := heads{"user": "alice@hs1", "device": "A", "old-key": b64(m.spki(oldKey)), "new-key": b64(m.spki(newKey)), "old-key-id": string(oldID), "new-key-id": string(newID)}
	kind, clock := "renewal", begin
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add(kind, name, what, expect, why, clock, raw, base, over...)
	}
	text := func(v any, err error) []byte {
		m.t.Helper()
		return must[[]byte](m.t)(json.Marshal(must[any](m.t)(v, err)))
	}
	renewal := func(st cert.RenewalStatement, a, b crypto.Signer) []byte {
		return text(cert.NewRenewal(rand.Reader, st, a, b))
	}
	both := func(good []byte, oldSigned, newSigned []byte) {
		const asked, held, window = "the statement is held against what is asked for", "both keys sign, so that both are held", "a statement serves for ten minutes"
		add("plain", "signed", vectors.Success, "it is genuine", good)
		add("user", "for another user", "mismatch", asked, good, heads{"user": "bob@hs1"})
		add("device", "for another device", "mismatch", asked, good, heads{"device": "B"})
		add("key", "for another key", "mismatch", asked, good, heads{"new-key-id": string(cert.FingerprintOf(m.spki(other)))})
		add("by", "by another key", "mismatch", asked, good, heads{"old-key-id": string(cert.FingerprintOf(m.spki(other)))})
		add("old-signature", "signed by another key than the old one", "possession", held, oldSigned)
		if newSigned != nil {
			add("new-signature", "signed by another key than the new one", "possession", held, newSigned)
		}
		add("twice", "a name twice in the statement", "malformed", "two readers could see two different statements", m.swap(good, `"device":`, `"device":"X","device":`))
		add("not-json", "cut", "malformed", "it is not JSON", good[:len(good)-1])
		clock = begin.Add(11 * time.Minute)
		add("late", "eleven minutes later", "replayed", window, good)
		clock = begin.Add(-11 * time.Minute)
		add("early", "eleven minutes before", "replayed", window, good)
		clock = begin
	}
	base["expires"], base["plain"] = strconv.FormatInt(st.Expires, 10), b64([]byte("nonce"))
	good := renewal(st, oldKey, newKey)
	both(good, renewal(st, other, newKey), renewal(st, oldKey, other))
	add("expires", "until another time", "mismatch", "the expiry is inside the signatures", good, heads{"expires": strconv.FormatInt(st.Expires+1, 10)})
	add("changed", "until another time, in the statement too", "possession", "the expiry is inside the signatures", m.swap(good, fmt.Sprint(st.Expires), fmt.Sprint(st.Expires+1)),
		heads{"expires": strconv.FormatInt(st.Expires+1, 10)})

	kind = "approval"
	delete(base, "expires")
	delete(base, "plain")
	delete(base, "new-key")
	ap := cert.ApprovalStatement{Username: "alice@hs1", Device: "A", KeyID: newID, By: oldID, Time: begin.UnixMilli()}
	approval := func(k crypto.Signer) []byte { return text(cert.NewApproval(rand.Reader, ap, k)) }
	both(approval(oldKey), approval(other), nil)
	add("renewal", "a renewal in place of an approval", "mismatch", "a statement names its purpose", m.swap(m.swap(good, `"renewalStatement"`, `"statement"`), `"oldSignature"`, `"signature"`))
}

func (m *maker) legacyKeys() {
	p, old := town.NewPal(m.t, "alice@hs1"), town.NewPal(m.t, "alice@hs1")
	const one = "one key has one encoding, as its fingerprint is its name"
	sign := func(raw []byte) heads {
		sum := sha1.Sum(raw)
		return heads{"old-key": b64(old.SPKI), "signature": b64(must[[]byte](m.t)(rsa.SignPKCS1v15(nil, old.Key, crypto.SHA1, sum[:])))}
	}
	for _, c := range []struct {
		name, what, expect, why string
		raw                     []byte
	}{
		{"plain", "a key", vectors.Success, "it is genuine", p.SPKI},
		{"behind", "a byte stands behind", "malformed", one, append(bytes.Clone(p.SPKI), 0)},
		{"cut", "the last byte is missing", "malformed", one, p.SPKI[:len(p.SPKI)-1]},
		{"bare", "the form of PKCS #1", "malformed", one, x509.MarshalPKCS1PublicKey(&p.Key.PublicKey)},
		{"p256", "a key on P-256", "unsupported", "the profile has RSA with 1024 bits", m.spki(town.Key(m.t))},
		{"giant", "an RSA key of 16384 bits", "malformed", "a stranger's number does not go into arithmetic: no key of the profile is so long", giant.PublicKey(16384)},
		{"empty", "no byte at all", "malformed", one, nil},
		{"large", "5000 bytes", "malformed", "a stranger's key costs little", make([]byte, 5000)},
	} {
		m.add("legacy-key", c.name, c.what, c.expect, c.why, time.Time{}, c.raw, nil)
		m.add("legacy-renewal", c.name, "a signed renewal to "+c.what, c.expect, c.why, time.Time{}, c.raw, sign(c.raw))
	}
	m.add("legacy-renewal", "signature", "a bit of the signature is changed", "possession", "the old key signs the new one", time.Time{}, p.SPKI, sign(old.SPKI))
}

func (m *maker) backups() {
	recovery := [32]byte{7}
	good := must[[]byte](m.t)(seal.SealBackup(rand.Reader, []byte("the keys"), seal.FromRecovery(recovery)))
	base := heads{"recovery": b64(recovery[:]), "plain": b64([]byte("the keys"))}
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("backup", name, what, expect, why, time.Time{}, raw, base, over...)
	}
	const cost = "a backup may not cost its reader hours, nor be cheap to guess"
	add("plain", "a backup under a recovery key", vectors.Success, "it is genuine", good)
	word := must[*seal.BackupSecret](m.t)(seal.FromPassphrase("a long passphrase"))
	add("passphrase", "a backup under a passphrase", vectors.Success, "it is genuine", must[[]byte](m.t)(seal.SealBackup(rand.Reader, []byte("the keys"), word)), heads{"passphrase": "a long passphrase"})
	add("other-key", "another recovery key", "tampered", "there is one refusal for a wrong key and a changed backup", good, heads{"recovery": b64(bytes.Repeat([]byte{1}, 32))})
	add("other-kind", "opened with a passphrase", "unsupported", "the kind of secret is named", good, heads{"passphrase": "a long passphrase"})
	add("version", "version 2", "unsupported", "what is not known is not guessed at", m.swap(good, `"v":1`, `"v":2`))
	add("memory", "4 TB of memory", "unsupported", cost, m.swap(good, `"kdf":"recovery"`, `"kdf":"argon2id","memory":4000000000,"threads":4,"time":3`), heads{"passphrase": "a long passphrase"})
	add("cheap", "8 KB of memory", "unsupported", cost, m.swap(good, `"kdf":"recovery"`, `"kdf":"argon2id","memory":8,"threads":1,"time":1`), heads{"passphrase": "a long passphrase"})
	add("nonce", "no nonce", "malformed", "each part has its size", m.swap(good, `"nonce":"`, `"nonce":"","x":"`))
	add("sealed", "a bit of the text is changed", "tampered", "what is not authentic is not opened", m.turn(good, "sealed"))
	add("salt", "a bit of the salt is changed", "tampered", "the head is authenticated", m.turn(good, "salt"))
	add("twice", "a name twice", "malformed", "two readers could see two different backups", m.swap(good, `"v":1`, `"v":1,"v":1`))
	add("cut", "the last byte is missing", "malformed", "it is not JSON", good[:len(good)-1])
}

// turn changes a bit of a member in base64.
func (m *maker) turn(raw []byte, name string) []byte {
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		m.t.Fatal(err)
	}
	var part []byte
	text := must[[]byte](m.t)(json.Marshal(all[name]))
	if err := json.Unmarshal(text, &part); err != nil {
		m.t.Fatal(err)
	}
	all[name] = flip(part, 0)
	return must[[]byte](m.t)(json.Marshal(all))
}

func (m *maker) sessions() {
	o := must[seal.Offer](m.t)(seal.NewOffer(rand.Reader))
	a := must[*seal.Session](m.t)(seal.NewSession(o, "conv", "alice@hs1", "A", "bob@hs1", begin))
	packet := func(at time.Time) []byte {
		return must[[]byte](m.t)(a.Seal(seal.Small{ID: "m", Time: at.UnixMilli(), Body: json.RawMessage(`{"text":"hi"}`)}))
	}
	first, second := packet(begin), packet(begin)
	base := heads{"kid": o.KID, "secret": b64(o.Secret), "conv": "conv", "self": "bob@hs1", "from": "alice@hs1", "device": "A", "received": stamp(begin), "plain": b64([]byte(`{"text":"hi"}`))}
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("session", name, what, expect, why, time.Time{}, raw, base, over...)
	}
	add("plain", "a packet", vectors.Success, "it is genuine", first)
	add("gap", "a packet that was jumped to", vectors.Success, "packets may get lost", second)
	add("again", "a packet that was opened", "replayed", "each packet is opened once", first, heads{"before": b64(first)})
	add("order", "a packet behind a later one", "replayed", "packets come in their order", first, heads{"before": b64(second)})
	add("late", "taken in eight days after its time", "replayed", "a message's time is that at which it was sent", first, heads{"received": stamp(begin.Add(8 * 24 * time.Hour))})
	add("future", "taken in an hour before its time", "replayed", "a message's time is that at which it was sent", first, heads{"received": stamp(begin.Add(-time.Hour))})
	add("from", "from another user by the transport", "mismatch", "a session is between two users", first, heads{"from": "carol@hs1"})
	add("device", "from another device by the transport", "mismatch", "the device is authenticated", first, heads{"device": "X"})
	add("conversation", "in another conversation", "tampered", "the conversation is authenticated", first, heads{"conv": "other"})
	add("kid", "of another session", "mismatch", "the session is named", flip(first, 3))
	add("counter", "another counter", "tampered", "the counter is authenticated", flip(first, 24))
	add("version", "another version", "unsupported", "what is not known is not guessed at", flip(first, 0))
	add("text", "a bit of the text is changed", "tampered", "what is not authentic is not opened", flip(first, 30))
	add("tag", "a bit of the tag is changed", "tampered", "what is not authentic is not opened", flip(first, -1))
	add("cut", "cut in the tag", "malformed", "there is no tag", first[:30])
	add("empty", "no byte at all", "malformed", "there is no packet", nil)
}

func (m *maker) names() {
	m.add("name", "plain", "a user", vectors.Success, "it is well formed", time.Time{}, []byte("alice@hs1"), nil)
	for i, name := range []string{"аlice@hs1", "Alice@hs1", "alice@hs1\x00", "alice@hs1.", "alice", "@hs1", "alice@@hs1", "ali ce@hs1", "alice@h..s1", "*@hs1", "alice@*"} {
		m.add("name", fmt.Sprintf("lookalike-%d", i+1), fmt.Sprintf("the name %+q", name), "malformed", "two names that look alike are one name or none", time.Time{}, []byte(name), nil)
	}
}
