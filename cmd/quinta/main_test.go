package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// run runs the program with a home of its own.
func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	home := t.TempDir()
	a := &app{in: strings.NewReader(""), out: &o, err: &e, env: e2ee.Env{Now: time.Now}, getenv: func(k string) string {
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
		if seen[c.name] || c.run == nil || c.short == "" || c.long == "" {
			t.Errorf("%s: there twice, or without text or run", c.name)
		}
		seen[c.name] = true
		code, out, _ := run(t, c.name, "--help")
		if code != 0 || !strings.HasPrefix(out, "usage: quinta "+c.name) {
			t.Errorf("%s --help: got %d %q", c.name, code, out)
		}
		for _, line := range strings.Split(c.long, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: a line of the help has %d characters: %q", c.name, len(line), line)
			}
		}
		if c.flags == nil {
			continue
		}
		for _, f := range flagsOf(c) {
			if !strings.Contains(c.long+common, f) && f != "--json" {
				t.Errorf("%s: the help does not speak of %s", c.name, f)
			}
		}
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	t.Parallel()
	a := &app{getenv: func(string) string { return "" }}
	rest, err := a.parse(sendCommand, []string{"garden", "--notice", "hi", "--reply", "$1"})
	if err != nil || strings.Join(rest, " ") != "garden hi" || !a.opt.notice || a.opt.reply != "$1" {
		t.Errorf("got %q %+v, %v", rest, a.opt, err)
	}
	rest, err = a.parse(sendCommand, []string{"garden", "--", "--notice"})
	if err != nil || strings.Join(rest, " ") != "garden --notice" || a.opt.notice {
		t.Errorf("behind --: got %q %+v, %v", rest, a.opt, err)
	}
	if _, err = a.parse(sendCommand, []string{"--nothing"}); err == nil {
		t.Error("an unknown flag was accepted")
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
	for _, kind := range e2ee.EventKinds() {
		if !strings.Contains(string(doc), "`"+kind.String()+"`") {
			t.Errorf("doc/json.md does not mention the type %s", kind)
		}
	}
}

func TestErrorsInJSON(t *testing.T) {
	t.Parallel()
	code, out, errs := run(t, "rooms", "--json")
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
				t.Errorf("%s takes a secret as %s", c.name, f)
			}
		}
	}
	code, _, errs := run(t, "login", "matrix", "http://127.0.0.1:1", "alice")
	if code != exitMisused || !strings.Contains(errs, "no terminal") {
		t.Errorf("without a terminal: got %d %q", code, errs)
	}
}
