package rocketchatclient_test

import (
	"bytes"
	"context"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
)

// contents is all that a store holds.
func (p *person) contents() map[string]string {
	p.t.Helper()
	out := map[string]string{}
	if err := p.st.View(p.t.Context(), func(tx e2ee.Tx) error {
		for e, err := range tx.All("") {
			if err != nil {
				return err
			}
			out[e.Key] = string(e.Value)
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return out
}

// meet holds a conversation off the record between two people.
func meetOff(t *testing.T, alice, bob *person) (a, b *client.OffRecord) {
	t.Helper()
	got := make(chan *client.OffRecord, 1)
	go func() {
		o, err := bob.s.AwaitOffRecord(t.Context(), func(from quinta.UserID) bool { return from == "alice" })
		if err != nil {
			t.Error(err)
		}
		got <- o
	}()
	// The invitation is heard by those who wait already.
	for end := time.Now().Add(patience); a == nil; {
		var err error
		if a, err = alice.s.InviteOffRecord(t.Context(), "@bob"); err != nil && (quinta.KindOf(err) != quinta.KindUnavailable || time.Now().After(end)) {
			t.Fatal(err)
		}
	}
	return a, <-got
}

// next returns the next line of a kind.
func next(t *testing.T, o *client.OffRecord, kind client.OffKind) string {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case l, more := <-o.Lines:
			if !more {
				t.Fatalf("the conversation ended before %s", kind)
			}
			if l.Kind == kind {
				return l.Text
			}
			if l.Kind == client.OffTrouble || l.Kind == client.OffEnded {
				t.Fatalf("got %+v, want %s", l, kind)
			}
		case <-end:
			t.Fatalf("got no %s", kind)
		}
	}
}

// TestOffRecord: two people talk, refresh their keys and end; nothing of it is in a
// store, here or on the server.
func TestOffRecord(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t, quintatest.Setting("rocketchat-otr", "on"))
	alice, bob := meets(t, srv.URL, "alice"), meets(t, srv.URL, "bob")
	before := [2]map[string]string{alice.contents(), bob.contents()}
	a, b := meetOff(t, alice, bob)
	if a.With != "bob" || b.With != "alice" {
		t.Errorf("got %q and %q", a.With, b.With)
	}
	first := next(t, a, client.OffSafety)
	if other := next(t, b, client.OffSafety); other != first || len(first) != 6*5+5 {
		t.Errorf("got %q and %q", first, other)
	}
	say := func(o *client.OffRecord, text string) {
		t.Helper()
		if err := o.Say(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	say(a, "between the two of us")
	if got := next(t, b, client.OffSaid); got != "between the two of us" {
		t.Errorf("got %q", got)
	}
	if got := next(t, a, client.OffRead); got != "between the two of us" {
		t.Errorf("got %q", got)
	}
	say(b, "nobody else")
	if got := next(t, a, client.OffSaid); got != "nobody else" {
		t.Errorf("got %q", got)
	}
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := next(t, a, client.OffSafety)
	if other := next(t, b, client.OffSafety); other != second || second == first {
		t.Errorf("got %q and %q after %q", second, other, first)
	}
	say(a, "under new keys")
	if got := next(t, b, client.OffSaid); got != "under new keys" {
		t.Errorf("got %q", got)
	}
	if err := a.End(t.Context()); err != nil {
		t.Error(err)
	}
	next(t, b, "ended")
	if _, more := <-b.Lines; more {
		t.Error("got more after the end")
	}
	for _, o := range []*client.OffRecord{a, b} {
		if err := o.Say(t.Context(), "after the end"); quinta.KindOf(err) != quinta.KindUnavailable {
			t.Errorf("got %v", err)
		}
		if err := o.End(t.Context()); err != nil {
			t.Errorf("got %v the second time", err)
		}
	}
	if after := [2]map[string]string{alice.contents(), bob.contents()}; !reflect.DeepEqual(before, after) {
		t.Error("got something in a store")
	}
	var n int
	if err := srv.Core.View(t.Context(), func(tx *db.Tx) error {
		return tx.Row(`SELECT (SELECT COUNT(*) FROM rocketchat_message WHERE body <> '') + (SELECT COUNT(*) FROM rocketchat_event WHERE otr <> '' AND stream = 'stream-room-messages')`).Scan(&n)
	}); err != nil || n != 0 {
		t.Errorf("got %d messages and events on the server, %v", n, err)
	}
}

// TestOffRecordDeclined: one who is declined, and one whom no one answers, are told so.
func TestOffRecordDeclined(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t, quintatest.Setting("rocketchat-otr", "on"))
	alice, bob := meets(t, srv.URL, "alice"), meets(t, srv.URL, "bob")
	asked, ctx := make(chan bool, 10), t.Context()
	wctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := bob.s.AwaitOffRecord(wctx, func(quinta.UserID) bool { asked <- true; return false })
		ended <- err
	}()
	for declined := false; !declined; {
		_, err := alice.s.InviteOffRecord(ctx, "bob")
		switch quinta.KindOf(err) {
		case quinta.KindForbidden:
			declined = true
		case quinta.KindUnavailable: // bob did not listen yet
		default:
			t.Fatalf("got %v", err)
		}
	}
	<-asked
	cancel()
	if err := <-ended; err == nil {
		t.Error("got a conversation that was declined")
	}
	// No one listens: the invitation ends by itself.
	if _, err := alice.s.InviteOffRecord(ctx, "bob"); quinta.KindOf(err) != quinta.KindUnavailable {
		t.Errorf("got %v, want KindUnavailable", err)
	}
	off := quintatest.Start(t)
	carol := meets(t, off.URL, "carol")
	meets(t, off.URL, "dave")
	if _, err := carol.s.InviteOffRecord(ctx, "dave"); err == nil || quinta.KindOf(err) == quinta.KindUnavailable {
		t.Errorf("got %v where it is switched off", err)
	}
}

// TestOffRecordIsNotRead: what is said off the record never reaches a session that runs.
func TestOffRecordIsNotRead(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t, quintatest.Setting("rocketchat-otr", "on"))
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	a, b := meetOff(t, alice, bob)
	if err := a.Say(t.Context(), "not for the timeline"); err != nil {
		t.Fatal(err)
	}
	next(t, b, client.OffSaid)
	next(t, a, client.OffRead)
	alice.sends(alice.opens("bob"), "for the timeline")
	bob.reads("for the timeline")
	bob.rests()
	for k, v := range bob.contents() {
		if bytes.Contains([]byte(v), []byte("off the record")) || bytes.Contains([]byte(v), []byte(`"otr"`)) || bytes.Contains([]byte(v), []byte("$binary")) {
			t.Errorf("got %s in the store", k)
		}
	}
	if err := a.End(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOffRecordLate: an invitation that is not accepted in time is withdrawn on both
// sides: while the first question still waits, the next invitation is asked about.
func TestOffRecordLate(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t, quintatest.Setting("rocketchat-otr", "on"))
	alice, bob := meets(t, srv.URL, "alice"), meets(t, srv.URL, "bob")
	asked, late := make(chan bool, 10), make(chan struct{})
	got := make(chan *client.OffRecord, 1)
	go func() {
		var before atomic.Bool
		o, err := bob.s.AwaitOffRecord(t.Context(), func(quinta.UserID) bool {
			asked <- true
			if !before.Swap(true) {
				<-late
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
		got <- o
	}()
	for waits := true; waits; {
		if _, err := alice.s.InviteOffRecord(t.Context(), "bob"); quinta.KindOf(err) != quinta.KindUnavailable {
			t.Fatalf("got %v, want KindUnavailable", err)
		}
		select {
		case <-asked:
			waits = false
		default: // bob did not listen yet
		}
	}
	a, err := alice.s.InviteOffRecord(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	close(late)
	b := <-got
	if first, other := next(t, a, client.OffSafety), next(t, b, client.OffSafety); first != other {
		t.Errorf("got %q and %q", first, other)
	}
	if err := a.Say(t.Context(), "in time"); err != nil {
		t.Fatal(err)
	}
	if text := next(t, b, client.OffSaid); text != "in time" {
		t.Errorf("got %q", text)
	}
	if err := a.End(t.Context()); err != nil {
		t.Error(err)
	}
}
