package socket_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/internal/socket"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// talk is a program for the websocket that Node shares with browsers.
const talk = `
const ws = new WebSocket(process.argv[1]);
ws.onopen = () => ws.send("hello from node");
ws.onmessage = (m) => { console.log(m.data); ws.send("bye"); };
ws.onclose = (e) => { console.log(e.code, e.reason, e.wasClean); };
ws.onerror = (e) => { console.log("error", e.message); };
`

// TestNode talks with a websocket of another make.
func TestNode(t *testing.T) {
	t.Parallel()
	node := require.Program(t, "node")
	s, _ := start(t, socket.Config{Limit: 1 << 20})
	out, err := exec.CommandContext(t.Context(), node, "--experimental-websocket", "--no-warnings", "-e", talk, "ws"+strings.TrimPrefix(s.URL, "http")+"/echo").CombinedOutput()
	want := "hello from node\n1008 as you like true\n"
	if err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}
