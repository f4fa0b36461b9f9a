package rocketchat_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

const filePassphrase = "a passphrase for the file"

func (d *device) exports() (file []byte, n int) {
	d.s.t.Helper()
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		file, n, err = d.m.ExportKeys(tx, filePassphrase)
		return nil, err
	})
	return file, n
}

func (d *device) imports(file []byte, passphrase string) (n int, err error) {
	err = d.update(func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		n, events, err = d.m.ImportKeys(tx, file, passphrase)
		return events, err
	})
	return n, err
}

// TestKeyFile: a key file opens the key pair and all rooms on another device, once, and
// says nothing without its passphrase.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "under the first key")
	s.talk(a, b)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Rotate(tx, "room1") })
	s.talk(a, b)
	a.send("room1", "under the second key")
	s.talk(a, b)
	file, n := b.exports()
	if n != 3 {
		t.Errorf("got %d keys, want the pair and two of the room", n)
	}
	if bytes.Contains(file, []byte("room1")) || bytes.Contains(file, []byte("kty")) {
		t.Error("got a key file that is not sealed")
	}
	second := s.login("bob", 9)
	if second.read("under the first key") != 0 {
		t.Fatal("got a message on a locked device")
	}
	if _, err := second.imports(file, "another passphrase"); !errors.Is(err, rocketchat.ErrPassword) {
		t.Errorf("got %v, want ErrPassword", err)
	}
	if n, err := second.imports(file, filePassphrase); n != 3 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	second.settle()
	second.wants("under the first key", 1)
	second.wants("under the second key", 1)
	if second.keys().Phase != rocketchat.PhaseOpen {
		t.Errorf("got %+v", second.keys())
	}
	if n, err := second.imports(file, filePassphrase); n != 0 || err != nil {
		t.Errorf("got %d, %v the second time", n, err)
	}
	// Another account reads its room with the file, and keeps its own key pair.
	carol := s.login("carol", 3)
	before := carol.keys().Fingerprint
	if n, err := carol.imports(file, filePassphrase); n != 2 || err != nil {
		t.Errorf("got %d, %v, want the room keys alone", n, err)
	}
	if carol.keys().Fingerprint != before {
		t.Error("got the key pair of another account")
	}
}

// TestAttackKeyFile: a key file that was changed or cut is refused, and one that asks
// for too few rounds, or for more than a device should do.
func TestAttackKeyFile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.login("alice", 1)
	file, _ := a.exports()
	for name, bad := range map[string]struct {
		file []byte
		is   error
	}{
		"empty":      {nil, rocketchat.ErrMalformed},
		"not a file": {[]byte("{}"), rocketchat.ErrMalformed},
		"cut":        {file[:len(file)/2], rocketchat.ErrMalformed},
		"few rounds": {bytes.Replace(file, []byte("600000"), []byte("1000"), 1), rocketchat.ErrWeak},
		"2^40":       {bytes.Replace(file, []byte("600000"), []byte("1099511627776"), 1), rocketchat.ErrWeak},
		"changed":    {bytes.Replace(file, []byte(`"ciphertext":"`), []byte(`"ciphertext":"AAAA`), 1), rocketchat.ErrPassword},
	} {
		if _, err := a.imports(bad.file, filePassphrase); !errors.Is(err, bad.is) {
			t.Errorf("%s: got %v, want %v", name, err, bad.is)
		}
	}
	if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, _, err := a.m.ExportKeys(tx, "short"); return nil, err }); !errors.Is(err, rocketchat.ErrWeak) {
		t.Errorf("got %v for a short passphrase, want ErrWeak", err)
	}
	if _, err := rocketchat.ReadExport(strings.NewReader(string(file))); err != nil {
		t.Error(err)
	}
}

// TestRestored: an old copy of a store does nothing over again: it resets no room, puts
// no old key pair in the place of a newer one, repeats no edit, and sends each message
// once.
func TestRestored(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	id := s.room1Message(a, b)
	a.send("room1", "sealed and waiting")
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { _, err = a.m.Outgoing(tx); return nil, err })
	if err := a.put(rocketchat.Outgoing{Message: quinta.Message{Room: "room1", Text: "an old edit", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: id}, Txn: "edit"}}); err != nil {
		t.Fatal(err)
	}
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Rotate(tx, "room1") })
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.ChangePassword(tx, "an old password of hers") })
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { _, err = a.m.Outgoing(tx); return nil, err })
	old := a.store.Snapshot()
	// The device continues, and changes its password once more.
	s.talk(a, b)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.ChangePassword(tx, "the newest password") })
	a.send("room1", "said since")
	s.talk(a, b)
	resets, keyID, blob, said := s.calls[rocketchat.ReqReset], s.rooms["room1"].keyID, s.users[a.id].private, len(s.log)
	copied := &device{s: s, id: a.id, store: old, rand: a.rand}
	copied.boot()
	copied.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, copied.m.Restored(tx) })
	s.talk(copied, b)
	if s.calls[rocketchat.ReqReset] != resets || s.rooms["room1"].keyID != keyID {
		t.Error("got a room key reset over again")
	}
	if s.users[a.id].private != blob {
		t.Error("got an old key blob in the place of the newer one")
	}
	if len(s.log) != said {
		t.Errorf("got %d messages after %d", len(s.log), said)
	}
	b.wants("sealed and waiting", 1)
	if copied.keys().Phase != rocketchat.PhaseOpen {
		t.Errorf("got %+v", copied.keys())
	}
	if failed := copied.kinds(e2ee.EventFailed); len(failed) != 1 || failed[0].Message.Txn != "edit" {
		t.Errorf("got %+v, want the edit told as not sent", failed)
	}
	copied.send("room1", "from the copy")
	s.talk(copied, b)
	b.wants("from the copy", 1)
}

// TestRestoredBeforeReset: a copy from before the key pair was replaced finds it locked,
// and wraps or stores nothing with the old one.
func TestRestoredBeforeReset(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "hello")
	s.talk(a, b)
	old := a.store.Snapshot()
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.CreateKeys(tx, "a new password of hers", true) })
	s.talk(a, b)
	public := s.users[a.id].public
	copied := &device{s: s, id: a.id, store: old, rand: a.rand}
	copied.boot()
	copied.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, copied.m.Restored(tx) })
	s.talk(copied)
	if s.users[a.id].public != public || copied.keys().Phase != rocketchat.PhaseLocked || len(copied.kinds(e2ee.EventKeyChanged)) == 0 {
		t.Errorf("got %+v, want the new pair, locked and told; %s", copied.keys(), copied.story())
	}
}

// room1Message has a send a message to b and returns its id.
func (s *server) room1Message(a, b *device) quinta.MessageID {
	s.t.Helper()
	a.send("room1", "to be edited")
	s.talk(a, b)
	for _, e := range a.kinds(e2ee.EventSent) {
		if e.Message.Text == "to be edited" {
			return e.Message.ID
		}
	}
	s.t.Fatal("got no message to edit")
	return ""
}

// TestWords: both sides get the same twelve words for the same two keys, others for
// other keys, and none for a key that was not accepted.
func TestWords(t *testing.T) {
	t.Parallel()
	s, a, b := pair(t)
	s.talk(a, b)
	a.send("room1", "hello")
	s.talk(a, b)
	b.send("room1", "hello too")
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return b.m.Show(tx, rocketchat.Waiting{User: a.id, Name: "alice", Public: s.users[a.id].public})
	})
	s.talk(a, b)
	words := func(d, of *device) (list []string, fingerprint string, err error) {
		err = d.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
			list, fingerprint, err = d.m.Words(tx, quinta.UserID(of.id))
			return nil, err
		})
		return list, fingerprint, err
	}
	mine, fingerprint, err := words(a, b)
	theirs, _, err2 := words(b, a)
	if err != nil || err2 != nil || len(mine) != 12 || !slices.Equal(mine, theirs) {
		t.Fatalf("got %v and %v, %v, %v", mine, theirs, err, err2)
	}
	verified := func(f string) error {
		return a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Verified(tx, quinta.UserID(b.id), f) })
	}
	if err := verified("another fingerprint"); !errors.Is(err, rocketchat.ErrKeyChanged) {
		t.Errorf("got %v, want ErrKeyChanged for a key that changed meanwhile", err)
	}
	if err := verified(fingerprint); err != nil {
		t.Error(err)
	}
	other := s.login("mallory", 7)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return a.m.Show(tx, rocketchat.Waiting{User: b.id, Name: "bob", Public: s.users[other.id].public})
	})
	if _, _, err := words(a, b); !errors.Is(err, rocketchat.ErrKeyChanged) {
		t.Errorf("got %v, want ErrKeyChanged", err)
	}
	if _, _, err := words(a, other); !errors.Is(err, rocketchat.ErrUnknownUser) {
		t.Errorf("got %v, want ErrUnknownUser", err)
	}
}

// TestOldServerKeepsV1: on a release whose clients read no v2, the new key of a room of
// v1 is of v1 too; from 7.13 on it is of v2.
func TestOldServerKeepsV1(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]rocketchat.Form{"7.12.0": rocketchat.V1, "7.13.0": rocketchat.V2} {
		s, a, b := pair(t)
		s.version = version
		a.settle()
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.SetLegacy(tx, "room1", true) })
		a.send("room1", "in the old form")
		s.talk(a, b)
		// No one chose the legacy profile: the room just is an old one.
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Rotate(tx, "room1") })
		b.send("room1", "an answer")
		s.talk(a, b)
		b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Rotate(tx, "room1") })
		s.now = s.now.Add(time.Minute)
		s.talk(b, a)
		b.send("room1", "after the reset")
		s.talk(b, a)
		if got := b.room("room1").Form; got != want {
			t.Errorf("%s: got form %d, want %d", version, got, want)
		}
		a.wants("after the reset", 1)
	}
}
