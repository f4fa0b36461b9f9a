package base64text_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/base64text"
)

// both runs f with the fast and the constant-time decoder.
func both(t *testing.T, f func(t *testing.T, decode func(string) ([]byte, error))) {
	t.Run("fast", func(t *testing.T) { t.Parallel(); f(t, base64text.Decode) })
	t.Run("secret", func(t *testing.T) { t.Parallel(); f(t, base64text.DecodeSecret) })
}

func TestSpecificationExamples(t *testing.T) {
	t.Parallel()
	// Matrix appendix "Unpadded Base64".
	for plain, text := range map[string]string{
		"": "", "f": "Zg", "fo": "Zm8", "foo": "Zm9v", "foob": "Zm9vYg", "fooba": "Zm9vYmE", "foobar": "Zm9vYmFy",
	} {
		if got := base64text.Encode([]byte(plain)); got != text {
			t.Errorf("Encode(%q): got %q, want %q", plain, got, text)
		}
		if got := base64text.EncodeSecret([]byte(plain)); got != text {
			t.Errorf("EncodeSecret(%q): got %q, want %q", plain, got, text)
		}
		if got := string(base64text.Append([]byte("x"), []byte(plain))); got != "x"+text {
			t.Errorf("Append(%q): got %q, want %q", plain, got, "x"+text)
		}
	}
}

func TestEncodeLong(t *testing.T) {
	t.Parallel()
	for n := range 2400 {
		b := bytes.Repeat([]byte{byte(n), 0xa5, 0x7e}, n/3+1)[:n]
		if got, want := base64text.Encode(b), base64.RawStdEncoding.EncodeToString(b); got != want {
			t.Fatalf("%d bytes: got %q, want %q", n, got, want)
		}
		if got, want := string(base64text.Append([]byte("x"), b)), "x"+base64.RawStdEncoding.EncodeToString(b); got != want {
			t.Fatalf("%d bytes appended: got %q, want %q", n, got, want)
		}
	}
}

func TestDecodeStrict(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, decode func(string) ([]byte, error)) {
		for _, c := range []struct {
			text string
			want string
			ok   bool
		}{
			{"Zg", "f", true},
			{"Zg==", "f", true},
			{"Zm8=", "fo", true},
			{"Zm9v", "foo", true},
			{"+/+/", "\xfb\xff\xbf", true},
			{"Zg=", "", false},
			{"Zg===", "", false},
			{"Zm9v====", "", false},
			{"Zm9v=", "", false},
			{"Z", "", false},
			{"Zh", "", false},
			{"Zm9", "", false},
			{"Zm\n9v", "", false},
			{"Zm9v\n", "", false},
			{"Zm9v\r", "", false},
			{"Zm 9v", "", false},
			{"-_-_", "", false},
			{"Z=g=", "", false},
			{"\x80AAA", "", false},
		} {
			got, err := decode(c.text)
			if (err == nil) != c.ok || string(got) != c.want {
				t.Errorf("%q: got %q, %v, want %q, ok %v", c.text, got, err, c.want, c.ok)
			}
			if err != nil && !errors.Is(err, base64text.ErrMalformed) {
				t.Errorf("%q: got error %v, want ErrMalformed", c.text, err)
			}
		}
	})
}

func TestSecretAgainstEveryByte(t *testing.T) {
	t.Parallel()
	for a := range 256 {
		for b := range 256 {
			in := []byte{byte(a), byte(b), byte(a ^ b)}[:1+(a+b)%3]
			want := base64.RawStdEncoding.EncodeToString(in)
			if got := base64text.EncodeSecret(in); got != want {
				t.Fatalf("EncodeSecret(%x): got %q, want %q", in, got, want)
			}
			text := string([]byte{byte(a), byte(b), 'A', 'A'})
			slow, errSlow := base64text.DecodeSecret(text)
			fast, errFast := base64text.Decode(text)
			if (errSlow == nil) != (errFast == nil) || !bytes.Equal(slow, fast) {
				t.Fatalf("%q: got %x, %v, want %x, %v", text, slow, errSlow, fast, errFast)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "Zg==", "Zm9vYmE", "Z\n", "===="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fast, err := base64text.Decode(text)
		slow, errSlow := base64text.DecodeSecret(text)
		if (err == nil) != (errSlow == nil) || !bytes.Equal(fast, slow) {
			t.Fatalf("got %x, %v and %x, %v: the decoders differ", fast, err, slow, errSlow)
		}
		if err != nil {
			return
		}
		again, err := base64text.Decode(base64text.Encode(fast))
		if err != nil || !bytes.Equal(again, fast) {
			t.Fatalf("got %x, %v, want %x", again, err, fast)
		}
	})
}

// TestDecodeExactly takes and refuses what Decode does, for the size of a key.
func TestDecodeExactly(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{0xa7}, 32)
	text := base64text.Encode(key)
	for _, s := range []string{text, text + "=", text + "==", text[:42], text + "A", text[:20] + "\n" + text[20:], text[:42] + "\n", "\r" + text, text[:42] + "/", "", "=", strings.Repeat("A", 44), " " + text} {
		want, werr := base64text.Decode(s)
		var got [32]byte
		err := base64text.DecodeExactly(got[:], []byte(s))
		if ok := werr == nil && len(want) == 32; (err == nil) != ok || ok && !bytes.Equal(got[:], want) {
			t.Errorf("%q: got %v, %v, and Decode %v, %v", s, got, err, want, werr)
		}
	}
}

// BenchmarkDecodeExactly reports no allocations.
func BenchmarkDecodeExactly(b *testing.B) {
	in, out := []byte(base64text.Encode(make([]byte, 32))), [32]byte{}
	b.ReportAllocs()
	for b.Loop() {
		if err := base64text.DecodeExactly(out[:], in); err != nil {
			b.Fatal(err)
		}
	}
}
