package machine

import (
	"os"
	"testing"
	"time"
)

func TestProc(t *testing.T) {
	t.Parallel()
	st, err := parseStat("17 (a) b (c)) S 5 17 17 0 -1 4194560 100 200 0 0 250 50 30 20 20 0 9 0 1")
	if err != nil || st.Parent != 5 || st.Own != 3*time.Second || st.Children != 500*time.Millisecond {
		t.Errorf("got %+v, %v", st, err)
	}
	if _, err := parseStat("17 (a) S 5"); err == nil {
		t.Error("half a line was read")
	}
	own, err := StatOf(os.Getpid())
	if err != nil || own.Parent != os.Getppid() {
		t.Errorf("got %+v, %v", own, err)
	}
	busy, whole, err := CPU()
	if err != nil || busy <= 0 || whole <= busy {
		t.Errorf("got %v of %v, %v", busy, whole, err)
	}
	if m, err := Memory(os.Getpid()); err != nil || m < 1<<20 {
		t.Errorf("got %d bytes, %v", m, err)
	}
	if m, err := Peak(os.Getpid()); err != nil || m < 1<<20 {
		t.Errorf("got %d bytes, %v", m, err)
	}
	if _, err := status(os.Getpid(), "VmNothing:"); err == nil {
		t.Error("a size that is not there was found")
	}
	if d, err := Own(); err != nil || d <= 0 {
		t.Errorf("got %v, %v", d, err)
	}
	if Name() == "" || LoadAverage() < 0 {
		t.Errorf("got %q, %v", Name(), LoadAverage())
	}
	v, err := metricOf("# HELP a b\na_total_x 1\na_total 2.5\n", "a_total")
	if err != nil || v != 2.5 {
		t.Errorf("got %v, %v", v, err)
	}
	if _, err := metricOf("", "a"); err == nil {
		t.Error("a metric that is not there was found")
	}
}

// TestServer starts the real server, looks at it, and ends it both ways.
func TestServer(t *testing.T) {
	t.Parallel()
	program, err := Quintad()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), program, "--data", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cpu, err := p.CPU()
	if err != nil || cpu <= 0 {
		t.Errorf("got %v, %v", cpu, err)
	}
	if m, err := p.Memory(); err != nil || m < 1<<20 {
		t.Errorf("got %d bytes, %v", m, err)
	}
	if v, err := p.Metric("go_goroutines"); err != nil || v < 1 {
		t.Errorf("got %v, %v", v, err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if p, err = Start(t.Context(), program, "--data", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if _, err := Start(t.Context(), program, "--no-such-flag"); err == nil {
		t.Error("got a server from arguments that it refuses")
	}
}
