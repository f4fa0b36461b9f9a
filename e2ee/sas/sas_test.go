package sas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/key"
)

func counting(first, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(first + i)
	}
	return b
}

func ephemeral(t testing.TB, first int) key.VerificationPrivate {
	t.Helper()
	k, err := key.NewAgreementPrivate[key.Verification](counting(first, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// table is testdata/sas-emoji.json.
func table(t *testing.T) []struct{ Emoji, Description string } {
	t.Helper()
	raw, err := os.ReadFile("testdata/sas-emoji.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Emoji, Description string }
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 64 {
		t.Fatalf("got %d entries, %v", len(list), err)
	}
	return list
}

func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	a, b := ephemeral(t, 0), ephemeral(t, 32)
	if a.Public().String() != knownAlice || b.Public().String() != knownBob {
		t.Fatal("other public keys")
	}
	alice := sas.Side{User: "@alice:x", Device: "ALICE", Key: a.Public()}
	bob := sas.Side{User: "@bob:x", Device: "BOB", Key: b.Public()}
	s, err := sas.Agree(a, b.Public())
	if err != nil {
		t.Fatal(err)
	}
	got := s.Bytes(alice, bob, "txn")
	if got != knownBytes {
		t.Errorf("bytes: got %x, want %x", got, knownBytes)
	}
	if n := sas.Decimals(got); n != knownDecimals {
		t.Errorf("decimals: got %v, want %v", n, knownDecimals)
	}
	emojis := table(t)
	for i, e := range sas.Emojis(got) {
		if want := emojis[knownEmojis[i]]; e.Picture != want.Emoji || e.Name != want.Description {
			t.Errorf("emoji %d: got %v, want %v", i, e, want)
		}
	}
	if m := s.MAC(alice, bob, "txn", "ed25519:ALICE", "a public key"); m != knownMAC {
		t.Errorf("mac: got %s, want %s", m, knownMAC)
	}
	start := []byte(`{"transaction_id":"txn", "method":"m.sas.v1","from_device":"ALICE"}`)
	if c, err := sas.Commitment(b.Public(), start); err != nil || c != knownCommitment {
		t.Errorf("commitment: got %s, %v, want %s", c, err, knownCommitment)
	}
	if _, err := sas.Commitment(b.Public(), []byte(`{`)); err == nil {
		t.Error("a commitment over what is not JSON")
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "0x") && !strings.Contains(text, "func") {
		t.Errorf("printed: %s", text)
	}
}

func TestEmojiTable(t *testing.T) {
	t.Parallel()
	for i, want := range table(t) {
		got := sas.Emojis([6]byte{byte(i << 2)})[0]
		if got.Picture != want.Emoji || got.Name != want.Description {
			t.Errorf("%d: got %v, want %v", i, got, want)
		}
	}
}

func TestDecimalsBounds(t *testing.T) {
	t.Parallel()
	if got, want := sas.Decimals([6]byte{}), [3]int{1000, 1000, 1000}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := sas.Decimals([6]byte{255, 255, 255, 255, 255, 255}), [3]int{9191, 9191, 9191}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestAttack15LowOrderSASKey gives keys with which everyone knows the secret.
func TestAttack15LowOrderSASKey(t *testing.T) {
	t.Parallel()
	one := make([]byte, 32)
	one[0] = 1
	p, err := key.NewAgreementPublic[key.Verification](one)
	if err == nil {
		_, err = sas.Agree(ephemeral(t, 0), p)
	}
	if !errors.Is(err, sas.ErrKey) && !errors.Is(err, key.ErrWeak) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestQR(t *testing.T) {
	t.Parallel()
	q := sas.QR{Mode: sas.QRSelfTrusting, ID: "$événement", First: [32]byte(counting(1, 32)), Second: [32]byte(counting(99, 32)), Secret: counting(7, 8)}
	b := q.Encode()
	want := append([]byte("MATRIX\x02\x01\x00\x0c$événement"), append(append(counting(1, 32), counting(99, 32)...), counting(7, 8)...)...)
	if !bytes.Equal(b, want) {
		t.Errorf("got %q, want %q", b, want)
	}
	got, err := sas.ParseQR(b)
	if err != nil || got.Mode != q.Mode || got.ID != q.ID || got.First != q.First || got.Second != q.Second || !bytes.Equal(got.Secret, q.Secret) {
		t.Errorf("got %v, %v", got, err)
	}
	for i := range b {
		if _, err := sas.ParseQR(b[:i]); !errors.Is(err, sas.ErrQR) {
			t.Errorf("cut at %d: got %v", i, err)
		}
	}
	for _, c := range []struct {
		at int
		to byte
	}{{0, 'm'}, {6, 3}, {7, 3}, {9, 0}, {8, 1}, {12, 0xff}} {
		bad := bytes.Clone(b)
		bad[c.at] = c.to
		if _, err := sas.ParseQR(bad); !errors.Is(err, sas.ErrQR) {
			t.Errorf("byte %d to %d: got %v", c.at, c.to, err)
		}
	}
	if _, err := sas.ParseQR(append(b, make([]byte, 3000)...)); !errors.Is(err, sas.ErrQR) {
		t.Errorf("too long: got %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v %x", q, q, q, q); strings.Contains(s, "0708090a") || !strings.Contains(s, "[redacted]") {
		t.Errorf("printed: %s", s)
	}
}

func FuzzParseQR(f *testing.F) {
	f.Add(sas.QR{ID: "$e", Secret: make([]byte, 8)}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := sas.ParseQR(b)
		if err == nil && !bytes.Equal(q.Encode(), b) {
			t.Errorf("%q becomes %q", b, q.Encode())
		}
	})
}
