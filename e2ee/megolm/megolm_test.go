package megolm_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/base64text"
)

// source returns randomness that is the same in every run.
func source(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newOutbound(t testing.TB, seed byte) *megolm.Outbound {
	t.Helper()
	return must[*megolm.Outbound](t)(megolm.NewOutbound(source(seed)))
}

func newInbound(t testing.TB, out *megolm.Outbound) *megolm.Inbound {
	t.Helper()
	return must[*megolm.Inbound](t)(megolm.NewInbound(out.SessionKey()))
}

func seal(t testing.TB, out *megolm.Outbound, text string) []byte {
	t.Helper()
	return must[[]byte](t)(out.Seal([]byte(text)))
}

func parse(t testing.TB, b []byte) *megolm.Message {
	t.Helper()
	return must[*megolm.Message](t)(megolm.ParseMessage(b))
}

func opens(t testing.TB, in *megolm.Inbound, b []byte, want string) {
	t.Helper()
	if got, err := in.Open(parse(t, b)); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// at returns out with its index moved to index, by way of its state.
func at(t testing.TB, out *megolm.Outbound, index uint32) *megolm.Outbound {
	t.Helper()
	in := newInbound(t, out)
	exported := must[[]byte](t)(in.Export(index))
	state := out.Encode()
	copy(state[2:], exported[1:1+4+128])
	return must[*megolm.Outbound](t)(megolm.DecodeOutbound(state))
}

func TestRoom(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	if in.ID() != out.ID() || string(in.ID()) != in.Signing().String() || in.FirstIndex() != 0 {
		t.Errorf("got session %s from %d, want %s from 0", in.ID(), in.FirstIndex(), out.ID())
	}
	var sent [][]byte
	for i := range 600 {
		if got := out.Index(); got != uint32(i) {
			t.Fatalf("got index %d, want %d", got, i)
		}
		sent = append(sent, seal(t, out, fmt.Sprint("message ", i)))
		if m := parse(t, sent[i]); m.Index != uint32(i) {
			t.Fatalf("got index %d in the message, want %d", m.Index, i)
		}
	}
	late := newInbound(t, out)
	if late.FirstIndex() != 600 {
		t.Errorf("got first index %d of a session key given late, want 600", late.FirstIndex())
	}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(600) {
		opens(t, in, sent[i], fmt.Sprint("message ", i))
		opens(t, in, sent[i], fmt.Sprint("message ", i))
		if _, err := late.Open(parse(t, sent[i])); !errors.Is(err, megolm.ErrUnknownIndex) {
			t.Fatalf("message %d: got %v, want ErrUnknownIndex", i, err)
		}
	}
	for _, n := range []int{0, 1, 15, 16, 17, 70000} {
		text := strings.Repeat("x", n)
		b := seal(t, out, text)
		opens(t, in, b, text)
		opens(t, late, b, text)
	}
}

// TestEncryptedEvent opens events that another implementation sealed.
func TestEncryptedEvent(t *testing.T) {
	t.Parallel()
	for name, v := range vectors(t) {
		in := v.session(t)
		got, err := in.Open(parse(t, must[[]byte](t)(base64text.Decode(v.Ciphertext))))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var event struct {
			Type    string
			RoomID  string `json:"room_id"`
			Content struct{ Body string }
		}
		if err := json.Unmarshal(got, &event); err != nil || event.Type != v.Type || event.RoomID != v.RoomID || event.Content.Body != v.Body {
			t.Errorf("%s: got %s, %v, want %q in %s", name, got, err, v.Body, v.RoomID)
		}
		later := must[[]byte](t)(in.Export(1))
		if got := hex.EncodeToString(later[1+4+96 : 1+4+128]); got != v.LastPartAt1 {
			t.Errorf("%s: last part at index 1: got %s, want %s", name, got, v.LastPartAt1)
		}
		for _, m := range append(v.More, exported{v.SessionID, v.SessionKey}) {
			s := m.session(t)
			if got := string(s.ID()); got != m.SessionID {
				t.Errorf("%s: got session id %s, want %s", name, got, m.SessionID)
			}
			if got := base64text.Encode(must[[]byte](t)(s.Export(s.FirstIndex()))); got != m.SessionKey {
				t.Errorf("%s: got another export than was imported", name)
			}
		}
	}
}

type exported struct {
	SessionID  string `json:"session_id"`
	SessionKey string `json:"session_key"`
}

type vector struct {
	exported
	Ciphertext  string
	Type        string
	RoomID      string `json:"room_id"`
	Body        string
	LastPartAt1 string `json:"last_part_at_1"`
	More        []exported
}

func vectors(t *testing.T) map[string]vector {
	t.Helper()
	var v map[string]vector
	if err := json.Unmarshal(must[[]byte](t)(os.ReadFile("testdata/sessions.json")), &v); err != nil || len(v) != 2 {
		t.Fatalf("got %d users, %v, want 2", len(v), err)
	}
	return v
}

func (e exported) session(t *testing.T) *megolm.Inbound {
	t.Helper()
	return must[*megolm.Inbound](t)(megolm.Import(must[[]byte](t)(base64text.Decode(e.SessionKey))))
}

func TestExportImport(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	first := seal(t, out, "first")
	for range 299 {
		seal(t, out, "")
	}
	last := seal(t, out, "last")
	opens(t, in, last, "last")
	for _, index := range []uint32{0, 1, 255, 256, 300} {
		b := must[[]byte](t)(in.Export(index))
		if len(b) != megolm.ExportSize {
			t.Errorf("got %d bytes, want %d", len(b), megolm.ExportSize)
		}
		imported := must[*megolm.Inbound](t)(megolm.Import(b))
		if imported.ID() != in.ID() || imported.FirstIndex() != index {
			t.Errorf("got %s from %d, want %s from %d", imported.ID(), imported.FirstIndex(), in.ID(), index)
		}
		opens(t, imported, last, "last")
		if _, err := imported.Open(parse(t, first)); (index > 0) != errors.Is(err, megolm.ErrUnknownIndex) {
			t.Errorf("from %d: got %v for message 0", index, err)
		}
		if index > 0 {
			if _, err := imported.Export(index - 1); !errors.Is(err, megolm.ErrUnknownIndex) {
				t.Errorf("got %v, want ErrUnknownIndex", err)
			}
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	first := seal(t, out, "x")
	full := must[*megolm.Inbound](t)(megolm.NewInbound(newOutbound(t, 1).SessionKey()))
	from := func(index uint32) *megolm.Inbound {
		return must[*megolm.Inbound](t)(megolm.Import(must[[]byte](t)(full.Export(index))))
	}
	other := newInbound(t, newOutbound(t, 2))
	// The right Ed25519 key with another ratchet: a forged, better session.
	forged := must[[]byte](t)(full.Export(0))
	forged[20] ^= 1
	for _, c := range []struct {
		name string
		a, b *megolm.Inbound
		want megolm.Order
	}{
		{"equal", from(7), from(7), megolm.Equal},
		{"better", from(3), from(1<<16 + 9), megolm.Better},
		{"worse", from(1<<16 + 9), from(3), megolm.Worse},
		{"another session", from(0), other, megolm.Unconnected},
		{"forged, better", from(5), must[*megolm.Inbound](t)(megolm.Import(forged)), megolm.Unconnected},
		{"forged, same index", from(0), must[*megolm.Inbound](t)(megolm.Import(forged)), megolm.Unconnected},
	} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%s: got order %d, want %d", c.name, got, c.want)
		}
		before, index := c.a.Encode(), c.b.FirstIndex()
		took, err := c.a.Merge(c.b)
		if took != (c.want == megolm.Worse) || (err != nil) != (c.want == megolm.Unconnected) || err != nil && !errors.Is(err, megolm.ErrUnconnected) {
			t.Errorf("%s: got %v, %v", c.name, took, err)
		}
		if took && c.a.FirstIndex() != index || !took && !bytes.Equal(before, c.a.Encode()) {
			t.Errorf("%s: got first index %d after merging", c.name, c.a.FirstIndex())
		}
	}
	merged := from(4)
	if took, err := merged.Merge(from(0)); !took || err != nil {
		t.Fatalf("got %v, %v, want the earlier ratchet taken", took, err)
	}
	opens(t, merged, first, "x")
}

func TestState(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	first := seal(t, out, "first")
	for i := range 5 {
		out = must[*megolm.Outbound](t)(megolm.DecodeOutbound(out.Encode()))
		b := seal(t, out, fmt.Sprint(i))
		in = must[*megolm.Inbound](t)(megolm.DecodeInbound(in.Encode()))
		opens(t, in, b, fmt.Sprint(i))
		opens(t, in, first, "first")
	}
	state := out.Encode()
	for n := range state {
		if _, err := megolm.DecodeOutbound(state[:n]); !errors.Is(err, megolm.ErrBadState) {
			t.Fatalf("outbound cut at %d: got %v, want ErrBadState", n, err)
		}
	}
	if _, err := megolm.DecodeOutbound(append(state, 0)); !errors.Is(err, megolm.ErrBadState) {
		t.Errorf("got %v, want ErrBadState", err)
	}
	state = in.Encode()
	for n := range state {
		if _, err := megolm.DecodeInbound(state[:n]); !errors.Is(err, megolm.ErrBadState) {
			t.Fatalf("inbound cut at %d: got %v, want ErrBadState", n, err)
		}
	}
	for name, at := range map[string]int{"kind": 0, "version": 1, "public key": 33, "first index after the latest": 34} {
		b := bytes.Clone(state)
		b[at] ^= 0xff
		if _, err := megolm.DecodeInbound(b); !errors.Is(err, megolm.ErrBadState) && name != "public key" {
			t.Errorf("%s: got %v, want ErrBadState", name, err)
		}
	}
}

func TestFailedRandomness(t *testing.T) {
	t.Parallel()
	for _, r := range []io.Reader{iotest.ErrReader(io.ErrClosedPipe), io.LimitReader(source(1), 150)} {
		if _, err := megolm.NewOutbound(r); err == nil {
			t.Error("got a session from a source that failed")
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	out := at(t, newOutbound(t, 1), 1<<32-2)
	in := newInbound(t, newOutbound(t, 1))
	opens(t, in, seal(t, out, "the last"), "the last")
	before := out.Encode()
	if _, err := out.Seal([]byte("one more")); !errors.Is(err, megolm.ErrExhausted) || !bytes.Equal(before, out.Encode()) {
		t.Errorf("got %v, want ErrExhausted and no change", err)
	}
	out = newOutbound(t, 1)
	before = out.Encode()
	if _, err := out.Seal(make([]byte, megolm.MaxMessage)); !errors.Is(err, megolm.ErrTooLarge) || !bytes.Equal(before, out.Encode()) {
		t.Errorf("got %v, want ErrTooLarge and no change", err)
	}
	largest := string(make([]byte, megolm.MaxMessage-128))
	opens(t, in, seal(t, out, largest), largest)
	if _, err := megolm.ParseMessage(append([]byte{3}, make([]byte, megolm.MaxMessage)...)); !errors.Is(err, megolm.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestNothingPrints(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	secret := out.Encode()[6:16]
	for _, v := range []any{out, *out, in, *in, struct{ s *megolm.Outbound }{out}, struct{ S *megolm.Inbound }{in}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			s := fmt.Sprintf(verb, v)
			if strings.Contains(s, hex.EncodeToString(secret)) || strings.Contains(s, strings.Trim(fmt.Sprint(secret), "[]")) {
				t.Errorf("%T %s: got %q, want no secret", v, verb, s)
			}
		}
	}
	if got := fmt.Sprint(out, in); got != "[redacted] [redacted]" {
		t.Errorf("got %q, want [redacted] twice", got)
	}
}

func TestWipe(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	m := parse(t, seal(t, out, "x"))
	out.Wipe()
	in.Wipe()
	if _, err := in.Open(m); err == nil {
		t.Error("got a message opened after Wipe")
	}
	defer func() {
		if recover() == nil {
			t.Error("got no panic from sealing after Wipe")
		}
	}()
	out.Seal(nil)
}

// TestAllocations holds sealing and opening to eight allocations.
func TestAllocations(t *testing.T) {
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	text := make([]byte, 256)
	if got := testing.AllocsPerRun(100, func() { out.Seal(text) }); got > 8 {
		t.Errorf("Seal: got %v allocations, want at most 8", got)
	}
	b := must[[]byte](t)(out.Seal(text))
	if got := testing.AllocsPerRun(100, func() {
		if m, err := megolm.ParseMessage(b); err == nil {
			in.Open(m)
		}
	}); got > 8 {
		t.Errorf("ParseMessage and Open: got %v allocations, want at most 8", got)
	}
}
