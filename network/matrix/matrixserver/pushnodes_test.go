package matrixserver_test

import (
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/lease"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// TestOneNodePosts: of two nodes one tells the push gateways, also of what was
// written on the other one, and the other one takes over when it stops.
func TestOneNodePosts(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	opts := []quintatest.Option{quintatest.Database(cfg), quintatest.Setting("private-gateways", "on")}
	first, second := newStage(t, opts...), newStage(t, opts...)
	holder := func() (node string) {
		t.Helper()
		if err := second.Core.View(t.Context(), func(tx *db.Tx) (err error) {
			node, err = lease.Holder(tx, "matrix push")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return node
	}
	bob, alice := first.register("bob"), second.register("alice")
	g := newGateway(t)
	bob.post(v3+"/pushers/set", g.pusher("")).want(200)
	invite := func() {
		alice.post(v3+"/createRoom", object{"preset": "private_chat", "invite": []string{bob.ID}, "is_direct": true}).want(200)
	}
	invite()
	if n := g.next(t); n["sender"] != alice.ID {
		t.Errorf("got %v, want the invitation", n)
	}
	before := holder()
	if before == "" {
		t.Fatal("no node holds the lease of the postman")
	}
	first.Stop()
	invite()
	if n := g.next(t); n["sender"] != alice.ID {
		t.Errorf("after the first node stopped: got %v, want the invitation", n)
	}
	if after := holder(); after == "" || after == before {
		t.Errorf("the lease is held by %q, and was by %q: want another node", after, before)
	}
}
