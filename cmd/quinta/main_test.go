package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/quintatest"
)

// runProgram runs the program with a home of its own.
func runProgram(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	home := t.TempDir()
	a := &app{in: strings.NewReader(""), out: &o, err: &e, env: e2ee.Env{Now: time.Now, Rand: rand.Reader}, getenv: func(k string) string {
		if k == "QUINTA_HOME" {
			return home
		}
		return ""
	}}
	return a.main(context.Background(), args), o.String(), e.String()
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range commands() {
		if seen[c.Name] || c.Prepare == nil || c.Short == "" || len(c.Short) > 64 || !strings.Contains(c.Long, "\nExample: ") {
			t.Errorf("%s: listed twice, or without a short line or an example", c.Name)
		}
		seen[c.Name] = true
		for _, args := range [][]string{{c.Name, "--help"}, {"help", c.Name}} {
			code, out, _ := runProgram(t, args...)
			if code != 0 || !strings.HasPrefix(out, "usage: quinta "+c.Name) {
				t.Errorf("%q: got %d %q", args, code, out)
			}
		}
		for _, line := range strings.Split(c.Long, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: a line of the help has %d characters: %q", c.Name, len(line), line)
			}
		}
		for _, f := range flagsOf(c) {
			if !strings.Contains(c.Long+common, f) {
				t.Errorf("%s: the help does not mention %s", c.Name, f)
			}
		}
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--json", "accounts", "default", "@x:y"}, {"accounts", "--json", "default", "@x:y"}, {"accounts", "default", "@x:y", "--json"},
	} {
		code, out, _ := runProgram(t, args...)
		if want := args[0] != "--json"; (code == exitLogin) != want || strings.HasPrefix(out, `{"v":1,"type":"error","code":4,`) != want {
			t.Errorf("%q: got %d %q", args, code, out)
		}
	}
	if code, out, errs := runProgram(t, "accounts", "--", "--json"); code != exitMisused || out != "" || !strings.Contains(errs, "default ID") {
		t.Errorf("after --: got %d %q %q", code, out, errs)
	}
	if code, _, errs := runProgram(t, "send", "--notcie", "x"); code != exitMisused || !strings.Contains(errs, "did you mean --notice?") {
		t.Errorf("an unknown flag: got %d %q", code, errs)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for kind, want := range map[quinta.Kind]int{
		quinta.KindUnauthenticated: exitLogin, quinta.KindUnavailable: exitNetwork, quinta.KindLimited: exitNetwork,
		quinta.KindNotFound: exitNotFound, quinta.KindForbidden: exitFailed, quinta.KindInternal: exitFailed,
	} {
		if got, _ := verdict(quinta.E(kind, "x", "y")); got != want {
			t.Errorf("%v: got %d, want %d", kind, got, want)
		}
	}
	for err, want := range map[error]int{
		quinta.E(quinta.KindUnavailable, "verifying", "the other side did not answer"):                                           exitNetwork,
		&quinta.Error{Kind: quinta.KindForbidden, Op: "sending", Err: fmt.Errorf("matrix: %w: @bob:x", e2ee.ErrIdentityChanged)}: exitNotTrusted,
		&quinta.Error{Kind: quinta.KindForbidden, Op: "verifying", Err: fmt.Errorf("%w: other words", client.ErrMismatch)}:       exitNotTrusted,
	} {
		if got, hint := verdict(err); got != want || hint == "" {
			t.Errorf("%v: got %d, hint %q, want %d and a hint", err, got, hint, want)
		}
	}
	if len(exitText) != exitNotFound+1 {
		t.Errorf("the manual has %d exit codes, want %d", len(exitText), exitNotFound+1)
	}
	doc, err := os.ReadFile("../../doc/json.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range quinta.Reasons {
		if !strings.Contains(string(doc), "`"+string(r)+"`") {
			t.Errorf("doc/json.md does not speak of %s", r)
		}
	}
	for _, w := range quinta.Weaknesses {
		if !strings.Contains(string(doc), "`"+string(w)+"`") {
			t.Errorf("doc/json.md does not mention the weakness %s", w)
		}
	}
	for _, kind := range e2ee.EventKinds() {
		if !strings.Contains(string(doc), "`"+kind.String()+"`") {
			t.Errorf("doc/json.md does not mention the type %s", kind)
		}
	}
}

func TestErrorsInJSON(t *testing.T) {
	t.Parallel()
	code, out, errs := runProgram(t, "rooms", "--json")
	var l struct {
		V    int
		Type string
		Code int
	}
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.V != jsonVersion || l.Type != "error" || l.Code != exitLogin || code != exitLogin || errs == "" {
		t.Errorf("got %d %q %q (%v)", code, out, errs, err)
	}
}

// TestEveryEventIsTold: tail gives every event a type in JSON, and tells people
// what they must know.
func TestEveryEventIsTold(t *testing.T) {
	t.Parallel()
	silent := []e2ee.EventKind{e2ee.EventVerification, e2ee.EventDevice, e2ee.EventRoom, e2ee.EventReceipt, e2ee.EventSent}
	for _, kind := range e2ee.EventKinds() {
		e := e2ee.Event{Kind: kind, User: "@bob:x", Device: "B1", Detail: "detail", Message: quinta.Message{Room: "!r:x", ID: "$1", Text: "text"}}
		if kind == e2ee.EventUndecryptable {
			e.Reason = quinta.ReasonNoKeyYet
		}
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs}
		a.tell("@alice:x", e)
		if said := out.Len()+errs.Len() > 0; said == slices.Contains(silent, kind) {
			t.Errorf("%s: got %q %q", kind, out.String(), errs.String())
		}
		out.Reset()
		a.opt.json = true
		a.tell("@alice:x", e)
		var l head
		if err := json.Unmarshal(out.Bytes(), &l); err != nil || l.Type != kind.String() || l.V != jsonVersion {
			t.Errorf("%s: got %q (%v)", kind, out.String(), err)
		}
	}
}

// TestTerminalIsSafe: what others write must not steer the terminal.
func TestTerminalIsSafe(t *testing.T) {
	t.Parallel()
	evil := "a\x1b[2Jb\rc\x07\u202etxt\u2066\x9b31m\u0085"
	for _, s := range []string{printable(evil), oneLine(evil + "\nsecond line")} {
		for _, r := range s {
			if r < 0x20 && r != '\n' && r != '\t' || r == 0x9b || r == 0x202e || r == 0x2066 || r == 0x85 {
				t.Errorf("%q holds %U", s, r)
			}
		}
	}
	if strings.Contains(oneLine("a\nb"), "\n") {
		t.Error("one line has two")
	}
	if got := printable("olá 🌳\n\tx"); got != "olá 🌳\n\tx" {
		t.Errorf("harmless text was changed: %q", got)
	}
}

func TestSafeName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"photo.jpg": "photo.jpg", "../../etc/passwd": "passwd", `..\..\x.exe`: "x.exe", "/etc/shadow": "shadow", ".bashrc": "bashrc",
		"": "file", "..": "file", "-rf": "rf", "a/b\nc": "b c",
	} {
		if got := safeName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSecretsAreNoArguments(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		for _, f := range flagsOf(c) {
			if strings.Contains(f, "password") && f != "--password-fd" || strings.Contains(f, "passphrase") && f != "--passphrase-fd" && f != "--passphrase" {
				t.Errorf("%s takes a secret as %s", c.Name, f)
			}
		}
	}
	code, _, errs := runProgram(t, "login", "matrix", quintatest.Start(t).URL, "alice")
	if code != exitMisused || !strings.Contains(errs, "no terminal") {
		t.Errorf("without a terminal: got %d %q", code, errs)
	}
}

// TestPolicyNeedsTheStore: the policies of a device do not change under a
// session that runs.
func TestPolicyNeedsTheStore(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dir := filepath.Join(home, "accounts", "matrix-a")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ac := &account{Network: "matrix", User: "@a:hs1", Device: "A", Server: "http://127.0.0.1:1", Key: keyByFile, dir: dir}
	if err := ac.save(dir); err != nil {
		t.Fatal(err)
	}
	k, err := sqlite.KeyFile(filepath.Join(home, "key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(ac.store(), k)
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := runProgram(t, "policy", "verified-only", "--home", home)
	if code != exitFailed || out != "" || !strings.Contains(errs, "in use by another process") {
		t.Errorf("the store is in use: got %d %q %q", code, out, errs)
	}
	if _, out, _ := runProgram(t, "policy", "--home", home); !strings.HasPrefix(out, "policies: none;") {
		t.Errorf("got %q, want no change", out)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runProgram(t, "policy", "verified-only", "--home", home); code != 0 || !strings.HasPrefix(out, "policies: verified-only;") {
		t.Errorf("the store is free: got %d %q %q", code, out, errs)
	}
}
