package ca_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
)

// TestTalk: two devices enrol, look each other up and write; each message is
// read once, and its sender hears that it was taken.
func TestTalk(t *testing.T) {
	t.Parallel()
	_, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "hello")
	if e := a.take(e2ee.EventSent); len(e) != 1 || e[0].Message.Text != "hello" || e[0].Message.Txn != "txn hello" || e[0].Message.ID == "" {
		t.Fatalf("got %+v, want that it was sent", e)
	}
	b.settle()
	m := b.reads("hello")[0].Message
	if m.Sender != alice || m.Device != "A1" || m.Room != conv || !m.Encrypted || m.Trust != quinta.TrustPinned || m.Weakness != "" {
		t.Errorf("got %+v", m)
	}
	b.says(conv, "hi")
	a.settle()
	a.reads("hi")
	b.settle()
	b.reads()
	if len(a.due())+len(b.due()) != 0 {
		t.Errorf("got %+v and %+v, want nothing due", a.due(), b.due())
	}
}
