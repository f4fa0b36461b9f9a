package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
)

// A mark is in every message, so that it is recognized: the n-th message
// of a client. Those to devices and those to rooms have letters of their own.
type mark struct {
	client int
	n      int
}

// The letters of marks.
const (
	deviceMark = 'D'
	roomMark   = 'R'
)

// appendMark writes a mark of fixed width, "D:007:00000042:".
func appendMark(b []byte, letter byte, m mark) []byte {
	return fmt.Appendf(b, "%c:%03d:%08d:", letter, m.client, m.n)
}

// marks finds the marks of a letter in an answer, in order.
func marks(answer []byte, letter byte) []mark {
	var out []mark
	begin := []byte{'"', letter, ':'}
	for {
		_, rest, ok := bytes.Cut(answer, begin)
		if !ok {
			return out
		}
		answer = rest
		if len(rest) < 13 || rest[3] != ':' || rest[12] != ':' {
			continue
		}
		c, err := strconv.Atoi(string(rest[:3]))
		n, err2 := strconv.Atoi(string(rest[4:12]))
		if errors.Join(err, err2) == nil {
			out = append(out, mark{c, n})
		}
	}
}

// A ledger knows what was sent to whom, and what arrived.
type ledger struct {
	sent [clients][]sentMessage

	mu  sync.Mutex
	got map[int][]mark // by seat
}

// A sentMessage went to some seats; acked says that the server answered 200.
type sentMessage struct {
	to    []int32
	acked bool
}

func newLedger() *ledger { return &ledger{got: map[int][]mark{}} }

// next returns the mark of a new message of a client, which only that
// client's goroutine may call.
func (l *ledger) next(client int, to []int32) mark {
	l.sent[client] = append(l.sent[client], sentMessage{to: to})
	return mark{client, len(l.sent[client]) - 1}
}

func (l *ledger) acked(m mark) { l.sent[m.client][m.n].acked = true }

// arrived notes what a sync of a seat gave.
func (l *ledger) arrived(seat int, answer []byte) int {
	ms := marks(answer, deviceMark)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got[seat] = append(l.got[seat], ms...)
	return len(ms)
}

// check holds what arrived against what was sent: everything acknowledged is
// there, nothing is there twice, in the order of its sender, or at a seat that
// it was not for.
func (l *ledger) check() (messages int, err error) {
	type at struct {
		seat int
		m    mark
	}
	seen := map[at]bool{}
	for seat, ms := range l.got {
		var last [clients]int
		for _, m := range ms {
			if m.client >= clients || m.n >= len(l.sent[m.client]) {
				return 0, fmt.Errorf("seat %d got the message %v, which nobody sent", seat, m)
			}
			if seen[at{seat, m}] {
				return 0, fmt.Errorf("seat %d got the message %v twice", seat, m)
			}
			seen[at{seat, m}] = true
			if last[m.client] > m.n {
				return 0, fmt.Errorf("seat %d got message %d of client %d after message %d", seat, m.n, m.client, last[m.client])
			}
			last[m.client] = m.n
		}
	}
	wanted := 0
	for c := range l.sent {
		for n, s := range l.sent[c] {
			for _, seat := range s.to {
				there := seen[at{int(seat), mark{c, n}}]
				if s.acked && !there {
					return 0, fmt.Errorf("message %d of client %d for seat %d was acknowledged and did not arrive", n, c, seat)
				}
				if there {
					wanted++
				}
			}
		}
	}
	if wanted != len(seen) {
		return 0, fmt.Errorf("%d messages arrived at seats that they were not for", len(seen)-wanted)
	}
	return wanted, nil
}

// drain reads the mailboxes of the seats to their end.
func (w *world) drain(ctx context.Context, l *ledger, seats []int) error {
	return parallel(ctx, w.srv.Addr, len(seats), func(c *client, i int) error {
		for {
			answer, err := w.seats[seats[i]].sync(c)
			if err != nil {
				return err
			}
			if l.arrived(seats[i], answer) == 0 {
				return nil
			}
		}
	})
}
