package secretchat

import (
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// TestFloods: chats that strangers ask for without end, whether they withdraw
// them or not, do not make the store grow without end and do not push out the
// request of another user; and a peer that asks for the same messages again and
// again has each sent once at a time.
func TestFloods(t *testing.T) {
	t.Parallel()
	for name, withdraw := range map[string]bool{"requests": false, "requests that are withdrawn": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, 1)
			room := p.request()
			var in In
			for i := range 3 * maxRequestsOfOne {
				id := ChatID(1_000_000 + i)
				in.Updates = append(in.Updates, Update{Chat: &Chat{ID: id, Stage: StageRequested, Admin: 666, Participant: p.b.id, Public: make([]byte, Size)}})
				if withdraw {
					in.Updates = append(in.Updates, Update{Chat: &Chat{ID: id, Stage: StageClosed}})
				}
			}
			p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Receive(tx, in) })
			var list []ChatInfo
			p.b.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { list, err = p.b.m.Chats(tx); return nil, err })
			if len(list) != maxRequestsOfOne+1 {
				t.Errorf("got %d chats, want %d and that of alice", len(list), maxRequestsOfOne)
			}
			if got := p.b.chat(room).State; got != StateRequested {
				t.Errorf("alice's request is %s, want requested", got)
			}
			p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) })
			p.live()
			p.b.wantOpen(room)
		})
	}
	t.Run("messages asked for again", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, 2)
		room := p.open()
		for range 5 {
			p.a.says(room, "hello")
		}
		for _, r := range p.a.due() {
			p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Done(tx, r, p.serve(p.a, r)) })
		}
		c := p.a.record(room)
		for range 20 {
			p.b.inject(room, &schema.DecryptedMessageActionResend{StartSeqNo: c.outSeq(c.Side, c.Out-5), EndSeqNo: c.outSeq(c.Side, c.Out-1)})
		}
		for _, r := range p.b.due() {
			p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Done(tx, r, p.serve(p.b, r)) })
		}
		in := In{Updates: p.a.queue}
		p.a.queue = nil
		p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Receive(tx, in) })
		if n := len(p.a.due()); n < 5 || n > 8 {
			t.Errorf("20 requests for 5 messages made %d calls, want one for each message", n)
		}
		p.live()
		p.b.wantRead("hello", "hello", "hello", "hello", "hello")
	})
}
