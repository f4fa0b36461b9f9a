package kill_test

import (
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/kill"
)

// A disk is a disk that can be broken: faults is what it does with the n-th
// write or sync, nil while it is whole.
type disk struct {
	ops    atomic.Int64
	faults atomic.Pointer[func(op string, n int64) error]
}

func (d *disk) fault(op string) error {
	n := d.ops.Add(1)
	if f := d.faults.Load(); f != nil {
		return (*f)(op, n)
	}
	return nil
}

// TestBrokenDisk lets writes and syncs of the store fail under load, all of
// them or some: clients get errors, nothing is half done, and when the disk is
// whole again the server continues.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(op string, n int64) error{
		"writes": func(op string, _ int64) error {
			if op == "write" {
				return syscall.EIO
			}
			return nil
		},
		"syncs": func(op string, _ int64) error {
			if op == "sync" {
				return syscall.EIO
			}
			return nil
		},
		"every fifth": func(_ string, n int64) error {
			if n%5 == 0 {
				return syscall.EIO
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &disk{}
			s := quintatest.Start(t, quintatest.Configure(func(c *server.Config) { c.DB.Faults = d.fault }))
			l := kill.Start(t, s.URL)
			for range 3 {
				l.Await(40)
				d.faults.Store(&broken)
				l.AwaitRefusals(10)
				d.faults.Store(nil)
			}
			l.Await(100)
			l.Stop()
			l.Check()
		})
	}
}
