package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestAllocations holds bench/budget.txt.
func TestAllocations(t *testing.T) {
	bars, err := budget()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range allocations() {
		bar, ok := bars[a.name]
		if !ok {
			t.Errorf("bench/budget.txt: no line for %s", a.name)
		}
		got, err := a.measure()
		if err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
		if got > bar {
			t.Errorf("%s: got %v allocations, want at most %v", a.name, got, bar)
		}
	}
}

// TestRows runs each of our operations.
func TestRows(t *testing.T) {
	for _, r := range rows(nil) {
		ns, err := r.ours(2)
		if err != nil || ns < 0 {
			t.Errorf("%s %s: got %v ns, %v", r.id, r.what, ns, err)
		}
	}
}

func TestMeasureTakesTheBest(t *testing.T) {
	t.Parallel()
	a, b := []float64{5, 3, 4}, []float64{7, 9, 8}
	next := func(list *[]float64) bench {
		return func(int) (float64, error) {
			v := (*list)[0]
			*list = (*list)[1:]
			return v, nil
		}
	}
	ours, other, err := row{ours: next(&a), other: next(&b)}.measure(3)
	if ours != 3 || other != 7 || err != nil {
		t.Errorf("got %v, %v, %v, want 3 and 7", ours, other, err)
	}
	broken := errors.New("broken")
	fails := func(int) (float64, error) { return 0, broken }
	if _, _, err := (row{ours: fails, other: fails}).measure(1); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the operation", err)
	}
}

func TestTableMarks(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tab := &table{w: &out, rounds: 1, ok: true}
	tab.ratio(row{what: "at the bar", bar: 2, stretch: .25}, 4, 2)
	tab.ratio(row{what: "as fast as it must be", bar: 2, faster: true}, 2, 4)
	tab.ratio(row{what: "without a bar"}, 100, 1)
	if !tab.ok || strings.Contains(out.String(), "over") {
		t.Errorf("got %q, want no mark", out.String())
	}
	for _, r := range []row{{bar: 1.9}, {bar: 0.6, faster: true}} {
		tab.ok = true
		if tab.ratio(r, 4, 2); tab.ok {
			t.Errorf("%+v: a bar that does not hold was let through", r)
		}
	}
	tab.ok = true
	if err := tab.figures([]figure{{unit: "us", bar: 1, measure: func(int) (float64, error) { return 1.01, nil }}}); err != nil || tab.ok {
		t.Errorf("a figure over its bar was let through: %v", err)
	}
	for _, c := range []struct {
		got, machine float64
		want         bool
	}{{1.5, 2, true}, {1.49, 2, false}, {1.49, 2.1, false}, {1.45, 1.9, true}, {1.4, 1.9, false}, {1.1, 1.6, true}} {
		tab.ok = true
		if tab.worth(row{bar: 1.5, faster: true}, 100, 100*c.got, c.machine); tab.ok != c.want {
			t.Errorf("%v where two processors are worth %v: got %v, want %v", c.got, c.machine, tab.ok, c.want)
		}
	}
}

// TestSharing shares a key with a small crowd: everyone gets it, through
// either store, and the parts that are compared are measured.
func TestSharing(t *testing.T) {
	s, err := measureSharing(t.Context(), 12, 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.fresh.cpu < s.rawFresh.cpu || s.again.cpu < s.rawAgain.cpu || s.rawAgain.cpu <= 0 {
		t.Errorf("got %+v, want that the SDK takes more than the cryptography in it", s)
	}
	if one, two, worth, err := measureWorkers(t.Context(), 60, 1); err != nil || one <= 0 || two <= 0 || worth <= 0 {
		t.Errorf("got %v, %v and %v, %v", one, two, worth, err)
	}
}

func TestFigures(t *testing.T) {
	town, err := newTown(newP256, 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() (func() error, error){
		"again": town.verifiedAgain, "first": town.verifiedFirst, "issue": town.issuing, "seal": town.sealing(2), "open": town.opening(2),
	} {
		if us, err := micros(f, 1)(1); err != nil || us < 0 {
			t.Errorf("%s: got %v us, %v", name, us, err)
		}
	}
	if kb, err := streamMemory(1); err != nil || kb <= 0 || kb > 1000 {
		t.Errorf("a stream takes %v KB, %v, want at most 1000", kb, err)
	}
}
