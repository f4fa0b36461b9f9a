package server

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// bodyTimeout is the default of Config.BodyTimeout.
	bodyTimeout = 30 * time.Second
	// bodyPace is how many bytes of a body earn another second.
	bodyPace = 16 << 10
	// maxBodies bounds the bytes of Bodies.
	maxBodies = 128 << 20
)

// Bodies counts the bytes of bodies of requests that are being read into
// memory: together at most 128 MiB.
type Bodies struct {
	held atomic.Int64
}

// Hold reserves n bytes, and reports whether there was room for them.
func (b *Bodies) Hold(n int64) bool {
	if b.held.Add(n) > maxBodies {
		b.held.Add(-n)
		return false
	}
	return true
}

// Free gives back n bytes that [Bodies.Hold] reserved.
func (b *Bodies) Free(n int64) { b.held.Add(-n) }

// LongBody gives the body of a request ten minutes, as a file over a slow line
// needs, in place of Config.BodyTimeout. A front calls it with the writer that it
// was given, once it knows whose the request is.
func LongBody(w http.ResponseWriter) {
	if r, ok := w.(*recorder); ok && r.body != nil {
		r.body.long = true
		r.body.until(time.Now().Add(readTimeout))
	}
}

// A body ends a request whose client announces bytes and does not send them:
// the client has the time of Config.BodyTimeout, and a second more for each
// 16 KiB that came.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	ends    time.Time
	// earned is what has come since ends was last moved, in bytes.
	earned int64
	long   bool
}

// watch puts a body with a deadline in place of that of a request that has one.
func (r *recorder) watch(q *http.Request) *http.Request {
	if q.Body == nil || q.Body == http.NoBody {
		return q
	}
	r.body = &body{ReadCloser: q.Body, control: r.deadline}
	r.body.until(time.Now().Add(r.core.BodyTimeout))
	q = q.WithContext(q.Context()) // a copy: the server keeps the body itself
	q.Body = r.body
	return q
}

func (b *body) until(t time.Time) {
	b.ends = t
	// A reader without deadlines is one of a test, in memory.
	var _ = b.control.SetReadDeadline(t)
}

// Read reads from the body.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		// Anything read from now on only shows that the client has disconnected.
		b.until(time.Now().Add(readTimeout))
		return n, err
	}
	if b.earned += int64(n); b.earned >= bodyPace && !b.long {
		b.until(b.ends.Add(time.Duration(b.earned) * time.Second / bodyPace))
		b.earned = 0
	}
	return n, err
}
