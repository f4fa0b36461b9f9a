package main

import (
	"context"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/bench/machine"
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

// idle is how much of the machine others may have had while two workers were
// measured against one, which has no meaning if there is no second processor.
const idle = 0.1

// workers prints what two workers are worth. It is measured on the clock: if
// other programs had more of the machine than a tenth, the line says so and is
// not judged.
func (t *table) workers(ctx context.Context) error {
	before, err := look()
	if err != nil {
		return err
	}
	one, two, err := measureWorkers(ctx, manyDevices, t.rounds)
	if err != nil {
		return err
	}
	after, err := look()
	if err != nil {
		return err
	}
	r := row{id: "C8", what: "the same by two workers, of one (on the clock)", bar: 1.5, faster: true}
	if others := after.others(before); others > idle && !r.holds(r.ratio(two, one)) {
		r.bar = 0
		t.ratio(r, two, one)
		_, err := fmt.Fprintf(t.w, "     not judged (bar >= 1.50): other programs had %.0f %% of the processors\n", 100*others)
		return err
	}
	t.ratio(r, two, one)
	return nil
}

// A usage is how the processors were used until now, in nanoseconds.
type usage struct{ own, busy, whole float64 }

func look() (usage, error) {
	own, err := machine.Own()
	if err != nil {
		return usage{}, err
	}
	busy, whole, err := machine.CPU()
	return usage{float64(own), float64(busy), float64(whole)}, err
}

// others is the part of the processors that belonged to other programs since
// before.
func (u usage) others(before usage) float64 {
	if u.whole == before.whole {
		return 0
	}
	return max(0, (u.busy-before.busy-u.own+before.own)/(u.whole-before.whole))
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
