package rocketchat

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

var update = flag.Bool("update", false, "make the vectors again")

// TestGenerated finds that the files are those that the fixed seed gives. With
// -update it makes them again.
func TestGenerated(t *testing.T) {
	want := generate(t)
	if *update {
		if err := vectors.WriteDir(".", want); err != nil {
			t.Fatal(err)
		}
	}
	if err := vectors.Compare(".", want, Suite.Inputs...); err != nil {
		t.Errorf("got %v; \"go test -update\" makes the files that the seed gives", err)
	}
}

// TestEveryKindIsRun finds each kind in the test of the package that owns its
// form.
func TestEveryKindIsRun(t *testing.T) {
	t.Parallel()
	Suite.CheckRun(t, "../../..", "e2ee/rocketchat")
}

// A maker makes the vectors from a fixed seed.
type maker struct {
	t    *testing.T
	rand *rand.ChaCha8
	all  []*vectors.File
}

type heads map[string]string

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) add(kind, name, what, expect, why string, body []byte, base heads, over ...heads) {
	in := heads{}
	for _, h := range append([]heads{base}, over...) {
		maps.Copy(in, h)
	}
	if expect != vectors.Success {
		delete(in, "plain")
	}
	m.all = append(m.all, &vectors.File{Name: kind + "-" + name, Kind: kind, What: what, Expect: expect, Why: why, Body: body, Inputs: in})
}

// generate returns all vectors. RSA keys are made by the standard library,
// whose randomness is fixed for this.
func generate(t *testing.T) []*vectors.File {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 11)
	m := &maker{t: t, rand: rand.NewChaCha8([32]byte{6})}
	m.contents()
	k, err := rocketchat.GeneratePrivateKey(m.rand)
	m.must(err)
	m.keyBlobs(k)
	m.wrapped(k)
	m.files()
	return m.all
}

// change returns an object with one member replaced, or without it for nil.
func (m *maker) change(raw, name string, value any) []byte {
	m.t.Helper()
	var o map[string]any
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	m.must(d.Decode(&o))
	if o[name] = value; value == nil {
		delete(o, name)
	}
	out, err := json.Marshal(o)
	m.must(err)
	return out
}

// flip returns base64 with one bit of byte i of what it stands for changed.
func (m *maker) flip(text string, i int) string {
	m.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	m.must(err)
	if i < 0 {
		i += len(raw)
	}
	raw[i] ^= 1
	return b64(raw)
}

func (m *maker) contents() {
	k, err := rocketchat.GenerateRoomKey(m.rand)
	m.must(err)
	c, err := rocketchat.SealContent(m.rand, k, []byte(`{"msg":"hello"}`))
	m.must(err)
	raw, err := json.Marshal(c)
	m.must(err)
	good := string(raw)
	base := heads{"key": b64([]byte(k.Secret())), "key-id": k.ID(), "plain": b64([]byte(`{"msg":"hello"}`))}
	add := func(name, what, expect, why string, b []byte, over ...heads) {
		m.add("content", name, what, expect, why, b, base, over...)
	}
	const (
		auth = "what is not authentic is not opened"
		form = "the form is an object with strings"
	)
	add("plain", "a content of the newest form", vectors.Success, "it is genuine", raw)
	add("extra", "a member that is not known", vectors.Success, "newer programs may add some", m.change(good, "x", 1))
	add("key-id", "the id of another room key", "other key", "a content names its key", m.change(good, "kid", "another"))
	add("no-key-id", "no id of a room key", "malformed", "a content names its key", m.change(good, "kid", nil))
	add("key-id-blank", "an id with a blank", "malformed", "no program writes one", m.change(good, "kid", "a b"))
	add("key-id-long", "an id of 65 characters", "malformed", "no program writes one", m.change(good, "kid", strings.Repeat("a", 65)))
	add("flipped", "a bit of the text is changed", "tampered", auth, m.change(good, "ciphertext", m.flip(c.Ciphertext, 0)))
	add("tag", "a bit of the tag is changed", "tampered", auth, m.change(good, "ciphertext", m.flip(c.Ciphertext, -1)))
	add("iv", "a bit of the IV is changed", "tampered", auth, m.change(good, "iv", m.flip(c.IV, 0)))
	add("iv-short", "an IV of 11 bytes", "malformed", "an IV has 12 bytes", m.change(good, "iv", b64(make([]byte, 11))))
	add("iv-long", "an IV of 16 bytes", "malformed", "the key decides on the cipher", m.change(good, "iv", b64(make([]byte, 16))))
	add("no-iv", "no IV", "malformed", form, m.change(good, "iv", nil))
	add("no-tag", "a text of 15 bytes", "malformed", "a tag has 16 bytes", m.change(good, "ciphertext", b64(make([]byte, 15))))
	add("empty", "no text", "malformed", form, m.change(good, "ciphertext", ""))
	add("base64", "a text that is not base64", "malformed", "the form is base64", m.change(good, "ciphertext", "!"+c.Ciphertext[1:]))
	add("number", "a number in the place of the text", "malformed", form, m.change(good, "ciphertext", 1))
	add("list", "a list", "malformed", form, []byte(`[]`))
	add("twice", "a member twice", "malformed", "which of the two counts is not known", []byte(`{"kid":"x",`+good[1:]))
	add("algorithm", "an algorithm that is not known", "unsupported", "what is not known is not guessed at", m.change(good, "algorithm", "rc.v3"))
	add("downgrade", "the name of the old algorithm", "unsupported", "the key decides on the cipher", m.change(good, "algorithm", rocketchat.AlgorithmV1))
}

func (m *maker) keyBlobs(k rocketchat.PrivateKey) {
	const password = "correct horse battery"
	blob, err := rocketchat.SealPrivateKey(m.rand, k, password, "user1")
	m.must(err)
	var w struct{ Ciphertext string }
	m.must(json.Unmarshal([]byte(blob), &w))
	base := heads{"password": password, "user": "user1", "plain": b64([]byte(k.Public().String()))}
	add := func(name, what, expect, why string, b []byte, over ...heads) {
		m.add("key-blob", name, what, expect, why, b, base, over...)
	}
	const work = "the server names the count: few make guessing cheap, many keep the device busy"
	add("plain", "a sealed private key", vectors.Success, "it is genuine", []byte(blob))
	add("password", "another password", "password", "only the password opens it", []byte(blob), heads{"password": "correct horse batterz"})
	add("flipped", "a bit of the key is changed", "password", "what is not authentic is not opened", m.change(blob, "ciphertext", m.flip(w.Ciphertext, 5)))
	add("salt", "another salt", "password", "the salt is part of what makes the key", m.change(blob, "salt", "v2:user1:x"))
	add("no-salt", "no salt", "malformed", "the salt is part of what makes the key", m.change(blob, "salt", nil))
	add("rounds-few", "999 rounds", "weak", work, m.change(blob, "iterations", 999))
	add("rounds-many", "a milliard rounds", "weak", work, m.change(blob, "iterations", 1_000_000_000))
	add("rounds-text", "rounds that are no number", "malformed", "the form is a number", m.change(blob, "iterations", "many"))
	add("cut", "half of the key", "malformed", "a private key is longer", m.change(blob, "ciphertext", w.Ciphertext[:len(w.Ciphertext)/4]))
	add("text", "text that is not JSON", "malformed", "the form is an object", []byte("a key"))
}

func (m *maker) wrapped(k rocketchat.PrivateKey) {
	r, err := rocketchat.GenerateRoomKey(m.rand)
	m.must(err)
	good, err := r.Wrap(m.rand, k.Public())
	m.must(err)
	other, err := rocketchat.GeneratePrivateKey(m.rand)
	m.must(err)
	base := heads{"key": b64([]byte(k.Secret())), "plain": b64([]byte(r.Secret()))}
	add := func(name, what, expect, why string, b string, over ...heads) {
		m.add("wrapped", name, what, expect, why, []byte(b), base, over...)
	}
	id, sealed := good[:len(r.ID())], good[len(r.ID()):]
	add("plain", "a room key for this user", vectors.Success, "it is genuine", good)
	add("other", "a room key for somebody else", "tampered", "only the private key opens it", good, heads{"key": b64([]byte(other.Secret()))})
	add("flipped", "a bit is changed", "tampered", "what is not whole does not open", id+m.flip(sealed, 40))
	add("cut", "the end is missing", "malformed", "it is as long as the modulus", good[:len(good)-8])
	add("no-id", "no id", "malformed", "a room key has an id", sealed)
	add("id-control", "an id with a control character", "malformed", "no program writes one", "\x1b"+good[1:])
	add("base64", "text that is not base64", "malformed", "the form is base64", id+strings.Repeat("!", len(sealed)))
}

func (m *maker) files() {
	s, err := rocketchat.NewFileSealer(m.rand, strings.NewReader("a file"))
	m.must(err)
	sealed, err := io.ReadAll(s)
	m.must(err)
	k, _, err := s.Key()
	m.must(err)
	var w struct {
		Encryption json.RawMessage
		SHA256     string
	}
	m.must(json.Unmarshal(k.Secret(), &w))
	base := heads{"encryption": b64(w.Encryption), "hash": w.SHA256, "plain": b64([]byte("a file"))}
	add := func(name, what, expect, why string, b []byte, over ...heads) {
		m.add("file", name, what, expect, why, b, base, over...)
	}
	const hash = "the message has the hash of the file"
	flipped := bytes.Clone(sealed)
	flipped[0] ^= 1
	add("plain", "a file", vectors.Success, "it is genuine", sealed)
	add("flipped", "a bit is changed", "tampered", hash, flipped)
	add("cut", "the last byte is missing", "tampered", hash, sealed[:len(sealed)-1])
	add("behind", "a byte stands behind", "tampered", hash, append(bytes.Clone(sealed), 0))
	add("hash", "no hash", "malformed", "nothing else authenticates a file", sealed, heads{"hash": "00"})
	add("algorithm", "a key of another algorithm", "unsupported", "what is not known is not guessed at", sealed, heads{"encryption": b64(bytes.Replace(w.Encryption, []byte("A256CTR"), []byte("A128CTR"), 1))})
	add("iv", "an IV of 3 bytes", "malformed", "an IV has 16 bytes", sealed, heads{"encryption": b64(m.change(string(w.Encryption), "iv", "AAAA"))})
}
