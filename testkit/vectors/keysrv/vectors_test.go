// Package keysrv_test runs the vectors of the forms of the key server: each is
// given to the reader of its kind, which accepts or refuses it as the file
// says. "go test -update" makes the files again from a fixed seed.
package keysrv_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

var update = flag.Bool("update", false, "make the vectors again")

// inputs are the head lines of all kinds.
var inputs = []string{"suite", "key", "object", "from", "to", "stanza", "text", "conversation", "created", "expires", "check", "signature", "user",
	"device", "record", "approver", "method", "url", "token", "thumbprint", "now", "first", "plain"}

// kinds are the readers.
var kinds = map[string]func(*testing.T, vector) error{"payload": payload, "wrap": wrap, "device": device, "proof": proof, "file": sealedFile}

// refusals are the reasons by the names that vectors have for them.
var refusals = map[string]string{vectors.Success: vectors.Success, "malformed": string(quinta.ReasonMalformed), "unsupported": string(quinta.ReasonUnsupported),
	"tampered": string(quinta.ReasonTampered), "sender mismatch": string(quinta.ReasonSenderMismatch), "proof": "proof"}

// A vector is a file with the ways to read its inputs.
type vector struct{ *vectors.File }

func (v vector) in(name string) string { return v.Inputs[name] }

func (v vector) bytes(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := v.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (v vector) number(t *testing.T, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(v.in(name), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func TestVectors(t *testing.T) {
	if *update {
		if err := vectors.WriteDir(".", generate(t)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := vectors.ReadDir(".", inputs...)
	if err != nil || len(all) < 27 {
		t.Fatalf("got %d vectors, %v; want 27 at least", len(all), err)
	}
	for _, f := range all {
		t.Run(f.Name, func(t *testing.T) {
			run, ok := kinds[f.Kind]
			if !ok {
				t.Fatalf("the kind %q is not known", f.Kind)
			}
			got := vectors.Success
			if err := run(t, vector{f}); errors.Is(err, keysrv.ErrProof) {
				got = "proof"
			} else if err != nil {
				got = string(keysrv.ReasonOf(err))
			}
			if want, ok := refusals[f.Expect]; !ok || got != want {
				t.Errorf("got %s, want %s", got, f.Expect)
			}
		})
	}
}

// TestGenerated finds that the files are those that the fixed seeds give.
func TestGenerated(t *testing.T) {
	if err := vectors.Compare(".", generate(t), inputs...); err != nil {
		t.Errorf("got %v; \"go test -update\" makes the files that the seeds give", err)
	}
}

func payload(t *testing.T, v vector) error {
	k, err := key.NewSymmetric[key.Conversation](v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := keysrv.NewCipher(keysrv.Suite(v.in("suite")), k)
	if err != nil {
		return err
	}
	p, err := keysrv.ParsePacket(v.in("object"), string(v.Body))
	if err != nil {
		return err
	}
	e, err := keysrv.Open(c, keysrv.Binding{ObjectID: v.in("object"), From: quinta.UserID(v.in("from")), To: v.in("to"), StanzaID: quinta.MessageID(v.in("stanza"))}, p.Payload)
	if err == nil && string(e.Content) != v.in("text") {
		t.Errorf("got %s, want %s", e.Content, v.in("text"))
	}
	return err
}

func (v vector) statement(t *testing.T) *keysrv.Statement {
	return &keysrv.Statement{ObjectID: v.in("object"), Conversation: v.in("conversation"), Suite: keysrv.Suite(v.in("suite")), Creator: quinta.UserID(v.in("from")),
		Device: quinta.DeviceID(v.in("device")), Created: v.number(t, "created"), Expires: v.number(t, "expires"), Check: v.bytes(t, "check")}
}

func wrap(t *testing.T, v vector) error {
	s := v.statement(t)
	creator, err := keysrv.ParseDevice([]byte(v.in("approver")))
	if err != nil {
		return err
	}
	if err := s.Verify(creator.Signing, v.bytes(t, "signature")); err != nil {
		return err
	}
	d, err := keysrv.ParseDevice([]byte(v.in("record")))
	if err != nil {
		return err
	}
	private, err := key.NewAgreementPrivate[key.Identity](v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := keysrv.Unwrap(s, &keysrv.Wrapped{User: quinta.UserID(v.in("user")), Device: d.ID, Suite: keysrv.WrapX25519, Sealed: v.Body}, d.User, d.ID, private)
	if err == nil && !bytes.Equal(k.Secret(), v.bytes(t, "plain")) {
		t.Error("another key than that of the vector")
	}
	return err
}

func device(t *testing.T, v vector) error {
	d, err := keysrv.ParseDevice(v.Body)
	if err != nil || v.in("approver") == "" {
		return err
	}
	by, err := keysrv.ParseDevice([]byte(v.in("approver")))
	if err != nil {
		t.Fatal(err)
	}
	return d.ApprovedBy(by)
}

func proof(t *testing.T, v vector) error {
	p, err := keysrv.ParseProof(string(v.Body))
	if err != nil {
		return err
	}
	return p.Check(v.in("method"), v.in("url"), v.in("token"), v.in("thumbprint"), time.Unix(v.number(t, "now"), 0))
}

func sealedFile(t *testing.T, v vector) error {
	k, err := key.NewSymmetric[key.Attachment](v.bytes(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := keysrv.NewSegmentOpener(k, bytes.NewReader(v.Body), uint64(v.number(t, "first")))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(o)
	if err == nil && !bytes.Equal(got, v.bytes(t, "plain")) {
		t.Error("another file than that of the vector")
	}
	return err
}

// A maker makes the vectors from a fixed seed.
type maker struct {
	t    *testing.T
	rand io.Reader
	all  []*vectors.File
}

type heads map[string]string

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// add adds a vector: base, with what is changed. The members "what", "expect",
// "why" and "body" are the file's own; the kind is the first word of the name.
func (m *maker) add(name string, base, change heads) {
	m.t.Helper()
	in := maps.Clone(base)
	maps.Copy(in, change)
	kind, _, _ := strings.Cut(name, "-")
	f := &vectors.File{Name: name, Kind: kind, What: in["what"], Expect: in["expect"], Why: in["why"], Body: []byte(in["body"]), Inputs: in}
	for _, own := range []string{"what", "expect", "why", "body"} {
		delete(in, own)
	}
	m.all = append(m.all, f)
}

func text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// generate returns all vectors. Keys are wrapped with the randomness of the
// standard library, which is fixed for this.
func generate(t *testing.T) []*vectors.File {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 7)
	m := &maker{t: t, rand: rand.NewChaCha8([32]byte{7})}
	m.payloads()
	m.keys()
	m.files()
	return m.all
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
		base := heads{"expect": "success", "suite": string(suite), "key": text(k.Secret()), "object": b.ObjectID, "from": string(b.From), "to": b.To,
			"stanza": string(b.StanzaID), "text": `{"text":"hello"}`, "body": text(sealed)}
		if suite == keysrv.SuiteCBC {
			m.add("payload-cbc", base, heads{"what": "the legacy suite", "why": "the form is read; nothing authenticates it"})
			m.add("payload-cbc-as-gcm", base, heads{"what": "a text of the legacy suite under a key of the default suite", "why": "a key has one suite, which nobody changes", "suite": "A256GCM", "expect": "unsupported"})
			m.add("payload-cbc-half-block", base, heads{"what": "a text of two blocks and a half", "why": "a text has whole blocks", "body": text(sealed[:40]), "expect": "malformed"})
			continue
		}
		m.add("payload-gcm", base, heads{"what": "the default suite", "why": "it is genuine"})
		m.add("payload-gcm-blanks", base, heads{"what": "blanks around the base64", "why": "XML may add blanks", "body": " " + text(sealed) + " "})
		m.add("payload-gcm-sender", base, heads{"what": "from another sender", "why": "the binding is authenticated", "from": "tybalt@test.com", "expect": "tampered"})
		m.add("payload-gcm-stanza", base, heads{"what": "in another stanza", "why": "the binding is authenticated", "stanza": "send2", "expect": "tampered"})
		m.add("payload-gcm-receiver", base, heads{"what": "to another receiver", "why": "the binding is authenticated", "to": "tybalt@test.com", "expect": "tampered"})
		m.add("payload-gcm-object", base, heads{"what": "under another key object", "why": "the binding is authenticated", "object": "5YGC0FF90l", "expect": "tampered"})
		flipped := bytes.Clone(sealed)
		flipped[20] ^= 1
		m.add("payload-gcm-flipped", base, heads{"what": "a bit of the text is changed", "why": "what is not authentic is not opened", "body": text(flipped), "expect": "tampered"})
		flipped = bytes.Clone(sealed)
		flipped[0] = 2
		m.add("payload-gcm-version", base, heads{"what": "a version that is not known", "why": "what is not known is not guessed at", "body": text(flipped), "expect": "unsupported"})
		m.add("payload-gcm-one-block", base, heads{"what": "the sample of the specification, which is one block", "why": "there is no nonce and no tag", "body": "5MFUu9BmMxjkAhHs5OSqjQ==", "expect": "malformed"})
		m.add("payload-suite", base, heads{"what": "a suite that is not known", "why": "what is not known is not guessed at", "suite": "A256CTR", "expect": "unsupported"})
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
	base := heads{"expect": "success", "suite": string(s.Suite), "key": text(agree.Secret()), "object": s.ObjectID, "from": string(a.User), "conversation": s.Conversation,
		"created": strconv.FormatInt(s.Created, 10), "expires": strconv.FormatInt(s.Expires, 10), "check": text(s.Check), "signature": text(s.Sign(sign)), "user": string(b.User),
		"device": string(a.ID), "record": m.json(b), "approver": m.json(a), "body": string(w.Sealed), "plain": text(k.Secret())}
	m.add("wrap", base, heads{"what": "a wrapped key", "why": "it is genuine"})
	m.add("wrap-object", base, heads{"what": "of another key object", "why": "the statement is signed", "object": "object2", "expect": "tampered"})
	m.add("wrap-other-user", base, heads{"what": "for another user", "why": "a copy is for one device of one user", "user": "tybalt@test.com", "expect": "sender mismatch"})
	flipped := bytes.Clone(w.Sealed)
	flipped[40] ^= 1
	m.add("wrap-flipped", base, heads{"what": "a bit of the copy is changed", "why": "what is not authentic is not opened", "body": string(flipped), "expect": "tampered"})

	second.Approval = second.Approve(sign, began*1000)
	dev := heads{"expect": "success", "body": m.json(second), "approver": m.json(a)}
	m.add("device", dev, heads{"what": "a record that another device of the user approved", "why": "it is genuine"})
	m.add("device-approver", dev, heads{"what": "approved by a device of another user", "why": "only the user approves their devices", "approver": m.json(b), "expect": "sender mismatch"})
	swapped := *second
	swapped.Agreement = b.Agreement
	m.add("device-swapped", dev, heads{"what": "another user's agreement key in the record", "why": "the record signs its keys", "body": m.json(&swapped), "expect": "tampered"})

	const url = "https://keys.test.com/xmpp/v1/keys"
	p, err := keysrv.NewProof(m.rand, sign, "POST", url, "token", time.Unix(began, 0))
	m.must(err)
	pv := heads{"expect": "success", "body": p, "method": "POST", "url": url, "token": "token", "thumbprint": keysrv.Thumbprint(a.Signing), "now": strconv.Itoa(began + 5)}
	m.add("proof", pv, heads{"what": "a proof of possession", "why": "it is genuine"})
	m.add("proof-late", pv, heads{"what": "used 100 seconds later", "why": "a proof serves for a short time", "now": strconv.Itoa(began + 100), "expect": "proof"})
	m.add("proof-other-url", pv, heads{"what": "used for another address", "why": "a proof is for one request", "url": url + "/get", "expect": "proof"})
	m.add("proof-other-key", pv, heads{"what": "used with the token of another key", "why": "a token is bound to its key", "thumbprint": keysrv.Thumbprint(b.Signing), "expect": "proof"})
}

func (m *maker) files() {
	k, err := key.GenerateSymmetric[key.Attachment](m.rand)
	m.must(err)
	s, err := keysrv.NewSegmentSealer(k, strings.NewReader("a file"))
	m.must(err)
	sealed, err := io.ReadAll(s)
	m.must(err)
	v := heads{"expect": "success", "key": text(k.Secret()), "body": string(sealed), "first": "0", "plain": text([]byte("a file"))}
	m.add("file", v, heads{"what": "a sealed file", "why": "it is genuine"})
	m.add("file-cut", v, heads{"what": "the last byte is missing", "why": "the end is authenticated", "body": string(sealed[:len(sealed)-1]), "expect": "tampered"})
	m.add("file-moved", v, heads{"what": "read from the second segment", "why": "each segment has its place", "first": "1", "expect": "tampered"})
}
