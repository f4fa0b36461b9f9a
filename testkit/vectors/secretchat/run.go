// Package secretchat runs the vectors of the forms of secret chats: each is given
// to the reader of its kind, which accepts or refuses it as the file says. The
// package that owns the forms runs them in its test.
package secretchat

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// Suite is how the vectors of this folder are run.
var Suite = vectors.Suite{Inputs: []string{"key", "iv", "side", "secret", "size", "fingerprint", "generator", "plain"}, Refusals: refusals, Kinds: map[string]vectors.Reader{
	"packet": packet, "layer": layer, "public": public, "group": group, "file": file}}

// refusals are the names of refusals, with the errors that they stand for.
var refusals = map[string][]error{
	"malformed":   {secretchat.ErrPacket, secretchat.ErrMalformed},
	"tampered":    {secretchat.ErrTampered},
	"other key":   {secretchat.ErrOtherKey, secretchat.ErrFileKey},
	"too new":     {secretchat.ErrNewer},
	"weak public": {secretchat.ErrWeakPublic},
	"weak group":  {secretchat.ErrWeakGroup},
	"size":        {secretchat.ErrFileSize},
}

// number reads an input that is a number in decimal.
func number(t *testing.T, f *vectors.File, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(f.Inputs[name], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func packet(t *testing.T, f *vectors.File) ([]byte, error) {
	k, err := secretchat.ParseKey(vectors.Input(t, f, "key"))
	if err != nil {
		t.Fatal(err)
	}
	return secretchat.Open(k, secretchat.Side(number(t, f, "side")), f.Body)
}

// layer reads a serialized message and writes its object again.
func layer(_ *testing.T, f *vectors.File) ([]byte, error) {
	_, m, err := secretchat.Parse(f.Body)
	if err != nil {
		return nil, err
	}
	return schema.Objects.Marshal(m)
}

// public agrees on a key with a public value, in the group that all know.
func public(t *testing.T, f *vectors.File) ([]byte, error) {
	s, err := secretchat.ParseSecret(vectors.Input(t, f, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Agree(secretchat.KnownGroup(), f.Body)
	if err != nil {
		return nil, err
	}
	return k.Bytes(), nil
}

// group judges a prime with a generator.
func group(t *testing.T, f *vectors.File) ([]byte, error) {
	var v secretchat.Verdicts
	_, err := v.Group(bytes.NewReader(make([]byte, 1<<20)), int(number(t, f, "generator")), f.Body)
	return nil, err
}

func file(t *testing.T, f *vectors.File) ([]byte, error) {
	k, err := secretchat.ParseFileKey(vectors.Input(t, f, "key"), vectors.Input(t, f, "iv"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = k.Open(&out, bytes.NewReader(f.Body), number(t, f, "size"), int32(number(t, f, "fingerprint")))
	return out.Bytes(), err
}
