//go:build peers

package mtproto_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/peer/program"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// build builds the peer once per test binary and returns its path.
var build = sync.OnceValues(func() (string, error) {
	return program.Build("testkit/peer/mtproto/gotd/gotdpeer", ".", "gotdpeer")
})

// TestGotd: the client of another make connects over each of its transports,
// exchanges a key, is refused with a wrong code, logs in with the right one,
// checks the parameters, finds a user, asks for a chat and logs out.
func TestGotd(t *testing.T) {
	path, err := build()
	require.Peer(t, "gotd", err)
	s := quintatest.Start(t, quintatest.Networks("mtproto"), quintatest.Setting("mtproto-listen", "127.0.0.1:0"))
	for _, name := range []string{"alice", "bob"} {
		if err := s.Core.AddAccount(t.Context(), name, "a long password"); err != nil {
			t.Fatal(err)
		}
	}
	command := func(name string, args ...string) string {
		out, err := s.Core.RunCommand(t.Context(), name, server.CommandInput{Args: args})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	key, _, _ := strings.Cut(command("mtproto key"), "fingerprint")
	secret, err := secretchat.NewSecret(rand.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	ga, err := secret.Public(secretchat.KnownGroup())
	if err != nil {
		t.Fatal(err)
	}
	chat := 1000
	for _, transport := range []string{"abridged", "intermediate", "padded", "full"} {
		for _, obfuscated := range []bool{false, true} {
			if obfuscated && transport == "full" {
				continue // it has no tag to hide
			}
			chat++
			task, err := json.Marshal(map[string]any{"Addr": s.Addr(t, "mtproto"), "Key": key, "Number": command("mtproto number", "alice"), "Code": command("mtproto code", "alice"),
				"Peer": "bob", "Transport": transport, "Obfuscated": obfuscated, "Chat": chat, "GA": ga})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), path)
			var out, errs bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(task), &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s, obfuscated %v: %v: %s", transport, obfuscated, err, errs.String())
			}
			var got struct {
				User, Peer    int64
				DC, Qts, Chat int
				Wrong         string
				SafeDH        bool `json:"safe_dh"`
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.User == 0 || got.Peer == 0 || got.User == got.Peer || got.DC != 2 || got.Qts != 1 || got.Chat != chat || !got.SafeDH || !strings.Contains(got.Wrong, "PHONE_CODE_INVALID") {
				t.Errorf("%s, obfuscated %v: got %+v", transport, obfuscated, got)
			}
		}
	}
}
