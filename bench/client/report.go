package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
)

// The bars are upper bounds that leave room for a slower machine: they are
// there to notice that something has become much worse.
const (
	barSync     = 3   // seconds of CPU, for the whole account
	barSyncPeak = 200 // MB
	barSend     = 120 // ms of CPU
	barIdle     = 50  // MB
	barQuinta   = 20  // MB
	barQuintad  = 45  // MB
)

// A value is one figure; a bar of zero is none.
type value struct {
	what, unit string
	got, bar   float64
}

func (v value) holds() bool { return v.bar == 0 || v.got <= v.bar }

// A report is what a run found.
type report struct {
	sz     size
	busy   float64
	values []value
}

func newReport(sz size) *report { return &report{sz: sz, busy: machine.LoadAverage()} }

func (r *report) value(what string, got float64, unit string, bar float64) {
	r.values = append(r.values, value{what, unit, got, bar})
	logf("%s: %.1f %s", what, got, unit)
}

// held reports whether all bars hold.
func (r *report) held() bool {
	for _, v := range r.values {
		if !v.holds() {
			return false
		}
	}
	return true
}

// write prints the report, and keeps it in the folder if there is one.
func (r *report) write(w io.Writer, folder string) error {
	text := r.markdown()
	if _, err := io.WriteString(w, text); err != nil || folder == "" {
		return err
	}
	return machine.Keep(folder, "client", text)
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The client program, %s\n\n%s, %s. Load average before the run: %.1f.\n\n| what | figure | bar | holds |\n|---|---|---|---|\n",
		time.Now().UTC().Format(time.DateOnly), machine.Name(), runtime.Version(), r.busy)
	for _, v := range r.values {
		bar, holds := "-", "-"
		if v.bar > 0 {
			bar, holds = fmt.Sprintf("<= %g %s", v.bar, v.unit), "yes"
			if !v.holds() {
				holds = "**no**"
			}
		}
		fmt.Fprintf(&b, "| %s | %.1f %s | %s | %s |\n", v.what, v.got, v.unit, bar, holds)
	}
	return b.String()
}
