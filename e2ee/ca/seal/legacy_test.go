package seal_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/town"
)

// TestLegacyNegotiation goes through the fourteen steps, and what comes after:
// messages under the saved key, a new key announced, and a renewal while a
// negotiation runs.
func TestLegacyNegotiation(t *testing.T) {
	t.Parallel()
	a, b := town.NewPal(t, "alice@hs1"), town.NewPal(t, "bob@hs1")
	s := town.Secret(t)
	raw, err := json.Marshal(a.Negotiate(t, b, s, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := seal.ParseLegacyMessage(raw)
	if err != nil {
		t.Fatal(err)
	}
	got, saved, err := b.Reader().Open(m, a.Name, a.Record(), now)
	if err != nil || string(got) != "hello" || saved.KID() != s.KID() {
		t.Fatalf("got %q %v", got, err)
	}
	// Later messages have only the name of the key.
	for _, text := range []string{"", "x", strings.Repeat("y", 15), strings.Repeat("z", 16), strings.Repeat("long ", 1000)} {
		m, err := seal.SealLegacy(rand.Reader, a.Name, b.Name, s, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Ext.E2EE.EK) != 0 {
			t.Error("a later message carries the key")
		}
		if got, fresh, err := b.Reader(saved).Open(m, a.Name, nil, now); err != nil || string(got) != text || fresh != nil {
			t.Errorf("%d bytes: got %q %v", len(text), got, err)
		}
		if _, _, err := b.Reader().Open(m, a.Name, nil, now); !errors.Is(err, seal.ErrNotRecipient) {
			t.Errorf("without the key: got %v, want ErrNotRecipient", err)
		}
	}
	// Bob renews; a negotiation for his old key still opens, since it is kept.
	fresh := town.NewPal(t, b.Name)
	r := fresh.Reader()
	r.Own[b.ID()] = b.Key
	if _, _, err := r.Open(a.Negotiate(t, b, town.Secret(t), "in flight"), a.Name, a.Record(), now); err != nil {
		t.Errorf("with the old key kept: %v", err)
	}
	if _, _, err := fresh.Reader().Open(a.Negotiate(t, b, town.Secret(t), "in flight"), a.Name, a.Record(), now); !errors.Is(err, seal.ErrNotRecipient) {
		t.Errorf("with the old key dropped: got %v", err)
	}
}

func TestLegacyPKCS1(t *testing.T) {
	t.Parallel()
	a, b := town.NewPal(t, "alice@hs1"), town.NewPal(t, "bob@hs1")
	s := town.Secret(t)
	m := must(seal.SealLegacy(rand.Reader, a.Name, b.Name, s, []byte("hello")))
	if err := m.Announce(rand.Reader, s, a.Key, b.Record(), seal.LegacyPKCS1, now); err != nil {
		t.Fatal(err)
	}
	r := b.Reader()
	r.Padding = seal.LegacyPKCS1
	if got, _, err := r.Open(m, a.Name, a.Record(), now); err != nil || string(got) != "hello" {
		t.Errorf("got %q %v", got, err)
	}
	r.Padding = seal.LegacyOAEP
	if _, _, err := r.Open(m, a.Name, a.Record(), now); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("with the other padding: got %v", err)
	}
}

func TestLegacyValidity(t *testing.T) {
	t.Parallel()
	a, b := town.NewPal(t, "alice@hs1"), town.NewPal(t, "bob@hs1")
	s := town.Secret(t)
	m := a.Negotiate(t, b, s, "hello")
	for name, c := range map[string]struct {
		change func(*seal.LegacyRecord)
		want   error
	}{
		"expired":       {func(r *seal.LegacyRecord) { r.Expires = now.Add(-time.Second) }, cert.ErrExpired},
		"not yet valid": {func(r *seal.LegacyRecord) { r.NotBefore = now.Add(24 * time.Hour) }, cert.ErrExpired},
		"revoked":       {func(r *seal.LegacyRecord) { r.Revoked = true }, cert.ErrExpired},
		"another user":  {func(r *seal.LegacyRecord) { r.Username = "carol@hs1" }, cert.ErrMismatch},
		"another key":   {func(r *seal.LegacyRecord) { r.KeyID = "x" }, cert.ErrMismatch},
	} {
		r := a.Record()
		c.change(r)
		if _, _, err := b.Reader().Open(m, a.Name, r, now); !errors.Is(err, c.want) {
			t.Errorf("sender's key %s: got %v, want %v", name, err, c.want)
		}
		r = b.Record()
		c.change(r)
		if err := m.Announce(rand.Reader, s, a.Key, r, seal.LegacyOAEP, now); name != "another key" && !errors.Is(err, c.want) {
			t.Errorf("recipient's key %s: got %v, want %v", name, err, c.want)
		}
	}
	if _, _, err := b.Reader().Open(m, "carol@hs1", a.Record(), now); !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("from someone else: got %v", err)
	}
}

func TestLegacySecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	s := must(seal.ParseLegacySecret([]byte("0123456789abcdef")))
	raw, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	p, err := seal.FromPassphrase("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	o := seal.Offer{KID: "k", Secret: []byte("0123456789abcdef")}
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
	a, b := town.NewPal(f, "alice@hs1"), town.NewPal(f, "bob@hs1")
	s := town.Secret(f)
	f.Add(must(json.Marshal(a.Negotiate(f, b, s, "hello"))))
	f.Add(must(json.Marshal(must(seal.SealLegacy(rand.Reader, a.Name, b.Name, s, []byte("x"))))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := seal.ParseLegacyMessage(raw)
		if err != nil {
			return
		}
		r := &seal.LegacyReader{Self: m.To, Own: map[cert.Fingerprint]*rsa.PrivateKey{m.Ext.E2EE.RKeyID: b.Key}, Saved: map[string]*seal.LegacySecret{m.Ext.E2EE.KID: s}, Padding: seal.LegacyPKCS1}
		rec := a.Record()
		rec.Username, rec.KeyID = m.From, m.Ext.E2EE.KeyID
		plain, _, err := r.Open(m, m.From, rec, now)
		if err != nil && plain != nil {
			t.Error("a text beside an error")
		}
	})
}
