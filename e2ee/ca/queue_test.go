package ca

import (
	"context"
	"testing"

	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

// within runs f in a transaction over a new store.
func within(t *testing.T, f func(tx e2ee.Tx) error) {
	t.Helper()
	if err := memory.New().Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

// TestRequests: what is stored is due until it is taken, in its order; the same
// thing is asked for once.
func TestRequests(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) error {
		q := newRequests(tx, new(e2ee.Seq))
		for _, r := range []Req{{Kind: ReqKeys, User: "alice@hs1"}, {Kind: ReqKeys, User: "bob@hs1"}, {Kind: ReqKeys, User: "alice@hs1"}, {Kind: ReqCRL}, {Kind: ReqCRL}} {
			if err := q.once(reqRecord{Req: r}); err != nil {
				return err
			}
		}
		if err := q.add(reqRecord{Req: Req{Kind: ReqMessage}, Out: "outbox/1"}); err != nil {
			return err
		}
		due, err := newRequests(tx, new(e2ee.Seq)).due() // as the next call reads it
		if err != nil {
			return err
		}
		var kinds []ReqKind
		for _, r := range due {
			kinds = append(kinds, r.Kind)
		}
		if len(kinds) != 4 || kinds[0] != ReqKeys || kinds[1] != ReqKeys || kinds[2] != ReqCRL || kinds[3] != ReqMessage {
			t.Fatalf("got %v", kinds)
		}
		r, err := q.take(due[3].ID)
		if err != nil || r == nil || r.Out != "outbox/1" || r.Req.ID != due[3].ID {
			t.Errorf("got %+v, %v", r, err)
		}
		if r, err := q.take(due[3].ID); r != nil || err != nil {
			t.Errorf("taken twice: got %+v, %v", r, err)
		}
		isKeys := func(r *reqRecord) bool { return r.Req.Kind == ReqKeys }
		if there, err := q.any(isKeys); !there || err != nil {
			t.Errorf("got %v, %v", there, err)
		}
		if err := q.drop(isKeys); err != nil {
			return err
		}
		if there, err := q.any(isKeys); there || err != nil {
			t.Errorf("dropped: got %v, %v", there, err)
		}
		left, err := q.due()
		if len(left) != 1 || left[0].Kind != ReqCRL {
			t.Errorf("got %+v", left)
		}
		return err
	})
}
