package matrix

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta/testkit/middle"
)

// An Object is a JSON object that the server may change. Numbers are
// json.Number.
type Object = map[string]any

// A Server is a hostile server between one client and an honest one. Its
// methods may be called while it runs.
type Server struct {
	*middle.Proxy
	t testing.TB

	mu      sync.Mutex
	answers []change
	asks    []change
	late    map[string]int
	inject  []Object // to-device events for the next sync
	last    []byte   // the last answer of /sync
	twice   int
}

// A change is applied to the JSON of all requests, or of all answers, whose
// path has the part.
type change struct {
	part string
	do   func(o Object)
}

// Start starts a hostile server before the honest one at target.
func Start(t testing.TB, target string) *Server {
	t.Helper()
	s := &Server{Proxy: middle.Start(t, target), t: t, late: map[string]int{}}
	s.Proxy.Before(s.before)
	s.Proxy.Answers(s.answer)
	return s
}

// Repent makes the server honest again.
func (s *Server) Repent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.asks, s.late, s.inject, s.twice = nil, nil, map[string]int{}, nil, 0
}

// Answer changes the answers of a path from now on. do runs under a lock: it
// must not call the server.
func (s *Server) Answer(part string, do func(o Object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, change{part, do})
}

// Ask changes the requests of a path before the honest server gets them.
func (s *Server) Ask(part string, do func(o Object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks = append(s.asks, change{part, do})
}

// before changes a request. A sync waits for a moment only, so that what the
// server has in mind happens soon.
func (s *Server) before(w http.ResponseWriter, r *http.Request) bool {
	if strings.HasSuffix(r.URL.Path, "/sync") {
		q := r.URL.Query()
		if q.Get("timeout") != "0" {
			q.Set("timeout", "200")
		}
		r.URL.RawQuery = q.Encode()
		return s.again(w)
	}
	s.mu.Lock()
	asks := s.asks
	s.mu.Unlock()
	for _, c := range asks {
		if !strings.Contains(r.URL.Path, c.part) || r.Body == nil {
			continue
		}
		body := new(bytes.Buffer)
		if _, err := body.ReadFrom(r.Body); err != nil {
			s.t.Errorf("%s: %v", r.URL.Path, err)
		}
		s.set(r, s.changed(body.Bytes(), c.do))
	}
	return false
}

// again gives the last answer of /sync once more instead of a new one.
func (s *Server) again(w http.ResponseWriter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.twice == 0 || s.last == nil {
		return false
	}
	s.twice--
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(s.last); err != nil {
		s.t.Log(err)
	}
	return true
}

func (s *Server) set(r *http.Request, body []byte) {
	r.Body, r.ContentLength = http.NoBody, int64(len(body))
	if len(body) > 0 {
		r.Body = readCloser{bytes.NewReader(body)}
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// changed applies do to a JSON object; what is none stays as it is.
func (s *Server) changed(body []byte, do func(o Object)) []byte {
	var o Object
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&o) != nil {
		return body
	}
	s.mu.Lock()
	do(o)
	s.mu.Unlock()
	out, err := json.Marshal(o)
	if err != nil {
		s.t.Errorf("a hostile answer that is no JSON: %v", err)
		return body
	}
	return out
}

// answer changes an answer.
func (s *Server) answer(r *http.Request, status int, body []byte) (int, []byte) {
	s.mu.Lock()
	for part, n := range s.late {
		if n > 0 && strings.Contains(r.URL.Path, part) {
			s.late[part]--
			s.mu.Unlock()
			return http.StatusBadGateway, nil
		}
	}
	answers := s.answers
	s.mu.Unlock()
	if status != http.StatusOK {
		return status, body
	}
	for _, c := range answers {
		if strings.Contains(r.URL.Path, c.part) {
			body = s.changed(body, c.do)
		}
	}
	if strings.HasSuffix(r.URL.Path, "/sync") {
		body = s.changed(body, func(o Object) {
			if len(s.inject) > 0 {
				to := object(o, "to_device")
				to["events"] = append(list(to["events"]), anys(s.inject)...)
				s.inject = nil
			}
		})
		s.mu.Lock()
		s.last = body
		s.mu.Unlock()
	}
	return status, body
}

// object returns the object at a member, and makes it if there is none.
func object(o Object, name string) Object {
	if v, ok := o[name].(Object); ok {
		return v
	}
	v := Object{}
	o[name] = v
	return v
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func anys(os []Object) []any {
	out := make([]any, len(os))
	for i, o := range os {
		out[i] = o
	}
	return out
}

// toDevice applies do to the list of to-device events of a sync.
func toDevice(sync Object, do func(events []any) []any) {
	if to, ok := sync["to_device"].(Object); ok {
		to["events"] = do(list(to["events"]))
	}
}

// rooms applies do to each joined room of a sync.
func rooms(sync Object, do func(id string, room Object)) {
	all, _ := sync["rooms"].(Object)
	joined, _ := all["join"].(Object)
	for id, r := range joined {
		if room, ok := r.(Object); ok {
			do(id, room)
		}
	}
}

// timelines applies do to the events of each room's timeline.
func timelines(sync Object, do func(room string, events []any) []any) {
	rooms(sync, func(id string, room Object) {
		t := object(room, "timeline")
		t["events"] = do(id, list(t["events"]))
	})
}

// states applies do to each list of state events of a room.
func states(room Object, do func(events []any) []any) {
	for _, name := range []string{"state", "state_after", "org.matrix.msc4222.state_after"} {
		if part, ok := room[name].(Object); ok {
			part["events"] = do(list(part["events"]))
		}
	}
}

// each returns the events that are objects.
func each(events []any, do func(e Object)) {
	for _, e := range events {
		if o, ok := e.(Object); ok {
			do(o)
		}
	}
}

// clone returns a copy of a JSON value.
func clone(v any) any {
	switch v := v.(type) {
	case Object:
		out := Object{}
		for k, e := range v {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	}
	return v
}
