//go:build peers

package mtproto_test

import (
	"os/exec"
	"strings"
	"sync"
	"testing"

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
	s := start(t)
	for _, transport := range []string{"abridged", "intermediate", "padded", "full", "websocket", "http"} {
		for _, obfuscated := range []bool{false, true} {
			if obfuscated && (transport == "full" || transport == "websocket" || transport == "http") {
				continue // it has no tag to hide, or hides it always
			}
			task := s.task(t, transport)
			task["Obfuscated"] = obfuscated
			if transport == "websocket" || transport == "http" {
				task["Addr"] = strings.TrimPrefix(s.URL, "http://")
			}
			var got struct {
				User, Peer    int64
				DC, Qts, Chat int
				Wrong         string
				SafeDH        bool `json:"safe_dh"`
			}
			runPeer(t, exec.CommandContext(t.Context(), path), task, &got)
			if got.User == 0 || got.Peer == 0 || got.User == got.Peer || got.DC != 2 || got.Qts != 1 || got.Chat != task["Chat"] || !got.SafeDH || !strings.Contains(got.Wrong, "PHONE_CODE_INVALID") {
				t.Errorf("%s, obfuscated %v: got %+v", transport, obfuscated, got)
			}
		}
	}
}
