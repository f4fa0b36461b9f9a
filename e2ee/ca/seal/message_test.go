package seal_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/town"
)

// now is the time of the tests.
var now = town.Now

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func content() seal.Content {
	return seal.Content{To: []quinta.UserID{"bob@hs1"}, Conv: "conv", ID: "m1", Seq: 1, Time: now.UnixMilli(), Body: []byte(`{"text":"hi"}`)}
}

func expect() seal.Expect {
	return seal.Expect{From: "alice@hs1", Conv: "conv", Self: "bob@hs1", Now: now.Add(time.Minute)}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	w := town.New(t)
	alice, bob, carol := w.Person("alice@hs1", "A"), w.Person("bob@hs1", "B"), w.Person("carol@hs1", "C")
	raw, err := seal.Seal(rand.Reader, alice, content(), []*x509.Certificate{bob.Encrypt})
	if err != nil {
		t.Fatal(err)
	}
	o, err := seal.Open(raw, bob, w.Verifier, expect())
	if err != nil {
		t.Fatal(err)
	}
	if o.Device != "A" || o.Content.From != "alice@hs1" || string(o.Content.Body) != `{"text":"hi"}` {
		t.Errorf("got %+v", o)
	}
	if _, err := seal.Open(raw, carol, w.Verifier, expect()); !errors.Is(err, seal.ErrNotRecipient) {
		t.Errorf("carol: got %v, want ErrNotRecipient", err)
	}
	for name, c := range map[string]struct {
		change func(*seal.Expect)
		want   error
	}{
		"another sender by the transport": {func(x *seal.Expect) { x.From = "carol@hs1" }, cert.ErrMismatch},
		"another conversation":            {func(x *seal.Expect) { x.Conv = "other" }, cert.ErrMismatch},
		"another recipient":               {func(x *seal.Expect) { x.Self = "carol@hs1" }, cert.ErrMismatch},
		"from the future":                 {func(x *seal.Expect) { x.Now = now.Add(-time.Hour) }, cert.ErrReplayed},
		"too old":                         {func(x *seal.Expect) { x.Received = now.Add(30 * 24 * time.Hour) }, cert.ErrReplayed},
		"status unknown":                  {func(x *seal.Expect) { x.Now = now.Add(48 * time.Hour) }, cert.ErrNoStatus},
	} {
		x := expect()
		c.change(&x)
		if _, err := seal.Open(raw, bob, w.Verifier, x); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	w.Revoke(cert.Revoked{Serial: alice.Sign.SerialNumber, At: now.Add(time.Hour), Reason: cert.ReasonKeyCompromise})
	if _, err := seal.Open(raw, bob, w.Verifier, expect()); !errors.Is(err, cert.ErrExpired) {
		t.Errorf("a key in other hands: got %v, want ErrExpired", err)
	}
	if _, err := seal.Seal(rand.Reader, alice, content(), []*x509.Certificate{bob.Sign}); !errors.Is(err, cert.ErrUntrusted) {
		t.Errorf("sealed to a certificate that is to sign: got %v", err)
	}
}
