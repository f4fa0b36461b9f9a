// Package keysrv_test runs the vectors of the forms of the key server: text
// files with head lines, of which "expect" says what must happen, and bytes in
// base64. "go test -update" makes them again.
package keysrv_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

var update = flag.Bool("update", false, "make the vectors again")

// heads are all lines that a vector may have; another one fails.
var heads = []string{"comment", "kind", "expect", "suite", "key", "object", "from", "to", "stanza", "text", "payload",
	"conversation", "created", "expires", "check", "signature", "user", "device", "record", "approver", "sealed",
	"method", "url", "token", "thumbprint", "now", "first", "plain"}

type vector map[string]string

func (v vector) bytes(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(v[name])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return raw
}

func (v vector) number(t *testing.T, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(v[name], 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
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

func TestVectors(t *testing.T) {
	if *update {
		generate(t)
	}
	files, err := filepath.Glob("*.txt")
	if err != nil || len(files) < 15 {
		t.Fatalf("got %d vectors, %v; want all of them", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			v := parse(t, raw)
			run, ok := map[string]func(*testing.T, vector) error{"payload": payload, "wrap": wrap, "device": device, "proof": proof, "file": sealedFile}[v["kind"]]
			if !ok {
				t.Fatalf("the kind %q", v["kind"])
			}
			got := "success"
			if err := run(t, v); errors.Is(err, keysrv.ErrProof) {
				got = "proof"
			} else if err != nil {
				got = string(keysrv.ReasonOf(err))
			}
			if got != v["expect"] {
				t.Errorf("got %s, want %s", got, v["expect"])
			}
		})
	}
}

func payload(t *testing.T, v vector) error {
	k, err := key.NewSymmetric[key.Conversation](v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := keysrv.NewCipher(keysrv.Suite(v["suite"]), k)
	if err != nil {
		return err
	}
	p, err := keysrv.ParsePacket(v["object"], v["payload"])
	if err != nil {
		return err
	}
	e, err := keysrv.Open(c, keysrv.Binding{ObjectID: v["object"], From: quinta.UserID(v["from"]), To: v["to"], StanzaID: quinta.MessageID(v["stanza"])}, p.Payload)
	if err == nil && string(e.Content) != v["text"] {
		t.Errorf("got %s, want %s", e.Content, v["text"])
	}
	return err
}

func (v vector) statement(t *testing.T) *keysrv.Statement {
	return &keysrv.Statement{ObjectID: v["object"], Conversation: v["conversation"], Suite: keysrv.Suite(v["suite"]), Creator: quinta.UserID(v["from"]),
		Device: quinta.DeviceID(v["device"]), Created: v.number(t, "created"), Expires: v.number(t, "expires"), Check: v.bytes(t, "check")}
}

func wrap(t *testing.T, v vector) error {
	s := v.statement(t)
	creator, err := keysrv.ParseDevice([]byte(v["approver"]))
	if err != nil {
		return err
	}
	if err := s.Verify(creator.Signing, v.bytes(t, "signature")); err != nil {
		return err
	}
	d, err := keysrv.ParseDevice([]byte(v["record"]))
	if err != nil {
		return err
	}
	private, err := key.NewAgreementPrivate[key.Identity](v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := keysrv.Unwrap(s, &keysrv.Wrapped{User: quinta.UserID(v["user"]), Device: d.ID, Suite: keysrv.WrapX25519, Sealed: v.bytes(t, "sealed")}, d.User, d.ID, private)
	if err == nil && !bytes.Equal(k.Secret(), v.bytes(t, "plain")) {
		t.Error("another key than that of the vector")
	}
	return err
}

func device(t *testing.T, v vector) error {
	d, err := keysrv.ParseDevice([]byte(v["record"]))
	if err != nil || v["approver"] == "" {
		return err
	}
	by, err := keysrv.ParseDevice([]byte(v["approver"]))
	if err != nil {
		t.Fatal(err)
	}
	return d.ApprovedBy(by)
}

func proof(t *testing.T, v vector) error {
	p, err := keysrv.ParseProof(v["text"])
	if err != nil {
		return err
	}
	return p.Check(v["method"], v["url"], v["token"], v["thumbprint"], time.Unix(v.number(t, "now"), 0))
}

func sealedFile(t *testing.T, v vector) error {
	k, err := key.NewSymmetric[key.Attachment](v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := keysrv.NewSegmentOpener(k, bytes.NewReader(v.bytes(t, "sealed")), uint64(v.number(t, "first")))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(o)
	if err == nil && !bytes.Equal(got, v.bytes(t, "plain")) {
		t.Error("another file than that of the vector")
	}
	return err
}

// A maker writes the vectors.
type maker struct {
	t    *testing.T
	rand io.Reader
}

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) write(name string, base vector, change vector) {
	m.t.Helper()
	v := vector{}
	for k, s := range base {
		v[k] = s
	}
	for k, s := range change {
		v[k] = s
	}
	var b bytes.Buffer
	for _, h := range heads {
		if v[h] != "" {
			b.WriteString(h + ": " + v[h] + "\n")
		}
	}
	m.must(os.WriteFile(name+".txt", b.Bytes(), 0o600))
}

func text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func generate(t *testing.T) {
	m := &maker{t: t, rand: rand.NewChaCha8([32]byte{7})}
	m.payloads()
	m.keys()
	m.files()
}

const began = 1777636800

func (m *maker) payloads() {
	k, err := key.GenerateSymmetric[key.Conversation](m.rand)
	m.must(err)
	b := keysrv.Binding{ObjectID: "5YGC0FF90k", From: "romeo@test.com", To: "juliet@test.com", StanzaID: "send1"}
	e := keysrv.Envelope{Device: "AAAAAAAAAAAAAAAA", Time: began * 1000, Content: json.RawMessage(`{"text":"hello"}`)}
	for _, suite := range []keysrv.Suite{keysrv.SuiteGCM, keysrv.SuiteCBC} {
		c, err := keysrv.NewCipher(suite, k)
		m.must(err)
		sealed, err := keysrv.Seal(c, m.rand, b, e)
		m.must(err)
		base := vector{"kind": "payload", "expect": "success", "suite": string(suite), "key": text(k.Secret()), "object": b.ObjectID, "from": string(b.From), "to": b.To,
			"stanza": string(b.StanzaID), "text": `{"text":"hello"}`, "payload": text(sealed)}
		if suite == keysrv.SuiteCBC {
			m.write("payload-cbc", base, vector{"comment": "the legacy suite, which nothing authenticates"})
			m.write("payload-cbc-as-gcm", base, vector{"comment": "a legacy text under a key of the default suite", "suite": "A256GCM", "expect": "unsupported"})
			m.write("payload-cbc-half-block", base, vector{"payload": text(sealed[:40]), "expect": "malformed"})
			continue
		}
		m.write("payload-gcm", base, vector{"comment": "the default suite"})
		m.write("payload-gcm-blanks", base, vector{"comment": "blanks around the base64", "payload": " " + text(sealed) + " "})
		m.write("payload-gcm-sender", base, vector{"from": "tybalt@test.com", "expect": "tampered"})
		m.write("payload-gcm-stanza", base, vector{"stanza": "send2", "expect": "tampered"})
		m.write("payload-gcm-receiver", base, vector{"to": "tybalt@test.com", "expect": "tampered"})
		m.write("payload-gcm-object", base, vector{"object": "5YGC0FF90l", "expect": "tampered"})
		flipped := bytes.Clone(sealed)
		flipped[20] ^= 1
		m.write("payload-gcm-flipped", base, vector{"payload": text(flipped), "expect": "tampered"})
		flipped = bytes.Clone(sealed)
		flipped[0] = 2
		m.write("payload-gcm-version", base, vector{"payload": text(flipped), "expect": "unsupported"})
		m.write("payload-gcm-one-block", base, vector{"comment": "the sample of the specification", "payload": "5MFUu9BmMxjkAhHs5OSqjQ==", "expect": "malformed"})
		m.write("payload-suite", base, vector{"suite": "A256CTR", "expect": "unsupported"})
	}
}

func (m *maker) device(user quinta.UserID) (*keysrv.Device, key.DeviceSigningPrivate, key.IdentityPrivate) {
	s, err := key.GenerateSigning[key.Device](m.rand)
	m.must(err)
	a, err := key.GenerateAgreement[key.Identity](m.rand)
	m.must(err)
	return keysrv.NewDevice(user, began*1000, s, a.Public()), s, a
}

func (m *maker) json(v any) string {
	raw, err := json.Marshal(v)
	m.must(err)
	return string(raw)
}

func (m *maker) keys() {
	a, sign, _ := m.device("romeo@test.com")
	b, _, agree := m.device("juliet@test.com")
	second, _, _ := m.device("romeo@test.com")
	k, err := key.GenerateSymmetric[key.Conversation](m.rand)
	m.must(err)
	s := &keysrv.Statement{ObjectID: "object1", Conversation: keysrv.DirectID(a.User, b.User), Suite: keysrv.SuiteGCM, Creator: a.User, Device: a.ID, Created: began * 1000, Expires: (began + 86400) * 1000}
	s.Check = s.Commit(k)
	w, err := keysrv.Wrap(s, k, b)
	m.must(err)
	base := vector{"kind": "wrap", "expect": "success", "suite": string(s.Suite), "key": text(agree.Secret()), "object": s.ObjectID, "from": string(a.User), "conversation": s.Conversation,
		"created": strconv.FormatInt(s.Created, 10), "expires": strconv.FormatInt(s.Expires, 10), "check": text(s.Check), "signature": text(s.Sign(sign)), "user": string(b.User),
		"device": string(a.ID), "record": m.json(b), "approver": m.json(a), "sealed": text(w.Sealed), "plain": text(k.Secret())}
	m.write("wrap", base, nil)
	m.write("wrap-object", base, vector{"object": "object2", "expect": "tampered"})
	m.write("wrap-other-user", base, vector{"user": "tybalt@test.com", "expect": "sender-mismatch"})
	flipped := bytes.Clone(w.Sealed)
	flipped[40] ^= 1
	m.write("wrap-flipped", base, vector{"sealed": text(flipped), "expect": "tampered"})

	second.Approval = second.Approve(sign, began*1000)
	dev := vector{"kind": "device", "expect": "success", "record": m.json(second), "approver": m.json(a)}
	m.write("device", dev, nil)
	m.write("device-approver", dev, vector{"approver": m.json(b), "expect": "sender-mismatch"})
	swapped := *second
	swapped.Agreement = b.Agreement
	m.write("device-swapped", dev, vector{"record": m.json(&swapped), "expect": "tampered"})

	const url = "https://keys.test.com/xmpp/v1/keys"
	p, err := keysrv.NewProof(m.rand, sign, "POST", url, "token", time.Unix(began, 0))
	m.must(err)
	pv := vector{"kind": "proof", "expect": "success", "text": p, "method": "POST", "url": url, "token": "token", "thumbprint": keysrv.Thumbprint(a.Signing), "now": strconv.Itoa(began + 5)}
	m.write("proof", pv, nil)
	m.write("proof-late", pv, vector{"now": strconv.Itoa(began + 100), "expect": "proof"})
	m.write("proof-other-url", pv, vector{"url": url + "/get", "expect": "proof"})
	m.write("proof-other-key", pv, vector{"thumbprint": keysrv.Thumbprint(b.Signing), "expect": "proof"})
}

func (m *maker) files() {
	k, err := key.GenerateSymmetric[key.Attachment](m.rand)
	m.must(err)
	s, err := keysrv.NewSegmentSealer(k, strings.NewReader("a file"))
	m.must(err)
	sealed, err := io.ReadAll(s)
	m.must(err)
	v := vector{"kind": "file", "expect": "success", "key": text(k.Secret()), "sealed": text(sealed), "first": "0", "plain": text([]byte("a file"))}
	m.write("file", v, nil)
	m.write("file-cut", v, vector{"sealed": text(sealed[:len(sealed)-1]), "expect": "tampered"})
	m.write("file-moved", v, vector{"first": "1", "expect": "tampered"})
}
