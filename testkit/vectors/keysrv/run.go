// Package keysrv runs the vectors of the forms of the key server: each is given to
// the reader of its kind, which accepts or refuses it as the file says. The
// package that owns the forms runs them in its test.
package keysrv

import (
	"bytes"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// Suite is how the vectors of this folder are run.
var Suite = vectors.Suite{Inputs: inputs, Refusals: refusals, Kinds: map[string]vectors.Reader{"payload": read(payload), "wrap": read(wrap), "device": read(device),
	"proof": read(proof), "file": read(sealedFile)}}

// read is a reader that compares what comes out by itself.
func read(fn func(*testing.T, vector) error) vectors.Reader {
	return func(t *testing.T, f *vectors.File) ([]byte, error) {
		if err := fn(t, vector{f}); err != nil {
			return nil, err
		}
		return f.Bytes("plain")
	}
}

// inputs are the head lines of all kinds.
var inputs = []string{"suite", "key", "object", "from", "to", "stanza", "text", "conversation", "created", "expires", "check", "signature", "user",
	"device", "record", "approver", "method", "url", "token", "thumbprint", "now", "first", "plain"}

// refusals are the names of refusals, with the errors that they stand for.
var refusals = map[string][]error{"malformed": {keysrv.ErrMalformed}, "unsupported": {keysrv.ErrUnsupported}, "tampered": {keysrv.ErrTampered},
	"sender mismatch": {keysrv.ErrMismatch, keysrv.ErrUntrusted}, "proof": {keysrv.ErrProof}}

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
