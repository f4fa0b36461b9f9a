// Package quintad runs the real quintad as a test's server: the program
// itself, built from this tree, in a process of its own. [Start] gives a
// server that is ready; it can be killed, stopped and started again on the
// same data and the same port. A test that wants the server inside its own
// process uses package quintatest instead.
package quintad

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/keeper"
)

// ReadyIn bounds the time from starting the program to its line "ready". It
// is generous because many servers start side by side in a test run; what a
// start may cost is measured elsewhere, with Server.Started.
const ReadyIn = 2 * time.Minute

// StopIn bounds an orderly end: the server promises ten seconds.
const StopIn = 12 * time.Second

// Config says which server to run. The zero value is one on SQLite, with
// registration open and without limits of rate.
type Config struct {
	// Data is the data folder; empty means a new one.
	Data string
	// Database is a postgres:// URL; empty means SQLite in Data.
	Database string
	// Media is the folder of the files, which nodes of one database share;
	// empty means a folder in Data.
	Media string
	// Name is the server's Matrix name; empty means hs1.
	Name string
	// Args come after the arguments made from the rest.
	Args []string
	// Prepare, if not nil, changes the command before it is started: a limit
	// on its resources, another user.
	Prepare func(*exec.Cmd)
}

// A Server is a quintad process, or between Kill9 or Stop and Restart the
// place of one.
type Server struct {
	tb     testing.TB
	conf   Config
	addr   string
	cmd    *exec.Cmd
	keeper *keeper.Keeper
	// Started is how long the last start took until the server was ready.
	Started time.Duration
	log     *lines
}

// Start builds quintad if this test binary has not, starts it on a free port
// and returns when it is ready. The server is killed when the test ends.
func Start(tb testing.TB, c Config) *Server {
	tb.Helper()
	if c.Data == "" {
		c.Data = tb.TempDir()
	}
	if c.Media == "" {
		c.Media = filepath.Join(c.Data, "media")
	}
	if c.Name == "" {
		c.Name = "hs1"
	}
	s := &Server{tb: tb, conf: c, addr: "127.0.0.1:0", log: &lines{}}
	tb.Cleanup(func() {
		if s.cmd != nil {
			s.Kill9()
		}
		if tb.Failed() {
			tb.Logf("quintad wrote:\n%s", s.log.end(shown))
		}
	})
	s.Restart()
	return s
}

// URL returns the base URL of the server, without a final slash.
func (s *Server) URL() string { return "http://" + s.addr }

// Config returns what the server was started with.
func (s *Server) Config() Config { return s.conf }

// PID returns the id of the running process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log returns the end of what all processes of this server wrote.
func (s *Server) Log() string { return s.log.String() }

// Restart starts the server again after Kill9 or Stop, on the same data and
// port, and returns when it is ready.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.start(); err != nil {
		s.tb.Fatalf("starting quintad: %v\n%s", err, s.Log())
	}
}

// Kill9 kills the process at once and returns when it is gone.
func (s *Server) Kill9() {
	s.tb.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.tb.Fatalf("killing quintad: %v", err)
	}
	var status *exec.ExitError
	if err := s.gone(); err != nil && !errors.As(err, &status) {
		s.tb.Fatalf("waiting for quintad: %v", err)
	}
}

// Stop ends the process with SIGTERM; it must end well and in time.
func (s *Server) Stop() {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.tb.Fatalf("stopping quintad: %v", err)
	}
	late := time.AfterFunc(StopIn, func() {
		s.tb.Errorf("quintad did not end in %s", StopIn)
		// Only a process that has ended meanwhile cannot be killed.
		var _ = s.cmd.Process.Kill()
	})
	defer late.Stop()
	if err := s.gone(); err != nil {
		s.tb.Errorf("quintad ended with %v, want status 0\n%s", err, s.Log())
	}
}

// gone waits for the process and lets its keeper go.
func (s *Server) gone() error {
	err := s.cmd.Wait()
	s.cmd = nil
	s.log.wait()
	return errors.Join(err, s.keeper.Release())
}

// Command runs another command of the program on this server, which runs, and
// returns what it prints.
func (s *Server) Command(args ...string) string {
	s.tb.Helper()
	program, err := build()
	if err != nil {
		s.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.tb.Context(), ReadyIn)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append(args, s.store()...)...).CombinedOutput()
	if err != nil {
		s.tb.Fatalf("quintad %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// args returns the command line.
func (s *Server) args() []string {
	args := append([]string{"serve", "--listen", s.addr, "--registration", "open", "--rate-limits", "off"}, s.store()...)
	return append(args, s.conf.Args...)
}

// store returns the arguments that name the store, for any command.
func (s *Server) store() []string {
	args := []string{"--data", s.conf.Data, "--name", s.conf.Name}
	if s.conf.Database != "" {
		args = append(args, "--database", s.conf.Database, "--blobs", "file://"+filepath.ToSlash(s.conf.Media),
			"--secrets", "file://"+filepath.ToSlash(s.conf.Media)+".secrets.key")
	}
	return args
}

// outlived kills the server if the test binary ends without having done so.
// Released in order, the server's process is gone and $1 is only a number of
// the past, so the script looks whether it is still a quintad.
const outlived = `read -r _
case "$(ps -o args= -p "$1" 2>/dev/null)" in
*quintad*) kill -9 "$1" ;;
esac
`

// start starts the process and reads until it says that it is ready.
func (s *Server) start() error {
	program, err := build()
	if err != nil {
		return err
	}
	out, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, s.args()...)
	cmd.Stdout, cmd.Stderr = w, w
	if s.conf.Prepare != nil {
		s.conf.Prepare(cmd)
	}
	begin := time.Now()
	err = cmd.Start()
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, out.Close())
	}
	s.cmd = cmd
	s.keeper, err = keeper.Start(nil, nil, outlived, strconv.Itoa(cmd.Process.Pid))
	if err != nil {
		return err
	}
	ready := s.log.follow(out)
	select {
	case line := <-ready:
		s.Started = time.Since(begin)
		return s.heard(line)
	case <-time.After(ReadyIn):
		return fmt.Errorf("not ready after %s", ReadyIn)
	}
}

// heard takes the address from the ready line; an empty line means that the
// process ended without one.
func (s *Server) heard(line string) error {
	if line == "" {
		err := s.gone()
		return fmt.Errorf("quintad ended before it was ready: %w", err)
	}
	u, err := url.Parse(line)
	if err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "0" {
		return fmt.Errorf("the ready line names the address %q", u.Host)
	}
	s.addr = u.Host
	return nil
}

const (
	// kept is how many lines of the server's log [Server.Log] has.
	kept = 400
	// shown is how many of them a failed test shows, so that its own message
	// before them stays in sight.
	shown = 40
)

// lines keeps the last lines of a log.
type lines struct {
	mu   sync.Mutex
	last []string
	done sync.WaitGroup
}

// follow reads out to its end. The channel gets the URL of the ready line, or
// an empty string if there is none.
func (l *lines) follow(out io.ReadCloser) <-chan string {
	ready := make(chan string, 1)
	l.done.Go(func() {
		defer close(ready)
		defer out.Close()
		said := false
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				l.add(line)
			}
			if u, ok := strings.CutPrefix(line, "quintad: ready "); ok && !said {
				said = true
				ready <- u
			}
			if err != nil {
				return
			}
		}
	})
	return ready
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) >= kept {
		l.last = append(l.last[:0], l.last[1:]...)
	}
	l.last = append(l.last, line)
}

// wait returns when all that the ended process wrote has been read.
func (l *lines) wait() { l.done.Wait() }

func (l *lines) String() string { return l.end(kept) }

// end returns the last n lines.
func (l *lines) end(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last[max(0, len(l.last)-n):], "\n")
}
