//go:build unix

package main

import (
	"syscall"
	"time"
)

// computed returns the processor time of this process, garbage collection
// included.
func computed() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
