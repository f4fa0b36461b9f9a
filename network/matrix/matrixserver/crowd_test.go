package matrixserver_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// flood puts n messages of size bytes into the mailbox of u.
func (u *user) flood(from *user, n, size int) {
	u.s.t.Helper()
	envs := make([]quinta.Envelope, n)
	for i := range envs {
		envs[i] = quinta.Envelope{From: quinta.UserID(from.ID), To: quinta.UserID(u.ID), Device: quinta.DeviceID(u.Device), Type: "m.test", Body: fmt.Appendf(nil, `{"n":%d,"x":"%s"}`, i, bytes.Repeat([]byte("x"), size))}
	}
	// In parts, as a write has only so long, also on a busy machine.
	for part := range slices.Chunk(envs, max(1, min(500, 4<<20/size))) {
		if err := u.s.Core.Update(u.s.t.Context(), func(tx *db.Tx) error { return mailbox.Put(tx, "matrix", 0, part...) }); err != nil {
			u.s.t.Fatal(err)
		}
	}
}

func (s *stage) sweep() {
	s.t.Helper()
	if err := s.Core.Sweep(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// TestMailboxOfOneWhoStaysAway: someone who has sent a device too much is
// told to wait, and no one else; a device that stays away for a month is
// logged out and told so; one that comes back has lost nothing.
func TestMailboxOfOneWhoStaysAway(t *testing.T) {
	eachClock(t, func(t *testing.T, s *stage, clock *shifted) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		phone, lost := bob.login("PHONE"), bob.login("LOST")
		phone.flood(alice, mailbox.MaxWaiting+1, 10)
		lost.flood(alice, 70, 1<<20) // too many bytes
		send := func(from *user, txn string, device string) *reply {
			return from.tell("m.test", txn, object{bob.ID: object{device: object{"to": device}}})
		}
		send(alice, "before", "PHONE").want(200)
		s.sweep()
		for _, d := range []string{"PHONE", "LOST", "*"} {
			send(alice, "full"+d, d).fails(429, "M_LIMIT_EXCEEDED")
		}
		// Others, and other devices, are not concerned.
		send(carol, "1", "PHONE").want(200)
		send(alice, "2", bob.Device).want(200)
		lost.get("/_matrix/client/v3/account/whoami").want(200)

		// The phone comes back and reads all: one page after the other.
		since, n := "", 0
		for range 200 {
			path := "/_matrix/client/v3/sync?timeout=0"
			if since != "" {
				path += "&since=" + since
			}
			body := phone.get(path).want(200).Body
			events, _ := at(body, "to_device", "events").([]any)
			since = body["next_batch"].(string)
			if n += len(events); len(events) == 0 {
				break
			}
		}
		if want := mailbox.MaxWaiting + 3; n != want {
			t.Errorf("the phone got %d messages, want %d: all that was acknowledged to a sender", n, want)
		}
		clock.add(11 * time.Minute)
		s.sweep()
		send(alice, "again", "PHONE").want(200)
		send(alice, "still", "LOST").fails(429, "M_LIMIT_EXCEEDED")

		clock.add(31 * 24 * time.Hour)
		phone.get("/_matrix/client/v3/account/whoami").want(200)
		s.sweep()
		lost.get("/_matrix/client/v3/account/whoami").fails(401, "M_UNKNOWN_TOKEN")
		phone.get("/_matrix/client/v3/devices/LOST").fails(404, "M_NOT_FOUND")
		phone.get("/_matrix/client/v3/devices/PHONE").want(200)
		send(alice, "gone", "*").want(200)
	})
}

// TestToDeviceSizeIsLimited: one sender does not fill the disk in a minute.
func TestToDeviceSizeIsLimited(t *testing.T) {
	now := time.Now() // stands still, so that nothing is given back
	s := newStage(t, quintatest.RateLimits(), quintatest.Clock(func() time.Time { return now }))
	alice := s.register("alice")
	content := string(bytes.Repeat([]byte("x"), 250<<10))
	messages := object{}
	for i := range 30 {
		messages[fmt.Sprint("D", i)] = object{"x": content}
	}
	for i := range 40 {
		r := alice.tell("m.test", fmt.Sprint(i), object{alice.ID: messages})
		if r.Status == 200 {
			continue
		}
		if r.fails(429, "M_LIMIT_EXCEEDED"); i < 30 {
			t.Errorf("refused after %d requests of 7 MB", i)
		}
		return
	}
	t.Error("300 MB were taken from one user at once")
}
