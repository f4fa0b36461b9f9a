package keysrv

import (
	"github.com/quinta-chat/quinta/e2ee"
)

// A reqRecord is a request as it is stored.
type reqRecord struct {
	Req Req `json:"req"`
	// Out names the message of the outbox that the request is for.
	Out string `json:"out,omitempty"`
	// For are the devices that have the key of a message, as "user device".
	For []string `json:"for,omitempty"`
}

// asked reports whether a request is on its way that fits.
func (w *work) asked(fits func(*reqRecord) bool) (bool, error) {
	for r, err := range w.reqs.All() {
		if err != nil {
			return false, err
		}
		if fits(&r.Value) {
			return true, nil
		}
	}
	return false, nil
}

// askOnce stores a request, unless one of its kind for the same thing is on its
// way.
func (w *work) askOnce(r Req) error {
	there, err := w.asked(func(o *reqRecord) bool {
		return o.Req.Kind == r.Kind && o.Req.User == r.User && o.Req.Target == r.Target
	})
	if err != nil || there {
		return err
	}
	return w.enqueue(reqRecord{Req: r})
}

func (w *work) enqueue(r reqRecord) error {
	_, err := w.reqs.Put(r)
	return err
}

// Outgoing returns the requests that are due, oldest first.
func (m *Machine) Outgoing(tx e2ee.Tx) ([]Req, error) {
	var out []Req
	_, err := m.run(tx, func(w *work) error {
		for _, step := range []func() error{w.planOwn, w.planWants, w.planObjects, w.takeBack, w.planOutbox, w.planLists} {
			if err := step(); err != nil {
				return err
			}
		}
		if err := w.keepEvents(); err != nil {
			return err
		}
		for r, err := range w.reqs.All() {
			if err != nil {
				return err
			}
			r.Value.Req.ID = r.Name
			out = append(out, r.Value.Req)
		}
		return nil
	})
	return out, err
}

// keepEvents keeps what there is to tell until a call that returns events.
func (w *work) keepEvents() error {
	for i := range w.events {
		w.meta.Untold++
		if err := e2ee.Store(w.tx, "event/"+w.meta.Seq.Next(), &w.events[i]); err != nil {
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

// Done takes the answer to a request. An answer to a request that is not due is
// ignored, because it came twice.
func (m *Machine) Done(tx e2ee.Tx, req Req, ans Ans) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if err := w.keptEvents(); err != nil {
			return err
		}
		r, found, err := w.reqs.Get(req.ID)
		if err != nil || !found {
			return err
		}
		if err := w.reqs.Done(req.ID); err != nil {
			return err
		}
		take := map[ReqKind]func(*reqRecord, Ans) error{
			ReqDevice: w.doneDevice, ReqDevices: w.doneDevices, ReqApprove: w.doneApprove, ReqCreate: w.doneCreate,
			ReqObjects: w.doneObjects, ReqWants: w.doneWants, ReqWrap: w.doneWrap, ReqMessage: w.doneMessage,
			ReqMembers: w.doneMembers,
		}[r.Req.Kind]
		if take == nil {
			return e2ee.Damaged("req/" + req.ID)
		}
		if err := take(&r, ans); err != nil {
			return err
		}
		return w.tryAgain()
	})
}
