package rocketchatclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// Bounds of what a server may send.
const (
	maxAnswer = 32 << 20
	maxError  = 64 << 10
)

// A conn speaks REST with one server. It is safe for concurrent use.
type conn struct {
	http  *http.Client
	base  string
	user  string
	token client.Secret
	now   func() time.Time
}

func newConn(rt http.RoundTripper, base, user string, token client.Secret, now func() time.Time) *conn {
	return &conn{http: dial.NewClient(rt), base: base, user: user, token: token, now: now}
}

// close gives up the connections that are not in use.
func (c *conn) close() { c.http.CloseIdleConnections() }

// get asks with a query.
func (c *conn) get(ctx context.Context, op, name string, q url.Values, out any) error {
	path := wire.PathAPI + name
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	_, err := c.call(ctx, op, http.MethodGet, path, nil, nil, out)
	return err
}

// post asks with a JSON body.
func (c *conn) post(ctx context.Context, op, name string, in, out any) error {
	_, err := c.call(ctx, op, http.MethodPost, wire.PathAPI+name, nil, in, out)
	return err
}

// call carries out one call, and returns when the server answered by its own
// clock; zero if it does not say. Every error is a *quinta.Error or wraps one, and
// wraps a *wire.Error if the server gave one.
func (c *conn) call(ctx context.Context, op, method, path string, head http.Header, in, out any) (at time.Time, err error) {
	body, err := dial.JSON(op, in)
	if err != nil {
		return at, err
	}
	raw, header, err := dial.Call(ctx, op, dial.Request{Method: method, URL: c.base + path, Header: head, Body: body, Max: maxAnswer}, c.send, c.refusal)
	if err != nil {
		return at, err
	}
	if t, err := http.ParseTime(header.Get("Date")); err == nil {
		at = t
	}
	var done struct {
		Success *bool `json:"success"`
	}
	if json.Unmarshal(raw, &done) != nil || done.Success != nil && !*done.Success {
		return at, quinta.E(quinta.KindUnavailable, op, "the server's answer is not JSON of this network")
	}
	if out == nil {
		return at, nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return at, quinta.E(quinta.KindUnavailable, op, "the server's answer is not what this call returns")
	}
	return at, nil
}

// send puts the headers on and sends.
func (c *conn) send(op string, r *http.Request) (*http.Response, error) {
	if c.user != "" {
		r.Header.Set(wire.HeaderUser, c.user)
		r.Header.Set(wire.HeaderToken, c.token.Reveal())
	}
	return dial.Send(c.http, op, r)
}

// refusal makes the error of an answer that is not a success.
func (c *conn) refusal(op string, resp *http.Response) error {
	var w struct {
		Error   string `json:"error"`
		Type    string `json:"errorType"`
		Message string `json:"message"`
		Status  string `json:"status"`
		Success *bool  `json:"success"`
		Details struct {
			Method string `json:"method"`
		} `json:"details"`
	}
	e := &wire.Error{Status: resp.StatusCode}
	own := json.Unmarshal(dial.RefusalBody(resp, maxError), &w) == nil && (w.Success != nil || w.Status != "")
	if own {
		e.Code, e.Text, e.Details = w.Type, printable.Line(w.Error), w.Details.Method
		if e.Text == "" {
			e.Text = printable.Line(w.Message)
		}
		if e.Code == "" {
			// Some releases give the code at the end of the text alone, or as it.
			if i := strings.LastIndexByte(e.Text, '['); i >= 0 && strings.HasSuffix(e.Text, "]") {
				e.Code = e.Text[i+1 : len(e.Text)-1]
			} else if !strings.ContainsRune(e.Text, ' ') {
				e.Code = e.Text
			}
		}
		e.Text = strings.TrimSpace(strings.TrimSuffix(e.Text, "["+e.Code+"]"))
	}
	return dial.Refusal(op, resp, kindOf(e, own), e, dial.RetryAfter(resp.Header, c.now()))
}

// kindOf turns a refusal into the words of the core. A page from something in
// front of the server is trouble on the way.
func kindOf(e *wire.Error, own bool) quinta.Kind {
	switch s := e.Status; {
	case !own && s != http.StatusNotFound && s != http.StatusTooManyRequests:
		return quinta.KindUnavailable
	case e.Code == wire.CodeLimited, s == http.StatusTooManyRequests:
		return quinta.KindLimited
	case e.Code == wire.CodeTwoFactor, e.Code == wire.CodeTwoFactorWrong:
		return quinta.KindUnauthenticated
	case s == http.StatusUnauthorized:
		return quinta.KindUnauthenticated
	case e.Code == wire.CodeQuota:
		return quinta.KindQuota
	case s >= 500:
		return quinta.KindUnavailable
	case e.Code == wire.CodeForbidden, e.Code == "unauthorized", s == http.StatusForbidden:
		return quinta.KindForbidden
	case e.Code == wire.CodeTooLarge:
		return quinta.KindTooLarge
	case s == http.StatusNotFound, e.Code == wire.CodeNotFound, e.Code == wire.CodeNoMessage, e.Code == "error-invalid-room", e.Code == "error-room-not-found", e.Code == wire.CodeInvalidUser:
		return quinta.KindNotFound
	case e.Code == wire.CodeExists, strings.Contains(e.Code, "duplicate"), strings.Contains(e.Code, "already"):
		return quinta.KindExists
	}
	return quinta.KindInvalid
}

// codeOf returns the code of a refusal by the server itself, and what it says;
// ok is false for all else.
func codeOf(err error) (code, text string, ok bool) {
	e, is := errors.AsType[*wire.Error](err)
	if !is {
		return "", "", false
	}
	switch quinta.KindOf(err) {
	case quinta.KindUnavailable, quinta.KindLimited, quinta.KindUnauthenticated:
		return "", "", false
	}
	if e.Code == "" {
		return "error-" + strconv.Itoa(e.Status), e.Text, true
	}
	return e.Code, e.Text, true
}
