package main

import (
	"errors"
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
	if verdict(true) != "" || verdict(false) == "" || (row{}).stretchText() != "-" || (row{stretch: .25}).stretchText() != "0.25" {
		t.Error("the table marks the wrong rows")
	}
}
