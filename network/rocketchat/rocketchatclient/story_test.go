package rocketchatclient_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
	"github.com/quinta-chat/quinta/quintatest"
)

func TestTwoPeople(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	alice.sends(room, "hello bob")
	if m := bob.reads("hello bob"); m.Sender != "alice" || !m.Encrypted || m.Weakness != "" || m.Room != room {
		t.Errorf("got %+v", m)
	}
	bob.sends(room, "hello alice")
	alice.reads("hello alice")
	// An edit, a reaction and a redaction.
	m := alice.sends(room, "frist")
	bob.reads("frist")
	alice.posts(room, client.Draft{Text: "first", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: m.ID}})
	bob.reads("first")
	bob.posts(room, client.Draft{Kind: quinta.MessageReaction, Clear: true, Relation: quinta.Relation{Kind: quinta.RelationReaction, To: m.ID, Key: ":wave:"}})
	alice.waits("a reaction", func(e e2ee.Event) bool {
		return e.Message.Relation.Kind == quinta.RelationReaction && e.Message.Sender == "bob" && e.Message.Weakness == quinta.WeakPlain
	})
	bob.posts(room, client.Draft{Text: "an answer", Relation: quinta.Relation{Kind: quinta.RelationReply, To: m.ID}})
	if got := alice.reads("an answer"); got.Relation.To != m.ID || got.Relation.Kind != quinta.RelationReply {
		t.Errorf("got %+v", got.Relation)
	}
	alice.posts(room, client.Draft{Kind: quinta.MessageRedaction, Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: m.ID}})
	bob.waits("a redaction", func(e e2ee.Event) bool {
		return e.Message.Relation.Kind == quinta.RelationRedaction && e.Message.Relation.To == m.ID
	})
	if it := bob.item(room, m.ID); !it.Redacted || it.Message.Text != "" {
		t.Errorf("got %+v, want it taken back", it)
	}
}

// TestRestart: a device that was away catches up, with what was said, edited and
// taken back meanwhile, each once.
func TestRestart(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	m := alice.sends(room, "one")
	bob.reads("one")
	bob.rests()
	alice.sends(room, "two")
	alice.posts(room, client.Draft{Text: "one, corrected", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: m.ID}})
	again := resumes(t, bob.st).runs()
	again.reads("two")
	again.reads("one, corrected")
	again.sends(room, "three")
	alice.reads("three")
	for _, e := range again.events {
		if e.Message.Text == "one" {
			t.Errorf("got %+v again", e)
		}
	}
}

// TestFlush: a program that sends and ends, and one that looks and ends.
func TestFlush(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice"), meets(t, srv.URL, "bob")
	room := alice.opens("bob")
	if _, err := alice.s.Send(t.Context(), room, client.Text("in passing")); err != nil {
		t.Fatal(err)
	}
	if err := alice.s.Flush(t.Context(), alice.hears); err != nil {
		t.Fatal(err)
	}
	if err := bob.s.Flush(t.Context(), bob.hears); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.s.History(t.Context(), room, 10); err != nil {
		t.Fatal(err)
	}
	found := false
	items := bob.item(room, alice.events[len(alice.events)-1].Message.ID)
	found = items.Message.Text == "in passing"
	if !found {
		t.Errorf("got %+v; %s", items, bob.story())
	}
}

// TestSecondDevice: the keys are locked until the E2E password opens them; then
// history is read.
func TestSecondDevice(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	m := alice.sends(room, "from the past")
	bob.reads("from the past")
	secret := bob.written()
	if words := strings.Fields(secret.Reveal()); len(words) != 12 {
		t.Errorf("got %d words, want 12", len(words))
	}
	second := another(t, srv.URL, "bob").runs()
	info, err := second.s.Backup(t.Context())
	if err != nil || !info.Exists || info.Unlocked {
		t.Fatalf("got %+v, %v, want locked keys", info, err)
	}
	second.waits("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Message.Room == room })
	if _, err := second.s.History(t.Context(), room, 10); err != nil {
		t.Fatal(err)
	}
	if it := second.item(room, m.ID); it.Reason != quinta.ReasonBackupLocked {
		t.Errorf("got %q, want backup-locked", it.Reason)
	}
	if _, err := second.s.UnlockBackup(t.Context(), client.NewSecret("another password"), nil); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v, want KindUnauthenticated", err)
	}
	if n, err := second.s.UnlockBackup(t.Context(), secret, nil); err != nil || n != 1 {
		t.Fatalf("got %d, %v", n, err)
	}
	if it := second.item(room, m.ID); it.Message.Text != "from the past" {
		t.Errorf("got %+v after the unlock", it)
	}
	second.sends(room, "from the second device")
	alice.reads("from the second device")
	bob.reads("from the second device")
}

// TestGroup: a member who joins late reads, one who was removed does not.
func TestGroup(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob, carol := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs(), meets(t, srv.URL, "carol").runs()
	room, err := alice.s.Create(t.Context(), client.NewRoom{Name: "the plan", Invite: []quinta.UserID{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "for two")
	bob.reads("for two")
	if err := alice.s.Invite(t.Context(), room, "carol"); err != nil {
		t.Fatal(err)
	}
	carol.waits("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Message.Room == room })
	alice.sends(room, "for three")
	carol.reads("for three")
	if _, err := carol.s.History(t.Context(), room, 10); err != nil {
		t.Fatal(err)
	}
	members, err := bob.s.Members(t.Context(), room)
	if err != nil || len(members) != 3 {
		t.Errorf("got %v, %v", members, err)
	}
	if err := alice.s.Kick(t.Context(), room, "carol", ""); err != nil {
		t.Fatal(err)
	}
	alice.waits("a new key", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && strings.Contains(e.Detail, "new key") })
	alice.sends(room, "for two again")
	bob.reads("for two again")
	bob.sends(room, "and bob")
	alice.reads("and bob")
	carol.waits("that it ended", func(e e2ee.Event) bool { return strings.Contains(e.Detail, "no longer in the room") })
	if err := bob.s.Leave(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(carol.story(), "for two again") {
		t.Errorf("got what came after: %s", carol.story())
	}
}

// TestFile: a file goes sealed and comes as it was.
func TestFile(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	content := bytes.Repeat([]byte("the contents of a file "), 10_000)
	alice.posts(room, client.Draft{Text: "look", File: &client.Upload{Name: "notes.txt", MediaType: "text/plain", Size: int64(len(content)), From: bytes.NewReader(content)}})
	m := bob.reads("look")
	if m.File == nil || m.File.Name != "notes.txt" || m.File.Size != int64(len(content)) {
		t.Fatalf("got %+v", m)
	}
	var out bytes.Buffer
	if err := bob.s.Fetch(t.Context(), m.File, &out); err != nil || !bytes.Equal(out.Bytes(), content) {
		t.Errorf("got %d bytes, %v", out.Len(), err)
	}
}

// TestPasswordLost: a reset makes a new key pair; new messages work in the same room
// at once, and old ones open again since another member offers its keys.
func TestPasswordLost(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	m := alice.sends(room, "from before")
	bob.reads("from before")
	bob.rests()
	second := another(t, srv.URL, "bob").runs()
	if _, err := second.s.CreateBackup(t.Context()); quinta.KindOf(err) != quinta.KindExists {
		t.Fatalf("got %v, want KindExists", err)
	}
	if _, err := second.s.CreateBackupBy(t.Context(), client.NewBackup{Reset: true}); err != nil {
		t.Fatal(err)
	}
	alice.waits("the change", func(e e2ee.Event) bool { return e.Kind == e2ee.EventKeyChanged && e.User == "bob" })
	if err := alice.s.Acknowledge(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "after the reset")
	second.reads("after the reset")
	second.sends(room, "I am back")
	alice.reads("I am back")
	if _, err := second.s.History(t.Context(), room, 10); err != nil {
		t.Fatal(err)
	}
	if it := second.item(room, m.ID); it.Message.Text != "from before" {
		t.Errorf("got %+v, want it opened with the old key", it)
	}
}

// TestLoginAsks: a login asks for the E2E password of an account that has keys; a
// wrong answer leaves them locked, and the login stands.
func TestLoginAsks(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	secret := meets(t, srv.URL, "alice").runs().written()
	for answer, unlocked := range map[string]bool{secret.Reveal(): true, "another password": false, "": false} {
		asked := 0
		st := memory.New()
		in := client.Credentials{Server: srv.URL, User: "alice", Password: password, Ask: func(_ context.Context, q client.Question) (client.Secret, error) {
			if q.Kind != client.AskKeyPassword {
				t.Errorf("got the question %q", q.Kind)
			}
			asked++
			return client.NewSecret(answer), nil
		}}
		if _, err := (rocketchatclient.Network{}).Login(t.Context(), st, env, in); err != nil {
			t.Fatal(err)
		}
		info, err := resumes(t, st).s.Backup(t.Context())
		if err != nil || info.Unlocked != unlocked || asked == 0 || asked > 3 {
			t.Errorf("%q: got %+v, %v after %d questions", answer, info, err, asked)
		}
	}
}

// TestEncryptLater: a room in clear takes a message only with consent; encryption is
// switched on by its owner, and then nothing leaves in clear any more.
func TestEncryptLater(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room, err := alice.s.Create(t.Context(), client.NewRoom{Name: "open", Invite: []quinta.UserID{"bob"}, Clear: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.s.Send(t.Context(), room, client.Text("x")); quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("got %v, want KindForbidden", err)
	}
	alice.posts(room, client.Draft{Text: "in clear", Clear: true})
	if m := bob.reads("in clear"); m.Encrypted {
		t.Errorf("got %+v", m)
	}
	if err := bob.s.Encrypt(t.Context(), room); quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("got %v, want KindForbidden for one who is no owner", err)
	}
	if err := alice.s.Encrypt(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	if err := alice.s.Encrypt(t.Context(), room); err != nil {
		t.Errorf("got %v the second time", err)
	}
	alice.posts(room, client.Draft{Text: "sealed", Clear: true})
	if m := bob.reads("sealed"); !m.Encrypted || m.Weakness != "" {
		t.Errorf("got %+v", m)
	}
	bob.waits("the room is encrypted", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom })
	bob.posts(room, client.Draft{Text: "sealed too", Clear: true})
	if m := alice.reads("sealed too"); !m.Encrypted {
		t.Errorf("got %+v", m)
	}
}

// words verifies a user by words and returns those that were shown.
func (p *person) words(other quinta.UserID, same bool) (words []string, err error) {
	err = p.s.Verify(p.t.Context(), other, "", func(_ context.Context, s client.ShortStrings) (bool, error) {
		words = s.Words
		return same, nil
	})
	return words, err
}

// TestVerify: two people see the same twelve words and verify each other; a word that
// differs verifies nothing.
func TestVerify(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	alice.sends(room, "hello bob")
	bob.reads("hello bob")
	if _, err := alice.words("bob", false); !errors.Is(err, client.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
	trust := func() quinta.Trust {
		list, err := alice.s.Devices(t.Context(), "bob")
		if err != nil || len(list) != 1 {
			t.Fatalf("got %v, %v", list, err)
		}
		return list[0].Trust
	}
	if got := trust(); got != quinta.TrustPinned {
		t.Errorf("got %q after words that differ", got)
	}
	hers, err := alice.words("@bob", true)
	if err != nil || len(hers) != 12 {
		t.Fatalf("got %v, %v", hers, err)
	}
	if his, err := bob.words("alice", true); err != nil || !slices.Equal(hers, his) {
		t.Errorf("got %v and %v, %v", hers, his, err)
	}
	if got := trust(); got != quinta.TrustVerified {
		t.Errorf("got %q, want verified", got)
	}
	if _, err := alice.words("alice", true); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("got %v, want KindInvalid for oneself", err)
	}
	if err := alice.s.AwaitVerify(t.Context(), nil, nil); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("got %v, want KindInvalid", err)
	}
}

// TestKeyFile: a file of keys opens the account on another device.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	m := alice.sends(room, "kept in a file")
	bob.reads("kept in a file")
	var file bytes.Buffer
	pass := client.NewSecret("a passphrase for the file")
	if n, err := bob.s.ExportKeys(t.Context(), &file, pass); n != 2 || err != nil {
		t.Fatalf("got %d, %v, want the pair and the key of the room", n, err)
	}
	second := another(t, srv.URL, "bob").runs()
	second.waits("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Message.Room == room })
	if _, err := second.s.History(t.Context(), room, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := second.s.ImportKeys(t.Context(), bytes.NewReader(file.Bytes()), client.NewSecret("a wrong passphrase"), nil); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v, want KindUnauthenticated", err)
	}
	if n, err := second.s.ImportKeys(t.Context(), &file, pass, nil); n != 2 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if it := second.item(room, m.ID); it.Message.Text != "kept in a file" {
		t.Errorf("got %+v", it)
	}
	second.sends(room, "from the second device")
	alice.reads("from the second device")
}

// TestRestored: a device that runs on from an old copy of its store talks on.
func TestRestored(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	alice.sends(room, "before the copy")
	bob.reads("before the copy")
	alice.rests()
	old := alice.st.(*memory.Store).Snapshot()
	alice = resumes(t, alice.st).runs()
	alice.sends(room, "after the copy")
	alice.rests()
	again := resumes(t, old)
	if err := again.s.Restored(t.Context()); err != nil {
		t.Fatal(err)
	}
	again.runs()
	again.reads("after the copy")
	again.sends(room, "from the copy")
	bob.reads("from the copy")
}

// TestLegacy: a conversation and a group in the specification's own form, and the rule
// of releases whose clients read no other.
func TestLegacy(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t, quintatest.Setting("rocketchat-version", "6.14.0"))
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	for name, in := range map[string]client.NewRoom{"group": {Name: "new"}, "direct": {Direct: true, Invite: []quinta.UserID{"bob"}}} {
		if _, err := alice.s.Create(t.Context(), in); !errors.Is(err, rocketchat.ErrOldServer) || quinta.KindOf(err) != quinta.KindForbidden {
			t.Errorf("%s: got %v, want ErrOldServer", name, err)
		}
	}
	if rooms, err := bob.s.Rooms(t.Context()); err != nil || len(rooms) != 0 {
		t.Errorf("got %v, %v, want no room", rooms, err)
	}
	clear, err := alice.s.Create(t.Context(), client.NewRoom{Name: "open", Clear: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.s.Encrypt(t.Context(), clear); !errors.Is(err, rocketchat.ErrOldServer) {
		t.Errorf("got %v, want ErrOldServer", err)
	}
	if _, err := alice.s.Create(t.Context(), client.NewRoom{Name: "both", Clear: true, Legacy: true}); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("got %v, want KindInvalid", err)
	}
	group, err := alice.s.Create(t.Context(), client.NewRoom{Name: "old", Legacy: true, Invite: []quinta.UserID{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	alice.sends(group, "in the old form")
	if m := bob.reads("in the old form"); m.Weakness != quinta.WeakUnauthenticated {
		t.Errorf("got %q", m.Weakness)
	}
	room, err := alice.s.Legacy(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "in the old form, for two")
	bob.reads("in the old form, for two")
	// There is a conversation now: it is given again, and answered in its own form.
	if id, err := bob.s.Create(t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{"alice"}}); id != room || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	bob.sends(room, "an answer")
	if m := alice.reads("an answer"); m.Weakness != quinta.WeakLegacy {
		t.Errorf("got %q, want legacy", m.Weakness)
	}
}
