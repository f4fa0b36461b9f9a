// Package jssdk starts matrix-js-sdk with its Rust crypto, as Element Web
// uses it, as a peer of a test. [Pool.Start] gives a process that holds any
// number of clients; package driver has their methods.
//
// The SDK, its crypto and the Node that runs them are npm packages at the
// exact versions of package-lock.json; testkit/peer/install.sh brings them.
package jssdk

import (
	"errors"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/npm"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// A Pool holds processes that a test has finished with, for the next test:
// to load the SDK and to compile its crypto takes longer than many a test.
// The zero Pool is empty.
type Pool struct {
	mu   sync.Mutex
	idle []*driver.Process
}

// Start gives the test a process of its own, without clients and stores, until
// the test ends. A failed test gets the end of the process's log, and no other
// test gets its process.
func (pool *Pool) Start(tb testing.TB) *driver.Process {
	tb.Helper()
	p := pool.take()
	if p == nil {
		p = open(tb)
	}
	tb.Cleanup(func() {
		if !tb.Failed() && p.Call("", "forget", nil, nil, forgetLimit) == nil {
			pool.keep(p)
			return
		}
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			p.Tell(tb)
		}
	})
	return p
}

// forgetLimit is how long a process may take to be rid of its clients.
const forgetLimit = 10 * time.Second

func (pool *Pool) take() *driver.Process {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	n := len(pool.idle)
	if n == 0 {
		return nil
	}
	p := pool.idle[n-1]
	pool.idle = pool.idle[:n-1]
	return p
}

func (pool *Pool) keep(p *driver.Process) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.idle = append(pool.idle, p)
}

// Close ends the processes that no test has.
func (pool *Pool) Close() error {
	var errs []error
	for p := pool.take(); p != nil; p = pool.take() {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

func open(tb testing.TB) *driver.Process {
	tb.Helper()
	dir, err := npm.Folder("matrix-js-sdk")
	require.Peer(tb, "matrix-js-sdk", err)
	node, err := npm.Node(dir)
	require.Peer(tb, "matrix-js-sdk", err)
	cmd := exec.Command(node, "driver.mjs")
	cmd.Dir = dir
	p, err := driver.Open(cmd)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
