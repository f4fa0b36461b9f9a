package olm_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/tagged"
	"github.com/quinta-chat/quinta/key"
)

// TestAttackOneTimeKeyReuse offers a pre-key message again after its session
// is gone, and another one to the same one-time key.
func TestAttackOneTimeKeyReuse(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	one := claim(t, b, 4)
	m := parsePreKey(t, seal(t, must[*olm.Session](t)(a.NewOutbound(source(3), b.Identity(), one)), nil, "x"))
	if _, _, err := b.NewInbound(a.Identity(), m); err != nil {
		t.Fatal(err)
	}
	second := parsePreKey(t, seal(t, must[*olm.Session](t)(a.NewOutbound(source(9), b.Identity(), one)), nil, "x"))
	for _, m := range []*olm.PreKeyMessage{m, second} {
		if _, _, err := b.NewInbound(a.Identity(), m); !errors.Is(err, olm.ErrUnknownOneTimeKey) {
			t.Errorf("got %v, want ErrUnknownOneTimeKey", err)
		}
	}
}

// TestAttackFallbackKeyReplay offers a pre-key message to a fallback key
// again after its session is gone.
func TestAttackFallbackKeyReplay(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	if err := b.GenerateFallbackKey(source(4)); err != nil {
		t.Fatal(err)
	}
	f, _ := b.FallbackKey()
	s := must[*olm.Session](t)(a.NewOutbound(source(3), b.Identity(), f.Key))
	first, second := parsePreKey(t, seal(t, s, nil, "1")), parsePreKey(t, seal(t, s, nil, "2"))
	if _, _, err := b.NewInbound(a.Identity(), first); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*olm.PreKeyMessage{first, second} {
		if _, _, err := b.NewInbound(a.Identity(), m); !errors.Is(err, olm.ErrReplayed) {
			t.Errorf("got %v, want ErrReplayed", err)
		}
	}
	if err := b.GenerateFallbackKey(source(5)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.NewInbound(a.Identity(), first); !errors.Is(err, olm.ErrReplayed) {
		t.Errorf("as the previous key: got %v, want ErrReplayed", err)
	}
	// What is remembered of a fallback key is bounded: strangers who fill it
	// cannot have it forget, and the key is to be replaced well before.
	next, _ := b.FallbackKey()
	var early *olm.PreKeyMessage
	for i := range olm.MaxFallbackSessions + 10 {
		s := must[*olm.Session](t)(a.NewOutbound(source(i), b.Identity(), next.Key))
		m := parsePreKey(t, seal(t, s, nil, "x"))
		_, _, err := b.NewInbound(a.Identity(), m)
		if i == 0 {
			early = m
		}
		if want := i >= olm.MaxFallbackSessions; errors.Is(err, olm.ErrUsedUp) != want || !want && err != nil {
			t.Fatalf("session %d: got %v, want it refused: %v", i, err, want)
		}
		if want := i+1 >= olm.MaxFallbackSessions/2; b.FallbackWorn() != want {
			t.Fatalf("session %d: got worn %v, want %v", i, !want, want)
		}
	}
	if _, _, err := b.NewInbound(a.Identity(), early); !errors.Is(err, olm.ErrReplayed) {
		t.Errorf("the first session again after the memory was filled: got %v, want ErrReplayed", err)
	}
	if _, err := olm.DecodeAccount(b.Encode()); err != nil {
		t.Errorf("got %v, want a state that decodes", err)
	}
}

// TestAttackForgedPreKeyMessage costs no one-time key.
func TestAttackForgedPreKeyMessage(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	s := must[*olm.Session](t)(a.NewOutbound(source(3), b.Identity(), claim(t, b, 4)))
	body := seal(t, s, nil, "genuine").Body
	before := b.Encode()
	for i := range body {
		bad := bytes.Clone(body)
		bad[i] ^= 1
		m, err := olm.ParsePreKeyMessage(bad)
		if err != nil {
			continue
		}
		if _, got, err := b.NewInbound(m.Identity, m); err == nil {
			t.Errorf("byte %d changed: got %q, want a refusal", i, got)
		}
		if !bytes.Equal(before, b.Encode()) {
			t.Fatalf("byte %d changed: got another account, want no change", i)
		}
	}
	m := must[*olm.PreKeyMessage](t)(olm.ParsePreKeyMessage(body))
	if _, _, err := b.NewInbound(b.Identity(), m); !errors.Is(err, olm.ErrSenderMismatch) {
		t.Errorf("got %v, want ErrSenderMismatch", err)
	}
	if _, got, err := b.NewInbound(a.Identity(), m); err != nil || string(got) != "genuine" {
		t.Errorf("got %q, %v, want the genuine message still opened", got, err)
	}
}

// TestAttackTamperedMessage changes every byte of messages of the known chain,
// of a new chain and of a skipped key: all are refused and change nothing.
func TestAttackTamperedMessage(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	r := source(6)
	skipped := seal(t, alice, r, "skipped")
	opens(t, bob, seal(t, alice, r, "x"), "x")
	opens(t, alice, seal(t, bob, r, "x"), "x")
	fresh := seal(t, alice, r, "fresh")
	inner := olm.Sealed{Type: olm.TypeNormal, Body: parse(t, skipped).Bytes()}
	before := bob.Encode()
	for _, genuine := range []olm.Sealed{inner, fresh} {
		for i := range genuine.Body {
			for _, bit := range []byte{1, 0x80} {
				bad := bytes.Clone(genuine.Body)
				bad[i] ^= bit
				m, err := olm.ParseMessage(bad)
				if err == nil {
					_, err = bob.Open(m)
				}
				if err == nil || !bytes.Equal(before, bob.Encode()) {
					t.Fatalf("byte %d changed: got %v, want a refusal without a change", i, err)
				}
			}
		}
	}
	opens(t, bob, inner, "skipped")
	opens(t, bob, fresh, "fresh")
}

// TestAttackLowOrderKeys offers keys with which every agreement is zero.
func TestAttackLowOrderKeys(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	low, err := hex.DecodeString("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
	if err != nil {
		t.Fatal(err)
	}
	lowOneTime := must[key.OneTimePublic](t)(key.NewAgreementPublic[key.OneTime](low))
	lowIdentity := must[key.IdentityPublic](t)(key.NewAgreementPublic[key.Identity](low))
	if _, err := a.NewOutbound(source(3), b.Identity(), lowOneTime); !errors.Is(err, key.ErrWeak) {
		t.Errorf("one-time key: got %v, want ErrWeak", err)
	}
	if _, err := a.NewOutbound(source(3), lowIdentity, claim(t, b, 4)); !errors.Is(err, key.ErrWeak) {
		t.Errorf("identity key: got %v, want ErrWeak", err)
	}
	s := must[*olm.Session](t)(a.NewOutbound(source(3), b.Identity(), claim(t, b, 4)))
	body := seal(t, s, nil, "x").Body
	before := b.Encode()
	for name, at := range map[string]int{"base": 1 + 34 + 2, "identity": 1 + 2*34 + 2} {
		bad := bytes.Clone(body)
		copy(bad[at:], low)
		m := must[*olm.PreKeyMessage](t)(olm.ParsePreKeyMessage(bad))
		if _, _, err := b.NewInbound(m.Identity, m); !errors.Is(err, key.ErrWeak) || !bytes.Equal(before, b.Encode()) {
			t.Errorf("%s key: got %v, want ErrWeak and no change", name, err)
		}
	}
	alice, bob := pair(t)
	m := bytes.Clone(seal(t, bob, source(1), "x").Body)
	copy(m[3:], low)
	if _, err := alice.Open(must[*olm.Message](t)(olm.ParseMessage(m))); !errors.Is(err, key.ErrWeak) {
		t.Errorf("ratchet key: got %v, want ErrWeak", err)
	}
	copy(m[3:], make([]byte, 32))
	if _, err := olm.ParseMessage(m); !errors.Is(err, olm.ErrMalformed) {
		t.Errorf("zero ratchet key: got %v, want ErrMalformed", err)
	}
}

// TestAttackMalformedMessage builds messages by hand.
func TestAttackMalformedMessage(t *testing.T) {
	t.Parallel()
	ratchet := tagged.AppendStr(nil, 0x0a, bytes.Repeat([]byte{9}, 32))
	index := tagged.AppendInt(nil, 0x10, 0)
	ciphertext := tagged.AppendStr(nil, 0x22, make([]byte, 16))
	mac := make([]byte, 8)
	build := func(parts ...[]byte) []byte { return append([]byte{3}, slices.Concat(parts...)...) }
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"well-formed", build(ratchet, index, ciphertext, mac), nil},
		{"another order", build(ciphertext, index, ratchet, mac), nil},
		{"unknown fields", build(ratchet, index, ciphertext, tagged.AppendInt(nil, 0x30, 7), tagged.AppendStr(nil, 0x3a, []byte("x")), mac), nil},
		{"empty", nil, olm.ErrMalformed},
		{"version alone", []byte{3}, olm.ErrMalformed},
		{"version 2", append([]byte{2}, build(ratchet, index, ciphertext, mac)[1:]...), olm.ErrVersion},
		{"version 4", append([]byte{4}, build(ratchet, index, ciphertext, mac)[1:]...), olm.ErrVersion},
		{"short mac", build(ratchet, index, ciphertext, mac[1:]), olm.ErrMalformed},
		{"long mac", build(ratchet, index, ciphertext, mac, []byte{1}), olm.ErrMalformed},
		{"ratchet key twice", build(ratchet, ratchet, index, ciphertext, mac), olm.ErrMalformed},
		{"index twice", build(ratchet, index, index, ciphertext, mac), olm.ErrMalformed},
		{"ciphertext twice", build(ratchet, index, ciphertext, ciphertext, mac), olm.ErrMalformed},
		{"no ratchet key", build(index, ciphertext, mac), olm.ErrMalformed},
		{"no index", build(ratchet, ciphertext, mac), olm.ErrMalformed},
		{"no ciphertext", build(ratchet, index, mac), olm.ErrMalformed},
		{"empty ciphertext", build(ratchet, index, []byte{0x22, 0}, mac), olm.ErrMalformed},
		{"half a block", build(ratchet, index, tagged.AppendStr(nil, 0x22, make([]byte, 8)), mac), olm.ErrMalformed},
		{"key of 31 bytes", build(tagged.AppendStr(nil, 0x0a, make([]byte, 31)), index, ciphertext, mac), olm.ErrMalformed},
		{"key of 33 bytes", build(tagged.AppendStr(nil, 0x0a, make([]byte, 33)), index, ciphertext, mac), olm.ErrMalformed},
		{"index of 33 bits", build(ratchet, tagged.AppendInt(nil, 0x10, 1<<32), ciphertext, mac), olm.ErrMalformed},
		{"overlong index", build(ratchet, []byte{0x10, 0x80, 0}, ciphertext, mac), olm.ErrMalformed},
		{"huge varint", build(ratchet, append([]byte{0x10}, bytes.Repeat([]byte{0xff}, 12)...), ciphertext, mac), olm.ErrMalformed},
		{"length beyond the end", build(ratchet, index, []byte{0x22, 0xff, 0xff, 0xff, 0xff, 0x0f}, mac), olm.ErrMalformed},
		{"fixed-width field", build(ratchet, index, ciphertext, []byte{0x0d, 1, 2, 3, 4}, mac), olm.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := olm.ParseMessage(c.b)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && !bytes.Equal(m.Bytes(), c.b) {
				t.Errorf("got %x, want the same bytes", m.Bytes())
			}
			pre := tagged.AppendStr(nil, 0x0a, bytes.Repeat([]byte{1}, 32))
			pre = tagged.AppendStr(pre, 0x12, bytes.Repeat([]byte{2}, 32))
			pre = tagged.AppendStr(pre, 0x1a, bytes.Repeat([]byte{3}, 32))
			pre = tagged.AppendStr(pre, 0x22, c.b)
			if _, err := olm.ParsePreKeyMessage(build(pre)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("inside a pre-key message: got %v, want %v", err, c.want)
			}
			if _, err := olm.ParsePreKeyMessage(build(pre, tagged.AppendStr(nil, 0x12, bytes.Repeat([]byte{2}, 32)))); err == nil {
				t.Error("got a pre-key message with two base keys accepted")
			}
			if _, err := olm.ParsePreKeyMessage(build(pre, []byte{0})); err == nil {
				t.Error("got trailing bytes accepted")
			}
		})
	}
}

// TestAttackMemory jumps as far as a message may, and one further.
func TestAttackMemory(t *testing.T) {
	t.Parallel()
	alice, bob := pair(t)
	r := source(6)
	opens(t, alice, seal(t, bob, r, "x"), "x")
	var sent []olm.Sealed
	for i := range olm.MaxSkip + 2 {
		sent = append(sent, seal(t, alice, r, fmt.Sprint(i)))
	}
	before := bob.Encode()
	if _, err := bob.Open(parse(t, sent[olm.MaxSkip+1])); !errors.Is(err, olm.ErrSkipTooFar) || !bytes.Equal(before, bob.Encode()) {
		t.Errorf("got %v, want ErrSkipTooFar and no change", err)
	}
	opens(t, bob, sent[olm.MaxSkip], fmt.Sprint(olm.MaxSkip))
	if got := len(bob.Encode()); got > len(before)+olm.MaxSkippedKeys*36+100 {
		t.Errorf("got a state of %d bytes after %d, want only %d more keys", got, len(before), olm.MaxSkippedKeys)
	}
	for i := range olm.MaxSkip {
		_, err := bob.Open(parse(t, sent[i]))
		if kept := i >= olm.MaxSkip-olm.MaxSkippedKeys; kept != (err == nil) || !kept && !errors.Is(err, olm.ErrNoMessageKey) {
			t.Fatalf("message %d: got %v, want opened %v", i, err, kept)
		}
	}
	opens(t, bob, sent[olm.MaxSkip+1], fmt.Sprint(olm.MaxSkip+1))
}
