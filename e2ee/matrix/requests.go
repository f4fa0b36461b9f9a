package matrix

import (
	"iter"

	"github.com/quinta-chat/quinta/e2ee"
)

// requests are what is stored until the server has answered it, oldest first.
// The bodies are stored beside the records: those that bring a key to many
// devices are large, and only Outgoing needs them.
type requests struct {
	tx e2ee.Tx
	q  *e2ee.Queue[record]
	// bodies holds those that this call stored, so that they are not read back.
	bodies map[string][]byte
}

func newRequests(tx e2ee.Tx, seq *e2ee.Seq) *requests {
	return &requests{tx: tx, q: e2ee.NewQueue[record](tx, "req/", seq), bodies: map[string][]byte{}}
}

// add stores a request. From then on its bytes stay as they are.
func (q *requests) add(r *record) error {
	id, err := q.q.Put(*r)
	if err != nil || r.Body == nil {
		return err
	}
	q.bodies[id] = r.Body
	return q.tx.Put("body/"+id, r.Body)
}

// all yields the requests, without their bodies.
func (q *requests) all() iter.Seq2[e2ee.Record[record], error] { return q.q.All() }

// any reports whether there is a request that fits.
func (q *requests) any(fits func(*record) bool) (bool, error) {
	for r, err := range q.all() {
		if err != nil {
			return false, err
		}
		if fits(&r.Value) {
			return true, nil
		}
	}
	return false, nil
}

// body returns the body of a request, or nil.
func (q *requests) body(id string) ([]byte, error) {
	if b, ok := q.bodies[id]; ok {
		return b, nil
	}
	return q.tx.Get("body/" + id)
}

// drop removes a request.
func (q *requests) drop(id string) error {
	delete(q.bodies, id)
	if err := q.tx.Delete("body/" + id); err != nil {
		return err
	}
	return q.q.Done(id)
}

// take removes the request with an id and returns it without its body, or nil
// if there is none.
func (q *requests) take(id string) (*record, error) {
	r, found, err := q.q.Get(id)
	if err != nil || !found {
		return nil, err
	}
	return &r, q.drop(id)
}
