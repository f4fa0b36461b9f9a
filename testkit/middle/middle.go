// Package middle is a proxy that stands between a client and a server in a
// test: it can change what goes through, keep it up, refuse it, count it, and
// lead it to another server while the client knows one address.
package middle

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// A Proxy is a running proxy. Its methods may be called while it runs.
type Proxy struct {
	// URL is its address.
	URL string

	mu      sync.Mutex
	target  *url.URL
	before  func(w http.ResponseWriter, r *http.Request) bool
	answers func(r *http.Request, status int, body []byte) (int, []byte)
	seen    []Request
}

// A Request is one request that came, with its body.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// Start starts a proxy before the server at target and stops it at the end of
// the test.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{}
	p.To(t, target)
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.URL = s.URL
	return p
}

// To leads what comes from now on to another server.
func (p *Proxy) To(t testing.TB, target string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = u
}

// Before has fn look at each request first; if fn returns true it has
// answered, and the server does not see the request. nil ends that.
func (p *Proxy) Before(fn func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = fn
}

// Answers has fn change the status and the body of each answer. nil ends that.
func (p *Proxy) Answers(fn func(r *http.Request, status int, body []byte) (int, []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = fn
}

// Seen returns the requests that came so far.
func (p *Proxy) Seen() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.seen...)
}

// maxSeen bounds the body that Seen keeps of one request.
const maxSeen = 1 << 20

// ServeHTTP carries one request through.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head, err := io.ReadAll(io.LimitReader(r.Body, maxSeen))
	if err != nil {
		http.Error(w, "the request broke off", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(head), r.Body))
	p.mu.Lock()
	p.seen = append(p.seen, Request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Clone(), head})
	target, before := p.target, p.before
	p.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	rp := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(target); pr.Out.Host = target.Host },
		// A server that is down is what some tests want; it is no news.
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil || context.Cause(r.Context()) == nil {
				w.WriteHeader(http.StatusBadGateway)
			}
		},
		FlushInterval: -1,
	}
	rp.ModifyResponse = func(resp *http.Response) error { return p.change(r, resp) }
	rp.ServeHTTP(w, r)
}

// change changes an answer as the test wants it when the answer comes, not
// when the request came: a long poll may be on its way.
func (p *Proxy) change(r *http.Request, resp *http.Response) error {
	p.mu.Lock()
	answers := p.answers
	p.mu.Unlock()
	if answers == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	resp.StatusCode, body = answers(r, resp.StatusCode, body)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return nil
}
