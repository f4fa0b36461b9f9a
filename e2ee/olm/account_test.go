package olm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/olm"
)

func TestOneTimeKeys(t *testing.T) {
	t.Parallel()
	a := newAccount(t, 1)
	if err := a.GenerateOneTimeKeys(source(2), 60); err != nil {
		t.Fatal(err)
	}
	keys := a.Unpublished()
	if len(keys) != 60 || keys[0].ID != 1 || keys[59].ID != 60 || keys[0].Fallback {
		t.Fatalf("got %d keys from %v, want 60 in order", len(keys), keys[0].ID)
	}
	if got, want := keys[0].ID.String(), "AAAAAAAAAAE"; got != want {
		t.Errorf("id: got %q, want %q", got, want)
	}
	again := a.Unpublished()
	for i := range keys {
		if again[i] != keys[i] {
			t.Fatalf("got %v the second time, want the same keys until they are published", again[i])
		}
	}
	for _, k := range keys {
		a.MarkPublished(k.ID)
	}
	if got := a.Unpublished(); len(got) != 0 {
		t.Errorf("got %d unpublished keys, want none", len(got))
	}
	if err := a.GenerateOneTimeKeys(source(3), 60); err != nil {
		t.Fatal(err)
	}
	if got := a.OneTimeKeys(); got != olm.MaxOneTimeKeys {
		t.Errorf("got %d keys, want at most %d", got, olm.MaxOneTimeKeys)
	}
	if got := a.Unpublished(); len(got) != 60 || got[0].ID != 61 || got[59].ID != 120 {
		t.Errorf("got %d new keys, want 60 with new ids", len(got))
	}
	// The oldest twenty went.
	b := newAccount(t, 4)
	for i, want := range map[int]error{0: olm.ErrUnknownOneTimeKey, 19: olm.ErrUnknownOneTimeKey, 20: nil} {
		s := must[*olm.Session](t)(b.NewOutbound(source(5), a.Identity(), keys[i].Key))
		if _, _, err := a.NewInbound(b.Identity(), parsePreKey(t, seal(t, s, nil, "x"))); !errors.Is(err, want) {
			t.Errorf("key %d: got %v, want %v", i, err, want)
		}
	}
	a.Drop(61, 62, 999)
	if got := a.Unpublished(); len(got) != 58 || got[0].ID != 63 {
		t.Errorf("got %d keys from %v, want 58 from 63", len(got), got[0].ID)
	}
	for _, n := range []int{-1, olm.MaxOneTimeKeys + 1} {
		if err := a.GenerateOneTimeKeys(source(1), n); !errors.Is(err, olm.ErrTooManyKeys) {
			t.Errorf("%d keys: got %v, want ErrTooManyKeys", n, err)
		}
	}
}

func TestFallbackKeys(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	if _, ok := a.FallbackKey(); ok || a.ForgetFallbackKey() {
		t.Error("got a fallback key before one was made")
	}
	var published []olm.PublicKey
	send := func(i int) error {
		s := must[*olm.Session](t)(b.NewOutbound(source(20+i), a.Identity(), published[i].Key))
		_, _, err := a.NewInbound(b.Identity(), parsePreKey(t, seal(t, s, nil, "x")))
		return err
	}
	for i := range 3 {
		if err := a.GenerateFallbackKey(source(10 + i)); err != nil {
			t.Fatal(err)
		}
		keys := a.Unpublished()
		f, ok := a.FallbackKey()
		if len(keys) != 1 || !ok || keys[0] != f || !f.Fallback {
			t.Fatalf("got %v, want the fallback key %v alone", keys, f)
		}
		a.MarkPublished(f.ID)
		if len(a.Unpublished()) != 0 {
			t.Error("got the fallback key again after it was published")
		}
		published = append(published, f)
	}
	if err := send(0); !errors.Is(err, olm.ErrUnknownOneTimeKey) {
		t.Errorf("the key before the last two: got %v, want ErrUnknownOneTimeKey", err)
	}
	if err := send(1); err != nil {
		t.Errorf("the key before the newest: %v", err)
	}
	if !a.ForgetFallbackKey() || a.ForgetFallbackKey() {
		t.Error("ForgetFallbackKey does not report what it did")
	}
	published = append(published, published[1])
	if err := send(3); !errors.Is(err, olm.ErrUnknownOneTimeKey) {
		t.Errorf("a forgotten key: got %v, want ErrUnknownOneTimeKey", err)
	}
	published = append(published, published[2], published[2])
	for _, i := range []int{4, 5} {
		if err := send(i); err != nil {
			t.Errorf("the newest key, again and again: %v", err)
		}
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	a := newAccount(t, 1)
	sig := a.Sign([]byte("object"))
	if !a.Signing().Verify([]byte("object"), sig) || a.Signing().Verify([]byte("other"), sig) {
		t.Error("the signature does not hold for its message alone")
	}
}

func TestAccountState(t *testing.T) {
	t.Parallel()
	a, b := newAccount(t, 1), newAccount(t, 2)
	if err := a.GenerateFallbackKey(source(1)); err != nil {
		t.Fatal(err)
	}
	f, _ := a.FallbackKey()
	s := must[*olm.Session](t)(b.NewOutbound(source(5), a.Identity(), f.Key))
	m := parsePreKey(t, seal(t, s, nil, "x"))
	if _, _, err := a.NewInbound(b.Identity(), m); err != nil {
		t.Fatal(err)
	}
	if err := a.GenerateFallbackKey(source(2)); err != nil {
		t.Fatal(err)
	}
	one := claim(t, a, 3)
	if err := a.GenerateOneTimeKeys(source(4), 3); err != nil {
		t.Fatal(err)
	}
	state := a.Encode()
	back, err := olm.DecodeAccount(state)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Encode(), state) {
		t.Error("got another state after decoding")
	}
	if back.Identity() != a.Identity() || back.Signing() != a.Signing() || len(back.Unpublished()) != len(a.Unpublished()) {
		t.Error("got other keys after decoding")
	}
	if _, _, err := back.NewInbound(b.Identity(), m); !errors.Is(err, olm.ErrReplayed) {
		t.Errorf("got %v, want ErrReplayed also after decoding", err)
	}
	s2 := must[*olm.Session](t)(b.NewOutbound(source(5), a.Identity(), one))
	if _, _, err := back.NewInbound(b.Identity(), parsePreKey(t, seal(t, s2, nil, "x"))); err != nil {
		t.Errorf("a one-time key after decoding: %v", err)
	}
	for n := range state {
		if _, err := olm.DecodeAccount(state[:n]); !errors.Is(err, olm.ErrBadState) {
			t.Fatalf("cut at %d: got %v, want ErrBadState", n, err)
		}
	}
	for _, bad := range [][]byte{append(bytes.Clone(state), 0), append([]byte{'A', 2}, state[2:]...), append([]byte{'S', 1}, state[2:]...)} {
		if _, err := olm.DecodeAccount(bad); !errors.Is(err, olm.ErrBadState) {
			t.Errorf("got %v, want ErrBadState", err)
		}
	}
}
