//go:build unix

package machine

import (
	"syscall"
	"time"
)

// Own returns the processor time of this process, garbage collection
// included.
func Own() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
