// Package rocketchat runs the vectors of Rocket.Chat's forms: each is given to the
// reader of its kind, which accepts or refuses it as the file says. The package
// that owns the forms runs them in its test.
package rocketchat

import (
	"bytes"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// Suite is how the vectors of this folder are run.
var Suite = vectors.Suite{Inputs: []string{"key", "key-id", "password", "user", "encryption", "hash", "plain"}, Refusals: refusals, Kinds: map[string]vectors.Reader{
	"content": content, "key-blob": keyBlob, "wrapped": wrapped, "file": file}}

// refusals are the names of refusals, with the errors that they stand for.
var refusals = map[string][]error{
	"malformed":   {rocketchat.ErrMalformed},
	"unsupported": {rocketchat.ErrUnsupported},
	"tampered":    {rocketchat.ErrTampered},
	"other key":   {rocketchat.ErrOtherKey},
	"password":    {rocketchat.ErrPassword},
	"weak":        {rocketchat.ErrWeak},
}

func content(t *testing.T, f *vectors.File) ([]byte, error) {
	k, err := rocketchat.ParseRoomKey(f.Inputs["key-id"], string(vectors.Input(t, f, "key")))
	if err != nil {
		t.Fatal(err)
	}
	c, err := rocketchat.ParseContent(f.Body)
	if err != nil {
		return nil, err
	}
	return rocketchat.OpenContent(k, c)
}

func keyBlob(_ *testing.T, f *vectors.File) ([]byte, error) {
	k, _, err := rocketchat.OpenPrivateKey(string(f.Body), f.Inputs["password"], f.Inputs["user"])
	if err != nil {
		return nil, err
	}
	return []byte(k.Public().String()), nil
}

func wrapped(t *testing.T, f *vectors.File) ([]byte, error) {
	k, err := rocketchat.ParsePrivateKey(string(vectors.Input(t, f, "key")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := rocketchat.Unwrap(k, string(f.Body))
	if err != nil {
		return nil, err
	}
	return []byte(r.Secret()), nil
}

func file(t *testing.T, f *vectors.File) ([]byte, error) {
	k, err := rocketchat.ParseFileKey(vectors.Input(t, f, "encryption"), f.Inputs["hash"])
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = rocketchat.OpenFile(&out, k, bytes.NewReader(f.Body))
	return out.Bytes(), err
}
