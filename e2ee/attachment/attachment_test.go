package attachment_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/quinta-chat/quinta/e2ee/attachment"
)

// example is the description in the specification.
const example = `{"url":"mxc://example.org/FHyPlCeYUSFFxlgbQYZmoEoe","mimetype":"image/jpeg","v":"v2",` +
	`"key":{"alg":"A256CTR","ext":true,"k":"aWF6-32KGYaC3A_FEUCk1Bt0JA37zP0wrStgmdCaW-0","key_ops":["encrypt","decrypt"],"kty":"oct"},` +
	`"iv":"w+sE15fzSc0AAAAAAAAAAA","hashes":{"sha256":"fdSLu/YkRx3Wyh3KQabP3rd6+SFiKg5lsJZQHtkSAYA"}}`

// seal encrypts text with key bytes 0, 1, 2 ...
func seal(t *testing.T, text string) (ciphertext []byte, f *attachment.File) {
	t.Helper()
	r, err := attachment.NewSealReader(bytes.NewReader(counting(40)), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	ciphertext, err = io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = r.File("mxc://example.org/a"); err != nil {
		t.Fatal(err)
	}
	return ciphertext, f
}

func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func open(f *attachment.File, ciphertext []byte) (string, error) {
	r, err := attachment.Open(f, bytes.NewReader(ciphertext), int64(len(ciphertext)))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

// TestKnownAnswer holds the whole form against a file that OpenSSL made:
// openssl enc -aes-256-ctr -K 00..1f -iv 20..27 0000000000000000.
func TestKnownAnswer(t *testing.T) {
	t.Parallel()
	ciphertext, f := seal(t, "Quinta")
	if got := fmt.Sprintf("%x", ciphertext); got != knownCiphertext {
		t.Errorf("ciphertext: got %s, want %s", got, knownCiphertext)
	}
	const want = `{"url":"mxc://example.org/a","v":"v2","key":{"alg":"A256CTR","ext":true,"k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","key_ops":["encrypt","decrypt"],"kty":"oct"},"iv":"ICEiIyQlJicAAAAAAAAAAA","hashes":{"sha256":"` + knownHash + `"}}`
	if got := string(f.Encode()); got != want {
		t.Errorf("description: got %s, want %s", got, want)
	}
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 15, 16, 17, 32 << 10, 32<<10 + 1, 200000} {
		text := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		ciphertext, f := seal(t, text)
		if n > 16 && bytes.Contains(ciphertext, []byte("0123456789abcdef")) {
			t.Errorf("%d bytes: the text stands in the ciphertext", n)
		}
		again, err := attachment.Parse(f.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := open(again, ciphertext); err != nil || got != text {
			t.Errorf("%d bytes: got %d bytes, %v", n, len(got), err)
		}

		var out bytes.Buffer
		w, err := attachment.NewSealWriter(bytes.NewReader(counting(40)), &out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.File("mxc://x/y"); err != attachment.ErrUnfinished {
			t.Errorf("File before Close: got %v", err)
		}
		if _, err := io.Copy(w, iotest.OneByteReader(strings.NewReader(text[:min(n, 50)]))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text[min(n, 50):]); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		g, err := w.File("mxc://example.org/a")
		if err != nil || !bytes.Equal(out.Bytes(), ciphertext) || !bytes.Equal(g.Encode(), f.Encode()) {
			t.Errorf("%d bytes: the writer and the reader differ, %v", n, err)
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write after close: got %v", err)
		}
	}
}

// TestAttack07FileTampered flips every bit: nothing comes out.
func TestAttack07FileTampered(t *testing.T) {
	t.Parallel()
	ciphertext, f := seal(t, "a short text")
	for i := range len(ciphertext) * 8 {
		bad := bytes.Clone(ciphertext)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := open(f, bad); err != attachment.ErrHash || got != "" {
			t.Errorf("bit %d: got %q, %v, want ErrHash", i, got, err)
		}
		if _, err := attachment.Receive(f, bytes.NewReader(bad), 100, tempFile(t)); err != attachment.ErrHash {
			t.Errorf("bit %d received: got %v, want ErrHash", i, err)
		}
	}
	for _, bad := range [][]byte{nil, ciphertext[1:], ciphertext[:len(ciphertext)-1], append(bytes.Clone(ciphertext), 0)} {
		if got, err := open(f, bad); err != attachment.ErrHash || got != "" {
			t.Errorf("%d bytes: got %q, %v, want ErrHash", len(bad), got, err)
		}
	}
	if _, err := attachment.Open(f, bytes.NewReader(ciphertext), int64(len(ciphertext)+1)); err != attachment.ErrHash {
		t.Errorf("a file shorter than it should be: got %v, want ErrHash", err)
	}
	text := string(f.Encode())
	for _, c := range []struct{ old, new string }{
		{`"sha256":"` + knownText(text, `"sha256":"`, 4), `"sha256":"AAAA`},
	} {
		bad, err := attachment.Parse([]byte(strings.Replace(text, c.old, c.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := open(bad, ciphertext); err != attachment.ErrHash || got != "" {
			t.Errorf("another hash: got %q, %v, want ErrHash", got, err)
		}
	}
}

// knownText returns the n characters after head in text.
func knownText(text, head string, n int) string {
	i := strings.Index(text, head) + len(head)
	return text[i : i+n]
}

// A changing reader gives other bytes from the second reading on.
type changing struct {
	data  []byte
	reads int
}

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		c.reads++
	}
	n := copy(p, c.data[off:])
	if c.reads > 1 && n > 0 {
		p[0] ^= 1
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestChangedBetweenReadings(t *testing.T) {
	t.Parallel()
	ciphertext, f := seal(t, "a short text")
	r, err := attachment.Open(f, &changing{data: ciphertext}, int64(len(ciphertext)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != attachment.ErrHash {
		t.Errorf("got %v, want ErrHash", err)
	}
	if _, err := r.Read(make([]byte, 1)); err != attachment.ErrHash {
		t.Errorf("after the error: got %v, want ErrHash", err)
	}
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestReceive(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 100000)
	ciphertext, f := seal(t, text)
	r, err := attachment.Receive(f, iotest.DataErrReader(bytes.NewReader(ciphertext)), 100000, tempFile(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != text || r.Size() != 100000 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if _, err := attachment.Receive(f, bytes.NewReader(ciphertext), 99999, tempFile(t)); err != attachment.ErrTooLarge {
		t.Errorf("over the limit: got %v, want ErrTooLarge", err)
	}
	broken := errors.New("line cut")
	if _, err := attachment.Receive(f, io.MultiReader(bytes.NewReader(ciphertext[:9]), iotest.ErrReader(broken)), 100000, tempFile(t)); !errors.Is(err, broken) {
		t.Errorf("a broken line: got %v", err)
	}
	closed := tempFile(t)
	closed.Close()
	if _, err := attachment.Receive(f, bytes.NewReader(ciphertext), 100000, closed); !errors.Is(err, os.ErrClosed) {
		t.Errorf("broken storage: got %v", err)
	}
}

func TestSealErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk gone")
	if _, err := attachment.NewSealReader(bytes.NewReader(counting(39)), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too little randomness: got %v", err)
	}
	r, err := attachment.NewSealReader(bytes.NewReader(counting(40)), io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, broken) {
		t.Errorf("a broken source: got %v", err)
	}
	if _, err := r.File("mxc://x/y"); err != attachment.ErrUnfinished {
		t.Errorf("File after an error: got %v", err)
	}
	w, err := attachment.NewSealWriter(bytes.NewReader(counting(40)), failing{broken})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Write([]byte("abc")); !errors.Is(err, broken) {
			t.Errorf("a broken target: got %v", err)
		}
	}
	if err := w.Close(); !errors.Is(err, broken) {
		t.Errorf("Close after an error: got %v", err)
	}
	if _, err := w.File("mxc://x/y"); err != attachment.ErrUnfinished {
		t.Errorf("File after an error: got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestParse(t *testing.T) {
	t.Parallel()
	f, err := attachment.Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(f.Encode(), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(example), &want); err != nil {
		t.Fatal(err)
	}
	delete(want, "mimetype")
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, c := range []struct{ old, new string }{
		{`"v2"`, `"v1"`},
		{`"v":"v2",`, ``},
		{`"url":"mxc://example.org/FHyPlCeYUSFFxlgbQYZmoEoe",`, ``},
		{`"oct"`, `"RSA"`},
		{`A256CTR`, `A256CBC`},
		{`"ext":true`, `"ext":false`},
		{`"ext":true,`, ``},
		{`["encrypt","decrypt"]`, `["decrypt"]`},
		{`["encrypt","decrypt"]`, `["encrypt"]`},
		{`"aWF6-`, `"aWF6+`},
		{`"aWF6-32K`, `"`},
		{`"w+sE`, `"w-sE`},
		{`"w+sE`, `"w+sEAAAA`},
		{`"sha256"`, `"sha512"`},
		{`"fdSL`, `"`},
		{`"fdSL`, `"*dSL`},
		{`"key":{`, `"key":[{`},
		{`{"url"`, `["url"`},
	} {
		bad := strings.Replace(example, c.old, c.new, 1)
		if bad == example {
			t.Fatalf("%s is not in the example", c.old)
		}
		if _, err := attachment.Parse([]byte(bad)); !errors.Is(err, attachment.ErrFormat) {
			t.Errorf("%s to %s: got %v, want ErrFormat", c.old, c.new, err)
		} else if strings.Contains(err.Error(), "32KGYaC") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	if _, err := attachment.Parse([]byte(example[:len(example)-1] + `,"x":"` + strings.Repeat("x", 64<<10) + `"}`)); !errors.Is(err, attachment.ErrFormat) {
		t.Errorf("too long: got %v", err)
	}
	if _, err := attachment.Parse([]byte(strings.NewReplacer("W-0\"", "W-0=\"", "AAAAAA\"", "AAAAAA==\"", "AYA\"", "AYA=\"").Replace(example))); err != nil {
		t.Errorf("padded: got %v", err)
	}
}

func TestCounterRunsOver(t *testing.T) {
	t.Parallel()
	_, f := seal(t, "")
	text := strings.Replace(string(f.Encode()), "ICEiIyQlJicAAAAAAAAAAA", "ICEiIyQlJif/////////8A", 1) // 0xff..f0
	for _, c := range []struct {
		n  int
		ok bool
	}{{16, true}, {10 * 16, true}, {16 * 16, false}} {
		ciphertext := make([]byte, c.n)
		g, err := attachment.Parse([]byte(withHash(text, ciphertext)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(g, ciphertext); (err == nil) != c.ok {
			t.Errorf("%d bytes: got %v, want ok %v", c.n, err, c.ok)
		}
	}
}

func TestNeverPrinted(t *testing.T) {
	t.Parallel()
	f, err := attachment.Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(map[string]any{"f": f})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(f), fmt.Sprintf("%+v", f), fmt.Sprintf("%#v", f), fmt.Sprintf("%x %s %q", f, f, f), string(asJSON)} {
		if !strings.Contains(s, "[redacted]") || strings.Contains(s, "aWF6") || strings.Contains(s, "69617a") || strings.Contains(s, "0x69") {
			t.Errorf("printed: %s", s)
		}
	}
	f.Wipe()
	if !strings.Contains(string(f.Encode()), `"k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`) {
		t.Error("Wipe left the key")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := attachment.Parse(raw)
		if err != nil {
			return
		}
		b, err := attachment.Parse(a.Encode())
		if err != nil || !bytes.Equal(a.Encode(), b.Encode()) {
			t.Errorf("%q: got %v", raw, err)
		}
	})
}
