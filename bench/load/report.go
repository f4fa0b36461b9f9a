package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
)

// The operations that have bars.
const (
	opUpload     = "keys/upload of 50 keys"
	opQuery      = "keys/query of 80 users with 2 devices"
	opClaim1     = "keys/claim of 1 device"
	opClaim100   = "keys/claim of 100 devices"
	opSend1      = "to-device to 1"
	opSend100    = "to-device to 100"
	opDrain      = "sync draining 40 messages"
	opRoom       = "room send of 1 KB"
	opIssue      = "certificate issued"
	opWake       = "long poll woken by a message"
	opStore1     = "store alone: enqueue"
	opStore50    = "store alone: fan-out to 50"
	opStoreClaim = "store alone: claim"

	valueMemory = "memory idle"
	valueStart  = "start to ready"
	valueWake50 = "wake-up of a long poll, 64 pairs, p50"
	valueWake99 = "wake-up of a long poll, 64 pairs, p99"

	checkClaims = "one device, 64 claimers: no key twice"
	checkKilled = "kill -9: nothing acknowledged is lost"
)

// opBars are the bars of the operations: microseconds of server CPU, and how
// many a second on the embedded default; zero is no bar.
var opBars = []struct {
	op   string
	cpu  float64
	rate float64
}{
	{opUpload, 1600, 600},
	{opQuery, 2000, 700},
	{opClaim1, 200, 4000},
	{opClaim100, 4000, 250},
	{opSend1, 200, 4000},
	{opSend100, 4000, 250},
	{opDrain, 1400, 700},
	{opRoom, 1000, 1500},
	{opStore1, 25, 0},
	{opStore50, 600, 0},
	{opStoreClaim, 25, 0},
}

// valueBars are upper bounds of single values, by the beginning of the name.
var valueBars = []struct {
	value string
	most  float64
}{
	{valueMemory, 40},
	{valueWake50, 10},
	{valueWake99, 100},
	{"memory with 10000 idle long polls", 400},
}

// A Bar is a figure beside what it must hold.
type Bar struct {
	What   string `json:"what"`
	DB     string `json:"db"`
	Bar    string `json:"bar"`
	Figure string `json:"figure"`
	Holds  bool   `json:"holds"`
	// Part is the figure as a part of the bar: above 1 a bound is passed, and
	// below 1 a rate is not reached.
	Part float64 `json:"part,omitempty"`
}

// A Check is something that is right or wrong.
type Check struct {
	What  string `json:"what"`
	DB    string `json:"db"`
	Found string `json:"found"`
	OK    bool   `json:"ok"`
}

// A Value is a single figure.
type Value struct {
	What  string  `json:"what"`
	DB    string  `json:"db"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// A report is what a run found.
type report struct {
	Date    string `json:"date"`
	Machine string `json:"machine"`
	Go      string `json:"go"`
	Clients int    `json:"clients"`
	Window  string `json:"window"`
	// Busy is the load average before the run began: above a half of one
	// other programs shared the machine, and rates and times say little.
	Busy float64 `json:"load_average_before"`
	// Cut says why a run has no end, or is empty.
	Cut     string   `json:"cut,omitempty"`
	Bars    []Bar    `json:"bars"`
	Checks  []Check  `json:"checks"`
	Values  []Value  `json:"values"`
	Samples []Sample `json:"samples"`
}

func newReport(o *options) *report {
	return &report{Date: time.Now().UTC().Format(time.DateOnly), Machine: machine.Name(), Go: runtime.Version(), Clients: clients, Window: o.window.String(), Busy: machine.LoadAverage()}
}

func (r *report) add(s Sample) {
	r.Samples = append(r.Samples, s)
	logf("%-9s %5d users  %-42s %8.0f/s  p50 %7.2f ms  p99 %7.2f ms  cpu %7.0f us  db %6.0f us  syncs %.3f  others %2.0f %%",
		s.DB, s.Users, s.Name, s.PerSecond, s.P50, s.P99, s.ServerCPU, s.DBCPU, s.Syncs, 100*s.Others)
}

func (r *report) value(db, what string, v float64, unit string) {
	r.Values = append(r.Values, Value{what, db, v, unit})
	logf("%-9s %s: %.1f %s", db, what, v, unit)
}

// check notes what a check found; err is what is wrong, or nil.
func (r *report) check(db, what, found string, err error) {
	if err != nil {
		found = err.Error()
	}
	r.Checks = append(r.Checks, Check{what, db, found, err == nil})
	logf("%-9s %s: %s", db, what, found)
}

// judge holds the figures against the bars. Operations are judged at the
// middle size, or at the only one.
func (r *report) judge() {
	sizes := map[int]bool{}
	for _, s := range r.Samples {
		if s.Users > 0 {
			sizes[s.Users] = true
		}
	}
	for _, b := range opBars {
		for _, s := range r.Samples {
			if s.Name != b.op || (s.Users != 0 && s.Users != middle && sizes[middle]) {
				continue
			}
			r.bar(s.Name+", CPU", s.DB, fmt.Sprintf("<= %g us", b.cpu), fmt.Sprintf("%.0f us", s.ServerCPU), s.ServerCPU <= b.cpu, s.ServerCPU/b.cpu)
			if b.rate > 0 && s.DB == sqlite {
				r.bar(s.Name+", throughput", s.DB, fmt.Sprintf(">= %g /s", b.rate), fmt.Sprintf("%.0f /s, others had %.0f %% of the machine", s.PerSecond, 100*s.Others), s.PerSecond >= b.rate, s.PerSecond/b.rate)
			}
			if s.Name == opSend1 {
				r.bar("syncs per to-device enqueue", s.DB, "> 0 and < 0.2", fmt.Sprintf("%.3f", s.Syncs), s.Syncs > 0 && s.Syncs < 0.2, s.Syncs/0.2)
			}
		}
	}
	for _, b := range valueBars {
		for _, v := range r.Values {
			if v.What == b.value {
				r.bar(v.What, v.DB, fmt.Sprintf("<= %g %s", b.most, v.Unit), fmt.Sprintf("%.1f %s", v.Value, v.Unit), v.Value <= b.most, v.Value/b.most)
			}
		}
	}
}

func (r *report) bar(what, db, bar, figure string, holds bool, part float64) {
	r.Bars = append(r.Bars, Bar{what, db, bar, figure, holds, part})
}

// held reports whether all bars hold and all checks are right.
func (r *report) held() bool {
	for _, b := range r.Bars {
		if !b.Holds {
			return false
		}
	}
	for _, c := range r.Checks {
		if !c.OK {
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
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	base := filepath.Join(folder, r.Date+"-load")
	if err := os.WriteFile(base+".json", append(raw, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(base+".md", []byte(text), 0o644)
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Load on the homeserver, %s\n\n%s, %s. %d clients in a closed loop on the machine of the server, %s an operation.\n", r.Date, r.Machine, r.Go, r.Clients, r.Window)
	fmt.Fprintf(&b, "Load average before the run: %.1f. ", r.Busy)
	fmt.Fprintf(&b, "CPU is that of the server's process; on PostgreSQL the database's stands apart. Judged at %d users where there are several sizes.\n", middle)
	if r.Cut != "" {
		fmt.Fprintf(&b, "\n**%s**\n", r.Cut)
	}
	if len(r.Bars) > 0 {
		fmt.Fprint(&b, "\n## Bars\n\n| what | database | bar | figure | of the bar | holds |\n|---|---|---|---|---|---|\n")
		for _, x := range r.Bars {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %s |\n", x.What, x.DB, x.Bar, x.Figure, x.Part, yes(x.Holds))
		}
	}
	if len(r.Checks) > 0 {
		fmt.Fprint(&b, "\n## Checks\n\n| what | database | found | right |\n|---|---|---|---|\n")
		for _, x := range r.Checks {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", x.What, x.DB, strings.ReplaceAll(x.Found, "|", "/"), yes(x.OK))
		}
	}
	if len(r.Values) > 0 {
		fmt.Fprint(&b, "\n## Values\n\n| what | database | value |\n|---|---|---|\n")
		for _, x := range r.Values {
			fmt.Fprintf(&b, "| %s | %s | %.1f %s |\n", x.What, x.DB, x.Value, x.Unit)
		}
	}
	r.growth(&b)
	if len(r.Samples) > 0 {
		fmt.Fprint(&b, "\n## Operations\n\n| operation | database | users | a second | p50 ms | p99 ms | server CPU us | database CPU us | syncs | others had |\n|---|---|---|---|---|---|---|---|---|---|\n")
		for _, s := range r.Samples {
			users, others := "-", "-" // the store alone runs in this process
			if s.Users > 0 {
				users, others = fmt.Sprint(s.Users), fmt.Sprintf("%.0f %%", 100*s.Others)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %.0f | %.2f | %.2f | %.0f | %.0f | %.3f | %s |\n", s.Name, s.DB, users, s.PerSecond, s.P50, s.P99, s.ServerCPU, s.DBCPU, s.Syncs, others)
		}
	}
	return b.String()
}

// growth writes what an operation costs as the store grows: the processor time
// of the server and the database together.
func (r *report) growth(b *strings.Builder) {
	type op struct{ name, db string }
	costs := map[op]map[int]float64{}
	var ops []op
	var sizes []int
	for _, s := range r.Samples {
		at := op{s.Name, s.DB}
		if s.Users == 0 {
			continue
		}
		if costs[at] == nil {
			costs[at] = map[int]float64{}
			ops = append(ops, at)
		}
		costs[at][s.Users] = s.ServerCPU + s.DBCPU
		if !slices.Contains(sizes, s.Users) {
			sizes = append(sizes, s.Users)
		}
	}
	ops = slices.DeleteFunc(ops, func(o op) bool { return len(costs[o]) < 2 })
	if len(ops) == 0 {
		return
	}
	slices.Sort(sizes)
	sizes = slices.DeleteFunc(sizes, func(n int) bool { return !slices.ContainsFunc(ops, func(o op) bool { return costs[o][n] > 0 }) })
	fmt.Fprint(b, "\n## Cost as the work grows\n\nMicroseconds of CPU an operation, server and database together.\n\n| operation | database |")
	for _, n := range sizes {
		fmt.Fprintf(b, " %d users |", n)
	}
	fmt.Fprint(b, " largest to smallest |\n|---|---|", strings.Repeat("---|", len(sizes)+1), "\n")
	for _, o := range ops {
		fmt.Fprintf(b, "| %s | %s |", o.name, o.db)
		for _, n := range sizes {
			fmt.Fprintf(b, " %.0f |", costs[o][n])
		}
		fmt.Fprintf(b, " %.2f |\n", costs[o][sizes[len(sizes)-1]]/costs[o][sizes[0]])
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "**no**"
}
