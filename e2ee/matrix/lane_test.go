package matrix_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// TestLanes: the messages of one room keep their order, and a key that cannot
// be delivered to one room's members holds up neither another room nor the
// device's own keys.
func TestLanes(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	carol := s.login("@carol:x", "CAROL")
	s.hs.create("!q:x", "@alice:x", "@carol:x")
	turn(alice, carol)

	// Nothing that holds a key for Carol gets through.
	poison := ""
	alice.see = func(r matrix.Req) bool {
		if r.Kind == matrix.ReqToDevice && strings.Contains(string(r.Body), "CAROL") {
			poison = r.Lane()
			return false
		}
		return true
	}
	alice.send("!q:x", "to carol")
	alice.pump()
	if poison == "" {
		t.Fatal("no key left for carol")
	}
	alice.send("!r:x", "one")
	alice.send("!r:x", "two")
	lanes := map[matrix.ReqKind]map[string]int{}
	alice.see = func(r matrix.Req) bool {
		if r.Lane() == poison {
			return false
		}
		if lanes[r.Kind] == nil {
			lanes[r.Kind] = map[string]int{}
		}
		lanes[r.Kind][r.Lane()]++
		return true
	}
	s.hs.take("@alice:x", "ALICE", 40)
	turn(alice, bob)
	bob.wantReads("@alice: one", "@alice: two")
	if got := lanes[matrix.ReqRoomSend]; len(got) != 1 {
		t.Errorf("got lanes %v for two messages of one room, want the same", got)
	}
	if len(lanes[matrix.ReqKeysUpload]) == 0 {
		t.Error("no keys were uploaded while a key could not be delivered")
	}
	alice.see = nil
	turn(alice, carol)
	carol.wantReads("@alice: to carol")
}

// TestLanesKeepIdentityInOrder: the device's keys, the identity and its
// signatures go one after the other, since a server refuses a signature for
// what it does not have; later one-time keys do not wait for them.
func TestLanesKeepIdentityInOrder(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.hs.login("@alice:x", "ALICE")
	alice := &client{s: s, m: matrix.New(s.env(), "@alice:x", "ALICE"), mem: newMemory(), user: "@alice:x", device: "ALICE"}
	var order []matrix.ReqKind
	lanes := map[string]bool{}
	alice.see = func(r matrix.Req) bool {
		switch r.Kind {
		case matrix.ReqKeysUpload, matrix.ReqDeviceSigning, matrix.ReqSignatures:
			order = append(order, r.Kind)
			lanes[r.Lane()] = true
		}
		return true
	}
	alice.pump()
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.CreateCrossSigning(tx) })
	turn(alice)
	if len(order) < 3 || order[0] != matrix.ReqKeysUpload || len(lanes) != 1 {
		t.Errorf("got %v in lanes %v, want keys, identity and signatures in one", order, lanes)
	}
	order, lanes = nil, map[string]bool{"identity": lanes["identity"]}
	s.hs.take("@alice:x", "ALICE", 40)
	turn(alice)
	if len(order) != 1 || len(lanes) != 2 {
		t.Errorf("got %v in lanes %v, want more one-time keys in a lane of their own", order, lanes)
	}
}
