package sim_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta/testkit/sim"
)

var (
	simSeeds   = flag.Int("sim.seeds", 24, "how many simulations to run")
	simFirst   = flag.Uint64("sim.first", 1, "the first seed")
	simNetwork = flag.String("sim.network", "", "run this network only")
)

// networks are the networks that are simulated. One whose cryptography takes
// longer runs every so many of the seeds, unless it is asked for by its name.
var networks = []struct {
	sim.Network
	every uint64
}{
	{sim.Bind("matrix", newMatrix), 1},
	{sim.Bind("ca", newCA), 8},
	{sim.Bind("mtproto", newChats), 4},
	{sim.Bind("rocketchat", newRocketChat), 4},
}

// tries is how many scripts are tried to make one that failed shorter.
const tries = 300

// TestSimulation runs many seeds. A failure prints its seed, the steps that
// are enough for it and what they did; run one again with -sim.first=SEED
// -sim.seeds=1.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for _, n := range networks {
		if *simNetwork != "" && *simNetwork != n.Name {
			continue
		}
		t.Run(n.Name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var total sim.Count
			t.Run("seeds", func(t *testing.T) {
				for i := range uint64(*simSeeds) {
					if *simNetwork == "" && i%n.every != 0 {
						continue
					}
					t.Run(fmt.Sprint(*simFirst+i), func(t *testing.T) {
						t.Parallel()
						c := simulate(t, n.Network, *simFirst+i)
						mu.Lock()
						defer mu.Unlock()
						total.Add(c)
					})
				}
			})
			t.Logf("%s: %+v", n.Name, total)
			if *simSeeds >= 200 && slices.Contains([]int{total.Sent, total.Acknowledged, total.Read, total.Crashes, total.Restores, total.Lost, total.Repeated, total.Delayed}, 0) {
				t.Errorf("got %+v: something never happened", total)
			}
		})
	}
}

func simulate(t *testing.T, n sim.Network, seed uint64) sim.Count {
	t.Helper()
	script := sim.Generate(seed)
	result := n.Play(script, false)
	if len(result.Violations) == 0 {
		return result.Count
	}
	rule := result.Violations[0].Rule
	short := sim.Shrink(script, tries, func(s sim.Script) bool { return n.Play(s, false).Broken(rule) })
	shown := n.Play(short, true)
	t.Errorf("%s, seed %d:\n%s\n%d of %d steps are enough for the first:\n%s\n%s", n.Name, seed, result, len(short.Steps), len(script.Steps), short, strings.Join(shown.Trace, "\n"))
	return result.Count
}
