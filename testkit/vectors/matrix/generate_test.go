package matrix

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// A maker makes the vectors from fixed seeds.
type maker struct {
	t    testing.TB
	rand io.Reader
	all  []*vectors.File
}

// generate returns all vectors. Each kind has a seed of its own, so that a new
// vector of one does not change those of another.
func generate(t testing.TB) []*vectors.File {
	t.Helper()
	var all []*vectors.File
	for name, fill := range map[string]func(*maker){"olm": (*maker).olm, "megolm": (*maker).megolm, "json": (*maker).json, "signed": (*maker).signed,
		"export": (*maker).exports, "backup": (*maker).backups, "secret": (*maker).secrets, "file": (*maker).files, "sas": (*maker).sas, "flow": (*maker).flows, "devices": (*maker).devices, "rooms": (*maker).rooms} {
		m := &maker{t: t, rand: rand.NewChaCha8(sha256.Sum256([]byte("vectors of Matrix: " + name)))}
		fill(m)
		all = append(all, m.all...)
	}
	return all
}

type heads map[string]string

// add adds a vector; in are its inputs, over those of base.
func (m *maker) add(kind, name, what, expect, why string, body []byte, base heads, over ...heads) {
	m.t.Helper()
	in := heads{}
	for _, h := range append([]heads{base}, over...) {
		maps.Copy(in, h)
	}
	if expect != vectors.Success {
		delete(in, "plain")
	}
	m.all = append(m.all, &vectors.File{Name: kind + "-" + name, What: what, Kind: kind, Expect: expect, Why: why, Inputs: in, Body: body})
}

// bytes returns n new bytes.
func (m *maker) bytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(m.rand, b); err != nil {
		m.t.Fatal(err)
	}
	return b
}

func (m *maker) agreement() []byte { return m.bytes(key.Size) }

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func bare(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

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

// low is a Curve25519 key of small order.
var low = []byte("\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00")
