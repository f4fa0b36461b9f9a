package caserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
)

const week = 7 * 24 * time.Hour

// sweep does now what a running server does by itself once a minute.
func (s *stage) sweep() {
	s.t.Helper()
	if err := s.Core.Sweep(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// audit returns what the operator sees of the authority.
func (s *stage) audit() string {
	s.t.Helper()
	out, err := s.Core.RunCommand(s.t.Context(), "ca show", server.CommandInput{Flags: map[string]string{"audit": "1000"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// changes are what the server told the device about keys, such as "renewed".
func (u *user) changes(id string, after quinta.Pos) (out []string) {
	u.s.t.Helper()
	var m wire.Mailbox
	u.get(wire.PathMailbox+"?limit=500&after="+text(after)).into(200, &m)
	for _, it := range m.Items {
		var c wire.KeyChange
		if it.Kind != wire.KindKeys {
			continue
		}
		if err := json.Unmarshal(it.Body, &c); err != nil {
			u.s.t.Fatal(err)
		}
		if string(c.KeyID) == id {
			out = append(out, c.Change)
		}
	}
	return out
}

// TestGraceEndsByItself: after seven days a renewed key retires, and all who
// can ask see it.
func TestGraceEndsByItself(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		old := bob.enc
		renewed := s.clock.Now()
		bob.enc = bob.renew(old, cert.UseEncrypt)
		s.later(week - time.Minute)
		s.sweep()
		if got := alice.state(old.id()); got != wire.StateGrace {
			t.Fatalf("a minute before: got %s, want grace", got)
		}
		if _, err := s.verifier().Verify(old.cert, cert.UseEncrypt, s.clock.Now(), s.clock.Now()); err != nil {
			t.Errorf("a minute before: %v", err)
		}
		in := alice.seal(conv, "m1", "in time", bob)
		in.Keys[0] = old.id()
		alice.deliver(conv, "m1", in).want(200)
		items, next := bob.mail(0)
		if len(items) != 1 {
			t.Fatalf("got %d messages, want 1", len(items))
		}
		bob.post(wire.PathAck, wire.AckRequest{UpTo: next}).want(200)
		s.later(time.Minute)
		s.sweep()

		var info wire.KeyInfo
		alice.get("/keys/"+string(old.id())).into(200, &info)
		if info.State != wire.StateRetired || !info.Changed.Equal(s.clock.Now()) {
			t.Errorf("got %s since %s, want retired since %s", info.State, info.Changed, s.clock.Now())
		}
		at := renewed.Add(time.Hour).UTC().Format(time.RFC3339)
		if got := alice.keys("bob", "?state=grace&at="+at); len(got) != 1 || got[0].ID != old.id() {
			t.Errorf("as of then: got %+v, want the old key in grace", got)
		}
		after := s.clock.Now().Add(cert.MaxAhead + time.Second)
		if _, err := s.verifier().Verify(old.cert, cert.UseEncrypt, after, after); !errors.Is(err, cert.ErrExpired) {
			t.Errorf("by the revocation list: got %v, want ErrExpired", err)
		}
		if want := "retired    bob@hs1 " + string(bob.Device) + " " + string(old.id()) + " its grace period had ended"; strings.Count(s.audit(), want) != 1 {
			t.Errorf("the audit lacks %q:\n%s", want, s.audit())
		}
		if got := alice.changes(string(old.id()), 0); len(got) != 1 || got[0] != "retired" {
			t.Errorf("alice was told %v, want that it retired", got)
		}
		// Again nothing happens.
		s.sweep()
		if n := strings.Count(s.audit(), " its grace period had ended"); n != 1 {
			t.Errorf("got %d retirements, want 1", n)
		}
		bob.delete("/keys/"+string(old.id()), nil).want(200)
		if got := alice.state(bob.enc.id()); got != wire.StateActive {
			t.Errorf("the new key: got %s, want active", got)
		}
	})
}

// TestAttack19GraceWaitsForMessages: the grace does not end while a message
// that is sealed for the key waits, however late; and none is added then.
func TestAttack19GraceWaitsForMessages(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		alice.says(conv, "m1", "waits", bob)
		late := alice.seal(conv, "m2", "too late", bob)
		old := bob.enc
		bob.enc = bob.renew(old, cert.UseEncrypt)
		alice.says(conv, "m3", "for the new key", bob)
		// The certificate itself is over long before.
		s.later(cert.MaxValidity)
		s.sweep()
		if got := alice.state(old.id()); got != wire.StateGrace {
			t.Fatalf("got %s, want grace", got)
		}
		bob.delete("/keys/"+string(old.id()), nil).fails(409, wire.CodeUndelivered)
		bob2 := s.login("bob", "PHONE").enrolled()
		alice2 := s.login("alice", "PHONE").enrolled()
		late = alice2.seal(conv, "m2", "too late", bob2, bob)
		late.Keys[1] = old.id()
		if e := alice2.deliver(conv, "m2", late).fails(409, wire.CodeStaleKeys); len(e.Stale) != 1 || e.Stale[0] != old.id() {
			t.Errorf("got %+v, want the old key stale", e)
		}
		items, next := bob.mail(0)
		if len(items) != 2 {
			t.Fatalf("got %d messages, want 2", len(items))
		}
		s.sweep()
		if got := alice.state(old.id()); got != wire.StateGrace {
			t.Errorf("fetched and not acknowledged: got %s, want grace", got)
		}
		bob.post(wire.PathAck, wire.AckRequest{UpTo: items[0].Pos}).want(200)
		s.sweep()
		if got := alice.state(old.id()); got != wire.StateRetired {
			t.Errorf("acknowledged: got %s, want retired", got)
		}
		bob.post(wire.PathAck, wire.AckRequest{UpTo: next}).want(200)
	})
}

// TestGraceOfARemovedDevice: a revoked key has no grace to end.
func TestGraceOfARemovedDevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		alice.says(alice.talk(bob), "m1", "never read", bob)
		old := bob.enc
		bob.renew(old, cert.UseEncrypt)
		bob.post(wire.PathLogout, nil).want(200)
		s.later(week)
		s.sweep()
		if got := alice.state(old.id()); got != wire.StateRevoked {
			t.Errorf("got %s, want revoked", got)
		}
	})
}

// TestGraceOfMany: more keys than one page of a sweep, of which the first wait
// for messages, all renewed at one moment.
func TestGraceOfMany(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		const all, wait = 260, 110
		now := s.clock.Now().UnixMilli()
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		if err := s.Core.Update(t.Context(), func(tx *db.Tx) error {
			for i := range all {
				if _, err := tx.Exec(`INSERT INTO ca_key (user_id, key_id, device, usage, profile, spki, not_before, expires, graced, grace_end, pos)
					VALUES ($1, $2, $3, 'encrypt', 'secure', $4, 0, $5, $6, $6, $7)`,
					bob.ID, fmt.Sprintf("%064x", i), bob.Device, []byte{1}, now*2, now, tx.NextPos()); err != nil {
					return err
				}
			}
			for i := range wait {
				body, err := json.Marshal(map[string]any{"c": conv, "p": 1, "k": fmt.Sprintf("%064x", i)})
				if err != nil {
					return err
				}
				if err := mailbox.Put(tx, "ca", 0, quinta.Envelope{To: bob.ID, Device: bob.Device, From: alice.ID, Type: "message", Body: body}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		// The rows were written past what counts them.
		if _, err := s.Core.Recount(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.sweep()
		if got := len(alice.keys("bob", "?state=grace")); got != wait {
			t.Errorf("got %d in grace, want the %d that messages wait for", got, wait)
		}
		if got := len(alice.keys("bob", "?state=retired")); got != all-wait {
			t.Errorf("got %d retired, want %d", got, all-wait)
		}
	})
}
