package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// TestMeasure runs everything against a real server with a small account.
func TestMeasure(t *testing.T) {
	t.Parallel()
	server, err := machine.Quintad()
	if err != nil {
		t.Fatal(err)
	}
	quinta, err := program.Own("quinta")
	if err != nil {
		t.Fatal(err)
	}
	sz := size{rooms: 6, events: 30, members: 3, sends: 1, idle: 100 * time.Millisecond}
	r := newReport(sz)
	if err := measure(t.Context(), sz, server, quinta, r); err != nil {
		t.Fatal(err)
	}
	if len(r.values) != 12 {
		t.Errorf("got %d figures, want 12", len(r.values))
	}
	for _, v := range r.values {
		// The server's part may be less than one tick of its clock.
		if v.got < 0 || v.got == 0 && !strings.Contains(v.what, "CPU") {
			t.Errorf("%s: got %v", v.what, v.got)
		}
	}
}

// TestSizes: each program has a row with its bar, and is within it.
func TestSizes(t *testing.T) {
	t.Parallel()
	r := newReport(small)
	if err := sizes(r); err != nil {
		t.Fatal(err)
	}
	for i, bar := range []float64{barQuinta, barQuintad} {
		if len(r.values) != 2 || r.values[i].bar != bar || r.values[i].got < 1 || r.values[i].got > bar {
			t.Fatalf("got %+v, want two sizes within their bars, here %v MB", r.values, bar)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := newReport(small)
	r.value("at the bar", 2, "s", 2)
	r.value("without one", 1000, "s", 0)
	if !r.held() {
		t.Error("a bar that holds is said not to")
	}
	r.value("over", 2.1, "s", 2)
	dir := filepath.Join(t.TempDir(), "results")
	var out bytes.Buffer
	if err := r.write(&out, dir); err != nil || r.held() {
		t.Errorf("got %v, held %v, want that one bar does not hold", err, r.held())
	}
	kept, err := os.ReadFile(filepath.Join(dir, time.Now().UTC().Format(time.DateOnly)+"-client.md"))
	if err != nil || string(kept) != out.String() || !strings.Contains(out.String(), "| over | 2.1 s | <= 2 s | **no** |") {
		t.Errorf("got %q, %v", kept, err)
	}
	if got := median([]time.Duration{3, 1, 2}); got != 2 {
		t.Errorf("the median of 1, 2, 3: got %v", got)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"extra"}, {"-nonsense"}, {"-idle", "long"}} {
		if _, err := run(context.Background(), args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
