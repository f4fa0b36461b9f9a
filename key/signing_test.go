package key_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/edwards25519"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSigningVector(t *testing.T) {
	t.Parallel()
	// RFC 8032, section 7.1, TEST 2.
	k, err := key.NewSigningPrivate[key.Device](unhex(t, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(k.Public().Bytes()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"; got != want {
		t.Errorf("public: got %s, want %s", got, want)
	}
	sig := k.Sign([]byte{0x72})
	want := "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
	if got := hex.EncodeToString(sig); got != want {
		t.Errorf("signature: got %s, want %s", got, want)
	}
	if !k.Public().Verify([]byte{0x72}, sig) {
		t.Error("got a refusal of the own signature")
	}
	for i := range sig {
		bad := slices.Clone(sig)
		bad[i] ^= 1
		if k.Public().Verify([]byte{0x72}, bad) {
			t.Errorf("got acceptance with byte %d changed", i)
		}
	}
	if k.Public().Verify([]byte{0x72}, sig[:63]) || k.Public().Verify([]byte{0x72}, append(slices.Clone(sig), 0)) {
		t.Error("got acceptance of a signature of another length")
	}
	if (key.DeviceSigningPublic{}).Verify([]byte{0x72}, sig) {
		t.Error("got acceptance by the zero key")
	}
}

// TestAttackMalleableSignature adds the group order to S.
func TestAttackMalleableSignature(t *testing.T) {
	t.Parallel()
	k, err := key.NewSigningPrivate[key.MegolmSession](seed)
	if err != nil {
		t.Fatal(err)
	}
	sig := k.Sign([]byte("message"))
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	bad := append(slices.Clone(sig[:32]), sum...)
	if k.Public().Verify([]byte("message"), bad) {
		t.Error("got acceptance of S + L")
	}
}

// TestAttackSmallOrderSigningKey offers every encoding of the eight points of
// small order, canonical and not.
func TestAttackSmallOrderSigningKey(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		p, err := key.NewSigningPublic[key.Master](unhex(t, s))
		if !errors.Is(err, key.ErrWeak) && !errors.Is(err, key.ErrMalformed) {
			t.Errorf("%s: got %v, %v, want a refusal", s, p, err)
		}
	}
	// y = 2 is on no point of the curve.
	if _, err := key.NewSigningPublic[key.Master](append([]byte{2}, make([]byte, 31)...)); !errors.Is(err, key.ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

func TestSigningPublicText(t *testing.T) {
	t.Parallel()
	// The fingerprint of the specification, section "Key algorithms".
	const text = "SogYyrkTldLz0BXP+GYWs0qaYacUI0RleEqNT8J3riQ"
	p, err := key.ParseSigningPublic[key.Device](text)
	if err != nil {
		t.Fatal(err)
	}
	q, err := key.ParseSigningPublic[key.Device](text + "=")
	if err != nil || p != q {
		t.Errorf("padded: got %v, %v, want %v", q, err, p)
	}
	if got := p.String(); got != text {
		t.Errorf("got %q, want %q", got, text)
	}
	out, err := json.Marshal(map[key.DeviceSigningPublic]key.DeviceSigningPublic{p: p})
	if want := `{"` + text + `":"` + text + `"}`; err != nil || string(out) != want {
		t.Errorf("got %s, %v, want %s", out, err, want)
	}
	var back map[key.DeviceSigningPublic]key.DeviceSigningPublic
	if err := json.Unmarshal(out, &back); err != nil || back[p] != p {
		t.Errorf("got %v, %v, want the map back", back, err)
	}
	if p.IsZero() || !(key.DeviceSigningPublic{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	if r, err := key.NewSigningPublic[key.Device](p.Bytes()); err != nil || r != p {
		t.Errorf("got %v, %v, want %v", r, err, p)
	}
}

func TestGenerateSigning(t *testing.T) {
	t.Parallel()
	k, err := key.GenerateSigning[key.UserSigning](bytes.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	again, err := key.ParseSigningPrivate[key.UserSigning](base64text.EncodeSecret(seed) + "=")
	if err != nil {
		t.Fatal(err)
	}
	if !k.Equal(again) || k.Equal(key.UserSigningPrivate{}) || !(key.UserSigningPrivate{}).Equal(key.UserSigningPrivate{}) {
		t.Error("Equal is wrong for equal and zero keys")
	}
	other, err := key.NewSigningPrivate[key.UserSigning](bytes.Repeat([]byte{1}, 32))
	if err != nil || k.Equal(other) {
		t.Errorf("got equal keys, %v, want others", err)
	}
	if want := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey); !bytes.Equal(k.Public().Bytes(), want) {
		t.Errorf("got %x, want %x", k.Public().Bytes(), want)
	}
	if _, err := key.GenerateSigning[key.Device](strings.NewReader("short")); err == nil {
		t.Error("got a key from a short read")
	}
	if _, err := key.GenerateSigning[key.Device](iotest.ErrReader(errBroken)); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

var errBroken = errors.New("broken source")

// TestSigningPublicCanonical: every encoding of a y-coordinate that is not below
// 2^255 - 19 is refused, with either sign, whether or not there is such a point;
// every other that is taken encodes again as it was.
func TestSigningPublicCanonical(t *testing.T) {
	t.Parallel()
	for k := range 19 {
		for _, sign := range []byte{0, 0x80} {
			b := bytes.Repeat([]byte{0xff}, key.Size)
			b[0], b[key.Size-1] = 0xed+byte(k), 0x7f|sign
			if p, err := key.NewSigningPublic[key.Device](b); err == nil {
				t.Errorf("2^255 - 19 + %d: got %s", k, p)
			}
		}
	}
	taken := 0
	for i := range 2000 {
		b := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		if i%2 == 0 { // near the end of the field
			for j := 1; j < key.Size-1; j++ {
				b[j] = 0xff
			}
			b[key.Size-1] |= 0x7f
		}
		_, err := key.NewSigningPublic[key.Device](b[:])
		p, perr := new(edwards25519.Point).SetBytes(b[:])
		if want := perr == nil && [key.Size]byte(p.Bytes()) == b; (err == nil) != want && !errors.Is(err, key.ErrWeak) {
			t.Errorf("%x: got %v, want taken %v", b, err, want)
		}
		if err == nil {
			taken++
		}
	}
	if taken < 500 {
		t.Errorf("got %d keys of 2000: the test shows nothing", taken)
	}
}
