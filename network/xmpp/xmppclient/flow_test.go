package xmppclient

import (
	"errors"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

// handledOf is what the flow acknowledges.
func handledOf(f *flow) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.handled()
}

// TestFlowAcknowledgesWhatIsCommitted: a message is acknowledged when the machine
// has committed it and not before, whatever came after it.
func TestFlowAcknowledgesWhatIsCommitted(t *testing.T) {
	t.Parallel()
	c := lone()
	come := func() {
		if err := c.take(message(t, `<message id="s" from="romeo@test.example" type="chat">`+packet+`</message>`)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(h uint32) {
		t.Helper()
		if got := handledOf(c.flow); got != h {
			t.Errorf("got %d acknowledged, want %d", got, h)
		}
	}
	c.flow.came() // a presence
	want(1)
	come()
	c.flow.came()
	want(1)
	if got := c.pop(); len(got) != 1 {
		t.Fatalf("got %d messages", len(got))
	}
	come()
	want(1) // the first was taken, and no one knows whether it was committed
	if err := c.committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(3)
	c.pop()
	if err := c.committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(4)
}

// TestFlowResumes: of the messages that had no answer when a stream was lost,
// those that the server had taken are not sent again; what was not
// acknowledged to it comes again.
func TestFlowResumes(t *testing.T) {
	t.Parallel()
	f := newFlow()
	f.begin(wire.Managed{ID: "one", Resume: true})
	for _, id := range []string{"a", "b", "c"} {
		f.note(quinta.MessageID(id), f.number())
	}
	f.came()
	f.wait()
	f.came()
	if err := f.rewind(2); err != nil {
		t.Fatal(err)
	}
	if !f.has("a") || !f.has("b") || f.has("c") {
		t.Errorf("got a %v, b %v, c %v", f.has("a"), f.has("b"), f.has("c"))
	}
	if got := handledOf(f); got != 1 || f.seen != 1 {
		t.Errorf("got %d acknowledged of %d, want 1 of 1", got, f.seen)
	}
	f.bounce("b")
	if f.done("a") || !f.done("b") || f.has("a") || f.has("b") {
		t.Error("what is done is not forgotten, or did not bounce")
	}
	if n := f.number(); n != 3 {
		t.Errorf("the next stanza has number %d, want 3", n)
	}
	if err := f.rewind(99); !errors.Is(err, errCount) {
		t.Errorf("a server that counts more than was sent: got %v", err)
	}
	// A second "enabled" that no one asked for begins nothing.
	f.begin(wire.Managed{ID: "two", Resume: true})
	if f.id != "one" || f.sent != 3 {
		t.Errorf("got %q, %d", f.id, f.sent)
	}
	if f.end(); f.resumable() {
		t.Error("a stream that was closed in order is resumed")
	}
}
