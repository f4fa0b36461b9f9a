package ca_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// choose has a device choose the legacy profile with a user.
func (d *device) choose(peer quinta.UserID) quinta.RoomID {
	d.p.t.Helper()
	var id quinta.RoomID
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { id, err = d.m.ChooseLegacy(tx, peer); return nil, err })
	d.settle()
	return id
}

// TestLegacyTalk: two users who both chose the legacy profile talk in it; each
// message is marked as weak. Before both did, nothing leaves.
func TestLegacyTalk(t *testing.T) {
	t.Parallel()
	for _, padding := range []seal.LegacyPadding{seal.LegacyOAEP, seal.LegacyPKCS1} {
		p, a, b, secure := couple(t, ca.Policy{Padding: padding})
		conv := a.choose(bob)
		if conv == secure {
			t.Fatal("the secure conversation is the legacy one")
		}
		a.says(conv, "too early")
		if len(p.history[conv]) != 0 {
			t.Fatal("a message left before both chose")
		}
		if got := b.choose(alice); got != conv {
			t.Fatalf("got %s, want %s", got, conv)
		}
		p.later(2 * time.Minute)
		a.settle()
		a.says(conv, "two")
		b.settle()
		for _, e := range b.reads("too early", "two") {
			if m := e.Message; m.Weakness != quinta.WeakLegacy || m.Sender != alice || !m.Encrypted {
				t.Errorf("got %+v, want it marked", m)
			}
		}
		for _, e := range a.take(e2ee.EventSent) {
			if e.Message.Weakness != quinta.WeakLegacy {
				t.Errorf("got %+v, want it marked", e.Message)
			}
		}
		b.says(conv, "three")
		a.settle()
		a.reads("three")
		var first, second seal.LegacyMessage
		if json.Unmarshal(p.history[conv][0].Body, &first) != nil || json.Unmarshal(p.history[conv][1].Body, &second) != nil || len(first.Ext.E2EE.EK) == 0 || len(second.Ext.E2EE.EK) != 0 {
			t.Errorf("got %+v then %+v, want that the first announces the key and the second uses it", first.Ext, second.Ext)
		}
		a.says(secure, "still secure")
		if p.last(secure).Form != ca.FormCMS {
			t.Error("the secure conversation became weak")
		}
		b.settle()
		if m := b.reads("still secure")[0].Message; m.Weakness != "" {
			t.Errorf("got %+v", m)
		}
	}
}

// TestLegacyReplay: the scheme cannot tell a replay; a machine that keeps what it
// saw can, for the same bytes.
func TestLegacyReplay(t *testing.T) {
	t.Parallel()
	p, a, b, _ := couple(t, ca.Policy{})
	conv := a.choose(bob)
	b.choose(alice)
	p.later(2 * time.Minute)
	a.settle()
	a.says(conv, "pay 5")
	b.settle()
	b.reads("pay 5")
	it := p.last(conv)
	p.forge(b, it)
	b.settle()
	b.told(quinta.ReasonReplayed)
	it.ID = "another"
	p.forge(b, it)
	b.settle()
	b.told(quinta.ReasonReplayed)
	// What is changed under the key fails the same, whatever was changed.
	var m seal.LegacyMessage
	if err := json.Unmarshal(it.Body, &m); err != nil {
		t.Fatal(err)
	}
	m.Body[len(m.Body)-1] ^= 1
	p.forge(b, ca.Item{Form: ca.FormLegacy, Conv: conv, ID: "changed", From: alice, Device: "A1", Body: must(json.Marshal(m))})
	b.settle()
	b.told(quinta.ReasonTampered)
}

// TestLegacyRenewal: legacy keys are renewed too, and the old one opens what was
// wrapped for it.
func TestLegacyRenewal(t *testing.T) {
	t.Parallel()
	p, a, b, _ := couple(t, ca.Policy{})
	conv := a.choose(bob)
	b.choose(alice)
	p.later(2 * time.Minute)
	a.settle()
	a.says(conv, "for the old key")
	old := b.keys("active", "")[0].ID
	p.later(21 * 24 * time.Hour)
	b.flush()
	if got := b.keys("active", ""); len(got) != 1 || got[0].ID == old {
		t.Fatalf("got %+v, want a new legacy key", got)
	}
	b.settle()
	b.reads("for the old key")
	a.settle()
	a.says(conv, "for the new key")
	b.settle()
	b.reads("for the new key")
}

// TestLegacyIsForTwo: no one chooses it with themselves, and it takes no files of
// other kinds of conversation.
func TestLegacyIsForTwo(t *testing.T) {
	t.Parallel()
	_, a, _, _ := couple(t, ca.Policy{})
	if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, err := a.m.ChooseLegacy(tx, alice); return nil, err }); !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}
