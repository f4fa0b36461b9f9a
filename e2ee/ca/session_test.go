package ca_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
)

func small(id string, at time.Time) ca.Small {
	return ca.Small{ID: quinta.MessageID(id), Time: at.UnixMilli(), Body: []byte(`{"text":"hi"}`)}
}

func TestSession(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	l := c.session(t)
	own := must(ca.NewSession(l.a.Offer, "conv", "alice@hs1", "A2", "bob@hs1", now))
	p1, p2 := must(l.a.Seal(small("m1", now))), must(l.a.Seal(small("m2", now)))
	for name, s := range map[string]*ca.Session{"the peer": l.b, "the own other device": own} {
		m, err := s.Open(p1, "alice@hs1", "A", now)
		if err != nil || m.ID != "m1" || string(m.Body) != `{"text":"hi"}` {
			t.Errorf("%s: got %+v %v", name, m, err)
		}
	}
	// The state goes through a store.
	raw := must(json.Marshal(l.b))
	again := new(ca.Session)
	if err := json.Unmarshal(raw, again); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Open(p1, "alice@hs1", "A", now); !errors.Is(err, ca.ErrReplayed) {
		t.Errorf("after a restart: got %v, want ErrReplayed", err)
	}
	if m, err := again.Open(p2, "alice@hs1", "A", now); err != nil || m.ID != "m2" {
		t.Errorf("got %+v %v", m, err)
	}
	back := must(again.Seal(small("m3", now)))
	if m, err := l.a.Open(back, "bob@hs1", "B", now); err != nil || m.ID != "m3" {
		t.Errorf("back: got %+v %v", m, err)
	}
	// Two devices never use one key.
	if bytes.Equal(must(own.Seal(small("m", now)))[29:], must(must2(l.a.Offer, "A3").Seal(small("m", now)))[29:]) {
		t.Error("two devices made the same packet")
	}
}

func must2(o ca.Offer, dev quinta.DeviceID) *ca.Session {
	return must(ca.NewSession(o, "conv", "alice@hs1", dev, "bob@hs1", now))
}

func TestSessionRefuses(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	l := c.session(t)
	good := must(l.a.Seal(small("m1", now)))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if m, err := l.b.Open(bad, "alice@hs1", "A", now); err == nil {
			t.Fatalf("byte %d: opened: %+v", i, m)
		}
	}
	for i := range good {
		if _, err := l.b.Open(good[:i], "alice@hs1", "A", now); err == nil {
			t.Fatalf("cut to %d: opened", i)
		}
	}
	for name, who := range map[string][2]string{"another user": {"carol@hs1", "A"}, "another device": {"alice@hs1", "A2"}, "reflected": {"bob@hs1", "A"}, "its own": {"bob@hs1", "B"}} {
		if _, err := l.b.Open(good, quinta.UserID(who[0]), quinta.DeviceID(who[1]), now); !errors.Is(err, ca.ErrMismatch) && !errors.Is(err, ca.ErrTampered) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := l.b.Open(good, "alice@hs1", "A", now.Add(8*24*time.Hour)); !errors.Is(err, ca.ErrReplayed) {
		t.Errorf("late: got %v", err)
	}
	if _, err := ca.NewSession(l.a.Offer, "conv", "alice@hs1", "A", "alice@hs1", now); !errors.Is(err, ca.ErrMalformed) {
		t.Errorf("with oneself: got %v", err)
	}
}

func TestSessionLimits(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	l := c.session(t)
	if _, err := l.a.Seal(small("m", now.Add(ca.SessionLife))); !errors.Is(err, ca.ErrSessionOver) {
		t.Errorf("after 24 hours: got %v", err)
	}
	for range ca.SessionMessages {
		if _, err := l.a.Seal(small("m", now)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.a.Seal(small("m", now)); !errors.Is(err, ca.ErrSessionOver) {
		t.Errorf("after 1000 messages: got %v", err)
	}
}

func FuzzSession(f *testing.F) {
	o := must(ca.NewOffer(rand.Reader))
	a := must(ca.NewSession(o, "conv", "alice@hs1", "A", "bob@hs1", now))
	f.Add(must(a.Seal(small("m", now))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := must(ca.NewSession(o, "conv", "bob@hs1", "B", "alice@hs1", now))
		if m, err := b.Open(raw, "alice@hs1", "A", now); err == nil && m.ID == "" {
			t.Error("a packet without an id")
		}
	})
}

func TestBackup(t *testing.T) {
	t.Parallel()
	var k [32]byte
	if _, err := rand.Read(k[:]); err != nil {
		t.Fatal(err)
	}
	pass := must(ca.FromPassphrase("a long passphrase"))
	for name, c := range map[string]struct{ right, wrong *ca.BackupSecret }{
		"recovery key": {ca.FromRecovery(k), ca.FromRecovery([32]byte{1})},
		"passphrase":   {pass, must(ca.FromPassphrase("another passphrase"))},
	} {
		raw := must(ca.SealBackup(rand.Reader, []byte("the keys"), c.right))
		if bytes.Contains(raw, []byte("the keys")) {
			t.Fatalf("%s: it is not sealed", name)
		}
		if got, err := ca.OpenBackup(raw, c.right); err != nil || string(got) != "the keys" {
			t.Errorf("%s: got %q %v", name, got, err)
		}
		if _, err := ca.OpenBackup(raw, c.wrong); !errors.Is(err, ca.ErrTampered) {
			t.Errorf("%s, wrong: got %v", name, err)
		}
		if by, err := ca.BackupByPassphrase(raw); err != nil || by != (name == "passphrase") {
			t.Errorf("%s: got %v %v", name, by, err)
		}
	}
	raw := must(ca.SealBackup(rand.Reader, []byte("the keys"), ca.FromRecovery(k)))
	if _, err := ca.OpenBackup(raw, pass); !errors.Is(err, ca.ErrUnsupported) {
		t.Errorf("the other kind: got %v", err)
	}
	for _, change := range [][2]string{{`"v":1`, `"v":2`}, {`"kdf":"recovery"`, `"kdf":"argon2id"`}, {`"kdf":"recovery"`, `"kdf":"argon2id","memory":4000000000,"threads":4,"time":3`},
		{`"kdf":"recovery"`, `"kdf":"argon2id","memory":8,"threads":1,"time":1`}, {`"salt":"`, `"salt":"A`}} {
		bad := bytes.Replace(raw, []byte(change[0]), []byte(change[1]), 1)
		if _, err := ca.OpenBackup(bad, ca.FromRecovery(k)); err == nil {
			t.Errorf("%s: opened", change[1])
		}
	}
	if _, err := ca.FromPassphrase("short"); err == nil {
		t.Error("a short passphrase passed")
	}
}

func FuzzBackup(f *testing.F) {
	s := ca.FromRecovery([32]byte{7})
	f.Add(must(ca.SealBackup(rand.Reader, []byte("x"), s)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if plain, err := ca.OpenBackup(raw, s); err != nil && plain != nil {
			t.Error("a text beside an error")
		}
	})
}

func FuzzRequest(f *testing.F) {
	id := ca.Identity{User: "alice@hs1", Device: "A", Use: ca.UseSign}
	f.Add(must(ca.NewRequest(rand.Reader, id, newKey(f))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := ca.ParseRequest(raw, id); err == nil && (r.Identity != id || ca.CheckKey(r.Key) != nil) {
			t.Errorf("passed: %+v", r.Identity)
		}
	})
}

func FuzzParseLegacyKey(f *testing.F) {
	f.Add(newPal(f, "a").spki)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if k, err := ca.ParseLegacyKey(raw); err == nil && !bytes.Equal(must(ca.LegacySPKI(k)), raw) {
			t.Error("it has two encodings")
		}
	})
}

func FuzzStatements(f *testing.F) {
	k := newKey(f)
	st := ca.ApprovalStatement{Username: "a@hs1", Device: "A", KeyID: "k", By: "b", Time: now.UnixMilli()}
	f.Add([]byte(must(ca.NewApproval(rand.Reader, st, k)).Statement), []byte("x"))
	f.Fuzz(func(t *testing.T, raw, sig []byte) {
		a := ca.Approval{Statement: raw, Signature: sig}
		if a.Check(st, k.Public(), now) == nil {
			t.Error("a signature that nobody made")
		}
		r := ca.Renewal{Statement: raw, OldSignature: sig, NewSignature: sig}
		if _, err := r.Check(ca.RenewalStatement{}, k.Public(), k.Public(), now); err == nil {
			t.Error("a signature that nobody made")
		}
	})
}

func TestReseal(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	raw := c.seal(content(), c.alice, c.bob)
	fresh := c.person("bob@hs1", "B2")
	again, err := ca.Reseal(rand.Reader, raw, c.bob, certs(fresh))
	if err != nil {
		t.Fatal(err)
	}
	o, err := ca.Open(again, fresh, c.v, expect())
	if err != nil || o.Content.From != "alice@hs1" || o.Device != "A" {
		t.Errorf("got %+v %v, want Alice's message", o, err)
	}
	if _, err := ca.Reseal(rand.Reader, raw, c.carol, certs(fresh)); !errors.Is(err, ca.ErrNotRecipient) {
		t.Errorf("by somebody else: got %v", err)
	}
}

func TestApproval(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	st := ca.ApprovalStatement{Username: "a@hs1", Device: "A", KeyID: "k", By: "b", Time: now.UnixMilli()}
	a := must(ca.NewApproval(rand.Reader, st, k))
	if err := a.Check(st, k.Public(), now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if err := a.Check(st, newKey(t).Public(), now); !errors.Is(err, ca.ErrPossession) {
		t.Errorf("another key: got %v", err)
	}
	if err := a.Check(st, k.Public(), now.Add(time.Hour)); !errors.Is(err, ca.ErrReplayed) {
		t.Errorf("old: got %v", err)
	}
	other := st
	other.KeyID = "other"
	if err := a.Check(other, k.Public(), now); !errors.Is(err, ca.ErrMismatch) {
		t.Errorf("another key approved: got %v", err)
	}
}

func certs(list ...*ca.Self) (out []*x509.Certificate) {
	for _, s := range list {
		out = append(out, s.Encrypt)
	}
	return out
}
