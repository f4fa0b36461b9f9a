package server

import (
	"bufio"
	"net"
	"net/http"
)

// Reserve takes a place for the connection of a request that is about to be
// taken over from HTTP, such as for a websocket. It returns [ErrCrowded] if
// there is none; the request can still be answered then. A front calls it with
// the writer that it was given.
func Reserve(w http.ResponseWriter) error {
	if r, ok := w.(*recorder); ok {
		return r.reserve()
	}
	return nil
}

func (r *recorder) reserve() (err error) {
	if r.place == nil {
		r.place, err = r.core.conns.enter(r.network, r.from)
	}
	return err
}

// Hijack lets a front take over the connection. It is bounded and counted as
// raw connections are, each piece that is written has a time to be accepted,
// and a stop closes it.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := r.reserve(); err != nil {
		return nil, nil, err
	}
	nc, rw, err := r.deadline.Hijack()
	if err != nil {
		return nil, nil, err
	}
	r.taken = true
	if r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	r.core.conns.busy.Add(1) // until the handler has returned
	held := r.core.conns.hold(r.place, nc)
	return held, bufio.NewReadWriter(rw.Reader, bufio.NewWriter(held)), nil
}

// end ends the request: what is buffered goes out, and a place that was not
// used is given back.
func (r *recorder) end() {
	if r.taken {
		r.core.conns.busy.Done()
		return
	}
	r.soon()
	if r.place != nil {
		r.place.leave()
	}
}
