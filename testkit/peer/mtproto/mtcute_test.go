//go:build peers

package mtproto_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/mtproto/mtcute"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// TestMtcute: a client of a third make, in JavaScript, does the same over TCP and
// over a websocket, with a permanent key alone and with temporary ones.
func TestMtcute(t *testing.T) {
	s := start(t)
	for _, transport := range []string{"tcp", "padded", "obfuscated", "websocket", "temporary"} {
		cmd, err := mtcute.Command(t.Context())
		require.Peer(t, "mtcute", err)
		task := s.task(t, transport)
		if transport == "temporary" {
			task["Transport"], task["Temporary"] = "tcp", true
		}
		if transport == "websocket" {
			task["Addr"] = strings.TrimPrefix(s.URL, "http://")
		}
		var got struct {
			User, Peer              int64
			DC, Qts, Chat, Random   int
			Kind, P, Wrong, Unknown string
		}
		runPeer(t, cmd, task, &got)
		if got.User == 0 || got.Peer == 0 || got.User == got.Peer || got.DC != 2 || got.Qts != 1 || got.Chat != task["Chat"] || got.Kind != "encryptedChatWaiting" ||
			len(got.P) != 512 || !strings.HasPrefix(got.P, "c71caeb9") || got.Random != 256 || got.Wrong != "PHONE_CODE_INVALID" || got.Unknown != "METHOD_INVALID" {
			t.Errorf("%s: got %+v", transport, got)
		}
	}
}
