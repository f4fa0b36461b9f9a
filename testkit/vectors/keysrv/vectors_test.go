package keysrv

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
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

// TestGenerated finds that the files are those that the fixed seeds give. With
// -update it makes them again.
func TestGenerated(t *testing.T) {
	want := generate(t)
	if *update {
		if err := vectors.WriteDir(".", want); err != nil {
			t.Fatal(err)
		}
	}
	if err := vectors.Compare(".", want, inputs...); err != nil {
		t.Errorf("got %v; \"go test -update\" makes the files that the seeds give", err)
	}
	if len(want) < 27 {
		t.Errorf("got %d vectors, want 27 at least", len(want))
	}
}

// TestEveryKindIsRun finds each kind in the test of the package that owns its
// form.
func TestEveryKindIsRun(t *testing.T) {
	t.Parallel()
	Suite.CheckRun(t, "../../..", "e2ee/keysrv")
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
