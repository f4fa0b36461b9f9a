package rocketchat_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// offTheRecord makes both sides of a session.
func offTheRecord(t *testing.T) (alice, bob *rocketchat.OTR) {
	t.Helper()
	a, err := rocketchat.GenerateOTRKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := rocketchat.GenerateOTRKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if alice, err = rocketchat.NewOTR(a, b.Public(), "idalice", "idbob"); err != nil {
		t.Fatal(err)
	}
	if bob, err = rocketchat.NewOTR(b, a.Public(), "idbob", "idalice"); err != nil {
		t.Fatal(err)
	}
	return alice, bob
}

func TestOTR(t *testing.T) {
	t.Parallel()
	alice, bob := offTheRecord(t)
	if n := alice.SafetyNumber(); !slices.Equal(n, bob.SafetyNumber()) || len(n) != 6 || len(n[0]) != 5 {
		t.Errorf("got %v and %v", n, bob.SafetyNumber())
	}
	body := rocketchat.OTRBody{ID: "m1", Text: "Grüße 😀", Ack: "random", Time: time.UnixMilli(1_700_000_000_000).UTC()}
	msg, err := alice.Seal(rand.Reader, body)
	if err != nil || strings.Contains(msg, "Grüße") || rocketchat.CheckOTR(msg) != nil {
		t.Fatalf("got %s, %v", msg, err)
	}
	if got, err := bob.Open("m1", msg); err != nil || got != body {
		t.Errorf("got %+v, %v", got, err)
	}
	ack, err := bob.SealAck(rand.Reader, body.Ack)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := alice.OpenAck(ack); err != nil || got != "random" {
		t.Errorf("got %q, %v", got, err)
	}
	other, _ := offTheRecord(t)
	if slices.Equal(other.SafetyNumber(), alice.SafetyNumber()) {
		t.Error("got the same safety number for other keys")
	}
	if text := fmt.Sprintf("%v %+v %#v", alice, alice, alice); strings.Contains(text, "aead") {
		t.Errorf("got %s", text)
	}
}

// TestAttack18OTR: a changed ciphertext, one that came before, one of another message or
// sender, a weak or reflected key, and an acknowledgement that was said again are refused.
func TestAttack18OTR(t *testing.T) {
	t.Parallel()
	alice, bob := offTheRecord(t)
	msg, err := alice.Seal(rand.Reader, rocketchat.OTRBody{ID: "m1", Text: "hello", Ack: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for i := len(`{"$binary":"`); i < len(msg)-2; i += 3 {
		bad := []byte(msg)
		if bad[i]++; bad[i] > 'z' {
			bad[i] = 'A'
		}
		if _, err := bob.Open("m1", string(bad)); !errors.Is(err, rocketchat.ErrTampered) && !errors.Is(err, rocketchat.ErrMalformed) {
			t.Errorf("character %d: got %v", i, err)
		}
	}
	// One's own message, come back as the other's.
	if _, err := alice.Open("m1", msg); !errors.Is(err, rocketchat.ErrTampered) {
		t.Errorf("reflected: got %v", err)
	}
	wrong, err := alice.Seal(rand.Reader, rocketchat.OTRBody{ID: "m2", Text: "hello", Ack: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Open("m3", wrong); !errors.Is(err, rocketchat.ErrTampered) {
		t.Errorf("under another id: got %v", err)
	}
	if _, err := bob.Open("m1", msg); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Open("m1", msg); !errors.Is(err, rocketchat.ErrTampered) {
		t.Errorf("twice: got %v", err)
	}
	ack, err := bob.SealAck(rand.Reader, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.OpenAck(ack); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.OpenAck(ack); !errors.Is(err, rocketchat.ErrTampered) {
		t.Errorf("an acknowledgement twice: got %v", err)
	}
	k, err := rocketchat.GenerateOTRKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	zero := `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`
	for name, text := range map[string]string{
		"reflected":     k.Public(),
		"empty":         "",
		"null":          "null",
		"not a point":   `{"kty":"EC","crv":"P-256","x":` + zero + `,"y":` + zero + `}`,
		"another curve": strings.Replace(k.Public(), "P-256", "P-384", 1),
		"no y":          `{"kty":"EC","crv":"P-256","x":` + zero + `}`,
		"too long":      strings.Replace(k.Public(), "{", "{"+strings.Repeat(" ", 2000), 1),
		"RSA":           strings.Replace(k.Public(), "EC", "RSA", 1),
	} {
		if _, err := rocketchat.NewOTR(k, text, "a", "b"); err == nil {
			t.Errorf("%s: got a session", name)
		}
	}
	for name, text := range map[string]string{"empty": "", "no binary": `{}`, "short": `{"$binary":"AAAA"}`, "two": `{"$binary":"` + strings.Repeat("A", 80) + `","x":1}`, "a number": `{"$binary":7}`, "long": `{"$binary":"` + strings.Repeat("A", 1<<17) + `"}`} {
		if err := rocketchat.CheckOTR(text); !errors.Is(err, rocketchat.ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := alice.Seal(rand.Reader, rocketchat.OTRBody{Text: strings.Repeat("x", 10_000)}); quinta.KindOf(err) != quinta.KindTooLarge {
		t.Errorf("got %v", err)
	}
}

// FuzzOTR: any message is refused or is one of the session, and any key is refused or
// makes a session whose messages its owner alone can read, without a panic.
func FuzzOTR(f *testing.F) {
	random := mathrand.NewChaCha8([32]byte{1}) // each process that fuzzes has the same keys
	a, err := rocketchat.GenerateOTRKey(random)
	if err != nil {
		f.Fatal(err)
	}
	b, err := rocketchat.GenerateOTRKey(random)
	if err != nil {
		f.Fatal(err)
	}
	alice, err := rocketchat.NewOTR(a, b.Public(), "idalice", "idbob")
	if err != nil {
		f.Fatal(err)
	}
	msg, err := alice.Seal(random, rocketchat.OTRBody{ID: "m", Text: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg, a.Public())
	f.Fuzz(func(t *testing.T, text, key string) {
		s, err := rocketchat.NewOTR(b, key, "idbob", "idalice")
		if (err == nil) != (rocketchat.CheckOTRKey(key) == nil && key != b.Public()) {
			t.Errorf("got %v for the key %q, and %v from its check", err, key, rocketchat.CheckOTRKey(key))
		}
		if err != nil {
			return
		}
		body, err := s.Open("m", text)
		if err == nil && body != (rocketchat.OTRBody{ID: "m", Text: "x", Time: body.Time}) {
			t.Errorf("got %+v", body)
		}
		if _, again := s.Open("m", text); again == nil {
			t.Errorf("opened %q again", text)
		}
	})
}

// TestOTRForms: what another implementation of the exchange and of the cipher seals is
// opened, and it opens what is sealed here. A member counts under its exact name alone.
func TestOTRForms(t *testing.T) {
	t.Parallel()
	mine, err := rocketchat.GenerateOTRKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	point := theirs.PublicKey().Bytes()
	session, err := rocketchat.NewOTR(mine, `{"kty":"EC","crv":"P-256","x":"`+enc(point[1:33])+`","y":"`+enc(point[33:])+`","ext":true,"key_ops":[]}`, "me", "they")
	if err != nil {
		t.Fatal(err)
	}
	gcm := otherSide(t, theirs, mine.Public())
	seal := func(plain string) string {
		iv := make([]byte, 12)
		if _, err := rand.Read(iv); err != nil {
			t.Fatal(err)
		}
		return `{"$binary":"` + base64.StdEncoding.EncodeToString(gcm.Seal(iv, iv, []byte(plain), nil)) + `"}`
	}
	for _, ack := range []string{`"r"`, `{"$binary":"r"}`} {
		body, err := session.Open("m1", seal(`{"_id":"m1","text":"hello","userId":"they","ack":`+ack+`,"ts":{"$date":1700000000000}}`))
		if err != nil || body.Text != "hello" || body.Ack != "r" || body.Time.UnixMilli() != 1_700_000_000_000 {
			t.Errorf("ack %s: got %+v, %v", ack, body, err)
		}
	}
	if body, err := session.Open("m1", seal(`{"_id":"m1","Text":"hello","userId":"they","ack":"r","ts":{"$date":1}}`)); err != nil || body.Text != "" {
		t.Errorf("a member of another case: got %+v, %v", body, err)
	}
	if _, err := session.Open("m1", seal(`{"_id":"m1","text":"a","text":"b","userId":"they","ack":"r","ts":{"$date":1}}`)); !errors.Is(err, rocketchat.ErrMalformed) {
		t.Errorf("a member twice: got %v", err)
	}
	if _, err := session.Open("m1", seal(`{"_id":"m1","text":"a","userId":"someone","ack":"r","ts":{"$date":1}}`)); !errors.Is(err, rocketchat.ErrTampered) {
		t.Errorf("another sender: got %v", err)
	}
	msg, err := session.Seal(rand.Reader, rocketchat.OTRBody{ID: "m2", Text: "to them", Ack: "s", Time: time.UnixMilli(5)})
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Binary []byte `json:"$binary"`
	}
	if err := json.Unmarshal([]byte(msg), &w); err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, w.Binary[:12], w.Binary[12:], nil)
	if want := `{"_id":"m2","text":"to them","userId":"me","ack":"s","ts":{"$date":5}}`; err != nil || string(plain) != want {
		t.Errorf("got %s, %v, want %s", plain, err, want)
	}
}

// otherSide is the cipher of the session as another implementation has it.
func otherSide(t *testing.T, k *ecdh.PrivateKey, public string) cipher.AEAD {
	t.Helper()
	var jwk struct{ X, Y string }
	if err := json.Unmarshal([]byte(public), &jwk); err != nil {
		t.Fatal(err)
	}
	point := []byte{4}
	for _, part := range []string{jwk.X, jwk.Y} {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, b...)
	}
	p, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := k.ECDH(p)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(shared)
	block, err := aes.NewCipher(sum[:16])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}
