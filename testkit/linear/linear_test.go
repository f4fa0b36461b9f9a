package linear_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/quinta-chat/quinta/testkit/linear"
)

// counter is a model of a counter: each operation returns the next number.
var counter = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, _, out any) (bool, any) { return out == state.(int)+1, state.(int) + 1 },
	DescribeOperation: func(_, out any) string {
		return fmt.Sprint("next = ", out)
	},
}

func TestRun(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	n := 0
	linear.Run(t, counter, 4, func(_ int, do func(any, func() any)) {
		for range 10 {
			do(nil, func() any {
				mu.Lock()
				defer mu.Unlock()
				n++
				return n
			})
		}
	})
	if n != 40 {
		t.Errorf("got %d operations, want 40", n)
	}
}

// A number that is given twice must fail the test; that is shown in a process
// of its own.
func TestRunFindsWhatIsGivenTwice(t *testing.T) {
	if os.Getenv("QUINTA_LINEAR_BROKEN") != "" {
		linear.Run(t, counter, 2, func(_ int, do func(any, func() any)) {
			do(nil, func() any { return 1 })
		})
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestRunFindsWhatIsGivenTwice$")
	cmd.Env = append(os.Environ(), "QUINTA_LINEAR_BROKEN=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "cannot be put into one order") {
		t.Errorf("got %v and %s, want a failure", err, out)
	}
}
