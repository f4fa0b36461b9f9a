//go:build linux

package test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// restingMemory is what a server may hold when it rests, in kB.
const restingMemory = 40 << 10

// TestMemoryAtRest: a server that has hashed passwords and rests gives the
// memory back.
func TestMemoryAtRest(t *testing.T) {
	t.Parallel()
	s := quintad.Start(t, quintad.Config{})
	for i := range 12 {
		body := fmt.Sprintf(`{"username":"u%d","password":"secret","auth":{"type":"m.login.dummy"}}`, i)
		resp, err := client.Post(s.URL()+"/_matrix/client/v3/register", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("got %s", resp.Status)
		}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	got := 0
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-tick.C {
		if got = resident(t, s.PID()); got <= restingMemory {
			return
		}
	}
	t.Errorf("got %d kB at rest, want at most %d", got, restingMemory)
}

var vmRSS = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// resident returns the resident memory of a process in kB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := vmRSS.FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmRSS in %s", b)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
