package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/town"
)

// A link is a session of two devices.
type link struct{ a, b *seal.Session }

func (c *cast) session(t *testing.T) *link {
	t.Helper()
	o, err := seal.NewOffer(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &link{
		a: must(seal.NewSession(o, "conv", "alice@hs1", "A", "bob@hs1", now)),
		b: must(seal.NewSession(o, "conv", "bob@hs1", "B", "alice@hs1", now)),
	}
}

func small(id string, at time.Time) seal.Small {
	return seal.Small{ID: quinta.MessageID(id), Time: at.UnixMilli(), Body: []byte(`{"text":"hi"}`)}
}

func TestSession(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	l := c.session(t)
	own := must(seal.NewSession(l.a.Offer, "conv", "alice@hs1", "A2", "bob@hs1", now))
	p1, p2 := must(l.a.Seal(small("m1", now))), must(l.a.Seal(small("m2", now)))
	for name, s := range map[string]*seal.Session{"the peer": l.b, "the own other device": own} {
		m, err := s.Open(p1, "alice@hs1", "A", now)
		if err != nil || m.ID != "m1" || string(m.Body) != `{"text":"hi"}` {
			t.Errorf("%s: got %+v %v", name, m, err)
		}
	}
	// The state goes through a store.
	raw := must(json.Marshal(l.b))
	again := new(seal.Session)
	if err := json.Unmarshal(raw, again); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Open(p1, "alice@hs1", "A", now); !errors.Is(err, cert.ErrReplayed) {
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

func must2(o seal.Offer, dev quinta.DeviceID) *seal.Session {
	return must(seal.NewSession(o, "conv", "alice@hs1", dev, "bob@hs1", now))
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
		if _, err := l.b.Open(good, quinta.UserID(who[0]), quinta.DeviceID(who[1]), now); !errors.Is(err, cert.ErrMismatch) && !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := l.b.Open(good, "alice@hs1", "A", now.Add(8*24*time.Hour)); !errors.Is(err, cert.ErrReplayed) {
		t.Errorf("late: got %v", err)
	}
	if _, err := seal.NewSession(l.a.Offer, "conv", "alice@hs1", "A", "alice@hs1", now); !errors.Is(err, cert.ErrMalformed) {
		t.Errorf("with oneself: got %v", err)
	}
}

func TestSessionLimits(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	l := c.session(t)
	if _, err := l.a.Seal(small("m", now.Add(seal.SessionLife))); !errors.Is(err, seal.ErrSessionOver) {
		t.Errorf("after 24 hours: got %v", err)
	}
	for range seal.SessionMessages {
		if _, err := l.a.Seal(small("m", now)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.a.Seal(small("m", now)); !errors.Is(err, seal.ErrSessionOver) {
		t.Errorf("after 1000 messages: got %v", err)
	}
}

func FuzzSession(f *testing.F) {
	o := must(seal.NewOffer(rand.Reader))
	a := must(seal.NewSession(o, "conv", "alice@hs1", "A", "bob@hs1", now))
	f.Add(must(a.Seal(small("m", now))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := must(seal.NewSession(o, "conv", "bob@hs1", "B", "alice@hs1", now))
		if m, err := b.Open(raw, "alice@hs1", "A", now); err == nil && m.ID == "" {
			t.Error("a packet without an id")
		}
	})
}

// TestReseal: what the sender signed opens on a device that it was sealed for
// later, as the sender's.
func TestReseal(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	fresh := c.Person("bob@hs1", "B2")
	again := town.Forward(t, c.seal(content(), c.alice, c.bob), c.bob, fresh.Encrypt)
	o, err := seal.Open(again, fresh, c.Verifier, expect())
	if err != nil || o.Content.From != "alice@hs1" || o.Device != "A" {
		t.Errorf("got %+v %v, want Alice's message", o, err)
	}
}
