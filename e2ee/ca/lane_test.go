package ca_test

import (
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca"
)

// TestLanes: what must keep its order is in one lane, and nothing else is: a
// conversation that the server fails does not hold up another one, nor a
// renewal.
func TestLanes(t *testing.T) {
	t.Parallel()
	a, b := ca.Req{Kind: ca.ReqMessage, Conv: "a", Message: "1"}, ca.Req{Kind: ca.ReqMessage, Conv: "b", Message: "1"}
	for _, c := range []struct {
		what        string
		first, then ca.Req
		same        bool
	}{
		{"two messages of one conversation", a, ca.Req{Kind: ca.ReqMessage, Conv: "a", Message: "2"}, true},
		{"a conversation and its first message", ca.Req{Kind: ca.ReqPutConversation, Conv: "a"}, a, true},
		{"a message and new members", a, ca.Req{Kind: ca.ReqMembers, Conv: "a"}, true},
		{"a message and leaving", a, ca.Req{Kind: ca.ReqLeave, Conv: "a"}, true},
		{"messages of two conversations", a, b, false},
		{"a message and history", a, ca.Req{Kind: ca.ReqHistory, Conv: "a"}, false},
		{"a message and a renewal", a, ca.Req{Kind: ca.ReqRenew, Key: "k"}, false},
		{"a message and an acknowledgement", a, ca.Req{Kind: ca.ReqAck}, false},
		{"the nonce and the renewal of a key", ca.Req{Kind: ca.ReqNonce, Key: "k"}, ca.Req{Kind: ca.ReqRenew, Key: "k"}, true},
		{"a renewal and the end of the grace", ca.Req{Kind: ca.ReqRenew, Key: "k"}, ca.Req{Kind: ca.ReqRetire, Key: "k"}, true},
		{"renewals of two keys", ca.Req{Kind: ca.ReqRenew, Key: "k"}, ca.Req{Kind: ca.ReqRenew, Key: "l"}, false},
		{"look-ups of two users", ca.Req{Kind: ca.ReqKeys, User: "bob@x"}, ca.Req{Kind: ca.ReqKeys, User: "carol@x"}, false},
		{"two acknowledgements", ca.Req{Kind: ca.ReqAck, UpTo: 1}, ca.Req{Kind: ca.ReqAck, UpTo: 2}, true},
		{"two backups", ca.Req{Kind: ca.ReqPutBackup, ID: "1"}, ca.Req{Kind: ca.ReqPutBackup, ID: "2"}, true},
		{"a backup and the revocation list", ca.Req{Kind: ca.ReqPutBackup}, ca.Req{Kind: ca.ReqCRL}, false},
	} {
		if got := c.first.Lane() == c.then.Lane(); got != c.same {
			t.Errorf("%s: got one lane %v, want %v (%q, %q)", c.what, got, c.same, c.first.Lane(), c.then.Lane())
		}
	}
}
