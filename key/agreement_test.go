package key_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
)

func TestAgreementVector(t *testing.T) {
	t.Parallel()
	// RFC 7748, section 6.1.
	b, err := key.NewAgreementPrivate[key.OneTime](unhex(t, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b.Public().Bytes()), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"; got != want {
		t.Errorf("public: got %s, want %s", got, want)
	}
	p, err := key.NewAgreementPublic[key.Base](unhex(t, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := key.Agree(b, p)
	if want := "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"; err != nil || hex.EncodeToString(shared) != want {
		t.Errorf("shared: got %x, %v, want %s", shared, err, want)
	}
}

// TestPublicAgainstStandardLibrary holds the fixed-base way to the public key
// against the ladder.
func TestPublicAgainstStandardLibrary(t *testing.T) {
	t.Parallel()
	for range 200 {
		b := make([]byte, 32)
		rand.Read(b)
		std, err := ecdh.X25519().NewPrivateKey(b)
		if err != nil {
			t.Fatal(err)
		}
		cold, err := key.NewAgreementPrivate[key.Ratchet](b)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := cold.Public().Bytes(), std.PublicKey().Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("%x: got %x, want %x", b, got, want)
		}
		parsed, err := key.NewAgreementPrivate[key.Ratchet](b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := key.Agree(parsed, cold.Public())
		if err != nil {
			t.Fatal(err)
		}
		want, err := std.ECDH(std.PublicKey())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x, %v", got, want, err)
		}
		if parsed.Public() != cold.Public() {
			t.Fatalf("got %v after an agreement, want %v", parsed.Public(), cold.Public())
		}
	}
}

// TestAttackLowOrderAgreement offers every encoding of the points of small
// order on the curve and its twist.
func TestAttackLowOrderAgreement(t *testing.T) {
	t.Parallel()
	k, err := key.NewAgreementPrivate[key.Identity](seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		for _, top := range []byte{0, 0x80} {
			b := unhex(t, s)
			b[31] |= top
			p, err := key.NewAgreementPublic[key.OneTime](b)
			if err == nil {
				_, err = key.Agree(k, p)
			}
			if !errors.Is(err, key.ErrWeak) {
				t.Errorf("%x: got %v, want ErrWeak", b, err)
			}
		}
	}
}

func TestAgreementPublicText(t *testing.T) {
	t.Parallel()
	const text = "JGLn/yafz74HB2AbPLYJWIVGnKAtqECOBf11yyXac2Y"
	p, err := key.ParseAgreementPublic[key.Identity](text)
	if err != nil || p.String() != text || p.IsZero() {
		t.Fatalf("got %v, %v, want %s", p, err, text)
	}
	out, err := json.Marshal(map[key.IdentityPublic]key.IdentityPublic{p: p})
	if want := `{"` + text + `":"` + text + `"}`; err != nil || string(out) != want {
		t.Errorf("got %s, %v, want %s", out, err, want)
	}
	var back map[key.IdentityPublic]key.IdentityPublic
	if err := json.Unmarshal(out, &back); err != nil || back[p] != p {
		t.Errorf("got %v, %v, want the map back", back, err)
	}
}

func TestGenerateAgreement(t *testing.T) {
	t.Parallel()
	k, err := key.GenerateAgreement[key.Backup](bytes.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	again, err := key.ParseAgreementPrivate[key.Backup](base64text.EncodeSecret(seed))
	if err != nil {
		t.Fatal(err)
	}
	other, err := key.NewAgreementPrivate[key.Backup](bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if !k.Equal(again) || k.Equal(other) || k.Equal(key.BackupPrivate{}) || !(key.BackupPrivate{}).Equal(key.BackupPrivate{}) {
		t.Error("Equal is wrong")
	}
	if _, err := key.GenerateAgreement[key.Backup](iotest.ErrReader(errBroken)); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

// TestAgreementConcurrent uses one key from many goroutines; the race
// detector watches.
func TestAgreementConcurrent(t *testing.T) {
	t.Parallel()
	k, err := key.NewAgreementPrivate[key.Identity](seed)
	if err != nil {
		t.Fatal(err)
	}
	other, err := key.NewAgreementPrivate[key.OneTime](bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	want, err := key.Agree(other, k.Public())
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := key.NewAgreementPrivate[key.Identity](seed)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := key.Agree(fresh, other.Public()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %x, %v, want %x", got, err, want)
			}
			if got := fresh.Public(); got != k.Public() {
				t.Errorf("got %v, want %v", got, k.Public())
			}
		})
	}
	wg.Wait()
}

func TestSymmetric(t *testing.T) {
	t.Parallel()
	k, err := key.GenerateSymmetric[key.SecretStorage](bytes.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	again, err := key.ParseSymmetric[key.SecretStorage](base64text.EncodeSecret(seed))
	if err != nil {
		t.Fatal(err)
	}
	other, err := key.NewSymmetric[key.SecretStorage](bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if !k.Equal(again) || k.Equal(other) || k.Equal(key.SecretStorageKey{}) || !(key.SecretStorageKey{}).Equal(key.SecretStorageKey{}) {
		t.Error("Equal is wrong")
	}
	k.Secret()[0] ^= 1
	if !k.Equal(again) {
		t.Error("got a key changed through Secret, want a copy")
	}
	if _, err := key.GenerateSymmetric[key.Attachment](iotest.ErrReader(errBroken)); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

func BenchmarkGenerateAgreement(b *testing.B) {
	for b.Loop() {
		k, err := key.GenerateAgreement[key.OneTime](rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		k.Public()
	}
}

func BenchmarkGenerateStandardLibrary(b *testing.B) {
	for b.Loop() {
		if _, err := ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAgree(b *testing.B) {
	k, err := key.GenerateAgreement[key.Identity](rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	p := k.Public()
	for b.Loop() {
		if _, err := key.Agree(k, p); err != nil {
			b.Fatal(err)
		}
	}
}
