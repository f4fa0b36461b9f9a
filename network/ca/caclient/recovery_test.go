package caclient_test

import (
	"context"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// three are the messages of the story.
var three = []string{"first of three", "second of three", "third of three"}

// unread begins the story: Bob is away, with a backup or none, and Alice
// writes three messages. Then his device is lost.
func unread(t *testing.T, url string, alice *person, open func(*testing.T) client.Store, backup bool) (room quinta.RoomID, recovery client.Secret) {
	t.Helper()
	bob := enters(t, url, "bob", caclient.Network{}, open(t), env, true).runs()
	room = alice.talks(bob)
	alice.sends(room, "read before")
	bob.reads("read before")
	if backup {
		var err error
		if recovery, err = bob.s.CreateBackup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	bob.stop()
	bob.catchesUp() // what was read is acknowledged
	for _, text := range three {
		alice.sends(room, text)
	}
	return room, recovery
}

// TestStoryWithRecoveryKey: on a new device the recovery key opens all three,
// in their order, each once.
func TestStoryWithRecoveryKey(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) client.Store) {
		url := quintatest.Start(t).URL
		alice := meets(t, url, "alice").runs()
		room, recovery := unread(t, url, alice, open, true)
		bob := enters(t, url, "bob", caclient.Network{}, open(t), env, false).runs()
		for range three {
			bob.fails(quinta.ReasonBackupLocked)
		}
		info, err := bob.s.Backup(t.Context())
		if err != nil || !info.Exists || info.Unlocked {
			t.Errorf("got %+v %v, want a backup that is locked", info, err)
		}
		_, err = bob.s.UnlockBackup(t.Context(), client.NewSecret("not a recovery key"), nil)
		wantKind(t, err, quinta.KindUnauthenticated)
		_, err = bob.s.UnlockBackup(t.Context(), client.NewSecret(seal.RecoveryText([32]byte{1, 2, 3})), nil)
		wantKind(t, err, quinta.KindUnauthenticated)
		progressed := 0
		n, err := bob.s.UnlockBackup(t.Context(), recovery, func(done, all int) { progressed = all })
		if err != nil || n == 0 || progressed != n {
			t.Fatalf("got %d keys, progress of %d and %v, want some", n, progressed, err)
		}
		for _, text := range three {
			if m := bob.reads(text); m.Sender != "alice@hs1" || !m.Encrypted {
				t.Errorf("got %+v, want alice's", m)
			}
		}
		want := []string{"alice@hs1: " + three[0], "alice@hs1: " + three[1], "alice@hs1: " + three[2]}
		if got := bob.shown(room); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, text := range three {
			if n := bob.saw(text); n != 1 {
				t.Errorf("%q came %d times, want once", text, n)
			}
		}
		alice.sends(room, "to the new device")
		bob.reads("to the new device")
		if info, err := bob.s.Backup(t.Context()); err != nil || !info.Unlocked || info.Keys == 0 {
			t.Errorf("got %+v %v, want the backup in use", info, err)
		}
	})
}

// TestStoryWithout: without the recovery key none opens; the sender is told
// when Bob asks, and what she seals again by herself is read.
func TestStoryWithout(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	room, _ := unread(t, url, alice, func(*testing.T) client.Store { return memory.New() }, false)
	bob := another(t, url, "bob").runs()
	for range three {
		bob.fails(quinta.ReasonBeforeThisDevice)
	}
	for _, text := range three {
		if n := bob.saw(text); n != 0 {
			t.Errorf("%q was read %d times, want none without a key", text, n)
		}
	}
	n, err := bob.s.AskAgain(t.Context())
	if err != nil || n != len(three) {
		t.Fatalf("got %d and %v, want to ask for three", n, err)
	}
	told := alice.sees("notice that nobody could read", func(e e2ee.Event) bool { return e.Kind == e2ee.EventUnread })
	verifies(t, alice, bob) // what is past goes to a verified device only
	if told.User != "bob@hs1" || told.Message.Room != room {
		t.Errorf("got %+v, want it from bob for the conversation", told)
	}
	for _, text := range three {
		if m := bob.reads(text); m.Sender != "alice@hs1" || m.Device != alice.device() {
			t.Errorf("got %+v, want it as alice wrote it", m)
		}
	}
}

// TestStoryByPolicy: a sender who seals again for no one is told all the same,
// and nothing is read.
func TestStoryByPolicy(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := enters(t, url, "alice", caclient.Network{Policy: ca.Policy{Resealing: ca.ResealNever}}, memory.New(), env, true).runs()
	room, _ := unread(t, url, alice, func(*testing.T) client.Store { return memory.New() }, false)
	bob := another(t, url, "bob").runs()
	bob.fails(quinta.ReasonBeforeThisDevice)
	if _, err := bob.s.AskAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.sees("notice that nobody could read", func(e e2ee.Event) bool { return e.Kind == e2ee.EventUnread })
	alice.sends(room, "after the notice")
	bob.reads("after the notice")
	for _, text := range three {
		if n := bob.saw(text); n != 0 {
			t.Errorf("%q was read, want it sealed again for no one", text)
		}
	}
}

// TestOldDeviceGives: an old device of the same user gives a verified new one
// the keys that open what no one has read.
func TestOldDeviceGives(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	old := meets(t, url, "bob").runs()
	room := alice.talks(old)
	alice.sends(room, "read before")
	old.reads("read before")
	old.stop()
	old.catchesUp()
	for _, text := range three {
		alice.sends(room, text)
	}
	fresh := another(t, url, "bob").runs()
	fresh.fails(quinta.ReasonBeforeThisDevice)
	old = resumes(t, old.net, old.st, old.env).runs()
	for _, text := range three {
		old.reads(text)
	}
	wantErr := old.s.Give(t.Context(), fresh.device())
	if wantErr == nil {
		t.Error("got no error for a device that was not verified")
	}
	verifies(t, old, fresh)
	verifies(t, fresh, old)
	if err := old.s.Give(t.Context(), fresh.device()); err != nil {
		t.Fatal(err)
	}
	for _, text := range three {
		fresh.reads(text)
	}
}

// verifies has one person accept the device of another, both seeing the same
// words.
func verifies(t *testing.T, p, other *person) {
	t.Helper()
	var here, there []string
	if err := other.s.Verify(t.Context(), p.id(), p.device(), func(_ context.Context, s client.ShortStrings) (bool, error) {
		there = s.Words
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.s.Verify(t.Context(), other.id(), other.device(), func(_ context.Context, s client.ShortStrings) (bool, error) {
		here = s.Words
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(here) != 12 || !slices.Equal(here, there) {
		t.Errorf("got the words %q and %q, want twelve that are the same", here, there)
	}
}
