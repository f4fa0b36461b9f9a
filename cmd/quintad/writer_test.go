package main

import (
	"strings"
	"sync"
)

// A syncWriter keeps what is written. ready, if there is one, is closed by the
// line that says so.
type syncWriter struct {
	ready chan struct{}

	mu   sync.Mutex
	b    strings.Builder
	said bool
}

func (w *syncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(p)
	if w.ready != nil && !w.said && strings.Contains(w.b.String(), "quintad: ready ") {
		w.said = true
		close(w.ready)
	}
	return len(p), nil
}

func (w *syncWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}
