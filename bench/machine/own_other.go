//go:build !unix

package machine

import "time"

var started = time.Now()

// Own returns the time since the start: here nothing tells the processor
// time of a process.
func Own() (time.Duration, error) { return time.Since(started), nil }
