package caclient

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/network/ca/wire"
)

// answers starts a server that gives one answer to everything.
func answers(t *testing.T, status int, header map[string]string, body string) *conn {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		if _, err := w.Write([]byte(body)); err != nil {
			t.Log(err)
		}
	}))
	t.Cleanup(s.Close)
	return newConn(nil, s.URL, client.NewSecret("canary-token"), time.Now)
}

// TestRefusals: what the server answers becomes a kind, and what stands before
// it is not taken for the server.
func TestRefusals(t *testing.T) {
	t.Parallel()
	problem := func(code wire.Code) string {
		return `{"type":"urn:quinta:ca:error:` + string(code) + `","detail":"because"}`
	}
	for _, c := range []struct {
		status int
		body   string
		want   quinta.Kind
	}{
		{401, problem(wire.CodeUnauthenticated), quinta.KindUnauthenticated},
		{401, "<html>log in to the hotel", quinta.KindInvalid},
		{403, problem(wire.CodeForbidden), quinta.KindForbidden},
		{403, problem(wire.CodePossession), quinta.KindForbidden},
		{403, problem(wire.CodeApproval), quinta.KindForbidden},
		{404, problem(wire.CodeNotFound), quinta.KindNotFound},
		{409, problem(wire.CodeStaleKeys), quinta.KindConflict},
		{409, problem(wire.CodeConflict), quinta.KindConflict},
		{409, problem(wire.CodeExists), quinta.KindExists},
		{413, problem(wire.CodeTooLarge), quinta.KindTooLarge},
		{413, "too much", quinta.KindTooLarge},
		{429, problem(wire.CodeLimited), quinta.KindLimited},
		{500, problem(wire.CodeInternal), quinta.KindUnavailable},
		{502, "<html>", quinta.KindUnavailable},
		{503, problem(wire.CodeUnavailable), quinta.KindUnavailable},
		{507, problem(wire.CodeFull), quinta.KindFull},
		{302, "", quinta.KindInvalid},
		{418, "", quinta.KindInvalid},
	} {
		_, _, err := answers(t, c.status, nil, c.body).call(t.Context(), "asking", get("/x"))
		if err == nil || quinta.KindOf(err) != c.want {
			t.Errorf("%d %s: got %v of kind %v, want %v", c.status, c.body, err, quinta.KindOf(err), c.want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%v shows the token", err)
		}
	}
}

// TestRetryAfter: a server says when to come again, in the body or the header.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []*conn{
		answers(t, 429, nil, `{"type":"urn:quinta:ca:error:limited","detail":"x","retryAfter":7000}`),
		answers(t, 503, map[string]string{"Retry-After": "7"}, ""),
	} {
		_, _, err := c.call(t.Context(), "asking", get("/x"))
		re, ok := errors.AsType[*client.RetryError](err)
		if !ok || re.After != 7*time.Second {
			t.Errorf("got %v, want to come again after 7 s", err)
		}
	}
}

// TestBounds: an answer that is too large or not JSON is an error, and so is a
// server that speaks something else.
func TestBounds(t *testing.T) {
	t.Parallel()
	c := answers(t, 200, nil, `{"a":"`+strings.Repeat("x", 5000)+`"}`)
	if _, _, err := c.call(t.Context(), "asking", request{method: http.MethodGet, path: "/x", max: 1000}); quinta.KindOf(err) != quinta.KindTooLarge {
		t.Errorf("got %v, want it too large", err)
	}
	var v struct{ A int }
	if err := c.ask(t.Context(), "asking", get("/x"), nil, &v); quinta.KindOf(err) != quinta.KindMalformed {
		t.Errorf("got %v, want it malformed", err)
	}
	if _, err := answers(t, 200, nil, `{}`).roots(t.Context()); quinta.KindOf(err) != quinta.KindMalformed {
		t.Errorf("got %v, want no authority", err)
	}
}

// TestEveryRequestHasACall: no kind of request of the machine is without its
// call, and each path is filled.
func TestEveryRequestHasACall(t *testing.T) {
	t.Parallel()
	all := []ca.ReqKind{ca.ReqRoots, ca.ReqCRL, ca.ReqEnrol, ca.ReqNonce, ca.ReqRenew, ca.ReqRetire, ca.ReqRevoke, ca.ReqApprove, ca.ReqKeys, ca.ReqConversations,
		ca.ReqConversation, ca.ReqPutConversation, ca.ReqMembers, ca.ReqLeave, ca.ReqMessage, ca.ReqHistory, ca.ReqAck, ca.ReqBackup, ca.ReqPutBackup}
	if len(all) != len(calls) {
		t.Errorf("got %d calls, want %d", len(calls), len(all))
	}
	for _, k := range all {
		c, ok := calls[k]
		if !ok {
			t.Errorf("%s: no call", k)
			continue
		}
		q, _ := c.request(&ca.Req{Kind: k, Key: "a key", User: "a@b", Conv: "a conv", Message: "a message/../x"})
		if q.method == "" || strings.ContainsAny(q.path, "{} ") || strings.Contains(q.path, "/../") {
			t.Errorf("%s: got %s %s", k, q.method, q.path)
		}
	}
}

// TestLink: a refusal is an answer; trouble on the way is none.
func TestLink(t *testing.T) {
	t.Parallel()
	do := func(c *conn) (ca.Ans, error) {
		l := &link{conn: c, came: func(*ca.Req, ca.Ans) {}}
		return l.Do(t.Context(), ca.Req{Kind: ca.ReqMessage, Conv: "c", Message: "m", Deliver: &ca.Deliver{}})
	}
	a, err := do(answers(t, 409, nil, `{"type":"urn:quinta:ca:error:stale-keys","detail":"x","missing":["m"],"stale":["s"]}`))
	if err != nil || a.Code != ca.CodeStaleKeys || len(a.Missing) != 1 || len(a.Stale) != 1 {
		t.Errorf("got %+v %v, want stale keys", a, err)
	}
	for name, c := range map[string]*conn{
		"page of a proxy":  answers(t, 403, nil, "<html>blocked"),
		"proxy's login":    answers(t, 401, nil, "<html>hotel"),
		"gone":             answers(t, 404, nil, "not here"),
		"other JSON":       answers(t, 200, nil, `[1]`),
		"internal error":   answers(t, 500, nil, `{"type":"urn:quinta:ca:error:internal","detail":"x"}`),
		"redirect":         answers(t, 302, map[string]string{"Location": "http://127.0.0.1:1/"}, ""),
		"storage restarts": answers(t, 503, nil, `{"type":"urn:quinta:ca:error:unavailable","detail":"x"}`),
	} {
		if a, err := do(c); err == nil || quinta.KindOf(err) != quinta.KindUnavailable {
			t.Errorf("%s: got %+v %v, want an error that is worth another try", name, a, err)
		}
	}
	if _, err := do(answers(t, 401, nil, `{"type":"urn:quinta:ca:error:unauthenticated","detail":"x"}`)); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v, want that no one is logged in", err)
	}
}

// TestPageFrom: a page of the mailbox that is out of order is no page.
func TestPageFrom(t *testing.T) {
	t.Parallel()
	at := func(pos ...quinta.Pos) (list []wire.Item) {
		for _, p := range pos {
			list = append(list, wire.Item{Pos: p})
		}
		return list
	}
	for name, c := range map[string]struct {
		m  wire.Mailbox
		ok bool
	}{
		"empty":         {wire.Mailbox{Next: 5}, true},
		"two":           {wire.Mailbox{Items: at(6, 9), Next: 9}, true},
		"skips":         {wire.Mailbox{Next: 9}, false},
		"back":          {wire.Mailbox{Items: at(5), Next: 5}, false},
		"twice":         {wire.Mailbox{Items: at(6, 6), Next: 6}, false},
		"disorder":      {wire.Mailbox{Items: at(7, 6), Next: 7}, false},
		"ends too soon": {wire.Mailbox{Items: at(6, 7), Next: 6}, false},
		"too many":      {wire.Mailbox{Items: make([]wire.Item, wire.MaxLimit+1), Next: 9}, false},
	} {
		if in, err := pageFrom(5, &c.m); (err == nil) != c.ok || err == nil && (in.After != 5 || in.Next != c.m.Next || len(in.Items) != len(c.m.Items)) {
			t.Errorf("%s: got %+v %v", name, in, err)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ server, user, want string }{
		{"https://example.org/", "a", "https://example.org"},
		{"example.org", "a", "https://example.org"},
		{"127.0.0.1:8008", "a", "http://127.0.0.1:8008"},
		{"", "a@example.org", "https://example.org"},
		{"", "a", ""},
		{"http://example.org", "a", ""},
		{"https://u:p@example.org", "a", ""},
	} {
		if got, err := address(c.server, c.user); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q %q: got %q %v, want %q", c.server, c.user, got, err, c.want)
		}
	}
}

// TestErrands: only the answer that is expected counts, and the last one.
func TestErrands(t *testing.T) {
	t.Parallel()
	var es errands
	e := &errand{kind: ca.ReqRevoke, what: "k1"}
	end := es.expect(e)
	es.came(&ca.Req{Kind: ca.ReqRevoke, Key: "k2"}, ca.Ans{Code: "x"})
	es.came(&ca.Req{Kind: ca.ReqRetire, Key: "k1"}, ca.Ans{Code: "x"})
	if e.answer() != nil {
		t.Errorf("got %+v, want no answer yet", e.answer())
	}
	es.came(&ca.Req{Kind: ca.ReqRevoke, Key: "k1"}, ca.Ans{Code: "state"})
	if a := e.answer(); a == nil || a.Code != "state" {
		t.Errorf("got %+v, want the answer", a)
	}
	if err := refused("revoking", e.answer()); quinta.KindOf(err) != quinta.KindConflict {
		t.Errorf("got %v, want a conflict", err)
	}
	end()
	es.came(&ca.Req{Kind: ca.ReqRevoke, Key: "k1"}, ca.Ans{})
	if a := e.answer(); a.Code != "state" {
		t.Errorf("got %+v, want nothing after the end", a)
	}
}
