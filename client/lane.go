package client

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
)

// A Laned request says what it must not overtake. Requests of one lane leave
// in their order, each after the one before it was answered. Requests of
// several lanes can be in flight at the same time, and while the first
// request of one lane fails, the others continue. Requests that are not Laned
// are all in one lane.
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
	// atATime bounds the lanes that have a request on its way.
	atATime = 4
	// inARow is how many lanes may begin to fail before it is the server that
	// is in trouble, and all wait. So many are then tried at a time.
	inARow = 2
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
// the process: a new process starts from scratch.
type lanes struct {
	// failing has the lanes whose first request failed.
	failing map[string]*delay
	// all is the rest that the whole loop takes.
	all delay
	// last is when a request was last answered, and cause the error of the
	// last try that failed.
	last  time.Time
	cause error
}

// keep forgets the lanes that have nothing due.
func (s *lanes) keep(due map[string]bool) {
	for name := range s.failing {
		if !due[name] {
			delete(s.failing, name)
		}
	}
	if len(s.failing) == 0 {
		s.all = delay{}
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

// suspect reports whether it seems to be the server that fails: several lanes
// began to since a request was last answered. A lane that failed before that
// fails by itself.
func (s *lanes) suspect() bool {
	n := 0
	for _, f := range s.failing {
		if f.since.After(s.last) {
			n++
		}
	}
	return n >= inARow
}

// width returns how many requests may be on their way at a time.
func (s *lanes) width() int {
	if s.all.wait > 0 {
		return inARow
	}
	return atATime
}

// failed makes a lane wait after a failed try, and the whole loop if the
// server asked for it or seems to be in trouble. It returns the error if that
// is no reason to try again.
func (l *Loop) failed(ctx context.Context, name string, cause error) error {
	now := time.Now()
	f := l.lanes.failing[name]
	if f == nil {
		f = &delay{since: now}
		if l.lanes.failing == nil {
			l.lanes.failing = map[string]*delay{}
		}
	}
	pause, err := l.pause(ctx, cause, &f.wait)
	if err != nil {
		return err
	}
	l.lanes.failing[name], l.lanes.cause = f, cause
	f.until = now.Add(pause)
	switch {
	case quinta.KindOf(cause) == quinta.KindLimited:
		// A server that asks one request to wait means all of them, but not forever.
		l.lanes.all.until = now.Add(min(pause, maxBackOff))
	case l.lanes.suspect() && l.lanes.all.over(now):
		l.lanes.all.wait = grown(l.lanes.all.wait)
		all, err := l.jitter(l.lanes.all.wait)
		if err != nil {
			return err
		}
		l.lanes.all.until = now.Add(all)
	}
	if l.parts.Trouble != nil {
		l.parts.Trouble(cause, pause)
	}
	return nil
}
