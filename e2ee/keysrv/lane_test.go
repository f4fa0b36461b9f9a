package keysrv_test

import (
	"testing"

	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// TestLanes: the messages of one room keep their order; what fails in one room
// or for one user holds up no other.
func TestLanes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what        string
		first, then keysrv.Req
		same        bool
	}{
		{"two messages of one room", keysrv.Req{Kind: keysrv.ReqMessage, Room: "a", ID: "1"}, keysrv.Req{Kind: keysrv.ReqMessage, Room: "a", ID: "2"}, true},
		{"messages of two rooms", keysrv.Req{Kind: keysrv.ReqMessage, Room: "a"}, keysrv.Req{Kind: keysrv.ReqMessage, Room: "b"}, false},
		{"a message and a key", keysrv.Req{Kind: keysrv.ReqMessage, Room: "a"}, keysrv.Req{Kind: keysrv.ReqCreate, Create: &keysrv.Create{Room: "a"}}, false},
		{"keys of two rooms", keysrv.Req{Kind: keysrv.ReqCreate, Create: &keysrv.Create{Room: "a"}}, keysrv.Req{Kind: keysrv.ReqCreate, Create: &keysrv.Create{With: "b@x"}}, false},
		{"wraps of one key", keysrv.Req{Kind: keysrv.ReqWrap, ObjectID: "k", ID: "1"}, keysrv.Req{Kind: keysrv.ReqWrap, ObjectID: "k", ID: "2"}, true},
		{"wraps of two keys", keysrv.Req{Kind: keysrv.ReqWrap, ObjectID: "k"}, keysrv.Req{Kind: keysrv.ReqWrap, ObjectID: "l"}, false},
		{"look-ups of two users", keysrv.Req{Kind: keysrv.ReqDevices, User: "a@x"}, keysrv.Req{Kind: keysrv.ReqDevices, User: "b@x"}, false},
		{"this device and its approvals", keysrv.Req{Kind: keysrv.ReqDevice}, keysrv.Req{Kind: keysrv.ReqApprove}, false},
	} {
		if got := c.first.Lane() == c.then.Lane(); got != c.same {
			t.Errorf("%s: got one lane %v, want %v (%q, %q)", c.what, got, c.same, c.first.Lane(), c.then.Lane())
		}
	}
}
