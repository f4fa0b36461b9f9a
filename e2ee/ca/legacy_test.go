package ca_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca"
)

// TestLegacyNegotiation goes through the fourteen steps, and what comes after:
// messages under the saved key, a new key announced, and a renewal while a
// negotiation runs.
func TestLegacyNegotiation(t *testing.T) {
	t.Parallel()
	a, b := newPal(t, "alice@hs1"), newPal(t, "bob@hs1")
	s := secret(t)
	raw, err := json.Marshal(a.negotiate(t, b, s, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ca.ParseLegacyMessage(raw)
	if err != nil {
		t.Fatal(err)
	}
	got, saved, err := b.reader().Open(m, a.name, a.record(), now)
	if err != nil || string(got) != "hello" || saved.KID() != s.KID() {
		t.Fatalf("got %q %v", got, err)
	}
	// Later messages have only the name of the key.
	for _, text := range []string{"", "x", strings.Repeat("y", 15), strings.Repeat("z", 16), strings.Repeat("long ", 1000)} {
		m, err := ca.SealLegacy(rand.Reader, a.name, b.name, s, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Ext.E2EE.EK) != 0 {
			t.Error("a later message carries the key")
		}
		if got, fresh, err := b.reader(saved).Open(m, a.name, nil, now); err != nil || string(got) != text || fresh != nil {
			t.Errorf("%d bytes: got %q %v", len(text), got, err)
		}
		if _, _, err := b.reader().Open(m, a.name, nil, now); !errors.Is(err, ca.ErrNotRecipient) {
			t.Errorf("without the key: got %v, want ErrNotRecipient", err)
		}
	}
	// Bob renews; a negotiation for his old key still opens, since it is kept.
	fresh := newPal(t, b.name)
	r := fresh.reader()
	r.Own[b.id()] = b.key
	if _, _, err := r.Open(a.negotiate(t, b, secret(t), "in flight"), a.name, a.record(), now); err != nil {
		t.Errorf("with the old key kept: %v", err)
	}
	if _, _, err := fresh.reader().Open(a.negotiate(t, b, secret(t), "in flight"), a.name, a.record(), now); !errors.Is(err, ca.ErrNotRecipient) {
		t.Errorf("with the old key dropped: got %v", err)
	}
}

func TestLegacyPKCS1(t *testing.T) {
	t.Parallel()
	a, b := newPal(t, "alice@hs1"), newPal(t, "bob@hs1")
	s := secret(t)
	m := must(ca.SealLegacy(rand.Reader, a.name, b.name, s, []byte("hello")))
	if err := m.Announce(rand.Reader, s, a.key, b.record(), ca.LegacyPKCS1, now); err != nil {
		t.Fatal(err)
	}
	r := b.reader()
	r.Padding = ca.LegacyPKCS1
	if got, _, err := r.Open(m, a.name, a.record(), now); err != nil || string(got) != "hello" {
		t.Errorf("got %q %v", got, err)
	}
	r.Padding = ca.LegacyOAEP
	if _, _, err := r.Open(m, a.name, a.record(), now); !errors.Is(err, ca.ErrTampered) {
		t.Errorf("with the other padding: got %v", err)
	}
}

func TestLegacyValidity(t *testing.T) {
	t.Parallel()
	a, b := newPal(t, "alice@hs1"), newPal(t, "bob@hs1")
	s := secret(t)
	m := a.negotiate(t, b, s, "hello")
	for name, c := range map[string]struct {
		change func(*ca.LegacyRecord)
		want   error
	}{
		"expired":       {func(r *ca.LegacyRecord) { r.Expires = now.Add(-time.Second) }, ca.ErrExpired},
		"not yet valid": {func(r *ca.LegacyRecord) { r.NotBefore = now.Add(24 * time.Hour) }, ca.ErrExpired},
		"revoked":       {func(r *ca.LegacyRecord) { r.Revoked = true }, ca.ErrExpired},
		"another user":  {func(r *ca.LegacyRecord) { r.Username = "carol@hs1" }, ca.ErrMismatch},
		"another key":   {func(r *ca.LegacyRecord) { r.KeyID = "x" }, ca.ErrMismatch},
	} {
		r := a.record()
		c.change(r)
		if _, _, err := b.reader().Open(m, a.name, r, now); !errors.Is(err, c.want) {
			t.Errorf("sender's key %s: got %v, want %v", name, err, c.want)
		}
		r = b.record()
		c.change(r)
		if err := m.Announce(rand.Reader, s, a.key, r, ca.LegacyOAEP, now); name != "another key" && !errors.Is(err, c.want) {
			t.Errorf("recipient's key %s: got %v, want %v", name, err, c.want)
		}
	}
	if _, _, err := b.reader().Open(m, "carol@hs1", a.record(), now); !errors.Is(err, ca.ErrMismatch) {
		t.Errorf("from somebody else: got %v", err)
	}
}

func TestLegacySecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	s := must(ca.ParseLegacySecret([]byte("0123456789abcdef")))
	raw, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.FromPassphrase("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	o := ca.Offer{KID: "k", Secret: []byte("0123456789abcdef")}
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s", s, s, s), string(raw), fmt.Sprintf("%v %+v %#v", p, p, p), fmt.Sprintf("%v %+v %#v", o, o, o)} {
		if strings.Contains(got, "0123") || strings.Contains(got, "48 49") || strings.Contains(got, "0x30") {
			t.Errorf("it prints: %s", got)
		}
	}
	s.Wipe()
	if strings.Trim(string(s.Bytes()), "\x00") != "" {
		t.Error("it was not wiped")
	}
}

func FuzzLegacy(f *testing.F) {
	a, b := newPal(f, "alice@hs1"), newPal(f, "bob@hs1")
	s := secret(f)
	f.Add(must(json.Marshal(a.negotiate(f, b, s, "hello"))))
	f.Add(must(json.Marshal(must(ca.SealLegacy(rand.Reader, a.name, b.name, s, []byte("x"))))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := ca.ParseLegacyMessage(raw)
		if err != nil {
			return
		}
		r := &ca.LegacyReader{Self: m.To, Own: map[string]*rsa.PrivateKey{m.Ext.E2EE.RKeyID: b.key}, Saved: map[string]*ca.LegacySecret{m.Ext.E2EE.KID: s}, Padding: ca.LegacyPKCS1}
		rec := a.record()
		rec.Username, rec.KeyID = m.From, m.Ext.E2EE.KeyID
		plain, _, err := r.Open(m, m.From, rec, now)
		if err != nil && plain != nil {
			t.Error("a text beside an error")
		}
	})
}
