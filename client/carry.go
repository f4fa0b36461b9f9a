package client

import (
	"context"
	"slices"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
)

const (
	// lookEvery is how often the machine is asked what else is due while
	// requests are on their way.
	lookEvery = 50 * time.Millisecond
	// pushFor is how long Push continues without getting anything through.
	pushFor = 2 * time.Second
	// flushFor is how long Flush does.
	flushFor = time.Minute
)

// A lane is the requests of one lane that are due, in their order; while the
// lane is busy the first is on its way.
type lane struct {
	name string
	due  []any
}

// A reply is what came of one request.
type reply struct {
	lane string
	req  any
	ans  any
	err  error
}

// A shift carries requests out for as long as one Run, Flush or Push lasts.
type shift struct {
	l *Loop
	// lanes are those that the machine named when it was last asked, those
	// left out that were busy then; busy are those with a request on its way.
	lanes []*lane
	busy  map[string]bool
	came  chan reply
	// looked is when the machine was asked what is due, and stale says that
	// more may be since.
	looked time.Time
	stale  bool
	// passed is when something last got through; at first, when the shift
	// began.
	passed time.Time
}

// A standing is how far a shift is when nothing more can leave at once.
type standing struct {
	// left counts the lanes that have something due, and busy those of them
	// that have a request on its way.
	left, busy int
	// next is when there is something to try again, or zero.
	next time.Time
	// passed is when something last got through.
	passed time.Time
}

// stuck reports whether nothing is left, or nothing got through for so long or
// will.
func (s standing) stuck(long time.Duration) bool {
	return s.left == 0 || s.busy == 0 && s.next.Sub(s.passed) > long || time.Since(s.passed) >= long
}

// carry sends what is due, and what becomes due, until ctx ends; if only is not
// nil those requests for which it holds. Whenever
// nothing more can leave at once it asks enough whether to stop, and again at
// the time that enough returns, if that is not zero. What is on its way at the
// end is given up, and remains due.
func (l *Loop) carry(ctx context.Context, only func(req any) bool, enough func(standing) (stop bool, again time.Time)) error {
	flight, cancel := context.WithCancel(ctx)
	s := &shift{l: l, busy: map[string]bool{}, came: make(chan reply), passed: time.Now()}
	defer func() {
		cancel()
		for range s.busy {
			<-s.came
		}
	}()
	for {
		if len(s.busy) == 0 || s.stale && time.Since(s.looked) >= lookEvery {
			if err := s.look(ctx, only); err != nil {
				return err
			}
		}
		at := s.begin(flight)
		stop, again := enough(at)
		if stop {
			return nil
		}
		if at.busy > 0 && s.stale {
			at.next = earlier(at.next, s.looked.Add(lookEvery))
		}
		if err := s.wait(ctx, earlier(at.next, again)); err != nil {
			return err
		}
	}
}

// earlier returns the earlier of two times, of which either may be zero for
// never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// look asks the machine what is due.
func (s *shift) look(ctx context.Context, only func(req any) bool) error {
	due, err := s.l.due(ctx)
	if err != nil {
		return err
	}
	s.looked, s.stale = time.Now(), false
	s.lanes = nil
	named, names := map[string]*lane{}, map[string]bool{}
	for _, req := range due {
		if only != nil && !only(req) {
			continue
		}
		name := laneOf(req)
		names[name] = true
		if s.busy[name] {
			continue // what follows the request on its way is requested again when that was answered
		}
		if named[name] == nil {
			named[name] = &lane{name: name}
			s.lanes = append(s.lanes, named[name])
		}
		named[name].due = append(named[name].due, req)
	}
	s.l.lanes.keep(names)
	return nil
}

// begin sends the first request of as many lanes as may leave now.
func (s *shift) begin(ctx context.Context) standing {
	now := time.Now()
	all := &s.l.lanes.all
	at := standing{passed: s.passed}
	s.lanes = slices.DeleteFunc(s.lanes, func(l *lane) bool { return len(l.due) == 0 })
	resting := false
	for _, l := range s.lanes {
		if s.busy[l.name] {
			continue
		}
		at.left++
		if f := s.l.lanes.failing[l.name]; f != nil && !f.over(now) {
			at.next = earlier(at.next, f.until)
			continue
		}
		if !all.over(now) {
			resting = true
			continue
		}
		if len(s.busy) >= s.l.lanes.width() {
			continue
		}
		req := l.due[0]
		s.busy[l.name] = true
		at.left--
		go func() {
			ans, err := s.l.parts.Link.Do(ctx, req)
			s.came <- reply{l.name, req, ans, err}
		}()
	}
	at.busy = len(s.busy)
	at.left += at.busy
	if resting || at.next.Before(all.until) && !at.next.IsZero() {
		at.next = all.until
	}
	return at
}

// wait returns when something was answered, or something else may have become
// due, or at a time, which may be zero for never.
func (s *shift) wait(ctx context.Context, until time.Time) error {
	var due <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-due:
	case <-s.l.wake:
		s.stale = true
	case r := <-s.came:
		delete(s.busy, r.lane)
		if r.err != nil {
			s.stale = true
			return s.l.failed(ctx, r.lane, r.err)
		}
		s.answered(r.lane)
		s.passed = time.Now()
		s.l.lanes.passed(r.lane, s.passed)
		return s.l.step(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.l.parts.Machine.Done(tx, r.req, r.ans) })
	}
	return nil
}

// answered takes the first request out of its lane.
func (s *shift) answered(name string) {
	for _, l := range s.lanes {
		if l.name == name {
			l.due = l.due[1:]
			return
		}
	}
	s.stale = true // the machine was asked while it was on its way
}
