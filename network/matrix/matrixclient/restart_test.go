package matrixclient_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/middle"
)

func openStore(t *testing.T, path string) client.Store {
	t.Helper()
	k, err := sqlite.KeyFile(path+".key", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(path, k)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestResumesFromItsFile(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	path := filepath.Join(t.TempDir(), "store")
	bob := enters(t, url, "bob", matrixclient.Network{}, openStore(t, path), true).runs()
	alice := meets(t, url, "alice").runs()
	room := alice.invites(bob)
	alice.sends(room, "before")
	bob.reads("before")
	self := bob.s.Self()
	bob.stop()
	if err := bob.s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		alice.sends(room, fmt.Sprintf("meanwhile %d", i)) // more than one sync brings
	}
	again := resumes(t, matrixclient.Network{}, openStore(t, path)).runs()
	if again.s.Self() != self {
		t.Errorf("got device %v, want %v", again.s.Self(), self)
	}
	for i := range 60 {
		again.reads(fmt.Sprintf("meanwhile %d", i))
	}
	again.sends(room, "after")
	if m := alice.reads("after"); m.Device != self.ID {
		t.Errorf("got device %s, want %s", m.Device, self.ID)
	}
	if n := again.saw("before"); n != 0 {
		t.Errorf("got an old message %d times, want none", n)
	}
	again.stop()
	if err := again.s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	room := alice.invites()
	for i := range 120 {
		alice.sends(room, fmt.Sprintf("line %d", i))
	}
	other := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	other.sees("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom })
	more, err := other.s.History(t.Context(), room, 30)
	if err != nil || !more {
		t.Fatalf("got %v, %v, want more to come", more, err)
	}
	for more {
		if more, err = other.s.History(t.Context(), room, 100); err != nil {
			t.Fatal(err)
		}
	}
	items := other.items(room)
	if len(items) != 100 || items[0].Reason != quinta.ReasonBeforeThisDevice && items[0].Reason != quinta.ReasonWithheld {
		t.Errorf("got %d items, the first %+v, want a page of what was sent before this device", len(items), items[0])
	}
	for _, it := range items {
		if len(it.Message.Body) > 0 {
			t.Fatal("got the body of a message that cannot be read, want none")
		}
	}
}

// A frail store fails when it has committed so many times, as if the program
// were killed there: nothing can be written any more.
type frail struct {
	client.Store
	left atomic.Int64
}

var errKilled = errors.New("killed")

func (f *frail) Update(ctx context.Context, fn func(e2ee.Tx) error) error {
	if f.left.Add(-1) < 0 {
		return errKilled
	}
	return f.Store.Update(ctx, fn)
}

// TestKilledAnywhere plays a short story again and again, and kills bob after
// each number of commits that the story has; then he comes back and
// continues.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	whole := false
	for n := int64(1); !whole; n++ {
		if n > 200 {
			t.Fatal("the story has no end")
		}
		whole = killedAfter(t, url, n)
	}
}

// killedAfter reports whether bob came through without being killed.
func killedAfter(t *testing.T, url string, n int64) (whole bool) {
	t.Helper()
	st := memory.New()
	alice := meets(t, url, fmt.Sprintf("alice%d", n)).runs()
	defer alice.stop()
	bob := enters(t, url, fmt.Sprintf("bob%d", n), matrixclient.Network{}, st, true)
	if err := bob.s.Flush(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	room := alice.invites(bob)
	question := alice.sends(room, "question")
	weak := &frail{Store: st}
	weak.left.Store(n)
	s, err := matrixclient.Network{}.Open(t.Context(), weak, env)
	if err == nil {
		err = answers(t, s, room)
	}
	if err != nil && !errors.Is(err, errKilled) {
		t.Fatalf("after %d commits: got %v, want it killed", n, err)
	}
	whole = err == nil
	// What was in the outbox leaves by itself; what never got there is said
	// again by the person.
	back := resumes(t, matrixclient.Network{}, st)
	if err := back.s.Flush(t.Context(), nil); err != nil {
		t.Fatalf("after %d commits: coming back: %v", n, err)
	}
	answered := 0
	for _, line := range back.shown(room) {
		if strings.HasSuffix(line, ": answer") {
			answered++
		}
	}
	if answered > 1 {
		t.Fatalf("after %d commits: got the answer %d times in bob's timeline, want once", n, answered)
	}
	if answered == 0 {
		if err := answers(t, back.s, room); err != nil {
			t.Fatalf("after %d commits: %v", n, err)
		}
	}
	alice.reads("answer")
	alice.sends(room, "last")
	if err := back.s.Flush(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	got := back.shown(room)
	want := []string{"question", "answer", "last"}
	if len(got) != len(want) {
		t.Fatalf("after %d commits: got %q, want %q", n, got, want)
	}
	for i := range want {
		if !strings.HasSuffix(got[i], ": "+want[i]) {
			t.Fatalf("after %d commits: got %q, want %q", n, got, want)
		}
	}
	if n := alice.saw("answer"); n != 1 {
		t.Fatalf("alice got the answer %d times, want once", n)
	}
	if back.items(room)[0].Message.ID != question.ID {
		t.Fatalf("got another first message than the question")
	}
	return whole
}

// answers has a session read what came and answer it.
func answers(t *testing.T, s client.Session, room quinta.RoomID) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Flush(ctx, nil); err != nil {
		return err
	}
	if _, err := s.Send(ctx, room, client.Text("answer")); err != nil {
		return err
	}
	return s.Flush(ctx, nil)
}

func TestServerRestarts(t *testing.T) {
	t.Parallel()
	cfg := db.Config{Path: filepath.Join(t.TempDir(), "quinta.db")}
	one := quintatest.Start(t, quintatest.Database(cfg))
	p := middle.Start(t, one.URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "before")
	bob.reads("before")
	one.Stop()
	txn, err := alice.s.Send(t.Context(), room, client.Text("while it is down"))
	if err != nil {
		t.Fatal(err)
	}
	alice.sees("trouble", func(e e2ee.Event) bool { return e.Kind == e2ee.EventTrouble && e.Detail != "" })
	p.To(t, quintatest.Start(t, quintatest.Database(cfg)).URL)
	alice.sees("answer", func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn })
	bob.reads("while it is down")
	if n := bob.saw("while it is down"); n != 1 {
		t.Errorf("got the message %d times, want once", n)
	}
}

// TestAnswerLost cuts the connection after the server took a message: it is
// sent again with the same id and the same bytes, and stands there once.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "first")
	var lost atomic.Int64
	p.Answers(changeStatus("/send/", func(status int) int {
		if lost.Add(1) <= 2 {
			return 502
		}
		return status
	}))
	alice.sends(room, "twice on the wire")
	bob.reads("twice on the wire")
	alice.sends(room, "end")
	bob.reads("end")
	if n := bob.saw("twice on the wire"); n != 1 {
		t.Errorf("bob got the message %d times, want once", n)
	}
	var bodies []string
	for _, r := range p.Seen() {
		if strings.Contains(r.Path, "/send/m.room.encrypted/") {
			bodies = append(bodies, r.Path+" "+string(r.Body))
		}
	}
	if len(bodies) != 5 || bodies[1] != bodies[2] || bodies[2] != bodies[3] || bodies[0] == bodies[1] || bodies[3] == bodies[4] {
		t.Errorf("got %d requests, want the second one three times with the same path and bytes", len(bodies))
	}
}
