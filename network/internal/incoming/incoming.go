// Package incoming is the incoming half of HTTP that the server halves share:
// the address that a request came from and the owner of its token, its body
// within a limit, passwords and login codes, and what a caller is told about
// an error of the core.
//
// The wire format is up to each network: this package has few, plain errors,
// to which a network gives its own codes.
package incoming

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
)

// Errors of this package.
var (
	// ErrNoToken: the request carries no bearer token.
	ErrNoToken = errors.New("incoming: no token")
	// ErrToken: the network does not know the token, or no longer does.
	ErrToken = errors.New("incoming: unknown token")
	// ErrPassword: there is no such account, or the password is wrong.
	ErrPassword = errors.New("incoming: the user name or the password is wrong")
	// ErrCode: there is no such account, or the code is not its current login code.
	ErrCode = errors.New("incoming: the login code is wrong or has expired")
	// ErrLarge: the body is larger than its bound.
	ErrLarge = errors.New("incoming: the body is too large")
	// ErrCut: the body ended before it was complete.
	ErrCut = errors.New("incoming: the body could not be read to its end")
	// ErrBusy: too many bodies are being read to take another large one. It is
	// of KindUnavailable.
	ErrBusy = quinta.E(quinta.KindUnavailable, "body", "the server is reading too many requests at once: try again later")
)

// Addr returns the address that a request came from, without the port.
func Addr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

const (
	// firstBody is what is allotted to a body before its bytes come.
	firstBody = 4 << 10
	// freeBody is what each body may have whatever others hold, in bytes.
	freeBody = 32 << 10
)

// Body returns the whole body of a request, at most limit bytes. Memory grows as
// bytes arrive, whatever length the request announces; beyond 32 KiB it counts
// among [server.Bodies], which may refuse it with ErrBusy.
func Body(core *server.Core, w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		// Else the server waits for the rest of the body before it answers.
		w.Header().Set("Connection", "close")
		return nil, ErrLarge
	}
	most := limit + 1 // a byte more than may come, to see its end
	if r.ContentLength >= 0 {
		most = r.ContentLength + 1
	}
	from := http.MaxBytesReader(w, r.Body, limit)
	var held int64
	defer func() { core.Bodies.Free(held) }()
	b := make([]byte, 0, min(most, firstBody))
	for {
		if len(b) == cap(b) {
			size := max(min(most, 2*int64(cap(b))), int64(cap(b))+1)
			if more := size - int64(cap(b)); size > freeBody {
				if !core.Bodies.Hold(more) {
					return nil, ErrBusy
				}
				held += more
			}
			b = append(make([]byte, 0, size), b...)
		}
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, ErrLarge
		}
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, ErrCut
		}
	}
}

// Int reads a whole number of a query, which is def if it is absent and is
// lowered to most. ok is false for anything that is not a number of at least
// least.
func Int(s string, def, least, most int64) (n int64, ok bool) {
	if s == "" {
		return def, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return min(n, most), err == nil && n >= least
}

// Text returns the kind of an error of the core and the message for the
// caller; an error of KindInternal has none.
func Text(err error) (quinta.Kind, string) {
	kind := quinta.KindOf(err)
	if kind == quinta.KindInternal {
		return kind, "internal error"
	}
	if qe, ok := errors.AsType[*quinta.Error](err); ok && qe.Err != nil {
		return kind, qe.Err.Error()
	}
	return kind, kind.String()
}

// RetryAfter sets the header that says when to try again, in whole seconds.
func RetryAfter(h http.Header, wait time.Duration) {
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}

// Write writes a whole answer. A client that disconnects is not an error.
func Write(w http.ResponseWriter, log *slog.Logger, status int, contentType string, raw []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	if _, err := w.Write(raw); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		log.Debug("server: an answer could not be delivered", "err", err)
	}
}
