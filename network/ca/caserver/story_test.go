package caserver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/network/ca/wire"
)

// TestStory: two people enrol, look each other up and write; a message waits
// for him who is away, is delivered until it is acknowledged, and once.
func TestStory(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		a := alice.says(conv, "m1", "hello", bob)

		items, next := bob.mail(0)
		if len(items) != 1 || items[0].From != "alice@hs1" || items[0].Device != alice.Device || items[0].Conv != conv || items[0].ID != "m1" {
			t.Fatalf("got %+v, want one message of alice", items)
		}
		if got, err := bob.open(items[0]); got != "hello" || err != nil {
			t.Errorf("got %q %v, want hello", got, err)
		}
		if again, _ := bob.mail(0); len(again) != 1 {
			t.Errorf("before the acknowledgement: got %d messages, want 1", len(again))
		}
		bob.post(wire.PathAck, wire.AckRequest{UpTo: next}).want(200)
		if again, _ := bob.mail(0); len(again) != 0 {
			t.Errorf("after it: got %d messages, want 0", len(again))
		}
		if own, _ := alice.mail(0); len(own) != 0 {
			t.Errorf("the sending device got %d messages, want 0", len(own))
		}
		var h wire.History
		bob.get("/conversations/"+string(conv)+"/messages").into(200, &h)
		if len(h.Items) != 1 || h.Items[0].Pos != a.Pos || h.Before != 0 {
			t.Errorf("history: got %+v, want the message", h)
		}
		s.person("carol").get("/conversations/"+string(conv)+"/messages").fails(404, wire.CodeNotFound)
	})
}

// TestDeliverOnce: the same request again gives the same answer and delivers
// nothing; another message under the id is refused.
func TestDeliverOnce(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		d := alice.seal(conv, "m1", "hello", bob)
		var first, second wire.Delivered
		alice.deliver(conv, "m1", d).into(200, &first)
		s.later(time.Minute)
		alice.deliver(conv, "m1", d).into(200, &second)
		if first != second {
			t.Errorf("got %+v then %+v, want the same", first, second)
		}
		if items, _ := bob.mail(0); len(items) != 1 {
			t.Errorf("got %d messages, want 1", len(items))
		}
		alice.deliver(conv, "m1", alice.seal(conv, "m1", "other", bob)).fails(409, wire.CodeConflict)
		bob.deliver(conv, "m1", bob.seal(conv, "m1", "mine", alice)).fails(409, wire.CodeConflict)
	})
}

// TestAllDevices: a message is for every device of every member and the
// sender's others; a new device, a revoked one and a stranger's are told.
func TestAllDevices(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		phone := s.login("bob", "PHONE").enrolled()
		own := s.login("alice", "LAPTOP").enrolled()

		e := alice.deliver(conv, "m1", alice.seal(conv, "m1", "hi", bob)).fails(409, wire.CodeStaleKeys)
		if len(e.Missing) != 2 || len(e.Stale) != 0 {
			t.Errorf("got %+v, want the two new devices missing", e)
		}
		carol := s.person("carol")
		e = alice.deliver(conv, "m1", alice.seal(conv, "m1", "hi", bob, phone, own, carol)).fails(409, wire.CodeStaleKeys)
		if len(e.Missing) != 0 || len(e.Stale) != 1 || e.Stale[0] != carol.enc.id() {
			t.Errorf("got %+v, want carol's key stale", e)
		}
		alice.says(conv, "m1", "hi", bob, phone, own)
		for _, u := range []*user{bob, phone, own} {
			items, _ := u.mail(0)
			if len(items) != 1 {
				t.Fatalf("%s %s: got %d messages, want 1", u.ID, u.Device, len(items))
			}
			if got, err := u.open(items[0]); got != "hi" || err != nil {
				t.Errorf("%s %s: got %q %v", u.ID, u.Device, got, err)
			}
		}
		phone.post("/keys/"+string(phone.enc.id())+"/revoke", wire.RevokeRequest{Reason: "key-compromise"}).want(200)
		e = alice.deliver(conv, "m2", alice.seal(conv, "m2", "hi", bob, phone, own)).fails(409, wire.CodeStaleKeys)
		if len(e.Stale) != 1 || e.Stale[0] != phone.enc.id() {
			t.Errorf("got %+v, want the phone's key stale", e)
		}
		alice.says(conv, "m2", "hi", bob, own)
	})
}

// TestWithheld: a sender may leave a device out, if he says so.
func TestWithheld(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		phone := s.login("bob", "PHONE").enrolled()
		d := alice.seal(conv, "m1", "not for the phone", bob)
		alice.deliver(conv, "m1", d).fails(409, wire.CodeStaleKeys)
		d.Withheld = []cert.Fingerprint{phone.enc.id(), cert.Fingerprint(strings.Repeat("0", 64))}
		alice.deliver(conv, "m1", d).want(200)
		d.Withheld = d.Withheld[:1]
		alice.deliver(conv, "m1", d).fails(409, wire.CodeConflict)
		if items, _ := phone.mail(0); len(items) != 0 {
			t.Errorf("the device that was left out got %d messages", len(items))
		}
		if items, _ := bob.mail(0); len(items) != 1 {
			t.Errorf("the other one got %d messages, want 1", len(items))
		}
		twice := alice.seal(conv, "m2", "both", bob, phone)
		twice.Withheld = twice.Keys[:1]
		alice.deliver(conv, "m2", twice).fails(400, wire.CodeInvalid)
		twice.Withheld = make([]cert.Fingerprint, wire.MaxDevices+1)
		alice.deliver(conv, "m2", twice).fails(413, wire.CodeTooLarge)
	})
}

// TestLongPoll: a device that waits gets a message as it comes.
func TestLongPoll(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		_, next := bob.mail(0)
		got := make(chan *reply, 1)
		go func() { got <- bob.get(wire.PathMailbox + "?timeout=30000&after=" + text(next)) }()
		for s.Core.Hub.Waiting() == 0 {
			select {
			case <-t.Context().Done():
				t.Fatal("no one waits")
			case r := <-got:
				t.Fatalf("it did not wait: %s", r.Raw)
			default:
			}
		}
		alice.says(conv, "m1", "now", bob)
		var m wire.Mailbox
		(<-got).into(200, &m)
		if len(m.Items) != 1 || m.Items[0].ID != "m1" {
			t.Errorf("got %+v, want m1", m)
		}
	})
}

// TestWipedDevice: three messages wait for a device that is lost. A new one
// finds them in the history, and sees that no one has read them.
func TestWipedDevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		read := alice.says(conv, "m0", "read before", bob)
		_, next := bob.mail(0)
		bob.post(wire.PathAck, wire.AckRequest{UpTo: next}).want(200)
		for _, id := range []quinta.MessageID{"m1", "m2", "m3"} {
			alice.says(conv, id, "unread "+string(id), bob)
		}
		fresh := s.login("bob", "NEW").enrolled()
		if !fresh.Login.New || fresh.Login.Delivered < read.Pos {
			t.Errorf("got %+v, want a new device that knows what was read", fresh.Login)
		}
		var h wire.History
		fresh.get("/conversations/"+string(conv)+"/messages").into(200, &h)
		if len(h.Items) != 4 {
			t.Fatalf("got %d messages, want 4", len(h.Items))
		}
		unread := 0
		restored := fresh.self()
		restored.Older = []seal.Pair{{Cert: bob.enc.cert, Key: bob.enc.key}}
		for _, it := range h.Items {
			x := seal.Expect{From: it.From, Conv: it.Conv, Self: fresh.ID, Now: s.clock.Now(), Received: it.Received}
			if _, err := seal.Open(it.Body, fresh.self(), s.verifier(), x); !errors.Is(err, seal.ErrNotRecipient) {
				t.Errorf("without the backup: got %v, want ErrNotRecipient", err)
			}
			if _, err := seal.Open(it.Body, restored, s.verifier(), x); err != nil {
				t.Errorf("with the keys of the backup: %v", err)
			}
			if it.Pos > fresh.Login.Delivered {
				unread++
			}
		}
		if unread != 3 {
			t.Errorf("got %d unread, want 3", unread)
		}
		// The sender is told, and no one else may be by that delivery.
		n := fresh.seal(conv, "n1", "unreadable", alice)
		n.Kind, n.Only = wire.KindNotice, []wire.Target{{User: alice.ID, Device: alice.Device}}
		fresh.deliver(conv, "n1", n).want(200)
		items, _ := alice.mail(0)
		if len(items) != 1 || items[0].Kind != wire.KindNotice {
			t.Fatalf("got %+v, want the notice", items)
		}
		if got, err := alice.open(items[0]); got != "unreadable" || err != nil {
			t.Errorf("got %q %v", got, err)
		}
		fresh.get("/conversations/"+string(conv)+"/messages").into(200, &h)
		if len(h.Items) != 4 {
			t.Errorf("a notice stands in the history: %d messages", len(h.Items))
		}
	})
}
