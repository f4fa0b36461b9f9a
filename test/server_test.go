package test

import (
	"bufio"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	// readyIn bounds a start, stopIn an orderly end, which the server
	// promises in ten seconds.
	readyIn = 2 * time.Minute
	stopIn  = 12 * time.Second
)

// A server is a running quintad.
type server struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// serve starts the server. The port stays the same within a script.
func (s *stage) serve(ts *testscript.TestScript, args []string) {
	if s.server != nil {
		ts.Fatalf("a server runs already")
	}
	listen := ts.Getenv("ADDR")
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	path, err := exec.LookPath("quintad")
	if p := strings.SplitN(ts.Getenv("PATH"), string(os.PathListSeparator), 2)[0]; err != nil || p != "" {
		path = p + "/quintad"
	}
	cmd := exec.Command(path, append([]string{"serve", "--listen", listen}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "TMPDIR", "QUINTA_DATABASE", "QUINTA_CONFIG"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	r, w, err := os.Pipe()
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = w, w
	err = errors.Join(cmd.Start(), w.Close())
	ts.Check(err)
	s.server = &server{cmd: cmd, ended: make(chan struct{})}
	lines := make(chan string)
	go s.follow(s.server, r, lines)
	late := time.NewTimer(readyIn)
	defer late.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				s.server = nil
				ts.Fatalf("quintad ended before it was ready:\n%s", s.log())
			}
			if u, ok := strings.CutPrefix(line, "quintad: admin "); ok {
				ts.Setenv("ADMIN", u)
			}
			if network, addr, ok := strings.Cut(strings.TrimPrefix(line, "quintad: "), " tcp://"); ok && !strings.Contains(network, " ") {
				ts.Setenv(strings.ToUpper(network), "tcp://"+addr)
			}
			u, ok := strings.CutPrefix(line, "quintad: ready ")
			if !ok {
				continue
			}
			at, err := url.Parse(u)
			ts.Check(err)
			ts.Setenv("URL", u)
			ts.Setenv("ADDR", at.Host)
			go func() {
				for range lines { // the log goes on
				}
			}()
			return
		case <-late.C:
			ts.Fatalf("quintad is not ready after %s:\n%s", readyIn, s.log())
		}
	}
}

// follow keeps what a server writes and hands its lines on, until it ends.
func (s *stage) follow(srv *server, r *os.File, lines chan<- string) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		s.mu.Lock()
		s.said = append(append(s.said, sc.Text()...), '\n')
		s.mu.Unlock()
		lines <- sc.Text()
	}
	r.Close()
	srv.err = srv.cmd.Wait()
	close(srv.ended)
	close(lines)
}

func (s *stage) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.said)
}

// logged holds a pattern against the log.
func (s *stage) logged(ts *testscript.TestScript, args []string) {
	need(ts, args, 1)
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	if log := s.log(); !re.MatchString(log) {
		ts.Fatalf("no line of the log matches %s:\n%s", args[0], log)
	}
}

// quiet fails the script if a line of the log matches.
func (s *stage) quiet(ts *testscript.TestScript, args []string) {
	need(ts, args, 1)
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	if said := re.FindString(s.log()); said != "" {
		ts.Fatalf("the log holds %q", said)
	}
}

func (s *stage) term(ts *testscript.TestScript, _ []string) {
	srv := s.running(ts)
	ts.Check(srv.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-srv.ended:
	case <-time.After(stopIn):
		srv.kill()
		ts.Fatalf("quintad did not end in %s:\n%s", stopIn, s.log())
	}
	if srv.err != nil {
		ts.Fatalf("quintad ended with %v:\n%s", srv.err, s.log())
	}
}

func (s *stage) kill9(ts *testscript.TestScript, _ []string) { s.running(ts).kill() }

// running returns the server, which the script has no more afterwards.
func (s *stage) running(ts *testscript.TestScript) *server {
	srv := s.server
	if srv == nil {
		ts.Fatalf("no server runs")
	}
	s.server = nil
	return srv
}

func (s *server) kill() {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(err)
	}
	<-s.ended
}
