package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A server that rests gives memory back: the runtime by itself keeps what a
// burst of logins took (each password hash works on 19 MiB) for minutes.
const (
	// restEvery is how often it looks, restAllocs how little a server that
	// rests allocates in that time.
	restEvery  = 5 * time.Second
	restAllocs = 2 << 20
	// restGain is how much must have come on since the last time.
	restGain = 8 << 20
)

// giveBack gives memory back to the system when the server rests, until ctx
// ends.
func giveBack(ctx context.Context) {
	t := time.NewTicker(restEvery)
	defer t.Stop()
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	read := func() (allocs, held uint64) {
		metrics.Read(s)
		return s[0].Value.Uint64(), s[1].Value.Uint64() - s[2].Value.Uint64()
	}
	var before, kept uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		allocs, held := read()
		if allocs-before < restAllocs && held > kept+restGain {
			debug.FreeOSMemory()
			_, kept = read()
		}
		before = allocs
	}
}
