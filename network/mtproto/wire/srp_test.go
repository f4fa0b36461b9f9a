package wire_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/gotd/td/crypto/srp"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// TestSRP: both halves agree with each other and with another make's client,
// about the verifier and the proof; another password, another secret and values
// out of their range are refused.
func TestSRP(t *testing.T) {
	t.Parallel()
	group := secretchat.KnownGroup()
	salt1, salt2 := bytes.Repeat([]byte{1}, 40), bytes.Repeat([]byte{2}, 16)
	s, err := wire.NewSRP(group, salt1, salt2)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Verifier([]byte("a long password"))
	if err != nil || s.CheckVerifier(v) != nil {
		t.Fatal(err, s.CheckVerifier(v))
	}
	b, B, err := s.Challenge(rand.Reader, v)
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(a, m1 []byte) bool {
		t.Helper()
		ok, err := s.Verify(v, b, B, a, m1)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	a, m1, err := s.Prove(rand.Reader, []byte("a long password"), B)
	if err != nil || !verdict(a, m1) {
		t.Errorf("our own client: %v", err)
	}
	in := srp.Input{Salt1: salt1, Salt2: salt2, G: group.G(), P: group.P()}
	random := make([]byte, 256)
	rand.Read(random)
	other, err := srp.NewSRP(rand.Reader).Hash([]byte("a long password"), B, random, in)
	if err != nil || !verdict(other.A, other.M1) {
		t.Errorf("another make's client: %v", err)
	}
	wa, wm, err := s.Prove(rand.Reader, []byte("another password"), B)
	if err != nil || verdict(wa, wm) || verdict(wa, m1) || verdict(a, m1[:31]) || verdict(a, nil) {
		t.Errorf("another password, or a proof for something else: taken, %v", err)
	}
	salt := bytes.Repeat([]byte{3}, 8)
	hash, long, err := srp.NewSRP(rand.Reader).NewHash([]byte("new"), srp.Input{Salt1: salt, Salt2: salt2, G: group.G(), P: group.P()})
	if err != nil {
		t.Fatal(err)
	}
	n, err := wire.NewSRP(group, long, salt2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := n.Verifier([]byte("new")); err != nil || !bytes.Equal(got, hash) {
		t.Errorf("the verifier differs from another make's: %v", err)
	}
	p := group.P()
	for name, bad := range map[string][]byte{"0": nil, "1": {1}, "p": p, "p and more": append([]byte{1}, p...), "below the range": {1, 2, 3}} {
		if _, err := s.Verify(v, b, B, bad, m1); !errors.Is(err, wire.ErrSRP) {
			t.Errorf("A is %s: got %v, want %v", name, err, wire.ErrSRP)
		}
		if _, _, err := s.Prove(rand.Reader, []byte("x"), bad); !errors.Is(err, wire.ErrSRP) {
			t.Errorf("B is %s: got %v, want %v", name, err, wire.ErrSRP)
		}
		if err := s.CheckVerifier(bad); !errors.Is(err, wire.ErrSRP) {
			t.Errorf("the verifier is %s: got %v, want %v", name, err, wire.ErrSRP)
		}
	}
	if _, err := wire.NewSRP(group, salt1[:7], salt2); !errors.Is(err, wire.ErrSRP) {
		t.Errorf("a short salt: got %v, want %v", err, wire.ErrSRP)
	}
}
