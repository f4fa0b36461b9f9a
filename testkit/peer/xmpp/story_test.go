//go:build peers

package xmpp_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/program"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
	"github.com/quinta-chat/quinta/testkit/peer/xmpphost"
)

// buildQuinta builds the client program once.
var buildQuinta = sync.OnceValues(func() (string, error) {
	return program.Own("quinta")
})

// A home is a person's home folder.
type home struct {
	t    *testing.T
	bin  string
	dir  string
	user string
}

// run runs the program and returns what it prints.
func (h *home) run(args ...string) (string, error) {
	h.t.Helper()
	cmd := exec.Command(h.bin, args...)
	cmd.Env = append(os.Environ(), "QUINTA_HOME="+h.dir, "QUINTA_PASSWORD="+password)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		h.t.Logf("quinta %s: %v: %s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), err
}

func (h *home) must(args ...string) string {
	h.t.Helper()
	out, err := h.run(args...)
	if err != nil {
		h.t.Fatal("a command failed")
	}
	return out
}

// TestStory: from nothing to an encrypted word beside an XMPP server, with the two
// programs: setting up, serving, two logins, a conversation, a word, reading.
func TestStory(t *testing.T) {
	t.Parallel()
	for _, k := range xmpphost.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			story(t, k)
		})
	}
}

func story(t *testing.T, k xmpphost.Kind) {
	bin, err := buildQuinta()
	if err != nil {
		t.Fatal(err)
	}
	x := xmpphost.New(t, k)
	keys := quintad.Start(t, quintad.Config{Args: []string{"--xmpp-component", component + "@" + x.Component}})
	x.Configure(keys.Command("xmpp", "setup", k.Name, "--port", x.ComponentPort()))
	for _, name := range []string{"romeo", "juliet"} {
		x.AddUser(name, password)
	}
	x.Start()
	romeo := &home{t: t, bin: bin, dir: filepath.Join(t.TempDir(), "romeo"), user: "romeo@localhost"}
	juliet := &home{t: t, bin: bin, dir: filepath.Join(t.TempDir(), "juliet"), user: "juliet@localhost"}
	server := "xmpp://" + x.Client
	// The component connects within seconds of the start of the XMPP server.
	for end := time.Now().Add(60 * time.Second); ; {
		if _, err = romeo.run("login", "xmpp", server, romeo.user); err == nil || time.Now().After(end) {
			break
		}
		time.Sleep(time.Second)
	}
	if err != nil {
		t.Fatal("romeo is not logged in")
	}
	juliet.must("login", "xmpp", server, juliet.user)
	romeo.must("create", "--direct", juliet.user)
	romeo.must("send", juliet.user, "what light through yonder window breaks")
	if out := juliet.must("read", romeo.user); !strings.Contains(out, "romeo@localhost: what light through yonder window breaks") || strings.Contains(out, "in clear") {
		t.Errorf("got %s", out)
	}
	juliet.must("send", romeo.user, "o romeo")
	if out := romeo.must("read", juliet.user, "--json"); !strings.Contains(out, `"encrypted":true`) || !strings.Contains(out, "o romeo") {
		t.Errorf("got %s", out)
	}
	for _, text := range []string{"yonder window", "o romeo"} {
		if strings.Contains(x.Files(), text) {
			t.Errorf("the XMPP server has %q in clear", text)
		}
	}
	if out := juliet.must("rooms"); !strings.Contains(out, "romeo@localhost") {
		t.Errorf("got %s", out)
	}
	// The key server away and back.
	keys.Kill9()
	if _, err := romeo.run("keys", "rotate", juliet.user); err != nil {
		t.Error("rotating needs no server")
	}
	keys.Restart()
	romeo.must("send", juliet.user, "under another key")
	if out := juliet.must("read", romeo.user); !strings.Contains(out, "under another key") {
		t.Errorf("got %s", out)
	}
	if out := keys.Command("xmpp", "audit"); strings.Count(out, "create") < 3 || strings.Contains(out, "another key") {
		t.Errorf("got %s", out)
	}
	if out := keys.Command("xmpp", "show"); !strings.Contains(out, "sealed         1") {
		t.Errorf("got %s", out)
	}
}
