package olm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/olm"
)

// TestSessionState stores a session at every point of a conversation.
func TestSessionState(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	r := source(1)
	again := func(s **olm.Session) {
		t.Helper()
		state := (*s).Encode()
		back, err := olm.DecodeSession(state)
		if err != nil || !bytes.Equal(back.Encode(), state) || back.ID() != (*s).ID() || back.Received() != (*s).Received() {
			t.Fatalf("got another session after decoding, %v", err)
		}
		for n := range state {
			if _, err := olm.DecodeSession(state[:n]); !errors.Is(err, olm.ErrBadState) {
				t.Fatalf("cut at %d: got %v, want ErrBadState", n, err)
			}
		}
		if _, err := olm.DecodeSession(append(state, 0)); !errors.Is(err, olm.ErrBadState) {
			t.Fatalf("one byte more: got %v, want ErrBadState", err)
		}
		*s = back
	}
	for range 3 {
		skipped := seal(t, alice, r, "skipped")
		again(&alice)
		opens(t, bob, seal(t, alice, r, "x"), "x")
		again(&bob)
		opens(t, bob, skipped, "skipped")
		answer := seal(t, bob, r, "answer")
		again(&bob)
		opens(t, alice, answer, "answer")
		again(&alice)
	}
}

func TestSessionStateMalformed(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	seal(t, alice, source(1), "skipped")
	opens(t, bob, seal(t, alice, source(1), "x"), "x")
	good := bob.Encode()
	const head = 2 + 96
	for name, change := range map[string]func(b []byte){
		"an account":              func(b []byte) { b[0] = 'A' },
		"version 2":               func(b []byte) { b[1] = 2 },
		"no identity key":         func(b []byte) { clear(b[2:34]) },
		"a flag of 2":             func(b []byte) { b[head] = 2 },
		"six receiving chains":    func(b []byte) { b[head+2+32+1+3] = 6 },
		"4 billion chains":        func(b []byte) { b[head+2+32+1] = 0xff },
		"no chains":               func(b []byte) { b[head+2+32+1+3] = 0 },
		"41 skipped keys":         func(b []byte) { b[head+2+32+1+4+36+32+3] = 41 },
		"a skipped key not spent": func(b []byte) { b[len(b)-33] = 0xff },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := olm.DecodeSession(b); !errors.Is(err, olm.ErrBadState) {
			t.Errorf("%s: got %v, want ErrBadState", name, err)
		}
	}
}

// TestExhaustedChain takes a state to the last index of its chains.
func TestExhaustedChain(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	state := alice.Encode()
	const index = 2 + 96 + 2 + 32 + 1
	copy(state[index:], []byte{0xff, 0xff, 0xff, 0xff})
	last := must[*olm.Session](t)(olm.DecodeSession(state))
	if _, err := last.Seal(nil, []byte("x")); !errors.Is(err, olm.ErrExhausted) {
		t.Errorf("got %v, want ErrExhausted", err)
	}
	state = bob.Encode()
	copy(state[2+96+2+32+1+4:], []byte{0xff, 0xff, 0xff, 0xff})
	m := bytes.Clone(parse(t, seal(t, alice, nil, "x")).Bytes())
	far := append([]byte{}, m[:36]...)
	far = append(far, 0xff, 0xff, 0xff, 0xff, 0x0f)
	far = append(far, m[37:]...)
	if _, err := must[*olm.Session](t)(olm.DecodeSession(state)).Open(must[*olm.Message](t)(olm.ParseMessage(far))); !errors.Is(err, olm.ErrExhausted) {
		t.Errorf("got %v, want ErrExhausted", err)
	}
}

// TestAllocations holds sealing and opening to eight allocations.
func TestAllocations(t *testing.T) {
	alice, bob := pair(t)
	opens(t, alice, seal(t, bob, source(1), "x"), "x")
	text := make([]byte, 256)
	opens(t, bob, seal(t, alice, source(2), "turned"), "turned")
	if got := testing.AllocsPerRun(100, func() { alice.Seal(nil, text) }); got > 8 {
		t.Errorf("Seal: got %v allocations, want at most 8", got)
	}
	var sent []olm.Sealed
	opens(t, bob, seal(t, alice, nil, "caught up"), "caught up")
	for range 102 {
		sent = append(sent, must[olm.Sealed](t)(alice.Seal(nil, text)))
	}
	next := 0
	if got := testing.AllocsPerRun(100, func() {
		m, err := olm.ParseMessage(sent[next].Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Open(m); err != nil {
			t.Fatal(err)
		}
		next++
	}); got > 8 {
		t.Errorf("ParseMessage and Open: got %v allocations, want at most 8", got)
	}
}
