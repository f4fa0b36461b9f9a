//go:build peers

package matrix_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/testkit/middle"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// TestQuintaIsKilledAndReadsOn: the programs of either side are killed in the
// middle of a conversation; nothing is lost, and nothing is shown twice.
func TestQuintaIsKilledAndReadsOn(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	var all []string
	shown := map[quinta.MessageID]int{}
	tail := bob.tails()
	for round := range 4 {
		texts := numbered(fmt.Sprintf("round %d", round), 12)
		done := make(chan error, 1)
		go func() {
			done <- alice.Try("sendBurst", map[string]any{"room": room, "bodies": texts}, nil)
		}()
		// It is killed while the rest are on their way.
		tail.until("a message", func(l said) bool { return l.Type == "message" && l.Text == texts[round*3] })
		tail.kill9()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for _, l := range tail.shown {
			if shown[l.ID]++; l.Type != "message" {
				t.Errorf("got %+v, want a message", l)
			}
		}
		all = append(all, texts...)
		tail = bob.tails()
	}
	last := alice.SendText(room, "the last")
	tail.prints(last)
	tail.kill9()
	for _, l := range tail.shown {
		shown[l.ID]++
	}
	for id, n := range shown {
		if n != 1 {
			t.Errorf("message %s was printed %d times, want once", id, n)
		}
	}
	bob.holds(room, append(all, "the last"))

	// The other side is killed while quinta writes.
	mine := []string{"one", "two"}
	bob.writes(room, "one")
	alice.Crash()
	bob.writes(room, "two")
	alice.Reopen("")
	hears(t, room, bob, bob.writes(room, "three"), "three", alice)
	mine = append(mine, "three")
	alice.ReadAll(room, mine)
	once(t, alice, room, mine)
}

// The environment variables that make a test binary a program that writes:
// the home of a seat, and a room.
const (
	writerHome = "QUINTA_PEER_WRITER_HOME"
	writerRoom = "QUINTA_PEER_WRITER_ROOM"
)

// writer is the program: it writes [inOneGo] and ends with an exit status.
func writer(home string) int {
	s := &seat{home: home}
	if err := s.bursts(context.Background(), quinta.RoomID(os.Getenv(writerRoom)), inOneGo()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func inOneGo() []string { return numbered("in one go", 90) }

// TestQuintaIsKilledAsItWrites: a program that sends a great deal is killed
// again and again before it is through; what it had taken arrives all the same,
// once and in order, and no index of a key is used for two messages.
func TestQuintaIsKilledAsItWrites(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{Rotation: 25})
	texts := inOneGo()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(bob.env, writerHome+"="+bob.home, writerRoom+"="+string(room))
	for round, running := 0, bob.follows(cmd); ; round++ {
		// As the last of these is read the next ones are under way.
		alice.ReadAll(room, texts[:3+10*round])
		running.kill9()
		if round == 4 {
			break
		}
		running = bob.tails()
	}
	bob.writes(room, "and then")
	texts = append(texts, "and then")
	alice.ReadAll(room, texts)
	if got := of(once(t, alice, room, texts), texts); !slices.Equal(got, texts) {
		t.Errorf("alice has %q, want them in the order in which they were written", got)
	}
	bob.holds(room, texts)
	alice.SendText(room, "I have it all")
	bob.holds(room, []string{"and then", "I have it all"})
}

// of returns those of all that are in some, in their order.
func of(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(some, s) })
}

// TestQuintaMeetsAKilledClient: the other make is killed in the middle of what
// it says, again and again; what it had said by then both sides have, once, and
// they go on.
func TestQuintaMeetsAKilledClient(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{Rotation: 10})
	var theirs, mine []string
	shown := map[string]int{}
	for round := range 3 {
		texts := numbered(fmt.Sprintf("round %d", round), 30)
		tail := bob.tails()
		done := make(chan error, 1)
		go func() {
			done <- alice.Try("sendBurst", map[string]any{"room": room, "bodies": texts}, nil)
		}()
		tail.until("some of them", func(l said) bool { return l.Text == texts[4+round*5] })
		alice.Crash()
		// Unless all of them were out before it was killed.
		if err := <-done; err != nil && !strings.Contains(err.Error(), "was killed") {
			t.Fatal(err)
		}
		tail.kill9()
		for _, l := range tail.shown {
			if l.Type != "message" || l.Weakness != "" {
				t.Errorf("got %+v, want a message that is sound", l)
			}
			shown[l.Text]++
		}
		mine = append(mine, fmt.Sprintf("are you there? %d", round))
		bob.writes(room, mine[round])
		alice.Reopen("")
		alice.ReadAll(room, mine)
		again := fmt.Sprintf("here again %d", round)
		alice.SendText(room, again)
		bob.holds(room, []string{mine[round], again})
		theirs = append(theirs, texts...)
	}
	// What had left reached both; the rest was only in the memory of what was
	// killed.
	var arrived []string
	for _, l := range bob.reads(room) {
		if slices.Contains(theirs, l.Text) {
			arrived = append(arrived, l.Text)
		}
	}
	if len(arrived) < 5+10+15 {
		t.Errorf("bob has %d texts, want at least those that he waited for", len(arrived))
	}
	for text, n := range shown {
		if n != 1 || slices.Contains(theirs, text) && !slices.Contains(arrived, text) {
			t.Errorf("bob was shown %q %d times, want once, and to be kept", text, n)
		}
	}
	bob.holds(room, arrived)
	alice.ReadAll(room, arrived)
	once(t, alice, room, slices.Concat(arrived, mine))
}

// TestQuintaWasAway: a client that is away for a while, of either make, reads
// all that was said, in more than one page of messages and of keys.
func TestQuintaWasAway(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{Rotation: 1})
	hears(t, room, bob, bob.writes(room, "see you"), "see you", alice)
	theirs := numbered("alice", 110)
	for _, text := range theirs {
		alice.SendText(room, text)
	}
	bob.holds(room, theirs)
	alice.Stop()
	mine := numbered("bob", 60)
	if err := bob.bursts(t.Context(), room, mine); err != nil {
		t.Fatal(err)
	}
	alice.Reopen("")
	alice.Scrollback(room)
	alice.ReadAll(room, mine)
	once(t, alice, room, mine)
}

// TestQuintaOutlivesItsServer: the server is killed while both sides write and
// comes back; they continue by themselves, and nothing is lost or doubled.
func TestQuintaOutlivesItsServer(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	hears(t, room, bob, bob.writes(room, "ready"), "ready", alice)
	carol := h.sits("register", "carol")
	alice.Invite(room, carol.User)
	carol.enters(room, alice)
	tail := carol.tails()
	tail.prints(alice.SendText(room, "welcome"))

	theirs, mine := numbered("alice", 8), numbered("bob", 8)
	done := make(chan error, 1)
	go func() {
		done <- alice.Try("sendBurst", map[string]any{"room": room, "bodies": theirs, "patient": true}, nil)
	}()
	sent := make(chan error, 1)
	go func() { sent <- bob.bursts(t.Context(), room, mine) }()
	tail.until("one of each", func(l said) bool { return slices.Contains(theirs, l.Text) || slices.Contains(mine, l.Text) })
	h.near.Kill9()
	tail.until("trouble", func(l said) bool { return l.Type == "trouble" })
	h.near.Restart()
	alice.Online()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	h.near.Stop()
	h.near.Restart()
	alice.Online()
	tail.prints(bob.writes(room, "the last"))
	tail.kill9()
	count := map[string]int{}
	for _, l := range tail.shown {
		count[l.Text]++
	}
	for _, text := range slices.Concat(theirs, mine) {
		if count[text] != 1 {
			t.Errorf("carol was shown %q %d times, want once", text, count[text])
		}
	}
	alice.ReadAll(room, append(mine, "the last"))
	once(t, alice, room, slices.Concat(theirs, mine))
	// What the other make sends again after an outage has no order of its own:
	// each of its texts is a list for itself.
	lists := [][]string{mine}
	for _, text := range theirs {
		lists = append(lists, []string{text})
	}
	bob.holds(room, lists...)
	carol.holds(room, lists...)
}

// TestQuintaBehindAnOldServer: with a server that has nothing optional either
// side reads the other, in messages, in files and after a time away.
func TestQuintaBehindAnOldServer(t *testing.T) {
	h := cottage(t)
	p := middle.Start(t, h.near.URL())
	p.Old(t, "r0.5.0", "r0.6.0")
	alice, bob := h.user("alice"), h.sitsAt(p.URL, "register", "bob")
	room := alice.CreateRoom(driver.Room{Invite: []quinta.UserID{bob.User}, Rotation: 2})
	bob.enters(room, alice)
	for _, text := range []string{"one", "two", "three"} {
		hears(t, room, bob, bob.writes(room, text), text, alice)
	}
	theirs := numbered("alice", 60)
	alice.SendBurst(room, theirs)
	bob.holds(room, theirs)
	// What the other make seals for him he fetches without a token, as there.
	id, _ := alice.SendFile(room, "from-js.bin", []byte("sealed"))
	bob.does("fetch", string(room), string(id), "--out", bob.file("out"))
	if got, err := os.ReadFile(bob.file("out")); err != nil || string(got) != "sealed" {
		t.Errorf("got %q, %v, want the file", got, err)
	}
	if err := os.WriteFile(bob.file("ours.bin"), []byte("sealed too"), 0o600); err != nil {
		t.Fatal(err)
	}
	id = bob.does("send", string(room), "--file", bob.file("ours.bin")).last().ID
	if _, got := alice.ReadFile(room, id); string(got) != "sealed too" {
		t.Errorf("got %q, want the file", got)
	}
	carol := h.user("carol")
	alice.Invite(room, carol.User)
	carol.Join(room)
	alice.UntilMembership(room, carol.User, "join")
	hears(t, room, bob, bob.writes(room, "all three"), "all three", alice, carol)
	alice.Kick(room, carol.User)
	carol.UntilMembership(room, carol.User, "leave")
	hears(t, room, bob, bob.writes(room, "two again"), "two again", alice)
	h.later(alice, carol)
	events, _ := carol.Timeline(room)
	for _, e := range events {
		if e.Body == "two again" {
			t.Errorf("carol holds %+v, which came after she was removed", e)
		}
	}
}
