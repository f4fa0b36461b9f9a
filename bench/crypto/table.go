package main

import (
	"context"
	"fmt"
	"io"
)

// A table prints what was measured beside what must hold.
type table struct {
	w      io.Writer
	rounds int
	// ok says that every bar held so far.
	ok bool
}

// mark returns what stands at the end of a line.
func (t *table) mark(holds bool) string {
	if holds {
		return ""
	}
	t.ok = false
	return "  over the bar"
}

// ratios prints what is measured beside another.
func (t *table) ratios(rs []row) error {
	fmt.Fprintf(t.w, "%-4s %-44s %12s %12s %7s %8s %8s\n", "id", "what", "ours ns", "other ns", "ratio", "bar", "stretch")
	for _, r := range rs {
		ours, other, err := r.measure(t.rounds)
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.id, r.what, err)
		}
		t.ratio(r, ours, other)
	}
	return nil
}

func (t *table) ratio(r row, ours, other float64) {
	ratio := r.ratio(ours, other)
	fmt.Fprintf(t.w, "%-4s %-44s %12.0f %12.0f %7.3f %8s %8s%s\n",
		r.id, r.what, ours, other, ratio, r.barText(), r.stretchText(), t.mark(r.holds(ratio)))
}

// workers prints what two workers are worth. It is measured on the clock, and
// so beside what two processors are worth at the same time to work that has
// nothing in common. Where that is much less than twice, other programs have
// the rest, and how the two fare is chance: the line says so and is not judged.
func (t *table) workers(ctx context.Context) error {
	one, two, machine, err := measureWorkers(ctx, manyDevices, t.rounds)
	if err != nil {
		return err
	}
	t.worth(row{id: "C8", what: "the same by two workers, of one (on the clock)", bar: 1.5, faster: true}, two, one, machine)
	return nil
}

// quiet is what two processors must be worth for two workers to be judged.
const quiet = 1.8

func (t *table) worth(r row, two, one, machine float64) {
	if machine >= quiet {
		r.bar *= min(machine, 2) / 2
		t.ratio(r, two, one)
		return
	}
	bar := r.barText()
	r.bar = 0
	t.ratio(r, two, one)
	fmt.Fprintf(t.w, "     not judged (bar %s): two processors were worth %.2f just now\n", bar, machine)
}

// counts prints the allocations.
func (t *table) counts() error {
	fmt.Fprintf(t.w, "\n%-4s %-44s %12s %8s\n", "id", "what", "allocations", "bar")
	bars, err := budget()
	if err != nil {
		return err
	}
	for _, a := range allocations() {
		bar, known := bars[a.name]
		if !known {
			return fmt.Errorf("bench/budget.txt: no line for %s", a.name)
		}
		got, err := a.measure()
		if err != nil {
			return fmt.Errorf("%s %s: %w", a.id, a.name, err)
		}
		fmt.Fprintf(t.w, "%-4s %-44s %12.0f %8.0f%s\n", a.id, a.name, got, bar, t.mark(got <= bar))
	}
	return nil
}

// figures prints what stands by itself.
func (t *table) figures(fs []figure) error {
	fmt.Fprintf(t.w, "\n%-4s %-44s %12s %4s %8s\n", "id", "what", "figure", "", "bar")
	for _, f := range fs {
		got, err := f.measure(t.rounds)
		if err != nil {
			return fmt.Errorf("%s %s: %w", f.id, f.what, err)
		}
		bar := "-"
		if f.bar > 0 {
			bar = fmt.Sprintf("<= %g", f.bar)
		}
		fmt.Fprintf(t.w, "%-4s %-44s %12.2f %4s %8s%s\n", f.id, f.what, got, f.unit, bar, t.mark(f.bar == 0 || got <= f.bar))
	}
	return nil
}
