package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// buildQuintad builds the program that is measured.
func buildQuintad() (string, error) {
	return program.Build(".", "./cmd/quintad", "quintad", "-trimpath")
}

// A process is a running quintad.
type process struct {
	cmd *exec.Cmd
	// addr and admin are "host:port".
	addr, admin string
	// startup is how long it took until it was ready.
	startup time.Duration

	mu   sync.Mutex
	last []string
	read sync.WaitGroup
}

const (
	readyTime = 60 * time.Second
	stopTime  = 15 * time.Second
)

// start starts quintad and returns when it is ready.
func start(ctx context.Context, path string, args ...string) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--name", serverName, "--registration", "open", "--rate-limits", "off"}, args...)...)}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := errors.Join(p.cmd.Start(), w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	ready := make(chan struct{})
	p.read.Go(func() {
		defer r.Close()
		p.follow(r, ready)
	})
	select {
	case <-ready:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), p.kill())
	case <-time.After(readyTime):
		return nil, errors.Join(errors.New("quintad is not ready"), p.kill())
	}
	p.startup = time.Since(began)
	if p.addr == "" {
		return nil, errors.Join(fmt.Errorf("quintad ended:\n%s", p.log()), p.kill())
	}
	return p, nil
}

// follow reads what the server writes; ready is closed at its line "ready" or
// at its end.
func (p *process) follow(r *os.File, ready chan struct{}) {
	once := sync.OnceFunc(func() { close(ready) })
	defer once()
	for s := bufio.NewScanner(r); s.Scan(); {
		line := s.Text()
		if u, ok := strings.CutPrefix(line, "quintad: admin http://"); ok {
			p.admin = u
		}
		if u, ok := strings.CutPrefix(line, "quintad: ready http://"); ok {
			p.addr = u
			once()
		}
		p.mu.Lock()
		p.last = append(p.last[max(0, len(p.last)-50):], line)
		p.mu.Unlock()
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, "\n")
}

// kill ends the server at once.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	var status *exec.ExitError
	if werr := p.cmd.Wait(); werr != nil && !errors.As(werr, &status) {
		err = errors.Join(err, werr)
	}
	p.read.Wait()
	return err
}

// stop ends the server in order.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, p.kill())
	}
	late := time.AfterFunc(stopTime, func() {
		if err := p.cmd.Process.Kill(); err == nil {
			logf("quintad did not stop in %s", stopTime)
		}
	})
	defer late.Stop()
	err := p.cmd.Wait()
	p.read.Wait()
	if err != nil {
		return fmt.Errorf("quintad ended with %w:\n%s", err, p.log())
	}
	return nil
}

// cpu returns the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	st, err := statOf(p.cmd.Process.Pid)
	return st.own, err
}

// A procStat is what /proc says of a process.
type procStat struct {
	parent int
	// own is its processor time, children that of children it waited for.
	own, children time.Duration
}

// tick is the unit of processor time in /proc: 1/100 s on Linux.
const tick = 10 * time.Millisecond

// statOf reads /proc/PID/stat (proc(5)).
func statOf(pid int) (procStat, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(string(b))
}

func parseStat(s string) (procStat, error) {
	// The name in parentheses may hold anything.
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 15 {
		return procStat{}, errors.New("/proc/PID/stat is too short")
	}
	var n [5]int64
	for i, at := range []int{1, 11, 12, 13, 14} {
		var err error
		if n[i], err = strconv.ParseInt(f[at], 10, 64); err != nil {
			return procStat{}, err
		}
	}
	return procStat{int(n[0]), time.Duration(n[1]+n[2]) * tick, time.Duration(n[3]+n[4]) * tick}, nil
}

// machineCPU returns the processor time that all programs have used, and how
// much there was (proc(5), /proc/stat).
func machineCPU() (busy, whole time.Duration, err error) {
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

// memory returns the resident memory of the process in bytes.
func (p *process) memory() (int64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), "VmRSS:")
	if !ok {
		return 0, errors.New("/proc/PID/status has no VmRSS")
	}
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kb << 10, err
}

// metric reads one value without labels from the server's metrics.
func (p *process) metric(name string) (float64, error) {
	c := http.Client{Timeout: callTime}
	resp, err := c.Get("http://" + p.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	return metricOf(string(b), name)
}

func metricOf(text, name string) (float64, error) {
	for line := range strings.SplitSeq(text, "\n") {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("the server has no metric %s", name)
}
