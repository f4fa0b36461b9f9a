package matrix

import (
	"bytes"
	"io"
	"runtime"
	"sync"
)

// perWorker is how many pieces of work are worth a goroutine.
const perWorker = 25

// workers returns over how many goroutines n pieces of work are spread.
func workers(n int) int { return max(1, min(runtime.GOMAXPROCS(0), n/perWorker)) }

// spread calls f for each of n pieces of work, on several goroutines if there
// are many, and returns when all are done. The worker numbers begin at zero.
func spread(n int, f func(worker, i int)) {
	k := workers(n)
	if k == 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	var wg sync.WaitGroup
	for w := range k {
		wg.Go(func() {
			for i := w; i < n; i += k {
				f(w, i)
			}
		})
	}
	wg.Wait()
}

// draw reads n bytes of randomness for one piece of work, so that the work
// itself may be done on another goroutine and comes out the same each time.
func (w *work) draw(n int) (*bytes.Reader, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(w.m.env.Rand, b); err != nil {
		return nil, err
	}
	return bytes.NewReader(b), nil
}
