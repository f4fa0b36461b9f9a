package ca_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
)

// TestSealedBeforeTheAnswer has the server renew Bob's keys and lose the answer.
// Alice seals for the new key at once; Bob reads it when the answer comes.
func TestSealedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "hello")
	b.settle()
	b.reads("hello")
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, b.m.Renew(tx) })
	for range 4 {
		for _, r := range b.due() {
			ans := p.do(b, r)
			if r.Kind == ca.ReqRenew {
				continue // the answer is lost
			}
			b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Done(tx, r, ans) })
		}
	}
	a.settle()
	a.says(conv, "for the new key")
	b.poll()
	b.told(quinta.ReasonBeforeThisDevice)
	b.settle()
	b.reads("for the new key")
}
