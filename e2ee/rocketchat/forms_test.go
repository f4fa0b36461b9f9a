package rocketchat

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/quinta-chat/quinta/internal/words"
)

const goodPassword = "correct horse battery"

func TestPasswords(t *testing.T) {
	t.Parallel()
	p, err := GeneratePassword(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Split(p, " ")
	if len(list) != 12 || CheckPassword(p) != nil {
		t.Errorf("got %d words, want 12", len(list))
	}
	for _, w := range list {
		if words.Number(w) < 0 {
			t.Errorf("got the word %q", w)
		}
	}
	if q, err := GeneratePassword(rand.Reader); err != nil || q == p {
		t.Errorf("got the same password twice, %v", err)
	}
	if _, err := GeneratePassword(iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Error("got a password without randomness")
	}
	for _, bad := range []string{"", "short", "elevenchars", "tab\tin it here", "with a line\nbreak in it", strings.Repeat("x", 1025)} {
		if CheckPassword(bad) == nil {
			t.Errorf("got %q accepted", bad)
		}
	}
}

// TestBlobsRoundTrip seals and opens both forms, and holds what the newest form
// says of itself.
func TestBlobsRoundTrip(t *testing.T) {
	t.Parallel()
	k := load(t).private(t, 0)
	v2, err := SealPrivateKey(rand.Reader, k, goodPassword, "abcdefghijklmnopq")
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Salt       string
		Iterations int
	}
	if err := json.Unmarshal([]byte(v2), &w); err != nil || w.Iterations != 100_000 || !strings.HasPrefix(w.Salt, "v2:abcdefghijklmnopq:") || len(w.Salt) != 3+17+1+36 {
		t.Errorf("got %+v, %v", w, err)
	}
	v1, err := SealPrivateKeyV1(rand.Reader, k, goodPassword, "abcdefghijklmnopq")
	if err != nil {
		t.Fatal(err)
	}
	for form, blob := range map[Form]string{V1: v1, V2: v2} {
		if got, f, err := OpenPrivateKey(blob, goodPassword, "abcdefghijklmnopq"); err != nil || f != form || !got.Equal(k) {
			t.Errorf("form %d: got %d, %v", form, f, err)
		}
		if err := CheckKeyBlob(blob); err != nil {
			t.Errorf("form %d: got %v", form, err)
		}
	}
	again, err := SealPrivateKey(rand.Reader, k, goodPassword, "abcdefghijklmnopq")
	if err != nil || again == v2 {
		t.Errorf("got the same blob twice, %v", err)
	}
	if _, err := SealPrivateKey(rand.Reader, k, "short", "u"); !errors.Is(err, ErrWeak) {
		t.Errorf("got %v, want ErrWeak", err)
	}
}

func TestGeneratedKeyPair(t *testing.T) {
	t.Parallel()
	k, err := GeneratePrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParsePrivateKey(k.Secret())
	if err != nil || !back.Equal(k) || !back.Public().Equal(k.Public()) {
		t.Errorf("got %v", err)
	}
	if len(k.Public().Fingerprint()) != 64 || k.Public().Fingerprint() == load(t).private(t, 0).Public().Fingerprint() {
		t.Errorf("got the fingerprint %s", k.Public().Fingerprint())
	}
}

// TestAttack07BlobRounds: a count of rounds out of bounds is refused before any
// work; a billion rounds would take minutes.
func TestAttack07BlobRounds(t *testing.T) {
	t.Parallel()
	good, err := SealPrivateKey(rand.Reader, load(t).private(t, 0), goodPassword, "u")
	if err != nil {
		t.Fatal(err)
	}
	for rounds, want := range map[string]error{"1": ErrWeak, "999": ErrWeak, "99999": ErrWeak, "2000001": ErrWeak, "1000000000": ErrWeak, "1099511627776": ErrWeak, "-1": ErrWeak, "0": ErrWeak,
		`"100000"`: ErrMalformed, "null": ErrWeak, "[]": ErrMalformed} {
		bad := strings.Replace(good, `"iterations":100000`, `"iterations":`+rounds, 1)
		start := time.Now()
		_, _, err := OpenPrivateKey(bad, goodPassword, "u")
		if !errors.Is(err, want) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want %v", rounds, err, want)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %s", rounds, took)
		}
	}
}

// TestAttack07Blobs: blobs that no password opens are distinguished from a
// wrong password.
func TestAttack07Blobs(t *testing.T) {
	t.Parallel()
	k := load(t).private(t, 0)
	v2, err := SealPrivateKey(rand.Reader, k, goodPassword, "user")
	if err != nil {
		t.Fatal(err)
	}
	v1, err := SealPrivateKeyV1(rand.Reader, k, goodPassword, "user")
	if err != nil {
		t.Fatal(err)
	}
	for what, row := range map[string]struct {
		blob, password, user string
		want                 error
	}{
		"wrong password, v1":    {v1, "another password", "user", ErrPassword},
		"wrong password, v2":    {v2, "another password", "user", ErrPassword},
		"wrong user, v1":        {v1, goodPassword, "resu", ErrPassword},
		"cut, v1":               {v1[:len(v1)-5] + `"}`, goodPassword, "user", ErrMalformed},
		"cut in half, v2":       {strings.Replace(v2, `"ciphertext":"`, `"ciphertext":"AAAA","x":"`, 1), goodPassword, "user", ErrMalformed},
		"binary is a number":    {`{"$binary":12}`, goodPassword, "user", ErrMalformed},
		"null":                  {`null`, goodPassword, "user", ErrMalformed},
		"empty object":          {`{}`, goodPassword, "user", ErrMalformed},
		"no text":               {``, goodPassword, "user", ErrMalformed},
		"iv twice":              {strings.Replace(v2, `{"iv"`, `{"iv":"AAAAAAAAAAAAAAAA","iv"`, 1), goodPassword, "user", ErrMalformed},
		"too long":              {v2 + strings.Repeat(" ", maxBlob), goodPassword, "user", ErrMalformed},
		"deep":                  {strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), goodPassword, "user", ErrMalformed},
		"password far too long": {v2, strings.Repeat("x", 1<<20), "user", ErrPassword},
	} {
		if _, _, err := OpenPrivateKey(row.blob, row.password, row.user); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", what, err, row.want)
		}
	}
}

// TestAttack01V2 changes a v2 message in every place.
func TestAttack01V2(t *testing.T) {
	t.Parallel()
	k, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, err := SealContent(rand.Reader, k, TextBody("attack at dawn"))
	if err != nil {
		t.Fatal(err)
	}
	iv, sealed := mustDecode(t, good.IV), mustDecode(t, good.Ciphertext)
	b64 := base64.StdEncoding.EncodeToString
	for i := range sealed {
		bad, c := bytes.Clone(sealed), good
		bad[i] ^= 1
		c.Ciphertext = b64(bad)
		if _, err := OpenContent(k, c); !errors.Is(err, ErrTampered) {
			t.Fatalf("byte %d: got %v, want ErrTampered", i, err)
		}
	}
	for i := range iv {
		bad, c := bytes.Clone(iv), good
		bad[i] ^= 1
		c.IV = b64(bad)
		if _, err := OpenContent(k, c); !errors.Is(err, ErrTampered) {
			t.Fatalf("IV %d: got %v, want ErrTampered", i, err)
		}
	}
	for what, change := range map[string]func(c *Content){
		"tag cut to 12 bytes":  func(c *Content) { c.Ciphertext = b64(sealed[:len(sealed)-4]) },
		"shorter than a tag":   func(c *Content) { c.Ciphertext = b64(sealed[:15]) },
		"empty ciphertext":     func(c *Content) { c.Ciphertext = "" },
		"empty iv":             func(c *Content) { c.IV = "" },
		"empty kid":            func(c *Content) { c.KeyID = "" },
		"iv of 16 bytes":       func(c *Content) { c.IV = b64(append(iv, 1, 2, 3, 4)) },
		"label of v1":          func(c *Content) { c.Algorithm, c.Ciphertext = AlgorithmV1, "e785b6310c0a"+b64(make([]byte, 32)) },
		"another algorithm":    func(c *Content) { c.Algorithm = "m.megolm.v1.aes-sha2" },
		"line break in base64": func(c *Content) { c.Ciphertext = c.Ciphertext[:8] + "\n" + c.Ciphertext[8:] },
	} {
		c := good
		change(&c)
		if plain, err := OpenContent(k, c); err == nil {
			t.Errorf("%s: got %q", what, plain)
		}
	}
	other, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenContent(other, good); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another key: got %v, want ErrOtherKey", err)
	}
	forged, err := ParseRoomKey(k.ID(), other.Secret())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenContent(forged, good); !errors.Is(err, ErrTampered) {
		t.Errorf("another key under the same id: got %v, want ErrTampered", err)
	}
}

// TestAttack05Labels: the key decides on the cipher, and only the one mixed form
// that a released client writes is read.
func TestAttack05Labels(t *testing.T) {
	t.Parallel()
	k1, err := GenerateRoomKeyV1(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k2, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c2, err := SealContent(rand.Reader, k2, TextBody("x"))
	if err != nil {
		t.Fatal(err)
	}
	c2.KeyID = k1.ID()
	if _, err := OpenContent(k1, c2); !errors.Is(err, ErrUnsupported) {
		t.Errorf("AES-GCM under v1: got %v, want ErrUnsupported", err)
	}
	c1, err := SealContent(rand.Reader, k1, TextBody("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenContent(k2, c1); !errors.Is(err, ErrUnsupported) {
		t.Errorf("AES-CBC under v2: got %v, want ErrUnsupported", err)
	}
	raw := mustDecode(t, c1.Ciphertext[idV1:])
	mixed := Content{Algorithm: AlgorithmV2, KeyID: k1.ID(), IV: base64.StdEncoding.EncodeToString(raw[:16]), Ciphertext: base64.StdEncoding.EncodeToString(raw[16:])}
	if plain, err := OpenContent(k1, mixed); err != nil || !bytes.Equal(plain, TextBody("x")) {
		t.Errorf("the mixed form: got %q, %v", plain, err)
	}
	if _, err := SealString(rand.Reader, k2, []byte("x")); !errors.Is(err, ErrUnsupported) {
		t.Errorf("the string form of v2: got %v, want ErrUnsupported", err)
	}
}

// TestAttack02V1 and its counterpart for the IV, which nothing authenticates.
func TestAttack02V1(t *testing.T) {
	t.Parallel()
	k, err := GenerateRoomKeyV1(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := SealString(rand.Reader, k, StringBody("id", "attack at dawn", "alice", time.UnixMilli(1)))
	if err != nil {
		t.Fatal(err)
	}
	raw := mustDecode(t, text[idV1:])
	form := func(b []byte) string { return k.ID() + base64.StdEncoding.EncodeToString(b) }
	for what, bad := range map[string]string{
		"empty": "", "shorter than a key id": k.ID()[:8], "key id only": k.ID(), "iv only": form(raw[:16]), "iv short": form(raw[:9]),
		"not whole blocks": form(raw[:len(raw)-1]), "bad base64": text[:20] + "!" + text[21:], "last block dropped": form(raw[:len(raw)-16]),
	} {
		if plain, err := OpenString(k, bad); err == nil {
			t.Errorf("%s: got %q", what, plain)
		}
	}
	flipped := bytes.Clone(raw)
	flipped[16+3] ^= 1 // of the text, which turns a whole block into noise
	if plain, err := OpenString(k, form(flipped)); err == nil {
		if _, err := ParseBody(plain); err == nil && bytes.Contains(plain, []byte("attack at dawn")) {
			t.Errorf("got the text unchanged: %q", plain)
		}
	}
	last := bytes.Clone(raw)
	last[len(last)-17] ^= 0x40 // turns the padding into none
	if plain, err := OpenString(k, form(last)); err == nil {
		t.Errorf("padding changed: got %q", plain)
	}
}

// TestAttack03IVFlipped: CBC authenticates nothing. The form of the key says so,
// and a caller marks the message by it.
func TestAttack03IVFlipped(t *testing.T) {
	t.Parallel()
	k, err := GenerateRoomKeyV1(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := SealContent(rand.Reader, k, TextBody("pay 1 franc"))
	if err != nil {
		t.Fatal(err)
	}
	raw := mustDecode(t, c.Ciphertext[idV1:])
	raw[len(`{"msg":"pay `)] ^= '1' ^ '9'
	c.Ciphertext = k.ID() + base64.StdEncoding.EncodeToString(raw)
	plain, err := OpenContent(k, c)
	if err != nil || string(plain) != `{"msg":"pay 9 franc"}` || k.Form() != V1 {
		t.Errorf("got %q, %v, form %d", plain, err, k.Form())
	}
}

// TestAttack06Wrapped offers wrapped room keys that are not what they should be.
func TestAttack06Wrapped(t *testing.T) {
	t.Parallel()
	v := load(t)
	k, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mine, other := v.private(t, 0), v.private(t, 1)
	good, err := k.Wrap(rand.Reader, mine.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Unwrap(mine, good); err != nil || !got.Equal(k) {
		t.Fatalf("got %v", err)
	}
	if _, err := Unwrap(other, good); !errors.Is(err, ErrTampered) {
		t.Errorf("another user's: got %v, want ErrTampered", err)
	}
	raw := mustDecode(t, good[36:])
	raw[100] ^= 1
	for what, bad := range map[string]string{"too short": good[40:], "no key id": good[36:], "key id too long": strings.Repeat("k", 65) + good[36:],
		"key id with a blank": "a b" + good[36:], "empty": "", "bit flipped": k.ID() + base64.StdEncoding.EncodeToString(raw)} {
		if _, err := Unwrap(mine, bad); err == nil {
			t.Errorf("%s: got it opened", what)
		}
	}
	for what, text := range map[string]string{
		"not json": "hello", "no alg": `{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}`, "A128GCM": `{"alg":"A128GCM","kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		"v2 with 16 bytes": `{"alg":"A256GCM","kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}`, "v1 with 32 bytes": octJWK(algV1, make([]byte, 32)),
		"another type": `{"alg":"A128CBC","kty":"RSA","k":"AAAAAAAAAAAAAAAAAAAAAA"}`, "k twice": `{"alg":"A128CBC","kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA","k":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		"k padded": `{"alg":"A128CBC","kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA=="}`,
	} {
		if _, err := ParseRoomKey("id", text); err == nil {
			t.Errorf("%s: got it accepted", what)
		}
	}
}

func TestPublicKeysRefused(t *testing.T) {
	t.Parallel()
	good := load(t).KeyPairs[0].Public
	n := base64.RawURLEncoding.EncodeToString
	for what, bad := range map[string]string{
		"private": load(t).KeyPairs[0].Private, "not json": "x", "exponent 3": strings.Replace(good, "AQAB", "Aw", 1), "SHA-1": strings.Replace(good, "RSA-OAEP-256", "RSA-OAEP", 1),
		"1024 bits":    `{"alg":"RSA-OAEP-256","kty":"RSA","e":"AQAB","n":"` + n(bytes.Repeat([]byte{0xff}, 128)) + `"}`,
		"even":         `{"alg":"RSA-OAEP-256","kty":"RSA","e":"AQAB","n":"` + n(append(bytes.Repeat([]byte{0xff}, 255), 0xfe)) + `"}`,
		"leading zero": `{"alg":"RSA-OAEP-256","kty":"RSA","e":"AQAB","n":"` + n(append([]byte{0}, bytes.Repeat([]byte{0xff}, 256)...)) + `"}`,
		"long":         good + strings.Repeat(" ", maxJWK), "number": `{"alg":"RSA-OAEP-256","kty":"RSA","e":"AQAB","n":1}`,
	} {
		if _, err := ParsePublicKey(bad); err == nil {
			t.Errorf("%s: got it accepted", what)
		}
	}
	private := load(t).KeyPairs[0].Private
	var m map[string]any
	if err := json.Unmarshal([]byte(private), &m); err != nil {
		t.Fatal(err)
	}
	other := map[string]any{}
	if err := json.Unmarshal([]byte(load(t).KeyPairs[1].Private), &other); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "n"} {
		was := m[name]
		m[name] = other[name]
		text, _ := json.Marshal(m)
		if _, err := ParsePrivateKey(string(text)); err == nil {
			t.Errorf("%s of another key: got it accepted", name)
		}
		delete(m, name)
		text, _ = json.Marshal(m)
		if _, err := ParsePrivateKey(string(text)); err == nil {
			t.Errorf("without %s: got it accepted", name)
		}
		m[name] = was
	}
}

// TestAttack16Files changes a file, its hash and its key.
func TestAttack16Files(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("a sealed file "), 9000)
	s, err := NewFileSealer(rand.Reader, bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Key(); err == nil {
		t.Error("got the key before the file was read")
	}
	sealed, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	k, size, err := s.Key()
	if err != nil || size != int64(len(plain)) || bytes.Contains(sealed, []byte("sealed")) {
		t.Fatalf("got %d bytes, %v", size, err)
	}
	if k, err = ParseFileKeyText(k.Secret()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := OpenFile(&out, k, iotest.OneByteReader(bytes.NewReader(sealed[:500]))); !errors.Is(err, ErrTampered) {
		t.Errorf("cut: got %v, want ErrTampered", err)
	}
	out.Reset()
	if err := OpenFile(&out, k, iotest.HalfReader(bytes.NewReader(sealed))); err != nil || !bytes.Equal(out.Bytes(), plain) {
		t.Errorf("got %v", err)
	}
	for _, i := range []int{0, len(sealed) / 2, len(sealed) - 1} {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if err := OpenFile(io.Discard, k, bytes.NewReader(bad)); !errors.Is(err, ErrTampered) {
			t.Errorf("byte %d: got %v, want ErrTampered", i, err)
		}
	}
	wrong, err := ParseFileKey(k.encryption(), HashName("another"))
	if err != nil {
		t.Fatal(err)
	}
	if err := OpenFile(io.Discard, wrong, bytes.NewReader(sealed)); !errors.Is(err, ErrTampered) {
		t.Errorf("another hash: got %v, want ErrTampered", err)
	}
	if _, err := ParseFileKey(k.encryption(), ""); !errors.Is(err, ErrMalformed) {
		t.Errorf("no hash: got %v, want ErrMalformed", err)
	}
	body := `{"msg":"","attachments":[{"title":"f","type":"file","title_link":"/f","encryption":` + string(k.encryption()) + `}]}`
	if _, err := ParseBody([]byte(body)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a message without a hash: got %v, want ErrMalformed", err)
	}
	if err := OpenFile(io.Discard, k, iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want the error of the reader", err)
	}
}

// TestCounterOf64Bits: the low half of the counter runs over without a carry.
func TestCounterOf64Bits(t *testing.T) {
	t.Parallel()
	s := &fileSecret{}
	for i := 8; i < 16; i++ {
		s.iv[i] = 0xff
	}
	s.iv[15] = 0xfe // two blocks until it runs over
	s.iv[7] = 0x41
	c, got := newCTR(s), make([]byte, 64)
	c.xor(got[:5], got[:5])
	c.xor(got[5:], got[5:])
	want := make([]byte, 64)
	block := newAES(s.key[:])
	for i := range 4 {
		var in [16]byte
		copy(in[:8], s.iv[:8])
		low := uint64(0xfffffffffffffffe) + uint64(i)
		for j := range 8 {
			in[8+j] = byte(low >> (56 - 8*j))
		}
		block.Encrypt(want[16*i:], in[:])
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestFileBody(t *testing.T) {
	t.Parallel()
	s, err := NewFileSealer(rand.Reader, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	}
	k, size, err := s.Key()
	if err != nil {
		t.Fatal(err)
	}
	for _, media := range []string{"image/png", "audio/ogg", "video/mp4", "application/pdf", "text/plain", ""} {
		b, err := ParseBody(FileBody("look", UploadedFile{ID: "id", Name: "notes.txt", MediaType: media, Size: size, Link: "/file-upload/id/x", Key: k}))
		if err != nil || b.Text != "look" || len(b.Attachments) != 1 {
			t.Fatalf("%s: got %+v, %v", media, b, err)
		}
		a := b.Attachments[0]
		if a.Title != "notes.txt" || a.Link != "/file-upload/id/x" || a.Size != 1 || a.File == nil || a.File.hash() != k.hash() {
			t.Errorf("%s: got %+v", media, a)
		}
		if g := mediaGroup(media); (g == "image" || g == "audio" || g == "video") && a.MediaType != media {
			t.Errorf("got %s, want %s", a.MediaType, media)
		}
	}
}

func TestNotice(t *testing.T) {
	t.Parallel()
	b, err := ParseBody(NoticeBody("a \"notice\""))
	if err != nil || !b.Notice || b.Text != `a "notice"` {
		t.Errorf("got %+v, %v", b, err)
	}
	if b, err := ParseBody(TextBody("a text")); err != nil || b.Notice {
		t.Errorf("got %+v, %v", b, err)
	}
	if b, err := ParseBody([]byte(`{"msg":"x","bot":null}`)); err != nil || b.Notice {
		t.Errorf("got %+v, %v", b, err)
	}
}

// TestAttack20Sizes: bodies and contents over their bounds are refused.
func TestAttack20Sizes(t *testing.T) {
	t.Parallel()
	many := `{"msg":"","attachments":[` + strings.TrimSuffix(strings.Repeat("{},", 51), ",") + `]}`
	for what, body := range map[string]string{
		"51 attachments": many, "a million": `{"attachments":[` + strings.Repeat("{},", 1_000_000) + `{}]}`, "deep": strings.Repeat(`{"attachments":[`, 20_000),
		"array": `[]`, "text": `"x"`, "nothing": ``, "no text": `{}`, "attachment is a number": `{"msg":"","attachments":[1]}`, "msg is a number": `{"msg":1}`,
	} {
		if _, err := ParseBody([]byte(body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", what, err)
		}
	}
	huge := `{"algorithm":"rc.v2.aes-sha2","kid":"k","iv":"AAAAAAAAAAAAAAAA","ciphertext":"` + strings.Repeat("A", MaxContent) + `"}`
	if _, err := ParseContent([]byte(huge)); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
	deep := `{"algorithm":"rc.v2.aes-sha2","kid":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`
	if _, err := ParseContent([]byte(deep)); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
	k, err := GenerateRoomKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := SealContent(rand.Reader, k, make([]byte, MaxPlaintext+1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

func TestNeverPrinted(t *testing.T) {
	t.Parallel()
	v := load(t)
	p, r := v.private(t, 0), v.room(t, 2)
	f, err := ParseFileKey([]byte(`{"key":`+octJWK(algFile, bytes.Repeat([]byte{0x5a}, 32))+`,"iv":"AAAAAAAAAAAAAAAAAAAAAA=="}`), HashName(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []any{p, &p, r, &r, f, &f, struct{ K any }{r}, Attachment{File: &f}} {
		j, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("k", "k", k)
		for _, out := range []string{fmt.Sprint(k), fmt.Sprintf("%#v", k), fmt.Sprintf("%+v", k), fmt.Sprintf("%x", k), string(j), log.String()} {
			for _, secret := range []string{`"k":"`, `"d":"`, "Wlpa", "5a5a5a", "90 90 90", p.secret().D.String()[:20]} {
				if strings.Contains(out, secret) {
					t.Errorf("got %q in %s", secret, out)
				}
			}
		}
	}
}
