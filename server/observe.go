package server

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
)

// SetRoute tells the log and the metrics which call is being answered: the
// path as the protocol's document writes it, with the names of its variables.
// The path itself may hold what belongs in neither. A front calls it with the
// writer that it was given.
func SetRoute(w http.ResponseWriter, route string) {
	if r, ok := w.(*recorder); ok {
		r.route = route
	}
}

// answeredBy notes which network answers, as SetRoute does the call.
func answeredBy(w http.ResponseWriter, network quinta.NetworkName) {
	if r, ok := w.(*recorder); ok {
		r.network = network
	}
}

// noRoute stands for a path that no call has.
const noRoute = "none"

// observe notes of every request which call it was, how it ended and how long
// it took; nothing that it held.
func (c *Core) observe(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, core: c, from: r.RemoteAddr, route: noRoute, deadline: http.NewResponseController(w), patience: c.WriteTimeout}
		rec.until(time.Time{}) // that of the last request on the connection
		began := time.Now()
		defer func() {
			rec.end()
			took := time.Since(began)
			if rec.status == 0 {
				rec.status = http.StatusOK
			}
			c.Metrics.request(r.Method, rec.route, rec.status, took)
			level := slog.LevelDebug
			if rec.status >= http.StatusInternalServerError {
				level = slog.LevelWarn
			}
			c.Log.Log(r.Context(), level, "request", "method", method(r.Method), "route", rec.route, "status", rec.status, "took", took.Round(time.Microsecond))
		}()
		h.ServeHTTP(rec, rec.watch(r))
	})
}

// method keeps the words of a stranger out of logs and labels.
func method(s string) string {
	switch s {
	case http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead, http.MethodOptions, http.MethodPatch:
		return s
	}
	return "other"
}

// A recorder remembers how an answer began, and gives the client a time to
// take each piece of it: a client that does not read holds nothing for
// ever.
type recorder struct {
	http.ResponseWriter
	core    *Core
	from    string // the client's address
	network quinta.NetworkName
	route   string
	status  int
	// place is the one that Reserve took; taken says that the connection was
	// taken over from HTTP.
	place *place
	taken bool

	// body is that of the request, nil if it has none.
	body *body

	deadline *http.ResponseController
	patience time.Duration
}

func (r *recorder) soon() { r.until(time.Now().Add(r.patience)) }

func (r *recorder) until(t time.Time) {
	// A writer without deadlines is one of a test, in memory.
	var _ = r.deadline.SetWriteDeadline(t)
}

// Unwrap gives http.ResponseController the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.soon()
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.soon()
	return r.ResponseWriter.Write(p)
}

// piece is how much of a file a client must take in one time of patience.
const piece = 256 << 10

// ReadFrom lets a file go to the network without a copy in memory.
func (r *recorder) ReadFrom(src io.Reader) (total int64, err error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	for {
		r.soon()
		n, err := io.CopyN(r.ResponseWriter, src, piece)
		total += n
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Flush sends everything written so far.
func (r *recorder) Flush() {
	r.soon()
	if f, ok := r.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}
