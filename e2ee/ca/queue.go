package ca

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/e2ee"
)

// A reqRecord is a request as it is stored, with what its answer is for.
type reqRecord struct {
	Req Req `json:"req"`
	// Generation is that of the user's keys when they were asked for.
	Generation uint64 `json:"generation,omitempty"`
	// Out is the key of the outbox entry, Job that of the task, that the
	// delivery is for.
	Out string `json:"out,omitempty"`
	Job string `json:"job,omitempty"`
	// Pages counts the pages of a history that were asked for before.
	Pages int `json:"pages,omitempty"`
	// Sum names the contents of a backup on its way.
	Sum string `json:"sum,omitempty"`
}

// queue returns the requests that are stored, oldest first.
func (w *work) queue() ([]*reqRecord, error) {
	if w.reqs != nil {
		return w.reqs, nil
	}
	entries, err := w.entries("req/")
	if err != nil {
		return nil, err
	}
	w.reqs = []*reqRecord{}
	for _, e := range entries {
		r := &reqRecord{}
		if err := json.Unmarshal(e.Value, r); err != nil {
			return nil, damaged("req/")
		}
		r.Req.ID = strings.TrimPrefix(e.Key, "req/")
		w.reqs = append(w.reqs, r)
	}
	return w.reqs, nil
}

// enqueue stores a request. From then on its members stay as they are.
func (w *work) enqueue(r *reqRecord) error {
	if _, err := w.queue(); err != nil {
		return err
	}
	r.Req.ID = w.next()
	w.reqs = append(w.reqs, r)
	return w.put("req/"+r.Req.ID, r)
}

// dequeue removes a request.
func (w *work) dequeue(id string) error {
	if _, err := w.queue(); err != nil {
		return err
	}
	w.reqs = slices.DeleteFunc(w.reqs, func(r *reqRecord) bool { return r.Req.ID == id })
	return w.tx.Delete("req/" + id)
}

// asked reports whether a request is on its way that fits.
func (w *work) asked(fits func(*reqRecord) bool) (bool, error) {
	list, err := w.queue()
	return slices.ContainsFunc(list, fits), err
}

// askOnce stores a request, unless one of its kind for the same thing is on
// its way.
func (w *work) askOnce(r *reqRecord) error {
	there, err := w.asked(func(o *reqRecord) bool {
		return o.Req.Kind == r.Req.Kind && o.Req.Key == r.Req.Key && o.Req.User == r.Req.User && o.Req.Conv == r.Req.Conv
	})
	if err != nil || there {
		return err
	}
	return w.enqueue(r)
}

// Outgoing returns the requests that are due, oldest first.
func (m *Machine) Outgoing(tx e2ee.Tx) ([]Req, error) {
	var out []Req
	_, err := m.run(tx, func(w *work) error {
		if err := w.plan(); err != nil {
			return err
		}
		if err := w.keepEvents(); err != nil {
			return err
		}
		list, err := w.queue()
		for _, r := range list {
			out = append(out, r.Req)
		}
		return err
	})
	return out, err
}

// keepEvents keeps what there is to tell until a call that returns events.
func (w *work) keepEvents() error {
	for _, e := range w.events {
		w.meta.Untold++
		if err := w.put("event/"+w.next(), &e); err != nil {
			return err
		}
	}
	w.events = nil
	return nil
}

// keptEvents tells what was kept.
func (w *work) keptEvents() error {
	if w.meta.Untold == 0 {
		return nil
	}
	w.meta.Untold = 0
	entries, err := w.entries("event/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		var ev e2ee.Event
		if err := json.Unmarshal(e.Value, &ev); err != nil {
			return damaged("event/")
		}
		w.emit(ev)
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
// is ignored, as it came twice.
func (m *Machine) Done(tx e2ee.Tx, req Req, ans Ans) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if err := w.keptEvents(); err != nil {
			return err
		}
		var r reqRecord
		found, err := w.get("req/"+req.ID, &r)
		if err != nil || !found {
			return err
		}
		r.Req.ID = req.ID
		if err := w.dequeue(req.ID); err != nil {
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
			return damaged("req/")
		}
		if err := take(&r, ans); err != nil {
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
