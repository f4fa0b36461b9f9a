package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
)

// A Sample is what one operation costs.
type Sample struct {
	// Name is the operation, Users the size of the store.
	Name  string `json:"name"`
	DB    string `json:"db"`
	Users int    `json:"users,omitempty"`
	Ops   int    `json:"ops"`
	// Seconds is how long the clients were at it.
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	// P50 and P99 are milliseconds from the request to the answer.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	// ServerCPU and DBCPU are microseconds an operation.
	ServerCPU float64 `json:"server_cpu_us"`
	DBCPU     float64 `json:"db_cpu_us,omitempty"`
	// Syncs is how many syncs an operation took.
	Syncs float64 `json:"syncs"`
	// Others is the part of the machine's processors that programs had which
	// belong neither to the server nor to the load generator, 0 to 1.
	Others float64 `json:"others"`
}

// A tally adds up the windows in which an operation was measured.
type tally struct {
	took           []time.Duration
	wall           time.Duration
	server, dbTime time.Duration
	syncs          float64
	// own is the processor time of this process, busy that of all, and whole
	// what there was.
	own, busy, whole time.Duration
}

// errDone ends the loop of a client.
var errDone = errors.New("done")

// drive lets every client call op until d has passed or op returns errDone,
// and adds what it cost to t. A first error ends all.
func (w *world) drive(ctx context.Context, t *tally, d time.Duration, op func(ctx context.Context, i int, c *client) error) error {
	c0, err := w.costs(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	took := make([][]time.Duration, clients)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				at := time.Now()
				err := op(ctx, i, w.clients[i])
				if err == nil {
					took[i] = append(took[i], time.Since(at))
					continue
				}
				if !errors.Is(err, errDone) {
					errs[i] = err
					cancel()
				}
				return
			}
		})
	}
	wg.Wait()
	t.wall += time.Since(began)
	for i := range clients {
		if errs[i] != nil {
			return errs[i]
		}
		t.took = append(t.took, took[i]...)
	}
	c1, err := w.costs(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	t.add(c0, c1)
	return nil
}

// add adds what was used between two looks at the counters.
func (t *tally) add(c0, c1 costs) {
	t.server += c1.server - c0.server
	t.dbTime += c1.db - c0.db
	t.syncs += c1.syncs - c0.syncs
	t.own += c1.own - c0.own
	t.busy += c1.busy - c0.busy
	t.whole += c1.whole - c0.whole
}

// costs are counters of the server and the database.
type costs struct {
	server, db       time.Duration
	syncs            float64
	own, busy, whole time.Duration
}

func (w *world) costs(ctx context.Context) (c costs, err error) {
	if c.server, err = w.srv.CPU(); err != nil {
		return c, err
	}
	if c.db, err = w.store.cpu(); err != nil {
		return c, err
	}
	if c.own, err = machine.Own(); err != nil {
		return c, err
	}
	if c.busy, c.whole, err = machine.CPU(); err != nil {
		return c, err
	}
	if w.store.kind == postgresql {
		c.syncs, err = w.store.syncs(ctx)
	} else {
		c.syncs, err = w.srv.Metric("quinta_store_syncs_total")
	}
	return c, err
}

// sample makes the figures of a tally.
func (t *tally) sample(name string, db string, users int) Sample {
	n := float64(len(t.took))
	s := Sample{Name: name, DB: db, Users: users, Ops: len(t.took), Seconds: t.wall.Seconds()}
	if n == 0 {
		return s
	}
	slices.Sort(t.took)
	s.PerSecond = n / t.wall.Seconds()
	s.P50, s.P99 = ms(percentile(t.took, 50)), ms(percentile(t.took, 99))
	s.ServerCPU = float64(t.server.Microseconds()) / n
	s.DBCPU = float64(t.dbTime.Microseconds()) / n
	s.Syncs = t.syncs / n
	if t.whole > 0 {
		s.Others = max(0, float64(t.busy-t.server-t.dbTime-t.own)/float64(t.whole))
	}
	return s
}

// percentile returns the smallest of the sorted times that p percent of them
// do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
