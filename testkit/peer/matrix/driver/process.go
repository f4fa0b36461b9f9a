// Package driver runs a peer program that speaks JSON lines (one call a line
// on its standard input, one answer a line on its standard output) and gives
// a Matrix client in it the methods of a [Device]: what a test story says,
// such as alice.SendText(room, "hi") and bob.Read(room, "hi").
//
// The protocol is the same for every client make, so one story runs with each
// of them; packages jssdk and mautrix say which program to start. A call that
// a program does not know is an error and the test fails.
package driver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a call may take by default. Real clients wait between
// their own retries, and a busy machine stretches everything; nothing in a
// healthy story comes near it.
const Patience = 2 * time.Minute

// grace is how long after a call's own limit the program may be silent.
const grace = 10 * time.Second

// longestLine bounds one answer; the longest is a file in base64.
const longestLine = 256 << 20

// An Error is what the program answered instead of a result.
type Error struct {
	// Call is the method that failed, Device the client that failed it.
	Call, Device string
	// Message is the program's own text.
	Message string
	// Errcode and Status are the server's error code and HTTP status, if the
	// failure was an answer of the server.
	Errcode string
	Status  int
}

func (e *Error) Error() string {
	s := e.Device + "." + e.Call + ": " + e.Message
	if e.Errcode != "" || e.Status != 0 {
		s += fmt.Sprintf(" (%d %s)", e.Status, e.Errcode)
	}
	return s
}

// A Process is a running peer program. Its methods may be called from several
// goroutines.
type Process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	log *tail
	// read is closed after the last line of the program was read.
	read chan struct{}
	// result is what Wait returned.
	result error

	mu      sync.Mutex
	last    int64
	pending map[int64]chan<- answer
	ended   error
}

// An answer is one line out of the program.
type answer struct {
	ID      int64           `json:"id"`
	OK      bool            `json:"ok"`
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Errcode string          `json:"errcode"`
	Status  int             `json:"status"`
}

// A request is one line into the program.
type request struct {
	ID      int64  `json:"id"`
	Device  string `json:"device"`
	Call    string `json:"call"`
	Args    any    `json:"args,omitempty"`
	Timeout int64  `json:"timeout"`
}

// Start starts cmd. The program is killed when the test ends; if the test has
// failed by then, the end of what it wrote to standard error goes to the
// test's log.
func Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	p, err := Open(cmd)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		err := p.Close()
		if tb.Failed() {
			p.Tell(tb)
		}
		if err != nil {
			tb.Error(err)
		}
	})
	return p
}

// Open starts cmd, which runs until Close.
func Open(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, log: &tail{}, pending: map[int64]chan<- answer{}, read: make(chan struct{})}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a peer: %w", err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting a peer: %w", err)
	}
	defer w.Close()
	p.in, cmd.Stdout, cmd.Stderr = in, w, p.log
	// A child of the program could hold standard error open; its end is not
	// waited for.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, fmt.Errorf("starting a peer: %w", err)
	}
	go func() {
		defer close(p.read)
		defer out.Close()
		p.listen(out)
	}()
	return p, nil
}

// Close kills the program and waits for its end.
func (p *Process) Close() error {
	p.in.Close()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing a peer: %w", err)
	}
	p.result = p.cmd.Wait()
	<-p.read
	return nil
}

// Tell writes the end of the program's log to the log of a test.
func (p *Process) Tell(tb testing.TB) {
	tb.Logf("the peer (ended: %v) wrote:\n%s", p.result, p.log)
}

// listen hands each line of the program to the call that waits for it.
func (p *Process) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 64<<10), longestLine)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			p.end(fmt.Errorf("the peer wrote what is not an answer: %w", err))
			return
		}
		p.mu.Lock()
		to := p.pending[a.ID]
		delete(p.pending, a.ID)
		p.mu.Unlock()
		if to != nil {
			to <- a
		}
	}
	if err := lines.Err(); err != nil {
		p.end(err)
		return
	}
	p.end(errors.New("the peer ended"))
}

// end fails every call that waits and every later one.
func (p *Process) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = err
	for id, to := range p.pending {
		delete(p.pending, id)
		close(to)
	}
}

// Call runs one call of a device and decodes its result into result, unless
// that is nil. The error is an *[Error] if the program answered one.
func (p *Process) Call(device, call string, args, result any, limit time.Duration) error {
	wait := make(chan answer, 1)
	p.mu.Lock()
	if p.ended != nil {
		p.mu.Unlock()
		return fmt.Errorf("%s.%s: %w", device, call, p.ended)
	}
	p.last++
	id := p.last
	p.pending[id] = wait
	line, err := json.Marshal(request{ID: id, Device: device, Call: call, Args: args, Timeout: limit.Milliseconds()})
	if err == nil {
		_, err = p.in.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s.%s: %w", device, call, err)
	}
	late := time.NewTimer(limit + grace)
	defer late.Stop()
	select {
	case a, ok := <-wait:
		switch {
		case !ok:
			return fmt.Errorf("%s.%s: the peer ended", device, call)
		case !a.OK:
			return &Error{Call: call, Device: device, Message: a.Error, Errcode: a.Errcode, Status: a.Status}
		case result == nil:
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-late.C:
		return fmt.Errorf("%s.%s: no answer from the peer", device, call)
	}
}

// A tail keeps the last lines that were written to it.
type tail struct {
	mu   sync.Mutex
	last []string
	part []byte // the line that has not ended
}

// A failed test shows as many lines of a program's log, each cut at as many
// bytes: its own message stands before them and has to stay in sight.
const (
	tailLines = 40
	lineSize  = 300
)

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(b) {
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		t.part = append(t.part, text[:min(len(text), lineSize+1-min(len(t.part), lineSize+1))]...)
		if ended {
			t.last = append(t.last, clip(t.part))
			t.last = t.last[max(0, len(t.last)-tailLines):]
			t.part = t.part[:0]
		}
	}
	return len(b), nil
}

// clip makes one line of the log, cut to its size.
func clip(line []byte) string {
	if len(line) > lineSize {
		return string(bytes.ToValidUTF8(line[:lineSize], []byte("?"))) + "..."
	}
	return string(bytes.ToValidUTF8(line, []byte("?")))
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.last
	if len(t.part) > 0 {
		all = append(slices.Clone(all), clip(t.part))
	}
	return strings.Join(all, "\n")
}
