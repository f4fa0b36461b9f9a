package ca

import (
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// TestMemoryOfNumbers: in one line of keys a number counts once; one that is
// below the highest counts only for a message that may have waited, and only if
// it was left out.
func TestMemoryOfNumbers(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) error {
		m := replays{tx}
		for i, c := range []struct {
			id   quinta.MessageID
			seq  uint64
			line string
			late bool
			want error
		}{
			{"a", 1, "k", false, nil},
			{"b", 5, "k", false, nil},
			{"b", 6, "k", false, cert.ErrReplayed}, // the id
			{"c", 5, "k", false, cert.ErrReplayed}, // the number
			{"d", 3, "k", false, cert.ErrReplayed}, // out of its order
			{"d", 3, "k", true, nil},
			{"e", 3, "k", true, cert.ErrReplayed},
			{"f", 4, "k", true, nil},
			{"g", 5, "other", false, nil},
		} {
			r := midRecord{From: "alice@hs1", Device: "A", Time: 1}
			err := m.numbered(&seal.Content{Conv: "conv", ID: c.id, Seq: c.seq}, r, c.line, c.late)
			if !errors.Is(err, c.want) {
				t.Errorf("%d: got %v, want %v", i, err, c.want)
			}
		}
		if seen, err := m.seen("conv", "e"); seen || err != nil {
			t.Errorf("what was refused counts as seen: got %v, %v", seen, err)
		}
		return nil
	})
}

// TestMemoryOfIDs: an id counts once, but for the item that the history has
// brought: the mailbox may bring the same bytes one more time.
func TestMemoryOfIDs(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) error {
		m := replays{tx}
		if err := m.message("conv", "a", midRecord{Sum: "sum"}); err != nil {
			return err
		}
		if err := m.message("conv", "a", midRecord{}); !errors.Is(err, cert.ErrReplayed) {
			t.Errorf("got %v, want ErrReplayed", err)
		}
		for i, c := range []struct {
			sum  string
			want bool
		}{{"", false}, {"other", false}, {"sum", true}, {"sum", false}} {
			if got, err := m.expected("conv", "a", c.sum); got != c.want || err != nil {
				t.Errorf("%d: got %v, %v, want %v", i, got, err, c.want)
			}
		}
		if got, err := m.expected("conv", "b", ""); got || err != nil {
			t.Errorf("an unknown one: got %v, %v", got, err)
		}
		return nil
	})
}

// TestMemoryForgets: what is old goes, and what is not stays.
func TestMemoryForgets(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) error {
		m := replays{tx}
		at := time.UnixMilli(1000)
		if err := errors.Join(m.notePacket("conv", []byte("old"), at), m.notePacket("conv", []byte("new"), at.Add(time.Second)),
			m.message("conv", "old", midRecord{Time: 1000}), m.message("conv", "new", midRecord{Time: 2000})); err != nil {
			return err
		}
		if err := m.packet("conv", []byte("old")); !errors.Is(err, cert.ErrReplayed) {
			t.Errorf("got %v, want ErrReplayed", err)
		}
		if err := m.packet("other", []byte("old")); err != nil {
			t.Errorf("in another conversation: got %v", err)
		}
		if err := m.prune(1500); err != nil {
			return err
		}
		if err := m.packet("conv", []byte("old")); err != nil {
			t.Errorf("it was not forgotten: got %v", err)
		}
		if err := m.packet("conv", []byte("new")); !errors.Is(err, cert.ErrReplayed) {
			t.Errorf("it was forgotten: got %v", err)
		}
		for id, want := range map[quinta.MessageID]bool{"old": false, "new": true} {
			if seen, err := m.seen("conv", id); seen != want || err != nil {
				t.Errorf("%s: got %v, %v, want %v", id, seen, err, want)
			}
		}
		return nil
	})
}

// TestWaitingIsBounded: of more items than maxWaiting, from senders none of whom
// has too many, the oldest are given up, with all that was noted of them.
func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	const more = 3
	within(t, func(tx e2ee.Tx) error {
		m := New(e2ee.Env{Now: func() time.Time { return time.UnixMilli(1) }}, "bob@hs1", "B", Policy{})
		id := func(i int) quinta.MessageID {
			return quinta.MessageID(string(rune('a'+i%26)) + time.Duration(i).String())
		}
		_, err := m.run(tx, func(w *work) error {
			for i := range maxWaiting + more {
				it := Item{Pos: quinta.Pos(i + 1), Kind: KindMessage, Form: FormCMS, Conv: "g_0123456789abcdef", ID: id(i), From: quinta.UserID(rune('a'+i/(maxWaitingOfOne-1))) + "@hs1", Device: "A"}
				if err := w.wait(&waitRecord{Item: it}, "", waitStatus, nil); err != nil {
					return err
				}
			}
			if w.meta.Waiting != maxWaiting {
				t.Errorf("got %d that wait, want %d", w.meta.Waiting, maxWaiting)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, prefix := range []string{"wait/", "waitid/", "held/"} {
			if list, err := e2ee.Entries(tx, prefix); len(list) != maxWaiting || err != nil {
				t.Errorf("%s: got %d, %v, want %d", prefix, len(list), err, maxWaiting)
			}
		}
		for i, want := range map[int]bool{0: false, more - 1: false, more: true, maxWaiting + more - 1: true} {
			if b, err := tx.Get(waitIDKey("g_0123456789abcdef", id(i))); (b != nil) != want || err != nil {
				t.Errorf("item %d: got %v, %v, want %v", i, b != nil, err, want)
			}
		}
		return nil
	})
}
