package client

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Laned request says what it must not overtake. Requests of one lane leave
// in their order, each after the one before it was answered. While the first
// of a lane fails, the other lanes go on. Requests that are not Laned are all
// in one lane.
type Laned interface {
	// Lane names the lane.
	Lane() string
}

func laneOf(req any) string {
	if l, ok := req.(Laned); ok {
		return l.Lane()
	}
	return ""
}

const (
	// inARow is how many lanes may fail one after the other before it is the
	// server that is in trouble, and all wait.
	inARow = 2
	// pushFor is how long Push goes on without getting anything through.
	pushFor = 2 * time.Second
)

// A delay is the time before the next try, which grows from try to try.
type delay struct {
	wait  time.Duration
	until time.Time
	// since is when the first try failed.
	since time.Time
}

// over reports whether the time has come.
func (d *delay) over(now time.Time) bool { return !now.Before(d.until) }

// lanes is what a loop remembers of the requests that failed. It is lost with
// the process: who starts anew tries anew.
type lanes struct {
	// failing has the lanes whose first request failed.
	failing map[string]*delay
	// all is the rest that the whole loop takes.
	all delay
	// last is when a request was last answered.
	last time.Time
}

// keep forgets the lanes that have nothing due.
func (s *lanes) keep(due map[string]bool) {
	for name := range s.failing {
		if !due[name] {
			delete(s.failing, name)
		}
	}
}

// passed notes that a request of the lane was answered. What has failed only
// since the one before was answered may have failed for the server, which is
// back: it need not wait.
func (s *lanes) passed(name string, now time.Time) {
	delete(s.failing, name)
	for _, f := range s.failing {
		if f.since.After(s.last) {
			f.until = now
		}
	}
	s.all, s.last = delay{}, now
}

// next returns when the first of the lanes may try again; the zero time if one
// may at once.
func (s *lanes) next(due map[string]bool) time.Time {
	var first time.Time
	for name := range due {
		var t time.Time
		if f := s.failing[name]; f != nil {
			t = f.until
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
		if t.IsZero() {
			break
		}
	}
	if first.Before(s.all.until) {
		return s.all.until
	}
	return first
}

// A round is what one pass over the due requests came to.
type round struct {
	// done counts the requests that were answered, left those that were not.
	done, left int
	// next is when there is something to try again, if nothing was done and
	// something is left.
	next time.Time
}

// round tries the first request of each lane and, as far as they are
// answered, those behind it.
func (l *Loop[In, Req, Ans]) round(ctx context.Context) (round, error) {
	due, err := l.due(ctx)
	if err != nil || len(due) == 0 {
		l.lanes = lanes{last: l.lanes.last}
		return round{}, err
	}
	names := map[string]bool{}
	for _, req := range due {
		names[laneOf(req)] = true
	}
	l.lanes.keep(names)
	r := round{left: len(due)}
	stopped := map[string]bool{}
	failed := 0
	for _, req := range due {
		name := laneOf(req)
		if !l.lanes.all.over(time.Now()) {
			break
		}
		if f := l.lanes.failing[name]; stopped[name] || f != nil && !f.over(time.Now()) {
			stopped[name] = true
			continue
		}
		ans, err := l.Link.Do(ctx, req)
		if err != nil {
			stopped[name] = true
			failed++
			if err := l.failed(ctx, name, err, failed >= inARow); err != nil {
				return r, err
			}
			continue
		}
		failed = 0
		l.lanes.passed(name, time.Now())
		if err := l.step(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) { return l.Machine.Done(tx, req, ans) }); err != nil {
			return r, err
		}
		r.done++
		r.left--
	}
	r.next = l.lanes.next(names)
	return r, nil
}

// failed makes a lane wait after a failed try, and the whole loop if rest is
// true or the server asked for it. It returns the error if that is no reason
// to try again.
func (l *Loop[In, Req, Ans]) failed(ctx context.Context, name string, cause error, rest bool) error {
	f := l.lanes.failing[name]
	if f == nil {
		f = &delay{since: time.Now()}
		if l.lanes.failing == nil {
			l.lanes.failing = map[string]*delay{}
		}
		l.lanes.failing[name] = f
	}
	pause, err := l.pause(ctx, cause, &f.wait)
	if err != nil {
		return err
	}
	f.until = time.Now().Add(pause)
	switch {
	case quinta.KindOf(cause) == quinta.KindLimited:
		// What is asked of one request is meant for all, but not for ever.
		l.lanes.all.until = time.Now().Add(min(pause, maxBackOff))
	case rest:
		l.lanes.all.wait = grown(l.lanes.all.wait)
		all, err := l.jitter(l.lanes.all.wait)
		if err != nil {
			return err
		}
		l.lanes.all.until = time.Now().Add(all)
	}
	if l.Trouble != nil {
		l.Trouble(cause, pause)
	}
	return nil
}
