package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// Quintad builds the program that is measured.
func Quintad() (string, error) {
	return program.Own("quintad", "-trimpath")
}

// A Process is a running quintad.
type Process struct {
	cmd *exec.Cmd
	// Addr and Admin are "host:port".
	Addr, Admin string
	// Startup is how long it took until it was ready.
	Startup time.Duration

	mu   sync.Mutex
	last []string
	read sync.WaitGroup
}

// ServerName is the name of the server that is measured.
const ServerName = "bench"

const (
	readyTime  = 60 * time.Second
	stopTime   = 15 * time.Second
	metricTime = 60 * time.Second
)

// Start starts quintad on free ports, with open registration and without limits
// of rates, and returns when it is ready.
func Start(ctx context.Context, path string, args ...string) (*Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--name", ServerName, "--registration", "open", "--rate-limits", "off"}, args...)...)}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	bind(p.cmd)
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
		return nil, errors.Join(ctx.Err(), p.Kill())
	case <-time.After(readyTime):
		return nil, errors.Join(errors.New("quintad is not ready"), p.Kill())
	}
	p.Startup = time.Since(began)
	if p.Addr == "" {
		return nil, errors.Join(fmt.Errorf("quintad ended:\n%s", p.log()), p.Kill())
	}
	return p, nil
}

// follow reads what the server writes; ready is closed at its line "ready" or
// at its end.
func (p *Process) follow(r *os.File, ready chan struct{}) {
	once := sync.OnceFunc(func() { close(ready) })
	defer once()
	for s := bufio.NewScanner(r); s.Scan(); {
		line := s.Text()
		if u, ok := strings.CutPrefix(line, "quintad: admin http://"); ok {
			p.Admin = u
		}
		if u, ok := strings.CutPrefix(line, "quintad: ready http://"); ok {
			p.Addr = u
			once()
		}
		p.mu.Lock()
		p.last = append(p.last[max(0, len(p.last)-50):], line)
		p.mu.Unlock()
	}
}

func (p *Process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, "\n")
}

// Kill ends the server at once.
func (p *Process) Kill() error {
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

// Stop ends the server in order.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, p.Kill())
	}
	late := make(chan error, 1)
	timer := time.AfterFunc(stopTime, func() { late <- p.cmd.Process.Kill() })
	err := p.cmd.Wait()
	if !timer.Stop() {
		err = errors.Join(err, fmt.Errorf("quintad did not stop in %s", stopTime), <-late)
	}
	p.read.Wait()
	if err != nil {
		return fmt.Errorf("quintad ended with %w:\n%s", err, p.log())
	}
	return nil
}

// CPU returns the processor time that the process has used.
func (p *Process) CPU() (time.Duration, error) {
	st, err := StatOf(p.cmd.Process.Pid)
	return st.Own, err
}

// Memory returns the resident memory of the process in bytes.
func (p *Process) Memory() (int64, error) {
	return Memory(p.cmd.Process.Pid)
}

// Metric reads one value without labels from the server's metrics.
func (p *Process) Metric(name string) (float64, error) {
	c := http.Client{Timeout: metricTime}
	resp, err := c.Get("http://" + p.Admin + "/metrics")
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
