package matrixclient_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

func TestTwoTalk(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "hello bob")
	m := bob.reads("hello bob")
	if !m.Encrypted || m.Weakness != "" || m.Sender != "@alice:hs1" || m.Kind != quinta.MessageText || m.Device != alice.s.Self().ID {
		t.Errorf("got %+v, want a sealed text of alice's device", m)
	}
	bob.sends(room, "hello alice")
	alice.reads("hello alice")
	for _, p := range []*person{alice, bob} {
		if got := p.shown(room); len(got) != 2 || got[0] != "@alice:hs1: hello bob" || got[1] != "@bob:hs1: hello alice" {
			t.Errorf("%s: got %q, want both messages once, in order", p.s.Self().User, got)
		}
	}
}

func TestThreeTalkOnFourDevices(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob, carol := meets(t, url, "alice").runs(), meets(t, url, "bob").runs(), meets(t, url, "carol").runs()
	laptop := enters(t, url, "bob", matrixclient.Network{}, memory.New(), false).runs()
	room := alice.invites(bob, carol)
	all := []*person{alice, bob, carol, laptop}
	for i, p := range all {
		text := fmt.Sprintf("message %d", i)
		p.sends(room, text)
		for _, q := range all {
			q.reads(text)
		}
	}
	carol.stop()
	for _, p := range all {
		if p.saw("message 0") > 1 {
			t.Errorf("%s saw a message twice", p.s.Self().User)
		}
	}
}

// TestVerifiedOnly: a session of that policy gives its messages to a device once
// the user has verified it, and not before; it reads what others send.
func TestVerifiedOnly(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := enters(t, url, "alice", matrixclient.Network{VerifiedOnly: true}, memory.New(), true).runs()
	bob := meets(t, url, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "for nobody")
	bob.sees("a message that it cannot read", func(e e2ee.Event) bool { return e.Kind == e2ee.EventUndecryptable })
	bob.sends(room, "who are you?")
	alice.reads("who are you?")
	if err := alice.s.Judge(t.Context(), bob.s.Self().User, bob.s.Self().ID, quinta.TrustVerified); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "for bob")
	bob.reads("for bob")
	if bob.saw("for nobody") != 0 {
		t.Error("a device that was not verified read a message")
	}
}

func TestKindsOfMessage(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.invites(bob)
	first := alice.sends(room, "first")
	for _, d := range []client.Draft{
		client.Notice("from a program"),
		{Kind: quinta.MessageEmote, Text: "waves"},
		{Text: "an answer", Relation: quinta.Relation{Kind: quinta.RelationReply, To: first.ID}},
		{Text: "in a thread", Relation: quinta.Relation{Kind: quinta.RelationThread, To: first.ID}},
		{Text: "hey bob", Mentions: []quinta.UserID{"@bob:hs1"}},
	} {
		if d.Kind == "" {
			d.Kind = quinta.MessageText
		}
		alice.sendsDraft(room, d)
		m := bob.reads(d.Text)
		if m.Kind != d.Kind || m.Relation != d.Relation || !slices.Equal(m.Mentions, d.Mentions) || !m.Encrypted {
			t.Errorf("got %+v, want what %+v says", m, d)
		}
	}
	alice.sendsDraft(room, client.Draft{Text: "first, edited", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: first.ID}})
	bob.reads("first, edited")
	bob.sendsDraft(room, client.Draft{Kind: quinta.MessageReaction, Relation: quinta.Relation{Kind: quinta.RelationReaction, To: first.ID, Key: "👍"}})
	r := alice.sees("reaction", func(e e2ee.Event) bool {
		return e.Message.Kind == quinta.MessageReaction && e.Kind == e2ee.EventMessage
	})
	if !r.Message.Encrypted {
		t.Errorf("got a reaction in clear, want it sealed")
	}
	item := alice.items(room)[0]
	if item.Message.Text != "first, edited" || item.Edited.IsZero() || len(item.Reactions) != 1 || item.Reactions[0].Key != "👍" || item.Reactions[0].Sender != "@bob:hs1" {
		t.Errorf("got %+v, want the edited text with bob's reaction", item)
	}
	gone := alice.sends(room, "a slip")
	bob.reads("a slip")
	alice.sendsDraft(room, client.Draft{Kind: quinta.MessageRedaction, Text: "the reason is a secret", Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: gone.ID}})
	bob.sees("redaction", func(e e2ee.Event) bool {
		return e.Message.Relation.To == gone.ID && e.Message.Kind == quinta.MessageRedaction
	})
	if got := bob.shown(room); got[len(got)-1] != "@alice:hs1: (gone)" {
		t.Errorf("got %q, want the last message gone", got)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	plain := make([]byte, 3<<20+17)
	if _, err := io.ReadFull(rand.Reader, plain); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{int64(len(plain)), -1} {
		name := fmt.Sprintf("size %d.png", size)
		alice.sendsDraft(room, client.Draft{Text: "look at " + name, File: &client.Upload{Name: name, MediaType: "image/png", Size: size, From: bytes.NewReader(plain)}})
		m := bob.reads("look at " + name)
		if m.Kind != quinta.MessageFile || m.File == nil || m.File.Name != name || m.File.MediaType != "image/png" || m.File.Size != int64(len(plain)) {
			t.Fatalf("got %+v with file %+v, want the file as it was sent", m, m.File)
		}
		var got bytes.Buffer
		if err := bob.s.Fetch(t.Context(), m.File, &got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), plain) {
			t.Errorf("got %d bytes that differ, want the %d of the file", got.Len(), len(plain))
		}
	}
	for _, r := range p.Seen() {
		if bytes.Contains(r.Body, plain[:64]) || strings.Contains(r.Query, "png") || bytes.Contains(r.Body, []byte("look at")) {
			t.Errorf("%s %s: the server saw the file, its name, or what was said with it", r.Method, r.Path)
		}
	}
	short := client.Draft{File: &client.Upload{Name: "x", Size: 100, From: strings.NewReader("too short")}}
	if _, err := alice.s.Send(t.Context(), room, short); err == nil {
		t.Error("got no error for a file that is shorter than was said")
	}
	long := client.Draft{File: &client.Upload{Name: "x", Size: 3, From: strings.NewReader("too long")}}
	if _, err := alice.s.Send(t.Context(), room, long); err == nil {
		t.Error("got no error for a file that is longer than was said")
	}
}

func TestAlteredFileIsRefused(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	alice.sendsDraft(room, client.Draft{Text: "a file", File: &client.Upload{Name: "f", Size: 5, From: strings.NewReader("hello")}})
	m := bob.reads("a file")
	p.Answers(changeOf("/media/download/", func(b []byte) []byte { b[0] ^= 1; return b }))
	var got bytes.Buffer
	err := bob.s.Fetch(t.Context(), m.File, &got)
	wantKind(t, err, quinta.KindInvalid)
	if got.Len() > 0 {
		t.Errorf("got %d bytes of a file that was altered, want none", got.Len())
	}
}

func TestRoomsAndMembers(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room, err := alice.s.Create(t.Context(), client.NewRoom{Name: "garden", Topic: "roses", Invite: []quinta.UserID{"@bob:hs1"}})
	if err != nil {
		t.Fatal(err)
	}
	bob.sees("invitation", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Message.Room == room })
	rooms, err := bob.s.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(rooms) != 1 || rooms[0].ID != room || rooms[0].Membership != "invite" || rooms[0].Inviter != "@alice:hs1" || !rooms[0].Encrypted || rooms[0].Name != "garden" {
		t.Fatalf("got %+v, want the invitation of alice to an encrypted room", rooms)
	}
	if _, err := bob.s.Join(t.Context(), string(room)); err != nil {
		t.Fatal(err)
	}
	members, err := alice.s.Members(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	if len(members) != 2 || members[0].User != "@alice:hs1" || members[1].User != "@bob:hs1" || members[1].Membership != "join" {
		t.Errorf("got %+v, want alice and bob in the room", members)
	}
	rooms, err = bob.s.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(rooms) != 1 || rooms[0].Membership != "join" || rooms[0].Topic != "roses" || !slices.Contains(rooms[0].Members, "@alice:hs1") {
		t.Errorf("got %+v, want the room with its topic and members", rooms)
	}
	if err := bob.s.Leave(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	bob.sees("leaving", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Detail == "leave" })
	if _, err := bob.s.Send(t.Context(), room, client.Text("still here")); quinta.KindOf(err) != quinta.KindNotFound {
		t.Errorf("got %v, want an error of kind %v after leaving", err, quinta.KindNotFound)
	}
	if _, err := bob.s.Join(t.Context(), "#nowhere:hs1"); quinta.KindOf(err) != quinta.KindNotFound {
		t.Errorf("got %v, want an error of kind %v", err, quinta.KindNotFound)
	}
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.invites(bob)
	m := alice.sends(room, "read me")
	bob.reads("read me")
	if err := bob.s.MarkRead(t.Context(), room, m.ID); err != nil {
		t.Fatal(err)
	}
	e := alice.sees("receipt", func(e e2ee.Event) bool { return e.Kind == e2ee.EventReceipt && e.User == "@bob:hs1" })
	if e.Message.ID != m.ID {
		t.Errorf("got a receipt for %s, want %s", e.Message.ID, m.ID)
	}
	// Who has left still reads what was said before, and tells no one.
	if err := bob.s.Leave(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	bob.sees("leaving", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Detail == "leave" })
	if err := bob.s.MarkRead(t.Context(), room, m.ID); err != nil {
		t.Errorf("got %v for a room that was left, want no error", err)
	}
	if got := bob.shown(room); !slices.Contains(got, "@alice:hs1: read me") {
		t.Errorf("got %q of a room that was left, want what was said before", got)
	}
}

func TestFlushSendsAndCatchesUp(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice"), meets(t, url, "bob").runs()
	room := alice.invites(bob)
	if _, err := alice.s.Send(t.Context(), room, client.Text("in passing")); err != nil {
		t.Fatal(err)
	}
	if err := alice.s.Flush(t.Context(), alice.on); err != nil {
		t.Fatal(err)
	}
	bob.reads("in passing")
	bob.sends(room, "to somebody away")
	if err := alice.s.Flush(t.Context(), alice.on); err != nil {
		t.Fatal(err)
	}
	alice.reads("to somebody away")
	if err := bob.s.Flush(t.Context(), nil); quinta.KindOf(err) != quinta.KindConflict {
		t.Errorf("got %v for a Flush beside Run, want kind %v", err, quinta.KindConflict)
	}
}
