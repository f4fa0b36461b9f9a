//go:build peers

package mtproto_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// fixedCode is the login code of alice.
const fixedCode = "4711081547"

// A stage is a server with the accounts alice and bob.
type stage struct {
	*quintatest.Server
	key  string
	chat int
}

func start(t *testing.T) *stage {
	t.Helper()
	s := &stage{Server: quintatest.Start(t, quintatest.Networks("mtproto"), quintatest.Setting("mtproto-listen", "127.0.0.1:0")), chat: 1000}
	for _, name := range []string{"alice", "bob"} {
		if err := s.Core.AddAccount(t.Context(), name, "a long password"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Core.RunCommand(t.Context(), "user code", server.CommandInput{Args: []string{"alice"}, Flags: map[string]string{"fix": fixedCode}}); err != nil {
		t.Fatal(err)
	}
	s.key, _, _ = strings.Cut(s.command(t, "mtproto key"), "fingerprint")
	return s
}

// command runs a command of the operator.
func (s *stage) command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := s.Core.RunCommand(t.Context(), name, server.CommandInput{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// task is what a peer is to do as alice: log in over a transport and ask bob for
// a chat.
func (s *stage) task(t *testing.T, transport string) map[string]any {
	t.Helper()
	secret, err := secretchat.NewSecret(rand.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	ga, err := secret.Public(secretchat.KnownGroup())
	if err != nil {
		t.Fatal(err)
	}
	s.chat++
	return map[string]any{"Addr": s.Addr(t, "mtproto"), "Key": s.key, "Number": s.command(t, "user number", "alice"), "Code": fixedCode,
		"Peer": "bob", "Transport": transport, "Chat": s.chat, "GA": ga}
}

// runPeer runs a peer with a task and reads its result.
func runPeer(t *testing.T, cmd *exec.Cmd, task, result any) {
	t.Helper()
	in, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	stop := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer stop.Stop()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%.200s: %v: %s %s", in, err, errs.String(), out.String())
	}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
}
