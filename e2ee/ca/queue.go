package ca

import (
	"github.com/quinta-chat/quinta/e2ee"
)

// A reqRecord is a request as it is stored, with what its answer is for.
type reqRecord struct {
	Req Req `json:"req"`
	// Generation is that of the user's keys when they were requested.
	Generation uint64 `json:"generation,omitempty"`
	// Out is the key of the outbox entry, Job that of the task, that the
	// delivery is for.
	Out string `json:"out,omitempty"`
	Job string `json:"job,omitempty"`
	// Pages counts the pages of a history that were requested before.
	Pages int `json:"pages,omitempty"`
	// Sum names the contents of a backup on its way.
	Sum string `json:"sum,omitempty"`
}

// requests are the calls of the server that are stored until they are answered,
// oldest first.
type requests struct{ q *e2ee.Queue[reqRecord] }

func newRequests(tx e2ee.Tx, seq *e2ee.Seq) requests {
	return requests{e2ee.NewQueue[reqRecord](tx, "req/", seq)}
}

// add stores a request. From then on its members stay as they are.
func (q requests) add(r reqRecord) error {
	_, err := q.q.Put(r)
	return err
}

// once stores a request, unless one of its kind for the same thing is on its
// way.
func (q requests) once(r reqRecord) error {
	there, err := q.any(func(o *reqRecord) bool {
		return o.Req.Kind == r.Req.Kind && o.Req.Key == r.Req.Key && o.Req.User == r.Req.User && o.Req.Conv == r.Req.Conv
	})
	if err != nil || there {
		return err
	}
	return q.add(r)
}

// any reports whether a request that fits is on its way.
func (q requests) any(fits func(*reqRecord) bool) (bool, error) {
	r, err := q.find(fits)
	return r != nil, err
}

// find returns the first request that fits, or nil.
func (q requests) find(fits func(*reqRecord) bool) (*reqRecord, error) {
	for r, err := range q.q.All() {
		if err != nil {
			return nil, err
		}
		if fits(&r.Value) {
			return &r.Value, nil
		}
	}
	return nil, nil
}

// drop removes the requests that fit.
func (q requests) drop(fits func(*reqRecord) bool) error {
	for r, err := range q.q.All() {
		if err != nil {
			return err
		}
		if fits(&r.Value) {
			if err := q.q.Done(r.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// take removes the request with an id and returns it, or nil if there is none.
func (q requests) take(id string) (*reqRecord, error) {
	r, found, err := q.q.Get(id)
	if err != nil || !found {
		return nil, err
	}
	r.Req.ID = id
	return &r, q.q.Done(id)
}

// due returns all requests.
func (q requests) due() ([]Req, error) {
	var out []Req
	for r, err := range q.q.All() {
		if err != nil {
			return nil, err
		}
		r.Value.Req.ID = r.Name
		out = append(out, r.Value.Req)
	}
	return out, nil
}

// Outgoing returns the requests that are due, oldest first.
func (m *Machine) Outgoing(tx e2ee.Tx) ([]Req, error) {
	var out []Req
	_, err := m.run(tx, func(w *work) error {
		if err := w.plan(); err != nil {
			return err
		}
		if err := w.shelve(); err != nil {
			return err
		}
		var err error
		out, err = w.reqs.due()
		return err
	})
	return out, err
}

// shelve keeps what there is to tell until a call that returns events.
func (w *work) shelve() error {
	for _, e := range w.events {
		w.meta.Untold++
		if err := e2ee.Store(w.tx, "event/"+w.next(), &e); err != nil {
			return err
		}
	}
	w.events = nil
	return nil
}

// unshelve tells what was kept.
func (w *work) unshelve() error {
	if w.meta.Untold == 0 {
		return nil
	}
	w.meta.Untold = 0
	for e, err := range e2ee.Records[e2ee.Event](w.tx, "event/") {
		if err != nil {
			return err
		}
		w.emit(e.Value)
		if err := w.tx.Delete(e.Key); err != nil {
			return err
		}
	}
	return nil
}

// plan makes the requests that are due and not made yet.
func (w *work) plan() error {
	ready, err := w.planAnchors()
	if err != nil {
		return err
	}
	steps := []func() error{w.planAck}
	if ready {
		steps = []func() error{w.planOwn, w.planOutbox, w.planTasks, w.planConversations, w.planLookups, w.planBackup, w.planAck, w.prune}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Done takes the answer to a request. An answer to a request that is not due
// is ignored, because it came twice.
func (m *Machine) Done(tx e2ee.Tx, req Req, ans Ans) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if err := w.unshelve(); err != nil {
			return err
		}
		r, err := w.reqs.take(req.ID)
		if err != nil || r == nil {
			return err
		}
		take := map[ReqKind]func(*reqRecord, Ans) error{
			ReqRoots: w.doneRoots, ReqCRL: w.doneCRL, ReqEnrol: w.doneEnrol, ReqNonce: w.doneNonce, ReqRenew: w.doneRenew,
			ReqRetire: w.doneRetire, ReqRevoke: w.doneRevoke, ReqApprove: w.doneApprove, ReqKeys: w.doneKeys,
			ReqConversations: w.doneConversations, ReqConversation: w.doneConversation, ReqPutConversation: w.doneConversation,
			ReqMembers: w.doneConversation, ReqLeave: w.doneLeave, ReqMessage: w.doneMessage, ReqHistory: w.doneHistory,
			ReqAck: w.doneAck, ReqBackup: w.doneBackup, ReqPutBackup: w.donePutBackup,
		}[r.Req.Kind]
		if take == nil {
			return e2ee.Damaged("req/")
		}
		if err := take(r, ans); err != nil {
			return err
		}
		return w.tryAgain()
	})
}

// trouble tells that a call was refused.
func (w *work) trouble(what string, ans Ans) {
	text := what
	if ans.Code != "" {
		text += ": " + ans.Code
	}
	if ans.Detail != "" {
		text += ": " + ans.Detail
	}
	w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: text})
}
