package matrix

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"

	"github.com/quinta-chat/quinta/e2ee/attachment"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// session returns a session as exports and backups have it.
func (m *maker) session() keyexport.Session {
	out := must[*megolm.Outbound](m.t)(megolm.NewOutbound(m.rand))
	in := must[*megolm.Inbound](m.t)(megolm.NewInbound(out.SessionKey()))
	return keyexport.Session{RoomID: "!room:x", SessionID: string(in.ID()), SessionKey: bare(must[[]byte](m.t)(in.Export(0))),
		SenderKey:         must[key.IdentityPrivate](m.t)(key.GenerateAgreement[key.Identity](m.rand)).Public().String(),
		SenderClaimedKeys: map[string]string{"ed25519": must[key.DeviceSigningPrivate](m.t)(key.GenerateSigning[key.Device](m.rand)).Public().String()}}
}

func (m *maker) exports() {
	s := m.session()
	sealed := must[[]byte](m.t)(keyexport.Seal(m.rand, []keyexport.Session{s}, "correct horse", keyexport.MinRounds))
	text := string(sealed)
	begin, rest, _ := strings.Cut(text, "\n")
	i := strings.Index(rest, "-----END")
	end := strings.TrimSpace(rest[i:])
	raw := must[[]byte](m.t)(base64.StdEncoding.DecodeString(strings.ReplaceAll(rest[:i], "\n", "")))
	file := func(b []byte) []byte { return []byte(begin + "\n" + b64(b) + "\n" + end + "\n") }
	rounds := func(n uint32) []byte {
		b := bytes.Clone(raw)
		binary.BigEndian.PutUint32(b[33:], n)
		return file(b)
	}
	base := heads{"passphrase": "correct horse", "plain": b64([]byte(s.SessionKey))}
	add := func(name, what, expect, why string, b []byte, over ...heads) {
		m.add("key-export", name, what, expect, why, b, base, over...)
	}
	const authentic = "the MAC covers all that stands before it"
	add("plain", "a file", vectors.Success, "it is genuine", sealed)
	add("crlf", "lines that end in CR LF", vectors.Success, "files travel through mail", []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	add("around", "text around it", vectors.Success, "files travel through mail", []byte("My keys:\n\n"+text+"\nkeep them\n"))
	add("passphrase", "another passphrase", "bad mac", "a wrong passphrase opens nothing", sealed, heads{"passphrase": "wrong horse"})
	add("salt", "a bit of the salt is changed", "bad mac", authentic, file(flip(raw, 1)))
	add("iv", "a bit of the IV is changed", "bad mac", authentic, file(flip(raw, 17)))
	add("text", "a bit of the ciphertext is changed", "bad mac", authentic, file(flip(raw, 40)))
	add("mac", "a bit of the MAC is changed", "bad mac", authentic, file(flip(raw, -1)))
	add("cut", "the last byte is missing", "bad mac", authentic, file(raw[:len(raw)-1]))
	add("rounds", "another number of rounds", "bad mac", authentic, rounds(keyexport.MinOpenRounds))
	add("rounds-few", "too few rounds", "weak", "a passphrase would be cheap to guess", rounds(keyexport.MinOpenRounds-1))
	add("rounds-none", "no rounds", "malformed", "the passphrase would be used as it is", rounds(0))
	add("rounds-many", "more rounds than a reader pays for", "too large", "a file may not cost its reader hours", rounds(keyexport.MaxRounds+1))
	add("rounds-most", "the most rounds that the form can say", "too large", "a file may not cost its reader hours", rounds(1<<32-1))
	add("version", "version 2", "malformed", "only version 1 is read", file(append([]byte{2}, raw[1:]...)))
	add("short", "shorter than head and MAC", "malformed", "there is nothing to open", file(raw[:68]))
	add("no-begin", "no first line", "malformed", "it is not such a file", []byte(rest))
	add("no-end", "no last line", "malformed", "it may be cut", []byte(begin+"\n"+rest[:i]))
	add("base64", "a character that is not base64", "malformed", "it is not such a file", []byte(begin+"\n*"+rest))
}

func (m *maker) backups() {
	k := must[key.BackupPrivate](m.t)(key.GenerateAgreement[key.Backup](m.rand))
	s, other := m.session(), m.session()
	entry := func(s keyexport.Session) keybackup.SessionData {
		return must[keybackup.Entry](m.t)(keybackup.Seal(m.rand, k.Public(), s, true)).SessionData
	}
	good := entry(s)
	base := heads{"key": b64(k.Secret()), "room": s.RoomID, "session": s.SessionID, "plain": b64([]byte(s.SessionKey))}
	add := func(name, what, expect, why string, change func(*keybackup.SessionData), over ...heads) {
		d := good
		if change != nil {
			change(&d)
		}
		m.add("key-backup", name, what, expect, why, must[[]byte](m.t)(json.Marshal(d)), base, over...)
	}
	const form = "each part has its size, and is there"
	add("plain", "an entry", vectors.Success, "it is genuine", nil)
	add("other-key", "the backup of another key", "bad mac", "only the key's owner opens it", nil, heads{"key": b64(m.agreement())})
	add("other-session", "the entry of another session", "mismatch", "the server could put one session in place of another", func(d *keybackup.SessionData) { *d = entry(other) })
	add("other-id", "named as another session", "mismatch", "the server could put one session in place of another", nil, heads{"session": other.SessionID})
	add("ephemeral", "another ephemeral key", "bad mac", "the keys are derived with it", func(d *keybackup.SessionData) { d.Ephemeral = bare(m.agreement()) })
	add("ephemeral-weak", "an ephemeral key of small order", "malformed", "the agreement would be known to everybody", func(d *keybackup.SessionData) { d.Ephemeral = bare(low) })
	add("no-ephemeral", "no ephemeral key", "malformed", form, func(d *keybackup.SessionData) { d.Ephemeral = "" })
	add("mac", "another MAC", "bad mac", "the MAC depends on the agreed key", func(d *keybackup.SessionData) { d.MAC = "AAAAAAAAAAA" })
	add("mac-long", "a MAC of 9 bytes", "malformed", form, func(d *keybackup.SessionData) { d.MAC = "AAAAAAAAAAAA" })
	add("no-mac", "no MAC", "malformed", form, func(d *keybackup.SessionData) { d.MAC = "" })
	add("no-text", "no ciphertext", "malformed", form, func(d *keybackup.SessionData) { d.Ciphertext = "" })
	add("base64", "a ciphertext that is not base64", "malformed", form, func(d *keybackup.SessionData) { d.Ciphertext = "*" })
	add("half-block", "a ciphertext of 3 bytes", "malformed", form, func(d *keybackup.SessionData) { d.Ciphertext = "AAAA" })
	add("padding", "a ciphertext with wrong padding", "bad mac", "there is one error for all that does not open", func(d *keybackup.SessionData) { d.Ciphertext = "AAAAAAAAAAAAAAAAAAAAAA" })
}

func (m *maker) secrets() {
	k := must[key.SecretStorageKey](m.t)(key.GenerateSymmetric[key.SecretStorage](m.rand))
	good := must[secretstorage.Encrypted](m.t)(secretstorage.Seal(m.rand, k, secretstorage.NameMaster, []byte("a secret")))
	base := heads{"key": b64(k.Secret()), "key-id": "KEY", "secret": secretstorage.NameMaster, "plain": b64([]byte("a secret"))}
	add := func(name, what, expect, why string, change func(*secretstorage.Encrypted), over ...heads) {
		e := good
		if change != nil {
			change(&e)
		}
		m.add("secret", name, what, expect, why, secretstorage.SecretContent("KEY", e), base, over...)
	}
	turn := func(text *string) {
		raw := must[[]byte](m.t)(base64.RawStdEncoding.DecodeString(strings.TrimRight(*text, "=")))
		*text = base64.StdEncoding.EncodeToString(flip(raw, 0))
	}
	const authentic = "what is not authentic is not opened"
	add("plain", "a secret", vectors.Success, "it is genuine", nil)
	add("name", "a secret under another name", "bad mac", "the server could swap two secrets: the keys are derived with the name", nil, heads{"secret": secretstorage.NameSelfSigning})
	add("key", "another key", "bad mac", authentic, nil, heads{"key": b64(m.bytes(32))})
	add("key-id", "not stored under this key", "not stored", "it is for another key", nil, heads{"key-id": "OTHER"})
	add("text", "a bit of the ciphertext is changed", "bad mac", authentic, func(e *secretstorage.Encrypted) { turn(&e.Ciphertext) })
	add("mac", "a bit of the MAC is changed", "bad mac", authentic, func(e *secretstorage.Encrypted) { turn(&e.MAC) })
	add("iv-short", "an IV of 3 bytes", "malformed", "each part has its size", func(e *secretstorage.Encrypted) { e.IV = "AAAA" })
	add("mac-short", "a MAC of 3 bytes", "malformed", "a short MAC can be guessed", func(e *secretstorage.Encrypted) { e.MAC = "AAAA" })
	add("mac-empty", "no MAC", "malformed", "nothing would be authentic", func(e *secretstorage.Encrypted) { e.MAC = "" })
	add("base64", "a ciphertext that is not base64", "malformed", "it is not a secret", func(e *secretstorage.Encrypted) { e.Ciphertext = "*" })
	m.secretSigning(k)
	m.secretKeys(k)
}

// secretSigning are secrets that belong to a public key: the MAC of the form
// does not cover the IV, so that what opens is held against that key.
func (m *maker) secretSigning(k key.SecretStorageKey) {
	private := m.bytes(32)
	public := must[key.MasterPrivate](m.t)(key.NewSigningPrivate[key.Master](private)).Public()
	other := must[key.MasterPrivate](m.t)(key.NewSigningPrivate[key.Master](m.bytes(32))).Public()
	good := must[secretstorage.Encrypted](m.t)(secretstorage.Seal(m.rand, k, secretstorage.NameMaster, secretstorage.Text(private)))
	base := heads{"key": b64(k.Secret()), "key-id": "KEY", "secret": secretstorage.NameMaster, "public": b64(public.Bytes()), "plain": b64(private)}
	const held = "a secret is held against its public key: whoever stores it could put another one there"
	content := secretstorage.SecretContent("KEY", good)
	m.add("secret-signing", "plain", "a private signing key", vectors.Success, "it is genuine", content, base)
	m.add("secret-signing", "public", "a private key of another public key", "mismatch", held, content, base, heads{"public": b64(other.Bytes())})
	iv := good
	iv.IV = bare(flip(must[[]byte](m.t)(base64.RawStdEncoding.DecodeString(strings.TrimRight(good.IV, "="))), 0))
	m.add("secret-signing", "iv", "a bit of the IV is changed", "mismatch", "the MAC does not cover the IV: only the public key says that another secret came out",
		secretstorage.SecretContent("KEY", iv), base)
	seal := func(secret string) []byte {
		return secretstorage.SecretContent("KEY", must[secretstorage.Encrypted](m.t)(secretstorage.Seal(m.rand, k, secretstorage.NameMaster, []byte(secret))))
	}
	m.add("secret-signing", "short", "a private key of 31 bytes", "mismatch", held, seal(bare(private[:31])), base)
	m.add("secret-signing", "base64", "a private key that is not base64", "mismatch", held, seal("*"), base)
}

// secretKeys are descriptions of keys, which the server could change.
func (m *maker) secretKeys(k key.SecretStorageKey) {
	p := must[secretstorage.Passphrase](m.t)(secretstorage.NewPassphrase(m.rand))
	p.Iterations = secretstorage.MinIterations
	byWord := must[key.SecretStorageKey](m.t)(p.Key("correct horse"))
	good := must[secretstorage.Description](m.t)(secretstorage.Describe(m.rand, byWord, "", &p))
	base := heads{"passphrase": "correct horse"}
	add := func(name, what, expect, why string, change func(*secretstorage.Description, *secretstorage.Passphrase), over ...heads) {
		d, word := good, p
		d.Passphrase = &word
		if change != nil {
			change(&d, &word)
		}
		m.add("secret-key", name, what, expect, why, must[[]byte](m.t)(json.Marshal(d)), base, over...)
	}
	add("plain", "the description of a key from a passphrase", vectors.Success, "it is genuine", nil)
	add("passphrase", "another passphrase", "bad mac", "the check value says that the key is wrong", nil, heads{"passphrase": "wrong horse"})
	add("other-key", "another key", "bad mac", "the check value says that the key is wrong", nil, heads{"passphrase": "", "key": b64(k.Secret())})
	add("algorithm", "an algorithm that is not known", "unsupported", "what is not known is not guessed at", func(d *secretstorage.Description, _ *secretstorage.Passphrase) { d.Algorithm = "m.secret_storage.v9" })
	add("derivation", "a derivation that is not known", "unsupported", "what is not known is not guessed at", func(_ *secretstorage.Description, w *secretstorage.Passphrase) { w.Algorithm = "m.md5" })
	add("bits", "a key of 128 bits", "unsupported", "the server could make the key short", func(_ *secretstorage.Description, w *secretstorage.Passphrase) { w.Bits = 128 })
	add("few", "too few iterations", "weak", "the server could make the passphrase cheap to guess", func(_ *secretstorage.Description, w *secretstorage.Passphrase) { w.Iterations-- })
	add("many", "too many iterations", "unsupported", "a description may not cost its reader hours", func(_ *secretstorage.Description, w *secretstorage.Passphrase) {
		w.Iterations = secretstorage.MaxIterations + 1
	})
	add("no-salt", "no salt", "malformed", "one guess would serve for many users", func(_ *secretstorage.Description, w *secretstorage.Passphrase) { w.Salt = "" })
	add("half-check", "an IV without its check value", "malformed", "the server could take the check away", func(d *secretstorage.Description, _ *secretstorage.Passphrase) { d.MAC = "" })
	add("check", "another check value", "bad mac", "the check value is over the key", func(d *secretstorage.Description, _ *secretstorage.Passphrase) { d.MAC = b64(m.bytes(32)) })
}

func (m *maker) files() {
	r := must[*attachment.SealReader](m.t)(attachment.NewSealReader(m.rand, strings.NewReader("a file")))
	sealed := must[[]byte](m.t)(io.ReadAll(r))
	desc := string(must[*attachment.File](m.t)(r.File("mxc://x/file")).Encode())
	base := heads{"file": desc, "plain": b64([]byte("a file"))}
	const hashed = "the hash in the message covers the whole file"
	m.add("attachment", "plain", "a file", vectors.Success, "it is genuine", sealed, base)
	m.add("attachment", "flipped", "a bit of the file is changed", "bad hash", hashed, flip(sealed, 2), base)
	m.add("attachment", "cut", "the last byte is missing", "bad hash", hashed, sealed[:len(sealed)-1], base)
	m.add("attachment", "behind", "a byte stands behind", "bad hash", hashed, append(bytes.Clone(sealed), 0), base)
	m.add("attachment", "empty", "no byte at all", "bad hash", hashed, nil, base)
	m.add("attachment", "large", "more bytes than the reader's limit of 1000", "too large", "the limit is asked before the hash: a server may send without end", make([]byte, maxFile+1), base)
	for _, c := range []struct{ name, what, old, new, why string }{
		{"version", "version 1 in the description", `"v2"`, `"v1"`, "version 1 has another counter"},
		{"kty", "a key of another type", `"oct"`, `"RSA"`, "it is not a key of this form"},
		{"alg", "another cipher", `A256CTR`, `A256CBC`, "a reader has one cipher"},
		{"ext", "a key that may not be taken out", `"ext":true`, `"ext":false`, "the form asks for true"},
		{"ops-encrypt", "a key that may only decrypt", `"encrypt",`, ``, "the form asks for both"},
		{"hash-name", "no SHA-256", `"sha256"`, `"sha512"`, "nothing would say that the file is the one that was sent"},
		{"url", "no address", `mxc://x/file`, ``, "there is nothing to fetch"},
		{"key-short", "a key of fewer bytes", `"k":"`, `"k":"AA`, "a key has 32 bytes"},
		{"iv-long", "an IV of more bytes", `"iv":"`, `"iv":"AAAA`, "an IV has 16 bytes"},
		{"list", "a list in place of the key", `"key":{`, `"key":[{`, "it is not JSON"},
	} {
		bad := strings.Replace(desc, c.old, c.new, 1)
		if bad == desc {
			m.t.Fatalf("%s is not in %s", c.old, desc)
		}
		m.add("attachment", c.name, c.what, "malformed", c.why, sealed, base, heads{"file": bad})
	}
}
