//go:build peers

package matrix_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/program"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// buildQuinta builds the command-line client once.
var buildQuinta = sync.OnceValues(func() (string, error) { return program.Own("quinta") })

// cottage is a house on SQLite, with one node.
func cottage(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	s := quintad.Start(t, quintad.Config{})
	return &house{t, s, s, clients.Start(t)}
}

// A seat is one device of a user with the program quinta, in a home of its
// own.
type seat struct {
	t    *testing.T
	home string
	env  []string

	User quinta.UserID
	ID   quinta.DeviceID
}

// A said is one line of what quinta prints with --json: the members that the
// stories look at.
type said struct {
	V         int
	Type      string
	Room      quinta.RoomID
	ID        quinta.MessageID
	User      quinta.UserID
	Sender    quinta.UserID
	Device    quinta.DeviceID
	Text      string
	Kind      string
	Encrypted bool
	Reason    quinta.Reason
	Weakness  quinta.Weakness
	Code      int
	Error     string
	Keys      int
}

// sits makes a device of an account; how is "register" or "login".
func (h *house) sits(how, name string) *seat {
	h.t.Helper()
	return h.sitsAt(h.node(name).URL(), how, name)
}

// sitsAt is sits for who knows the server under another address.
func (h *house) sitsAt(url, how, name string) *seat {
	h.t.Helper()
	a := h.account(name)
	a.Server = url
	s := &seat{t: h.t, home: h.t.TempDir()}
	s.env = append(os.Environ(), "QUINTA_HOME="+s.home, "QUINTA_PASSWORD="+a.Password, "QUINTA_EXPORT_PASSPHRASE="+passphrase)
	in := s.does(how, "matrix", a.Server, name)
	s.User, s.ID = quinta.UserID(accountOf(h.t, in.raw)), in.last().Device
	return s
}

// recovery makes a key backup, with secret storage, and returns its recovery
// key.
func (s *seat) recovery(flags ...string) string {
	s.t.Helper()
	o := s.does(append([]string{"keys", "backup", "create"}, flags...)...)
	var l struct {
		Key string `json:"recovery_key"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(o.raw), &l); err != nil || l.Key == "" {
		s.t.Fatalf("got %d bytes without a recovery key, %v", len(o.raw), err)
	}
	return l.Key
}

// unlocks takes the identity and the backup with a recovery key or passphrase.
func (s *seat) unlocks(recovery string) *seat {
	s.t.Helper()
	s.env = append(s.env, "QUINTA_RECOVERY_KEY="+recovery)
	s.does("keys", "backup", "unlock")
	return s
}

// passphrase seals the files of keys.
const passphrase = "horse staple for the keys"

func accountOf(t *testing.T, raw []byte) string {
	t.Helper()
	var l struct{ Account string }
	if err := json.Unmarshal(raw, &l); err != nil || l.Account == "" {
		t.Fatalf("got %s from a login, want one account (%v)", raw, err)
	}
	return l.Account
}

// An output is what one command printed.
type output struct {
	raw   []byte
	lines []said
	code  int
}

func (o output) last() said {
	if len(o.lines) == 0 {
		return said{}
	}
	return o.lines[len(o.lines)-1]
}

// runs runs one command to its end.
func (s *seat) runs(in io.Reader, args ...string) output {
	s.t.Helper()
	path, err := buildQuinta()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), driver.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(args, "--json")...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stderr = s.env, in, &stderr
	raw, err := cmd.Output()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		s.t.Fatalf("quinta %s: %v", args[0], err)
	}
	out := output{raw: raw, code: cmd.ProcessState.ExitCode()}
	for line := range bytes.Lines(raw) {
		var l said
		if err := json.Unmarshal(line, &l); err != nil || l.V != 1 {
			s.t.Fatalf("quinta %s printed %q, want objects of version 1 (%v)", args[0], line, err)
		}
		out.lines = append(out.lines, l)
	}
	if out.code != 0 && (out.last().Type != "error" || out.last().Code != out.code || stderr.Len() == 0) {
		s.t.Fatalf("quinta %s ended with %d after %s, want an error line with it", args[0], out.code, raw)
	}
	return out
}

// does runs a command that has to succeed.
func (s *seat) does(args ...string) output {
	s.t.Helper()
	o := s.runs(nil, args...)
	if o.code != 0 {
		s.t.Fatalf("quinta %s: %s", clip(strings.Join(args, " ")), o.last().Error)
	}
	return o
}

// fails runs a command that has to fail with code.
func (s *seat) fails(code int, args ...string) {
	s.t.Helper()
	if o := s.runs(nil, args...); o.code != code {
		s.t.Fatalf("quinta %s: got code %d, %s, want %d", args[0], o.code, o.last().Error, code)
	}
}

// writes sends a text from standard input, so that it may be of any length.
func (s *seat) writes(room quinta.RoomID, text string) quinta.MessageID {
	s.t.Helper()
	o := s.runs(strings.NewReader(text+"\n"), "send", string(room), "-")
	if o.code != 0 || o.last().Type != "sent" {
		s.t.Fatalf("quinta send: %+v", o.last())
	}
	return o.last().ID
}

// reads returns what the room holds, the oldest first, also what cannot be
// read.
func (s *seat) reads(room quinta.RoomID) []said {
	s.t.Helper()
	o := s.runs(nil, "read", string(room), "--limit", "500")
	var all []said
	for _, l := range o.lines {
		if l.Type == "message" || l.Type == "unreadable" {
			all = append(all, l)
		}
	}
	if o.code != 0 && o.code != 6 {
		s.t.Fatalf("quinta read: %s", o.last().Error)
	}
	return all
}

// holds checks that each of the texts stands in the room exactly once, that
// each list stands in its order, and that nothing is unreadable but what was
// said before this user came.
func (s *seat) holds(room quinta.RoomID, texts ...[]string) {
	s.t.Helper()
	at := map[string][]int{}
	for i, l := range s.reads(room) {
		if l.Type == "unreadable" {
			if l.Reason != quinta.ReasonNotAMemberThen {
				s.t.Errorf("%s has %+v, want it readable", s.User, l)
			}
			continue
		}
		at[l.Text] = append(at[l.Text], i)
		if !l.Encrypted || l.Weakness != "" {
			s.t.Errorf("got %+v, want it encrypted and not weak", l)
		}
	}
	for _, of := range texts {
		before := -1
		for _, text := range of {
			if n := len(at[text]); n != 1 {
				s.t.Errorf("%s has %q %d times, want once", s.User, clip(text), n)
			} else if at[text][0] < before {
				s.t.Errorf("%s has %q before what was written earlier", s.User, clip(text))
			} else {
				before = at[text][0]
			}
		}
	}
}

// file is a path in a folder of the seat.
func (s *seat) file(name string) string { return filepath.Join(s.home, name) }

// A tail is a running "quinta tail".
type tail struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan said
	ended chan struct{}
	// shown are the messages that it has printed, in order.
	shown []said
}

// tails starts "quinta tail".
func (s *seat) tails() *tail {
	s.t.Helper()
	path, err := buildQuinta()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(path, "tail", "--json")
	cmd.Env = s.env
	return s.follows(cmd)
}

// follows starts a program that prints as "quinta tail" does, or nothing.
func (s *seat) follows(cmd *exec.Cmd) *tail {
	s.t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	l := &tail{t: s.t, cmd: cmd, lines: make(chan said, 10_000), ended: make(chan struct{})}
	go func() {
		defer close(l.lines)
		scan := bufio.NewScanner(out)
		scan.Buffer(make([]byte, 64<<10), 8<<20)
		for scan.Scan() {
			var line said
			if json.Unmarshal(scan.Bytes(), &line) != nil {
				return // half a line: it was killed while it wrote
			}
			l.lines <- line
		}
	}()
	s.t.Cleanup(l.kill9)
	return l
}

// until takes lines until one is as is says, and returns that.
func (l *tail) until(what string, is func(said) bool) said {
	l.t.Helper()
	late := time.NewTimer(driver.Patience)
	defer late.Stop()
	for {
		select {
		case line, ok := <-l.lines:
			if !ok {
				l.t.Fatalf("quinta tail ended before it printed %s", what)
			}
			l.keep(line)
			if is(line) {
				return line
			}
		case <-late.C:
			l.t.Fatalf("quinta tail did not print %s; it printed %d messages", what, len(l.shown))
		}
	}
}

func (l *tail) keep(line said) {
	if line.Type == "message" || line.Type == "unreadable" {
		l.shown = append(l.shown, line)
	}
}

// prints waits for a message with this id.
func (l *tail) prints(id quinta.MessageID) said {
	l.t.Helper()
	return l.until("message "+string(id), func(s said) bool { return s.Type == "message" && s.ID == id })
}

// kill9 kills it and takes the lines that it had printed.
func (l *tail) kill9() {
	select {
	case <-l.ended:
		return
	default:
		close(l.ended)
	}
	if err := l.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		l.t.Errorf("killing quinta tail: %v", err)
	}
	for line := range l.lines {
		l.keep(line)
	}
	var status *exec.ExitError
	if err := l.cmd.Wait(); err != nil && !errors.As(err, &status) {
		l.t.Errorf("waiting for quinta tail: %v", err)
	}
}
