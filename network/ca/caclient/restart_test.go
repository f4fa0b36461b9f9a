package caclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/middle"
)

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
	alice := meets(t, url, "alice").runs()
	whole := false
	for n := int64(1); !whole; n++ {
		if n > 100 {
			t.Fatal("the story has no end")
		}
		st := client.Store(memory.New())
		if n%8 == 0 {
			st = disk(t)
		}
		whole = killedAfter(t, url, st, alice, n)
	}
}

// killedAfter reports whether bob came through without being killed.
func killedAfter(t *testing.T, url string, st client.Store, alice *person, n int64) (whole bool) {
	t.Helper()
	asked := false
	weak := &frail{Store: st}
	weak.left.Store(n)
	err := lives(t, url, fmt.Sprintf("bob%d", n), weak, alice, &asked)
	if err != nil && !errors.Is(err, errKilled) {
		t.Fatalf("after %d commits: got %v, want it killed", n, err)
	}
	whole = err == nil
	// He comes back with what his store holds.
	if err := lives(t, url, fmt.Sprintf("bob%d", n), st, alice, &asked); err != nil {
		t.Fatalf("after %d commits: coming back: %v", n, err)
	}
	s := resumes(t, caclient.Network{}, st, env)
	room := alice.talks(s)
	answer := fmt.Sprintf("answer of bob%d", n)
	alice.reads(answer)
	last := alice.sends(room, "last")
	s.catchesUp()
	got := s.shown(room)
	want := []string{"question", answer, "last"}
	for i, line := range got {
		_, got[i], _ = strings.Cut(line, ": ")
	}
	if !slices.Equal(got, want) {
		t.Fatalf("after %d commits: got %q, want %q", n, got, want)
	}
	if n := alice.saw(answer); n != 1 {
		t.Fatalf("after %d commits: alice got the answer %d times, want once", n, alice.saw(answer))
	}
	if s.saw("last") != 1 || last.ID == "" {
		t.Fatalf("after %d commits: got the last message %d times, want once", n, s.saw("last"))
	}
	return whole
}

// lives has bob log in, if he did not before, read the question and answer it,
// if he did not before.
func lives(t *testing.T, url, name string, st client.Store, alice *person, asked *bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n := caclient.Network{}
	in := client.Credentials{Server: url, User: name, Password: password}
	s, err := n.Open(ctx, st, env)
	if quinta.KindOf(err) == quinta.KindUnauthenticated && err != nil {
		_, err = n.Register(ctx, st, env, in)
		if quinta.KindOf(err) == quinta.KindExists && err != nil {
			_, err = n.Login(ctx, st, env, in)
		}
		if err == nil {
			s, err = n.Open(ctx, st, env)
		}
	}
	if err != nil {
		return err
	}
	if err := s.Flush(ctx, nil); err != nil {
		return err
	}
	bob := &person{t: t, s: s.(*caclient.Session), st: st}
	room := alice.talks(bob)
	if !*asked {
		*asked = true
		alice.sends(room, "question")
	}
	if err := s.Flush(ctx, nil); err != nil {
		return err
	}
	for _, line := range bob.shown(room) {
		if strings.HasSuffix(line, ": answer of "+name) {
			return nil
		}
	}
	if _, err := s.Send(ctx, room, client.Text("answer of "+name)); err != nil {
		return err
	}
	return s.Flush(ctx, nil)
}

// TestServerRestarts: a server that is stopped and started in mid-conversation
// loses nothing and repeats nothing.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	cfg := db.Config{Path: filepath.Join(t.TempDir(), "quinta.db")}
	one := quintatest.Start(t, quintatest.Database(cfg))
	p := middle.Start(t, one.URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.talks(bob)
	alice.sends(room, "before")
	bob.reads("before")
	one.Stop()
	txn := alice.puts(room, client.Text("while it is down"))
	alice.sees("trouble", func(e e2ee.Event) bool { return e.Kind == e2ee.EventTrouble && e.Detail != "" })
	p.To(t, quintatest.Start(t, quintatest.Database(cfg)).URL)
	alice.sees("answer", func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn })
	bob.reads("while it is down")
	if n := bob.saw("while it is down"); n != 1 {
		t.Errorf("got the message %d times, want once", n)
	}
	bob.sends(room, "after")
	alice.reads("after")
}

// bodiesOf returns the bodies of the requests whose path holds part.
func bodiesOf(p *middle.Proxy, method, part string) (out []string) {
	for _, r := range p.Seen() {
		if r.Method == method && strings.Contains(r.Path, part) {
			out = append(out, r.Path+" "+string(r.Body))
		}
	}
	return out
}

// TestAnswerLost: a message whose answer is lost is sent again with the same
// id and the same bytes, and stands there once; also where the program was
// ended in between and came back with its store.
func TestAnswerLost(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) client.Store) {
		p := middle.Start(t, quintatest.Start(t).URL)
		alice := enters(t, p.URL, "alice", caclient.Network{}, open(t), env, true).runs()
		bob := meets(t, p.URL, "bob").runs()
		room := alice.talks(bob)
		alice.sends(room, "first")
		var lost atomic.Int64
		gone := make(chan struct{}, 100)
		p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/messages/") && lost.Add(1) <= 2 {
				gone <- struct{}{}
				return http.StatusBadGateway, nil
			}
			return status, b
		})
		alice.puts(room, client.Text("on the wire again"))
		<-gone
		alice = alice.again().runs()
		bob.reads("on the wire again")
		alice.sends(room, "end")
		bob.reads("end")
		if n := bob.saw("on the wire again"); n != 1 {
			t.Errorf("bob got the message %d times, want once", n)
		}
		bodies := bodiesOf(p, http.MethodPut, "/messages/")
		if len(bodies) != 5 || bodies[1] != bodies[2] || bodies[2] != bodies[3] || bodies[0] == bodies[1] || bodies[3] == bodies[4] {
			t.Errorf("got %d requests, want the second one three times with the same path and bytes", len(bodies))
		}
	})
}

// TestLoginAnswerLost: a login that is repeated after its answer was lost takes
// up the same device.
func TestLoginAnswerLost(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	meets(t, p.URL, "alice")
	st := memory.New()
	p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		if strings.HasSuffix(r.URL.Path, "/login") {
			return http.StatusBadGateway, nil
		}
		return status, b
	})
	in := client.Credentials{Server: p.URL, User: "alice", Password: password}
	_, err := caclient.Network{}.Login(t.Context(), st, env, in)
	wantKind(t, err, quinta.KindUnavailable)
	p.Answers(nil)
	if _, err := (caclient.Network{}).Login(t.Context(), st, env, in); err != nil {
		t.Fatal(err)
	}
	back := resumes(t, caclient.Network{}, st, env)
	devices, err := back.s.Devices(t.Context(), "")
	if err != nil || len(devices) != 2 {
		t.Errorf("got %+v %v, want the first device and one more", devices, err)
	}
	_, err = caclient.Network{}.Login(t.Context(), st, env, in)
	wantKind(t, err, quinta.KindExists)
}
