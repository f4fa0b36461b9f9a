package keysrv_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

const (
	romeo  = quinta.UserID("romeo@test.example")
	juliet = quinta.UserID("juliet@test.example")
	tybalt = quinta.UserID("tybalt@test.example")
)

var began = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// random is a source of bytes that a seed repeats.
func random(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func conversationKey(t testing.TB, seed byte) key.ConversationKey {
	t.Helper()
	k, err := key.GenerateSymmetric[key.Conversation](random(seed))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newCipher(t testing.TB, s keysrv.Suite, seed byte) *keysrv.Cipher {
	t.Helper()
	c, err := keysrv.NewCipher(s, conversationKey(t, seed))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func binding() keysrv.Binding {
	return keysrv.Binding{ObjectID: "5YGC0FF90k", From: romeo, To: string(juliet), StanzaID: "send1"}
}

func hello() keysrv.Envelope {
	return keysrv.Envelope{Device: "AAAAAAAAAAAAAAAA", Time: began.UnixMilli(), Content: json.RawMessage(`{"text":"hello"}`)}
}

// owner is a device with its private keys.
type owner struct {
	*keysrv.Device
	sign  key.DeviceSigningPrivate
	agree key.IdentityPrivate
}

func newOwner(t testing.TB, user quinta.UserID, seed byte) owner {
	t.Helper()
	r := random(seed)
	s, err := key.GenerateSigning[key.Device](r)
	if err != nil {
		t.Fatal(err)
	}
	a, err := key.GenerateAgreement[key.Identity](r)
	if err != nil {
		t.Fatal(err)
	}
	return owner{keysrv.NewDevice(user, began.UnixMilli(), s, a.Public()), s, a}
}

func statement(o owner, k key.ConversationKey) *keysrv.Statement {
	s := &keysrv.Statement{ObjectID: "object1", Conversation: keysrv.DirectID(romeo, juliet), Suite: keysrv.SuiteGCM, Creator: o.User, Device: o.ID,
		Created: began.UnixMilli(), Expires: began.Add(24 * time.Hour).UnixMilli()}
	s.Check = s.Commit(k)
	return s
}

func TestPayload(t *testing.T) {
	t.Parallel()
	for _, suite := range []keysrv.Suite{keysrv.SuiteGCM, keysrv.SuiteCBC} {
		c := newCipher(t, suite, 1)
		for _, n := range []int{0, 1, 15, 16, 17, 4096} {
			plain := bytes.Repeat([]byte("x"), n)
			sealed, err := c.Seal(random(2), binding(), plain)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Open(binding(), sealed)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, %d bytes: got %q, %v", suite, n, got, err)
			}
		}
	}
	if _, err := keysrv.NewCipher("A128GCM", conversationKey(t, 1)); !errors.Is(err, keysrv.ErrUnsupported) {
		t.Errorf("another suite: got %v, want ErrUnsupported", err)
	}
	if _, err := newCipher(t, keysrv.SuiteGCM, 1).Seal(random(1), binding(), make([]byte, keysrv.MaxPayload)); quinta.KindOf(err) != quinta.KindTooLarge {
		t.Errorf("a long message: got %v, want too large", err)
	}
}

func TestEnvelopeHidesTheLength(t *testing.T) {
	t.Parallel()
	c := newCipher(t, keysrv.SuiteGCM, 1)
	sizes := map[int]bool{}
	for n := range 32 {
		e := hello()
		e.Content = json.RawMessage(`{"text":"` + strings.Repeat("a", n) + `"}`)
		sealed, err := keysrv.Seal(c, random(1), binding(), e)
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(sealed)] = true
		got, err := keysrv.Open(c, binding(), sealed)
		if err != nil || string(got.Content) != string(e.Content) || got.From != romeo || got.Device != e.Device || !got.At().Equal(began) || got.Pad != "" {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if len(sizes) > 2 {
		t.Errorf("32 lengths of text gave %d lengths of payload, want at most 2", len(sizes))
	}
}

func TestPacket(t *testing.T) {
	t.Parallel()
	p, err := keysrv.ParsePacket("5YGC0FF90k", " 5MFUu9BmMxjkAhHs5OSqjQ== ")
	if err != nil || len(p.Payload) != 16 || p.Text() != "5MFUu9BmMxjkAhHs5OSqjQ==" {
		t.Errorf("the sample of the specification: got %v, %v", p, err)
	}
	for _, c := range []struct{ id, text string }{
		{"", "AAAA"}, {"a b", "AAAA"}, {strings.Repeat("a", 65), "AAAA"}, {"é", "AAAA"},
		{"a", ""}, {"a", "  "}, {"a", "A"}, {"a", "AAA A"}, {"a", "AA\nAA"}, {"a", "AAAA===="}, {"a", "AAB="}, {"a", "A_-A"},
		{"a", strings.Repeat("A", 10<<20)},
	} {
		if _, err := keysrv.ParsePacket(c.id, c.text); !errors.Is(err, keysrv.ErrMalformed) {
			t.Errorf("%.20q, %.20q: got %v, want ErrMalformed", c.id, c.text, err)
		}
	}
}

func TestConversationIDs(t *testing.T) {
	t.Parallel()
	if keysrv.DirectID(romeo, juliet) != keysrv.DirectID(juliet, romeo) {
		t.Error("two users have two conversations, want one")
	}
	seen := map[string]bool{}
	for _, id := range []string{keysrv.DirectID(romeo, juliet), keysrv.DirectID(romeo, romeo), keysrv.DirectID(romeo, tybalt), keysrv.RoomID("hall@rooms.test.example")} {
		if err := keysrv.CheckConversation(id); err != nil || seen[id] {
			t.Errorf("%s: got %v, or twice", id, err)
		}
		seen[id] = true
	}
}

func TestJIDs(t *testing.T) {
	t.Parallel()
	for _, good := range []quinta.UserID{romeo, "a!#$%()*+,-.;=?[\\]^_`{|}~@b", "fußball@example.com", "π@example.com", "a@[::1]"} {
		if err := keysrv.CheckJID(good); err != nil {
			t.Errorf("%q: got %v, want no error", good, err)
		}
	}
	for _, bad := range []quinta.UserID{"", "example.com", "@b", "a@", "a@b/c", "a b@c", "a@b@c", "a'@b", "a@b\n", "\xff@b", "a\x00@b", quinta.UserID(strings.Repeat("a", 1024)) + "@b"} {
		if err := keysrv.CheckJID(bad); !errors.Is(err, keysrv.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", bad, err)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	a, b := newOwner(t, romeo, 1), newOwner(t, juliet, 2)
	k := conversationKey(t, 3)
	s := statement(a, k)
	w, err := keysrv.Wrap(s, k, b.Device)
	if err != nil {
		t.Fatal(err)
	}
	got, err := keysrv.Unwrap(s, w, juliet, b.ID, b.agree)
	if err != nil || !got.Equal(k) {
		t.Fatalf("got %v, want the key", err)
	}
	if err := s.Verify(a.Signing, s.Sign(a.sign)); err != nil {
		t.Error(err)
	}
}

func TestDeviceJSON(t *testing.T) {
	t.Parallel()
	a, b := newOwner(t, romeo, 1), newOwner(t, romeo, 2)
	b.Approval = b.Device.Approve(a.sign, began.UnixMilli())
	raw, err := json.Marshal(b.Device)
	if err != nil {
		t.Fatal(err)
	}
	d, err := keysrv.ParseDevice(raw)
	if err != nil || !d.Same(b.Device) || d.ApprovedBy(a.Device) != nil {
		t.Errorf("got %v, %v", d, err)
	}
}

// TestThumbprint is RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	x, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	p, err := key.NewSigningPublic[key.Device](x)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := keysrv.Thumbprint(p), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	k, err := key.GenerateSymmetric[key.Attachment](random(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, keysrv.SegmentSize - 1, keysrv.SegmentSize, keysrv.SegmentSize + 1, 3 * keysrv.SegmentSize, 3*keysrv.SegmentSize + 7} {
		plain := make([]byte, n)
		if _, err := io.ReadFull(random(byte(n)), plain); err != nil {
			t.Fatal(err)
		}
		s, err := keysrv.NewSegmentSealer(k, bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := io.ReadAll(s)
		if err != nil || int64(len(sealed)) != keysrv.SealedFileSize(int64(n)) || s.Size() != int64(n) {
			t.Fatalf("%d bytes: got %d sealed, %v; want %d", n, len(sealed), err, keysrv.SealedFileSize(int64(n)))
		}
		for first := 0; first*keysrv.SegmentSize < n || first == 0; first++ {
			o, err := keysrv.NewSegmentOpener(k, bytes.NewReader(sealed[first*keysrv.SealedSegmentSize:]), uint64(first))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(o)
			if err != nil || !bytes.Equal(got, plain[first*keysrv.SegmentSize:]) {
				t.Errorf("%d bytes from segment %d: got %d bytes, %v", n, first, len(got), err)
			}
		}
	}
}

// TestObjectsDoNotPrint prints an escrow object every way; only Encode shows the
// key.
func TestObjectsDoNotPrint(t *testing.T) {
	t.Parallel()
	o := keysrv.Object{ID: "object1", Mode: keysrv.ModeEscrow, Key: bytes.Repeat([]byte("K"), 32)}
	raw, err := json.Marshal(o)
	if err != nil || bytes.Contains(raw, []byte("S0tL")) || !bytes.Contains(o.Encode(), []byte("S0tL")) {
		t.Errorf("got %s, %v, want no key", raw, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, v := range []any{o, &o, []keysrv.Object{o}, struct{ O keysrv.Object }{o}} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "KKKK") || strings.Contains(out, "75 75") || strings.Contains(out, "4b4b") || strings.Contains(out, "0x4b") {
				t.Errorf("%s: got %q, want no key", verb, out)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]quinta.Reason{
		keysrv.ErrMalformed: quinta.ReasonMalformed, keysrv.ErrUnsupported: quinta.ReasonUnsupported, keysrv.ErrTampered: quinta.ReasonTampered,
		keysrv.ErrReplayed: quinta.ReasonReplayed, keysrv.ErrMismatch: quinta.ReasonSenderMismatch, keysrv.ErrNotPermitted: quinta.ReasonNotPermitted,
		keysrv.ErrNoKey: quinta.ReasonNoKeyYet, keysrv.ErrExpired: quinta.ReasonExpired, keysrv.ErrDowngrade: quinta.ReasonUnsupported,
		keysrv.ErrUntrusted: quinta.ReasonSenderMismatch,
	} {
		if got := keysrv.ReasonOf(fmt.Errorf("x: %w", err)); got != want {
			t.Errorf("%v: got %s, want %s", err, got, want)
		}
	}
}
