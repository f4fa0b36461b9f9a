package secretchat

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"io"
	"maps"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
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
	Suite.CheckRun(t, "../../..", "e2ee/secretchat")
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

func (m *maker) bytes(n int) []byte {
	b := make([]byte, n)
	_, err := m.rand.Read(b)
	m.must(err)
	return b
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

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 1
	return b
}

func generate(t *testing.T) []*vectors.File {
	t.Helper()
	m := &maker{t: t, rand: rand.NewChaCha8([32]byte{4})}
	m.packets()
	m.layers()
	m.publics()
	m.groups()
	m.files()
	return m.all
}

func (m *maker) packets() {
	raw := m.bytes(secretchat.Size)
	k, err := secretchat.ParseKey(raw)
	m.must(err)
	body := []byte("twelve bytes")
	good, err := secretchat.Seal(m.rand, k, secretchat.Creator, body)
	m.must(err)
	base := heads{"key": b64(raw), "side": "0", "plain": b64(body)}
	add := func(name, what, expect, why string, b []byte, over ...heads) {
		m.add("packet", name, what, expect, why, b, base, over...)
	}
	const all = "msg_key covers all that is decrypted"
	add("plain", "a packet", vectors.Success, "it is genuine", good)
	add("reflected", "read as one of the other side", "tampered", "each side derives its own keys", good, heads{"side": "1"})
	add("fingerprint", "another fingerprint", "other key", "a packet names its key", flip(good, 0))
	add("msg-key", "a bit of msg_key is changed", "tampered", all, flip(good, 8))
	add("first", "a bit of the first block is changed", "tampered", all, flip(good, 24))
	add("padding", "a bit of the last block is changed", "tampered", all+", padding included", flip(good, -1))
	add("cut", "the last block is missing", "tampered", all, good[:len(good)-16])
	add("half", "half a block is missing", "malformed", "a packet has whole blocks", good[:len(good)-8])
	add("behind", "a block stands behind", "tampered", all, append(bytes.Clone(good), make([]byte, 16)...))
	add("head", "a head alone", "malformed", "there is nothing to open", good[:24])
	add("empty", "no byte at all", "malformed", "there is nothing to open", nil)
	// Well sealed, with a length that does not fit.
	length := func(name, what string, n uint32, size int) {
		data := m.bytes(size)
		binary.LittleEndian.PutUint32(data, n)
		p, err := secretchat.SealPadded(k, secretchat.Creator, data)
		m.must(err)
		add(name, what, "tampered", "a length is within the packet, whole words, and leaves 12 to 1024 bytes of padding", p)
	}
	length("length-beyond", "a length beyond the end", 64, 64)
	length("length-negative", "a negative length", 1<<31, 64)
	length("length-odd", "a length that is not whole words", 13, 64)
	length("padding-short", "8 bytes of padding", 52, 64)
	length("padding-long", "2000 bytes of padding", 44, 2048)
}

func (m *maker) layers() {
	text := &schema.DecryptedMessage{RandomID: 7, Message: "hello"}
	good, err := secretchat.Marshal(m.rand, secretchat.Header{Layer: secretchat.Layer, InSeq: 1, OutSeq: 2}, text)
	m.must(err)
	plain, err := schema.Objects.Marshal(text)
	m.must(err)
	base := heads{"plain": b64(plain)}
	add := func(name, what, expect, why string, b []byte) {
		m.add("layer", name, what, expect, why, b, base)
	}
	newer, err := secretchat.Marshal(m.rand, secretchat.Header{Layer: secretchat.Layer + 1}, text)
	m.must(err)
	const whole = "the object is complete and alone"
	add("plain", "a message", vectors.Success, "it is genuine", good)
	add("newer", "of a layer that is not known", "too new", "what is not known is not guessed at", newer)
	add("constructor", "another constructor outside", "malformed", "the layer is the outermost object", flip(good, 0))
	add("cut", "the last word is missing", "malformed", whole, good[:len(good)-4])
	add("behind", "a word stands behind", "malformed", whole, append(bytes.Clone(good), 0, 0, 0, 0))
	add("empty", "no byte at all", "malformed", whole, nil)
	random := bytes.Clone(good)
	random[4] = 8 // the length of random_bytes
	add("random", "too few random bytes", "malformed", "a message has at least 15 of them", random)
	huge := append(bytes.Clone(good[:4]), 0xfe, 0xff, 0xff, 0xff)
	add("length-huge", "a length of 16 MB", "malformed", "a length is held against what is there", huge)
}

func (m *maker) publics() {
	secret := m.bytes(secretchat.Size)
	s, err := secretchat.ParseSecret(secret)
	m.must(err)
	peer, err := secretchat.ParseSecret(m.bytes(secretchat.Size))
	m.must(err)
	g := secretchat.KnownGroup()
	good, err := peer.Public(g)
	m.must(err)
	k, err := s.Agree(g, good)
	m.must(err)
	base := heads{"secret": b64(secret), "plain": b64(k.Bytes())}
	p := new(big.Int).SetBytes(g.P())
	low := new(big.Int).Lsh(big.NewInt(1), 1984)
	value := func(v *big.Int) []byte { return v.FillBytes(make([]byte, secretchat.Size)) }
	add := func(name, what, expect, why string, b []byte) { m.add("public", name, what, expect, why, b, base) }
	const known = "the key would be known, or easy to find"
	add("plain", "a public value", vectors.Success, "it is genuine", good)
	add("zero", "0", "weak public", known, make([]byte, secretchat.Size))
	add("one", "1", "weak public", known, value(big.NewInt(1)))
	add("minus-one", "p - 1", "weak public", known, value(new(big.Int).Sub(p, big.NewInt(1))))
	add("p", "p", "weak public", known, value(p))
	add("generator", "the generator", "weak public", known, value(big.NewInt(3)))
	add("low", "2^1984 - 1", "weak public", known, value(new(big.Int).Sub(low, big.NewInt(1))))
	add("high", "p - 2^1984 + 1", "weak public", known, value(new(big.Int).Add(new(big.Int).Sub(p, low), big.NewInt(1))))
	add("long", "257 bytes", "weak public", "a value has at most 256 bytes", append([]byte{1}, good...))
	add("empty", "no byte at all", "weak public", known, nil)
}

func (m *maker) groups() {
	p := secretchat.KnownGroup().P()
	add := func(name, what, expect, why string, b []byte, g int) {
		m.add("group", name, what, expect, why, b, heads{"generator": strconv.Itoa(g)})
	}
	prime := new(big.Int).SetBytes(p)
	even := new(big.Int).Sub(prime, big.NewInt(1)).Bytes()
	add("plain", "the prime that all know, with 3", vectors.Success, "it is a safe prime", p, 3)
	add("generator-one", "the generator 1", "weak group", "every public value would be 1", p, 1)
	add("generator-large", "the generator 8", "weak group", "it is 2 to 7", p, 8)
	add("even", "an even number", "weak group", "it is no prime", even, 3)
	add("composite", "the prime and 2", "weak group", "it is no safe prime", new(big.Int).Add(prime, big.NewInt(2)).Bytes(), 3)
	add("short", "a number of 2040 bits", "weak group", "the prime has 2048 bits", p[1:], 3)
	add("long", "a number of 2056 bits", "weak group", "the prime has 2048 bits", append([]byte{1}, p...), 3)
	add("small", "2048 bits with a leading zero", "weak group", "the prime has 2048 bits", append([]byte{0}, p[:255]...), 3)
}

func (m *maker) files() {
	key, iv := m.bytes(32), m.bytes(32)
	k, err := secretchat.ParseFileKey(key, iv)
	m.must(err)
	plain := []byte("a file of some bytes")
	r, err := k.Seal(m.rand, bytes.NewReader(plain))
	m.must(err)
	sealed, err := io.ReadAll(r)
	m.must(err)
	base := heads{"key": b64(key), "iv": b64(iv), "size": strconv.Itoa(len(plain)), "fingerprint": strconv.Itoa(int(k.Fingerprint())), "plain": b64(plain)}
	add := func(name, what, expect, why string, b []byte, over ...heads) {
		m.add("file", name, what, expect, why, b, base, over...)
	}
	add("plain", "a file", vectors.Success, "it is genuine", sealed)
	add("fingerprint", "the fingerprint of another key", "other key", "a file names its key", sealed, heads{"fingerprint": "1"})
	add("short", "the last block is missing", "size", "the message says how long it is", sealed[:16])
	add("long", "a block stands behind", "size", "the message says how long it is", append(bytes.Clone(sealed), make([]byte, 16)...))
	add("size-huge", "a size of 2^62", "size", "a size is held against what is there", sealed, heads{"size": "4611686018427387904"})
	add("size-negative", "a negative size", "size", "a size is not negative", sealed, heads{"size": "-1"})
}
