package ca_test

import (
	"context"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
)

// count is how many keys of the store begin with a prefix.
func (d *device) count(prefix string) (n int) {
	d.p.t.Helper()
	err := d.store.View(context.Background(), func(tx e2ee.Tx) error {
		for _, err := range tx.All(prefix) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		d.p.t.Fatal(err)
	}
	return n
}

// TestMemoryIsBounded: what is too old to be believed is forgotten, but not
// because a clock alone says so: then old messages could be repeated.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{Sessions: true})
	a.says(conv, "one")
	a.says(conv, "two")
	old := p.history[conv][0]
	b.settle()
	b.reads("one", "two")
	if b.count("mid/") != 2 || a.count("sent/") != 2 || b.count("session/") != 1 {
		t.Fatalf("got %d, %d and %d", b.count("mid/"), a.count("sent/"), b.count("session/"))
	}
	b.slow = -200 * 24 * time.Hour // the clock of the device is wrong by half a year
	b.settle()
	b.slow = 0
	if b.count("mid/") != 2 || b.count("session/") != 1 {
		t.Error("a wrong clock made the device forget")
	}
	p.forge(b, old)
	b.settle()
	b.told(quinta.ReasonReplayed)
	for range 6 { // the same time passes for all
		p.later(20 * 24 * time.Hour)
		a.settle()
		b.settle()
	}
	a.says(conv, "three")
	p.later(25 * time.Hour)
	b.settle()
	b.settle()
	a.settle()
	b.reads("three")
	b.says(b.direct(alice), "four")
	a.settle()
	p.later(25 * time.Hour)
	a.settle()
	b.settle()
	if b.count("mid/") != 1 || a.count("sent/") != 1 || b.count("session/") > 2 {
		t.Errorf("got %d ids, %d sent and %d sessions, want that the old ones are gone", b.count("mid/"), a.count("sent/"), b.count("session/"))
	}
	if n := a.count("own/"); n > 4 {
		t.Errorf("got %d own keys after four renewals", n)
	}
}
