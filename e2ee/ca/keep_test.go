package ca_test

import (
	"bytes"
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

// unread plays the beginning of the story: alice writes to bob, who has read
// one message; three wait for bob when bob's device is lost.
func unread(t *testing.T, policy ca.Policy, backup *seal.BackupSecret) (p *post, a, b *device, conv quinta.RoomID) {
	t.Helper()
	p, a, b, conv = couple(t, policy)
	if backup != nil {
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.EnableBackup(tx, backup) })
		b.settle()
	}
	a.says(conv, "read before")
	b.settle()
	b.reads("read before")
	for _, text := range []string{"one", "two", "three"} {
		p.later(time.Minute)
		a.says(conv, text)
	}
	a.take()
	return p, a, b, conv
}

// TestReasonAfterTheBackup: messages come before the server said whether there
// is a backup, or fails to. What is told is true of both: that the backup is
// locked, or else that the device came later.
func TestReasonAfterTheBackup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer *ca.Ans
		want   quinta.Reason
	}{{nil, quinta.ReasonBackupLocked}, {&ca.Ans{Code: "internal"}, quinta.ReasonBeforeThisDevice}} {
		p, _, _, _ := unread(t, ca.Policy{}, seal.FromRecovery([32]byte{7}))
		fresh := p.device(bob, "B2", ca.Policy{})
		p.boxes[fresh.String()] = nil
		fresh.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, fresh.m.Begin(tx, ca.Login{New: true}) })
		for range 20 {
			for _, r := range fresh.due() {
				if r.Kind == ca.ReqBackup {
					continue
				}
				a := p.do(fresh, r)
				fresh.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return fresh.m.Done(tx, r, a) })
			}
		}
		fresh.poll()
		if got := fresh.take(e2ee.EventUndecryptable); len(got) != 0 {
			t.Errorf("before the answer: got %+v, want no reason yet", got)
		}
		p.bend = func(_ *device, r ca.Req) (ca.Ans, bool) {
			if r.Kind == ca.ReqBackup && c.answer != nil {
				return *c.answer, true
			}
			return ca.Ans{}, false
		}
		fresh.flush()
		got := fresh.take(e2ee.EventUndecryptable)
		told := 0
		for _, e := range got {
			if e.Reason == c.want {
				told++
			}
		}
		if told != len(got) || told < 3 {
			t.Errorf("got %+v, want the reason %s for each message", got, c.want)
		}
	}
}

// TestStoryRecoveryKey: with the recovery key a new device reads all three, once
// and in their order; what was read before does not come again.
func TestStoryRecoveryKey(t *testing.T) {
	t.Parallel()
	for _, policy := range []ca.Policy{{}, {Sessions: true}} {
		secret := seal.FromRecovery([32]byte{7})
		p, a, _, conv := unread(t, policy, secret)
		fresh := p.login(bob, "B2", policy)
		for _, e := range fresh.take(e2ee.EventUndecryptable) {
			if e.Reason != quinta.ReasonBackupLocked && e.Reason != quinta.ReasonNoKeyYet {
				t.Errorf("got %s, want that the backup is locked", e.Reason)
			}
		}
		wrong := fresh.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			_, ev, err := fresh.m.Restore(tx, p.backup[bob], seal.FromRecovery([32]byte{8}))
			return ev, err
		})
		if !errors.Is(wrong, seal.ErrTampered) {
			t.Errorf("a wrong recovery key: got %v, want ErrTampered", wrong)
		}
		n := 0
		fresh.do(func(tx e2ee.Tx) (ev []e2ee.Event, err error) {
			n, ev, err = fresh.m.Restore(tx, p.backup[bob], secret)
			return ev, err
		})
		if n == 0 {
			t.Error("the backup held nothing")
		}
		fresh.settle()
		fresh.reads("one", "two", "three")
		a.says(conv, "four")
		fresh.settle()
		fresh.reads("four")
		fresh.says(fresh.direct(alice), "i am back")
		a.settle()
		a.reads("i am back")
	}
}

// TestStoryNoKey: without the recovery key nothing is readable; the sender is
// told, and her device seals the messages again by itself.
func TestStoryNoKey(t *testing.T) {
	t.Parallel()
	for _, policy := range []ca.Policy{{Resealing: ca.ResealPinned}, {Resealing: ca.ResealPinned, Sessions: true}} {
		p, a, _, conv := unread(t, policy, nil)
		fresh := p.login(bob, "B2", policy)
		if got := len(fresh.take(e2ee.EventMessage)); got != 0 {
			t.Fatalf("got %d messages without a key", got)
		}
		n := 0
		ask := func() {
			fresh.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { n, err = fresh.m.AskSenders(tx); return nil, err })
			fresh.settle()
		}
		ask()
		if n != 3 {
			t.Fatalf("asked for %d messages, want 3", n)
		}
		ask()
		if n != 0 {
			t.Errorf("asked again for %d", n)
		}
		a.settle()
		told := a.take(e2ee.EventUnread)
		if len(told) != 3 || told[0].User != bob || told[0].Device != "B2" || told[0].Message.Text != "one" || told[0].Message.Room != conv {
			t.Errorf("got %+v, want that alice is told of three", told)
		}
		fresh.settle()
		fresh.reads("one", "two", "three")
		a.settle()
		fresh.settle()
		fresh.reads()
		var left int
		fresh.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { left, err = fresh.m.Pending(tx); return nil, err })
		if left != 0 {
			t.Errorf("%d messages still wait", left)
		}
	}
}

// TestResealPolicy: a device that re-encrypts only for verified devices waits
// for the user; one that never does only reports.
func TestResealPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy ca.Policy
		decide ca.Decision
		want   []string
	}{
		{ca.Policy{}, ca.Accept, []string{"one", "two", "three"}},
		{ca.Policy{}, ca.Skip, nil},
		{ca.Policy{}, ca.Reject, nil},
		{ca.Policy{Resealing: ca.ResealPinned}, ca.Reject, []string{"one", "two", "three"}}, // too late
		{ca.Policy{Resealing: ca.ResealNever}, ca.Accept, nil},
	} {
		p, a, _, _ := unread(t, c.policy, nil)
		fresh := p.login(bob, "B2", ca.Policy{})
		fresh.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { _, err = fresh.m.AskSenders(tx); return nil, err })
		fresh.settle()
		a.settle()
		if got := len(a.take(e2ee.EventUnread)); got != 3 {
			t.Errorf("%+v: alice was told of %d, want 3", c, got)
		}
		fresh.settle()
		if c.policy.Resealing != ca.ResealPinned {
			fresh.reads()
		}
		a.trust(fresh, c.decide)
		a.settle()
		fresh.settle()
		fresh.reads(c.want...)
	}
}

// TestResealIsCheckedAsTheFirst: a message that was sealed again is taken only
// as what the first delivery was: of its sender, device and time.
func TestResealIsCheckedAsTheFirst(t *testing.T) {
	t.Parallel()
	p, a, _, conv := unread(t, ca.Policy{}, nil)
	other := p.login(alice, "A2", ca.Policy{})
	fresh := p.login(bob, "B2", ca.Policy{})
	fresh.take()
	id := p.last(conv).ID
	send := func(from *device, c seal.Content, want quinta.Reason) {
		t.Helper()
		p.forge(fresh, ca.Item{Kind: ca.KindReseal, Conv: conv, ID: "r", From: alice, Device: "A1", Body: from.seal(fresh, c)})
		fresh.settle()
		fresh.told(want)
	}
	send(other, seal.Content{Conv: conv, ID: id, Seq: 1}, quinta.ReasonSenderMismatch)
	p.later(time.Hour)
	send(a, seal.Content{Conv: conv, ID: id, Seq: 9}, quinta.ReasonReplayed) // of now, and not of then
	send(a, seal.Content{Conv: conv, ID: "made-up", Seq: 9}, quinta.ReasonSenderMismatch)
}

// TestGivenKeys: an old device gives a new one, which its user has verified,
// what it opens messages with; the new one reads what is unread.
func TestGivenKeys(t *testing.T) {
	t.Parallel()
	for _, policy := range []ca.Policy{{}, {Sessions: true}} {
		p, a, b, conv := unread(t, policy, nil)
		fresh := p.login(bob, "B2", policy)
		fresh.take()
		b.look(bob)
		b.take()
		give := func() error {
			return b.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.GiveKeys(tx, "B2") })
		}
		if err := give(); !errors.Is(err, cert.ErrUntrusted) {
			t.Errorf("to a device that was not verified: got %v, want ErrUntrusted", err)
		}
		b.trust(fresh, ca.Accept)
		if err := give(); err != nil {
			t.Fatal(err)
		}
		b.settle()
		fresh.settle()
		fresh.settle()
		events := fresh.events
		fresh.reads("one", "two", "three")
		if has(events, e2ee.EventSecret, "keys ") == nil {
			t.Error("the new device does not say that it got keys")
		}
		a.says(conv, "four")
		fresh.settle()
		fresh.reads("four")
	}
}

// TestBackupFollows: the backup is written again when what it holds changes, and
// not otherwise; two devices that write at once lose nothing.
func TestBackupFollows(t *testing.T) {
	t.Parallel()
	p := newPost(t, 9)
	secret := must(seal.FromPassphrase("a long passphrase"))
	a := p.login(alice, "A1", ca.Policy{})
	puts := 0
	p.bend = func(_ *device, r ca.Req) (ca.Ans, bool) {
		if r.Kind == ca.ReqPutBackup {
			puts++
		}
		return ca.Ans{}, false
	}
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.EnableBackup(tx, secret) })
	a.settle()
	p.later(time.Hour)
	a.settle()
	if puts != 1 {
		t.Errorf("got %d uploads, want 1", puts)
	}
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Renew(tx) })
	a.settle()
	if puts != 2 {
		t.Errorf("after a renewal: got %d uploads, want 2", puts)
	}
	b := p.login(alice, "A2", ca.Policy{})
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		_, ev, err := b.m.Restore(tx, p.backup[alice], secret)
		return ev, err
	})
	b.flush()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Renew(tx) })
	a.settle() // a conflict: what the other device wrote is taken in
	raw := must(seal.OpenBackup(p.backup[alice].Sealed, secret))
	for _, k := range append(a.keys("active", cert.UseEncrypt), append(a.keys("grace", cert.UseEncrypt), b.keys("active", cert.UseEncrypt)...)...) {
		if !bytes.Contains(raw, must(json.Marshal(k.Cert))) {
			t.Errorf("the backup does not hold the key %s", k.ID)
		}
	}
	for _, k := range append(a.keys("active", cert.UseSign), b.keys("active", cert.UseSign)...) {
		if bytes.Contains(raw, must(json.Marshal(k.Cert))) {
			t.Error("the backup holds a key to sign with")
		}
	}
	var info ca.BackupInfo
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { info, err = a.m.BackupState(tx); return nil, err })
	if !info.Exists || !info.Enabled || info.Keys < 4 {
		t.Errorf("got %+v", info)
	}
}

// TestBackupOfAnother: a backup under another secret is not written over, and
// the user is told.
func TestBackupOfAnother(t *testing.T) {
	t.Parallel()
	p := newPost(t, 10)
	a := p.login(alice, "A1", ca.Policy{})
	other := ca.Backup{Sealed: must(seal.SealBackup(p.rand, []byte(`{"v":1,"keys":[]}`), seal.FromRecovery([32]byte{1}))), Tag: "t"}
	p.backup[alice] = other
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, a.m.EnableBackup(tx, seal.FromRecovery([32]byte{2}))
	})
	a.settle()
	if has(a.take(), e2ee.EventTrouble, "a different secret") == nil || p.backup[alice].Tag != "t" {
		t.Error("the backup of another secret was written over, or no one was told")
	}
}

// TestHistory: what is in the past is opened without a second showing of what
// is here, and does not disturb the order of what comes.
func TestHistory(t *testing.T) {
	t.Parallel()
	p, a, _, conv := unread(t, ca.Policy{}, nil)
	own := p.login(alice, "A2", ca.Policy{})
	own.take()
	a.says(conv, "four")
	own.settle()
	own.reads("four")
	h := p.page(ca.Req{Conv: conv, Limit: 100}).History
	own.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return own.m.History(tx, conv, *h) })
	own.flush()
	for _, e := range own.take() {
		if e.Kind == e2ee.EventMessage || e.Kind == e2ee.EventUndecryptable && e.Reason != quinta.ReasonBeforeThisDevice {
			t.Errorf("got %+v", e)
		}
	}
	a.says(conv, "five")
	own.settle()
	own.reads("five")
}

// TestHistoryAndMailbox: a new device finds a message in the history that the
// mailbox brings too; it is read once and no one is accused.
func TestHistoryAndMailbox(t *testing.T) {
	t.Parallel()
	p, a, _, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	fresh := p.device(bob, "B2", ca.Policy{})
	p.boxes[fresh.String()] = nil
	fresh.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, fresh.m.Begin(tx, ca.Login{New: true}) })
	sent := false
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
		if d == fresh && r.Kind == ca.ReqHistory && !sent {
			sent = true
			a.settle()
			a.says(conv, "in both")
		}
		return ca.Ans{}, false
	}
	fresh.settle()
	fresh.settle()
	events := fresh.events
	fresh.reads("in both")
	for _, e := range events {
		if e.Reason == quinta.ReasonReplayed {
			t.Errorf("got %+v", e)
		}
	}
	p.forge(fresh, p.last(conv))
	fresh.settle()
	fresh.told(quinta.ReasonReplayed)
}
