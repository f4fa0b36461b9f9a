package olm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/key"
)

// source returns randomness that is the same in every run.
func source(seed int) io.Reader {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newAccount(t testing.TB, seed int) *olm.Account {
	t.Helper()
	return must[*olm.Account](t)(olm.NewAccount(source(seed)))
}

// claim makes a one-time key and returns it.
func claim(t testing.TB, a *olm.Account, seed int) key.OneTimePublic {
	t.Helper()
	if err := a.GenerateOneTimeKeys(source(seed), 1); err != nil {
		t.Fatal(err)
	}
	keys := a.Unpublished()
	k := keys[len(keys)-1]
	a.MarkPublished(k.ID)
	return k.Key
}

func seal(t testing.TB, s *olm.Session, r io.Reader, text string) olm.Sealed {
	t.Helper()
	return must[olm.Sealed](t)(s.Seal(r, []byte(text)))
}

func parse(t testing.TB, m olm.Sealed) *olm.Message {
	t.Helper()
	if m.Type == olm.TypePreKey {
		return &must[*olm.PreKeyMessage](t)(olm.ParsePreKeyMessage(m.Body)).Message
	}
	return must[*olm.Message](t)(olm.ParseMessage(m.Body))
}

func parsePreKey(t testing.TB, m olm.Sealed) *olm.PreKeyMessage {
	t.Helper()
	return must[*olm.PreKeyMessage](t)(olm.ParsePreKeyMessage(m.Body))
}

func opens(t testing.TB, s *olm.Session, m olm.Sealed, want string) {
	t.Helper()
	got, err := s.Open(parse(t, m))
	if err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// pair returns a session from both sides, after the first message.
func pair(t testing.TB) (alice, bob *olm.Session) {
	t.Helper()
	return pairOf(t, newAccount(t, 1), newAccount(t, 2))
}

func pairOf(t testing.TB, a, b *olm.Account) (alice, bob *olm.Session) {
	t.Helper()
	alice = must[*olm.Session](t)(a.NewOutbound(source(3), b.Identity(), claim(t, b, 4)))
	m := seal(t, alice, source(5), "first")
	bob, got, err := b.NewInbound(a.Identity(), parsePreKey(t, m))
	if err != nil || string(got) != "first" {
		t.Fatalf("got %q, %v, want first", got, err)
	}
	return alice, bob
}

func TestConversation(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	r := source(6)
	if alice.ID() != bob.ID() {
		t.Errorf("got ids %s and %s, want one", alice.ID(), bob.ID())
	}
	if m := seal(t, alice, r, "still unanswered"); m.Type != olm.TypePreKey || alice.Received() {
		t.Errorf("got type %d, want a pre-key message until an answer was opened", m.Type)
	}
	for i := range 20 {
		text := fmt.Sprint("answer ", i)
		m := seal(t, bob, r, text)
		if m.Type != olm.TypeNormal {
			t.Errorf("got type %d from the side that was asked, want a normal message", m.Type)
		}
		opens(t, alice, m, text)
		for j := range i % 3 {
			text := fmt.Sprint("question ", i, j)
			m := seal(t, alice, r, text)
			if m.Type != olm.TypeNormal {
				t.Errorf("got type %d after an answer, want a normal message", m.Type)
			}
			opens(t, bob, m, text)
		}
	}
	for _, n := range []int{0, 1, 15, 16, 17, 70000} {
		text := string(bytes.Repeat([]byte{'x'}, n))
		opens(t, bob, seal(t, alice, r, text), text)
	}
}

func TestOutOfOrder(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	r := source(6)
	var sent []olm.Sealed
	for i := range 12 {
		sent = append(sent, seal(t, alice, r, fmt.Sprint(i)))
	}
	for _, i := range []int{11, 0, 5, 10, 1, 4, 2, 3, 9, 8, 7, 6} {
		opens(t, bob, sent[i], fmt.Sprint(i))
	}
	for i, m := range sent {
		if _, err := bob.Open(parse(t, m)); !errors.Is(err, olm.ErrNoMessageKey) {
			t.Errorf("message %d again: got %v, want ErrNoMessageKey", i, err)
		}
	}
}

func TestLateMessageOfAnOlderChain(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	r := source(6)
	opens(t, alice, seal(t, bob, r, "hello"), "hello")
	var late []olm.Sealed
	for turn := range olm.MaxReceivingChains + 1 {
		late = append(late, seal(t, alice, r, fmt.Sprint("late ", turn)))
		opens(t, bob, seal(t, alice, r, "now"), "now")
		opens(t, alice, seal(t, bob, r, "answer"), "answer")
	}
	for i, m := range late {
		got, err := bob.Open(parse(t, m))
		// The first chain fell out of the five that are kept. Its ratchet key
		// looks new then, and nothing authenticates it.
		if i == 0 {
			if !errors.Is(err, olm.ErrBadMAC) && !errors.Is(err, olm.ErrNoMessageKey) {
				t.Errorf("got %q, %v, want a refusal", got, err)
			}
			continue
		}
		if want := fmt.Sprint("late ", i); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	alice := must[*olm.Session](t)(a.NewOutbound(source(3), b.Identity(), claim(t, b, 4)))
	other := must[*olm.Session](t)(a.NewOutbound(source(5), b.Identity(), claim(t, b, 6)))
	first := parsePreKey(t, seal(t, alice, nil, "1"))
	second := parsePreKey(t, seal(t, alice, nil, "2"))
	bob, _, err := b.NewInbound(a.Identity(), first)
	if err != nil {
		t.Fatal(err)
	}
	if !bob.Matches(second) || !alice.Matches(second) || other.Matches(second) {
		t.Error("Matches is wrong")
	}
	if second.SessionID() != bob.ID() {
		t.Errorf("got %s, want %s", second.SessionID(), bob.ID())
	}
	got, err := bob.Open(&second.Message)
	if err != nil || string(got) != "2" {
		t.Errorf("got %q, %v, want 2", got, err)
	}
}

func TestFailedRandomnessChangesNothing(t *testing.T) {
	t.Parallel()
	broken := iotest.ErrReader(io.ErrClosedPipe)
	if _, err := olm.NewAccount(broken); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("account: got %v, want the reader's error", err)
	}
	a, b := newAccount(t, 1), newAccount(t, 2)
	before := a.Encode()
	if err := a.GenerateOneTimeKeys(io.LimitReader(source(1), 40), 2); err == nil {
		t.Error("one-time keys: got no error from a source that ended")
	}
	if err := a.GenerateFallbackKey(broken); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("fallback: got %v, want the reader's error", err)
	}
	for n := range 2 {
		if _, err := a.NewOutbound(io.LimitReader(source(1), int64(32*n)), b.Identity(), claim(t, b, 4)); err == nil {
			t.Error("outbound: got no error from a source that ended")
		}
	}
	if !bytes.Equal(before, a.Encode()) {
		t.Error("got another account after failures")
	}
	_, bob := pair(t)
	before = bob.Encode()
	if _, err := bob.Seal(broken, []byte("x")); !errors.Is(err, io.ErrClosedPipe) || !bytes.Equal(before, bob.Encode()) {
		t.Errorf("seal: got %v, want the reader's error and no change", err)
	}
}

func TestSealRefusesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	before := alice.Encode()
	if _, err := alice.Seal(nil, make([]byte, olm.MaxMessage)); !errors.Is(err, olm.ErrTooLarge) || !bytes.Equal(before, alice.Encode()) {
		t.Errorf("got %v, want ErrTooLarge and no change", err)
	}
	largest := make([]byte, olm.MaxMessage-256)
	opens(t, bob, must[olm.Sealed](t)(alice.Seal(nil, largest)), string(largest))
	if _, err := olm.ParseMessage(append([]byte{3}, make([]byte, olm.MaxMessage)...)); !errors.Is(err, olm.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestWipe(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	if err := a.GenerateFallbackKey(source(9)); err != nil {
		t.Fatal(err)
	}
	claim(t, a, 3)
	alice := must[*olm.Session](t)(a.NewOutbound(source(3), b.Identity(), claim(t, b, 4)))
	a.Wipe()
	alice.Wipe()
	for name, f := range map[string]func(){"account": func() { a.Identity() }, "session": func() { alice.Seal(source(1), nil) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic after Wipe", name)
				}
			}()
			f()
		}()
	}
}

func TestNothingPrints(t *testing.T) {
	t.Parallel()
	a := newAccount(t, 1)
	alice, _ := pair(t)
	secret := alice.Encode()[100:110]
	for _, v := range []any{a, *a, alice, *alice, struct{ s *olm.Session }{alice}, struct{ A *olm.Account }{a}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			out := fmt.Sprintf(verb, v)
			if bytes.Contains([]byte(out), fmt.Appendf(nil, "%x", secret)) || bytes.Contains([]byte(out), fmt.Appendf(nil, "%d", secret)[1:30]) {
				t.Errorf("%T %s: got %q, want no secret", v, verb, out)
			}
		}
	}
	if got := fmt.Sprint(a, alice); got != "[redacted] [redacted]" {
		t.Errorf("got %q, want [redacted] twice", got)
	}
}
