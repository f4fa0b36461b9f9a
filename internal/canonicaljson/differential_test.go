package canonicaljson_test

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	cj "github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// second is another implementation, with Python's JSON, as the specification
// shows it: one text in base64 a line comes in; its canonical form, or "!" for
// what has none, goes out in base64. What Python lets pass is refused: NaN,
// members that occur twice, lone surrogates, points, negative exponents and
// large integers.
const second = `
import base64, json, sys
def members(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a member twice")
    return dict(pairs)
def refuse(text):
    raise ValueError(text)
def whole(text):
    n = int(text)
    if abs(n) > 2**53 - 1:
        raise ValueError("too large")
    return n
def exponent(text):
    if "." in text or "e-" in text.lower():
        raise ValueError("a fraction")
    digits, e = text.lower().split("e")
    if int(digits) == 0:
        return 0
    if int(e) > 20:
        raise ValueError("too large")
    return whole(str(int(digits) * 10 ** int(e)))
for line in sys.stdin:
    try:
        text = base64.b64decode(line).decode("utf-8")
        v = json.loads(text, object_pairs_hook=members, parse_constant=refuse, parse_int=whole, parse_float=exponent)
        out = json.dumps(v, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")
        print(base64.b64encode(out).decode(), flush=True)
    except (ValueError, ArithmeticError, RecursionError):
        print("!", flush=True)
`

// An oracle answers one text at a time.
type oracle struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func python(t testing.TB) *oracle {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), require.Program(t, "python3"), "-I", "-S", "-c", second)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &oracle{in, bufio.NewScanner(out)}
	o.out.Buffer(nil, 1<<24)
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("python: %v", err)
		}
	})
	return o
}

// canonical returns what the other implementation makes of raw.
func (o *oracle) canonical(t testing.TB, raw []byte) (string, bool) {
	t.Helper()
	text, err := json.Marshal(raw) // base64 between quotation marks
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(o.in, strings.Trim(string(text), `"`)+"\n"); err != nil {
		t.Fatal(err)
	}
	if !o.out.Scan() {
		t.Fatalf("python: it does not answer to %q: %v", raw, o.out.Err())
	}
	if o.out.Text() == "!" {
		return "", false
	}
	var out []byte
	if err := json.Unmarshal([]byte(`"`+o.out.Text()+`"`), &out); err != nil {
		t.Fatal(err)
	}
	return string(out), true
}

// compare holds this package against the other implementation: both refuse, or
// both give the same form.
func (o *oracle) compare(t testing.TB, raw []byte) bool {
	t.Helper()
	got, err := cj.Canonical(raw)
	want, ok := o.canonical(t, raw)
	if (err == nil) != ok || err == nil && string(got) != want {
		t.Errorf("%q: got %q, %v, want %q (%v)", raw, got, err, want, ok)
	}
	return ok
}

// TestAgainstPython makes values and spoils some of their text, and asks both
// implementations.
func TestAgainstPython(t *testing.T) {
	t.Parallel()
	o := python(t)
	luck := rand.New(rand.NewPCG(3, 4))
	taken := 0
	for range 20_000 {
		var b strings.Builder
		value(luck, &b, 4)
		raw := []byte(b.String())
		if luck.IntN(3) == 0 && len(raw) > 0 {
			raw[luck.IntN(len(raw))] = "0123456789.eE+-\"\\{}[],: \n\x00\x80\xff"[luck.IntN(27)]
		}
		if o.compare(t, raw) {
			taken++
		}
		if t.Failed() {
			return
		}
	}
	if taken < 2_000 || taken > 19_000 {
		t.Errorf("%d of 20000 texts were taken: the test shows little", taken)
	}
}

// value writes a JSON value, not always one that has a canonical form.
func value(luck *rand.Rand, b *strings.Builder, depth int) {
	pick := func(list ...string) { b.WriteString(list[luck.IntN(len(list))]) }
	n := luck.IntN(8)
	if depth == 0 {
		n = luck.IntN(5)
	}
	switch n {
	case 0:
		pick("0", "-0", "1", "-1", "10", "9007199254740991", "-9007199254740991", "9007199254740992", "1e3", "1E+2", "1.0", "0.5", "10e-1", "-0.0", "01", "1.", "0e99999", "1e-400", "12e400")
	case 1:
		pick("true", "false", "null", "NaN", "Infinity", "tru")
	case 2, 3, 4:
		text(luck, b)
	case 5:
		b.WriteString("[")
		for i := range luck.IntN(4) {
			if i > 0 {
				pick(",", " , ", ",\n")
			}
			value(luck, b, depth-1)
		}
		b.WriteString("]")
	default:
		b.WriteString("{")
		for i := range luck.IntN(5) {
			if i > 0 {
				pick(",", " ,\t")
			}
			text(luck, b)
			pick(":", " : ")
			value(luck, b, depth-1)
		}
		b.WriteString("}")
	}
}

// text writes a string: members are to be sorted by code points, not by the
// units of UTF-16 or bytes.
func text(luck *rand.Rand, b *strings.Builder) {
	b.WriteByte('"')
	for range luck.IntN(4) {
		b.WriteString([]string{"a", "b", "B", "é", "\u00a0", "\u2028", "\uffff", "😀", "\\ud83d\\ude00", "\\ud83d", "\\u0000", "\\u001f", "\x1f", "\x7f", "\\/", "/", "\\\"", "\\\\", "\\b", "\\x",
			"\\uE000", "\ue000", "𐀀"}[luck.IntN(23)])
	}
	b.WriteByte('"')
}
