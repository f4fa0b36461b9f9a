package matrix_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

var (
	simSeeds = flag.Int("sim.seeds", 20, "how many simulations to run")
	simFirst = flag.Uint64("sim.first", 1, "the first seed")
)

// A world is one simulation: three users with one to three devices each in
// one room, a lossy line, crashes, and a clock that jumps.
type world struct {
	*stage
	r    *rand.Rand
	cs   []*client
	sent map[string][]*client // who was there when a text was sent
	n    int
}

// TestSimulation runs many seeds; a failure prints its seed. Run one again
// with -sim.first=SEED -sim.seeds=1.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for seed := *simFirst; seed < *simFirst+uint64(*simSeeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, seed)
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	w := &world{stage: newStage(t), r: rand.New(rand.NewPCG(seed, 7)), sent: map[string][]*client{}}
	w.seed = int(seed * 50)
	var users []quinta.UserID
	for i := range 3 {
		u := quinta.UserID(fmt.Sprintf("@u%d:x", i))
		users = append(users, u)
		for d := range 1 + w.r.IntN(2) {
			w.cs = append(w.cs, w.login(u, quinta.DeviceID(fmt.Sprintf("U%dD%d", i, d))))
		}
	}
	w.hs.create("!r:x", users...)
	turn(w.cs...)
	for range 60 {
		w.step()
	}
	w.hs.refuse = nil
	for range 3 {
		w.wait(10 * time.Minute)
		turn(w.cs...)
	}
	w.check()
}

// step does one random thing.
func (w *world) step() {
	c := w.cs[w.r.IntN(len(w.cs))]
	switch n := w.r.IntN(20); {
	case n < 6:
		w.n++
		text := fmt.Sprint("message ", w.n)
		if c.trySend("!r:x", text) == nil {
			w.sent[text] = slices.Clone(w.cs)
		}
	case n < 12:
		w.partly(c)
	case n < 16:
		w.flakySync(c)
	case n < 17:
		c.restart()
	case n < 18:
		w.wait(time.Duration(w.r.IntN(3*3600)) * time.Second)
	case n < 19 && len(w.cs) < 8:
		u := w.cs[w.r.IntN(len(w.cs))].user
		w.cs = append(w.cs, w.login(u, quinta.DeviceID(fmt.Sprintf("NEW%d", w.n))))
		w.n++
	default:
		c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, c.m.Rotate(tx, "!r:x") })
	}
}

// partly carries out some of what is due; the line cuts before or after the
// server, or the program dies before it commits the answer.
func (w *world) partly(c *client) {
	for _, r := range c.outgoing() {
		switch w.r.IntN(6) {
		case 0:
			return
		case 1:
			w.hs.handle(c.user, c.device, r)
			return
		case 2:
			a := w.hs.handle(c.user, c.device, r)
			before := c.mem.clone()
			c.done(r, a)
			c.mem = before
			c.restart()
			return
		}
		c.done(r, w.hs.handle(c.user, c.device, r))
	}
}

// flakySync syncs, and sometimes dies before the commit.
func (w *world) flakySync(c *client) {
	before, events := c.mem.clone(), slices.Clone(c.events)
	c.sync()
	if w.r.IntN(4) == 0 {
		c.mem, c.events = before, events
		c.restart()
	}
}

// check holds what everybody read against what was sent: each message once on
// the server, readable by every device that was there and whose key the
// sender can have known, and no ratchet index used twice.
func (w *world) check() {
	w.t.Helper()
	ids := map[string]int{}
	for _, e := range w.hs.rooms["!r:x"].events {
		var ev struct {
			Type    string
			Content struct {
				Session    string `json:"session_id"`
				Ciphertext string `json:"ciphertext"`
			}
		}
		if json.Unmarshal(e.raw, &ev) == nil && ev.Type == "m.room.encrypted" {
			// The head of a message holds its index.
			ids[ev.Content.Session+ev.Content.Ciphertext[:8]]++
		}
	}
	for id, n := range ids {
		if n > 1 {
			w.t.Errorf("an index was used %d times: %s", n, id)
		}
	}
	if len(ids) != len(w.sent) {
		w.t.Errorf("got %d messages on the server, want %d", len(ids), len(w.sent))
	}
	for _, n := range w.hs.claims {
		if n > 1 {
			w.t.Errorf("a one-time key was claimed %d times", n)
		}
	}
	for _, c := range w.cs {
		read := map[string]int{}
		for _, e := range c.events {
			if e.Kind == e2ee.EventMessage {
				read[text(e.Message)]++
			}
			// A new device may find messages from before it, and be refused by
			// the own devices, which did not verify it.
			early := e.Reason == quinta.ReasonNoKeyYet || e.Reason == quinta.ReasonBeforeThisDevice || e.Reason == quinta.ReasonKeyTooNew
			refused := e.Reason == quinta.ReasonWithheld && e.Message.Sender == c.user
			if e.Kind == e2ee.EventUndecryptable && !early && !refused {
				w.t.Errorf("%s %s: %s %s", c.user, c.device, e.Reason, e.Detail)
			}
		}
		for text, there := range w.sent {
			if slices.Contains(there[:min(len(there), 3)], c) && read[text] != 1 {
				w.t.Errorf("%s %s read %q %d times, want once", c.user, c.device, text, read[text])
			}
			if read[text] > 1 {
				w.t.Errorf("%s %s read %q %d times", c.user, c.device, text, read[text])
			}
		}
	}
	if len(w.hs.dupClear) > 0 {
		w.t.Errorf("in clear: %q", w.hs.dupClear)
	}
}
