package dial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

// A Request is one call over HTTP.
type Request struct {
	Method, URL string
	// Header is sent in addition to the headers that the network puts on every request.
	Header http.Header
	// Body is JSON, or nil.
	Body []byte
	// Max bounds the answer, in bytes, and Within its time; zero means
	// AnswerWithin.
	Max    int64
	Within time.Duration
}

// A Sender puts a network's headers on a request and sends it, as Send does.
type Sender func(op string, r *http.Request) (*http.Response, error)

// Call carries out a request and returns the whole body of a success, with its
// header. For any other answer, it returns the error that refuse makes from it.
// Every error is a *quinta.Error or wraps one, if those of refuse do.
func Call(ctx context.Context, op string, q Request, send Sender, refuse func(op string, resp *http.Response) error) ([]byte, http.Header, error) {
	if q.Within == 0 {
		q.Within = AnswerWithin
	}
	ctx, cancel := context.WithTimeoutCause(ctx, q.Within, ErrSlow)
	defer cancel()
	var body io.Reader
	if q.Body != nil {
		body = bytes.NewReader(q.Body)
	}
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, body)
	if err != nil {
		return nil, nil, quinta.E(quinta.KindInvalid, op, "the request has no valid address")
	}
	if q.Body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range q.Header {
		r.Header[name] = values
	}
	resp, err := send(op, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, nil, refuse(op, resp)
	}
	b, err := ReadAll(resp.Body, q.Max)
	if err != nil {
		return nil, nil, Broken(ctx, op, err)
	}
	return b, resp.Header, nil
}

// Send sends a request. Its errors are those of Broken.
func Send(c *http.Client, op string, r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", "quinta")
	resp, err := c.Do(r)
	if err != nil {
		return nil, Broken(r.Context(), op, err)
	}
	return resp, nil
}

// JSON encodes the body of a request; nil is no body.
func JSON(op string, in any) ([]byte, error) {
	if in == nil {
		return nil, nil
	}
	b, err := json.Marshal(in)
	if err != nil {
		return nil, &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	}
	return b, nil
}

// RefusalBody reads the body of an answer that is not a success, at most max
// bytes. It returns nil if the body cannot be read: the status says enough.
func RefusalBody(resp *http.Response, max int64) []byte {
	b, err := io.ReadAll(io.LimitReader(resp.Body, max))
	if err != nil {
		return nil
	}
	return b
}

// Refusal makes the error for an answer that is not a success, of a kind,
// with the server's message. after is when the server asks to try again, if
// it does; it is used if another attempt makes sense.
func Refusal(op string, resp *http.Response, kind quinta.Kind, says error, after time.Duration) error {
	e := &quinta.Error{Kind: kind, Op: op, Err: says}
	if resp.StatusCode/100 == 3 {
		e.Err = fmt.Errorf("the server redirects this request (%d), and redirects are not followed", resp.StatusCode)
	}
	if after > 0 && (kind == quinta.KindLimited || kind == quinta.KindUnavailable) {
		return &client.RetryError{After: after, Err: e}
	}
	return e
}

// RetryAfter reads the header of that name: seconds, or a date. It is zero if
// the header says nothing.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	header := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.Atoi(header); err == nil && s >= 0 && s < 1<<31 {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Path fills the parameters of a pattern such as "/rooms/{room}/members" with
// escaped values, in their order.
func Path(pattern string, values ...string) string {
	elems := strings.Split(pattern, "/")
	for i, e := range elems {
		if strings.HasPrefix(e, "{") && len(values) > 0 {
			elems[i], values = url.PathEscape(values[0]), values[1:]
		}
	}
	return strings.Join(elems, "/")
}
