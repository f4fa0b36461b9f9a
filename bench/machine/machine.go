// Package machine says of the machine on which benchmarks run what it is and
// how busy it is, and runs and measures the programs of Quinta as processes.
//
// What is read below /proc is there on Linux only.
package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Name names the class of the machine, and nothing by which it is known.
func Name() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH)
}

// LoadAverage returns how many processes wanted a processor in the last
// minute, or 0 if nothing tells it.
func LoadAverage() float64 {
	var v float64
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if _, err := fmt.Sscan(string(b), &v); err != nil {
			return 0
		}
	}
	return v
}

// A Stat is what /proc says of a process.
type Stat struct {
	Parent int
	// Own is its processor time, Children that of children it waited for.
	Own, Children time.Duration
}

// tick is the unit of processor time in /proc: 1/100 s on Linux.
const tick = 10 * time.Millisecond

// StatOf reads /proc/PID/stat (proc(5)).
func StatOf(pid int) (Stat, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Stat{}, err
	}
	return parseStat(string(b))
}

func parseStat(s string) (Stat, error) {
	// The name in parentheses may hold anything.
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 15 {
		return Stat{}, errors.New("/proc/PID/stat is too short")
	}
	var n [5]int64
	for i, at := range []int{1, 11, 12, 13, 14} {
		var err error
		if n[i], err = strconv.ParseInt(f[at], 10, 64); err != nil {
			return Stat{}, err
		}
	}
	return Stat{int(n[0]), time.Duration(n[1]+n[2]) * tick, time.Duration(n[3]+n[4]) * tick}, nil
}

// CPU returns the processor time that all programs have used, and how
// much there was (proc(5), /proc/stat).
func CPU() (busy, whole time.Duration, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, errors.New("/proc/stat does not begin with the sum of all processors")
	}
	for i, v := range f[1:9] {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		whole += time.Duration(n) * tick
		if i != 3 && i != 4 { // idle, and waiting for a disk
			busy += time.Duration(n) * tick
		}
	}
	return busy, whole, nil
}

// Memory returns the resident memory of a process in bytes.
func Memory(pid int) (int64, error) { return status(pid, "VmRSS:") }

// Peak returns the most resident memory that a process has had since its
// program began, in bytes. What wait(2) says of it counts the parent too.
func Peak(pid int) (int64, error) { return status(pid, "VmHWM:") }

// status reads a size from /proc/PID/status (proc(5)).
func status(pid int, name string) (int64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), name)
	if !ok {
		return 0, fmt.Errorf("/proc/PID/status has no %s", name)
	}
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kb << 10, err
}

// Keep writes a page of results into a folder, under the day and its name.
func Keep(folder, name, text string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, time.Now().UTC().Format(time.DateOnly)+"-"+name+".md"), []byte(text), 0o644)
}
