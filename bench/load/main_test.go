package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
)

func TestClient(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		if _, err := b.ReadFrom(r.Body); err != nil {
			t.Error(err)
		}
		answer := fmt.Sprintf("%s %s %s %d", r.Method, r.URL.Path, r.Header.Get("Authorization"), b.Len())
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprint(w, answer)
	}))
	defer srv.Close()
	c := dial(srv.Listener.Addr().String())
	defer c.close()
	for _, n := range []int{0, 1, 100_000} { // on one connection
		got, err := c.ok("POST", "/path", "token", make([]byte, n))
		if want := fmt.Sprintf("POST /path Bearer token %d", n); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := c.ok("GET", "/bad", "token", nil); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("got %v, want the status", err)
	}
	srv.Close()
	if _, _, err := c.do("GET", "/", "", nil); err == nil {
		t.Error("a dead server answered")
	}
}

func TestParallel(t *testing.T) {
	t.Parallel()
	var sum counter
	err := parallel(t.Context(), "", 1000, func(*client, int) error { sum.add(); return nil })
	if got := sum.add(); err != nil || got != 1000 {
		t.Errorf("got %d calls, %v", got, err)
	}
	err = parallel(t.Context(), "", 1000, func(_ *client, i int) error {
		if i == 500 {
			return errDone
		}
		return nil
	})
	if err == nil {
		t.Error("an error was lost")
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	var b []byte
	for i := range 3 {
		b = append(appendMark(append(b, `{"body":"`...), deviceMark, mark{7, i}), `xyz"},`...)
		b = append(appendMark(append(b, `{"body":"`...), roomMark, mark{8, i}), `xyz"},`...)
	}
	b = append(b, `"D:12`...)
	if got := fmt.Sprint(marks(b, deviceMark)); got != "[{7 0} {7 1} {7 2}]" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(marks(b, roomMark)); got != "[{8 0} {8 1} {8 2}]" {
		t.Errorf("got %s", got)
	}
}

// TestLedger shows that each fault is found.
func TestLedger(t *testing.T) {
	t.Parallel()
	text := func(ms ...mark) (b []byte) {
		for _, m := range ms {
			b = append(appendMark(append(b, '"'), deviceMark, m), '"')
		}
		return b
	}
	for _, c := range []struct {
		name    string
		arrived []mark
		want    string // in the error; empty: none
	}{
		{"all", []mark{{0, 0}, {1, 0}, {0, 1}}, ""},
		{"what was not acknowledged may be missing", []mark{{0, 0}, {1, 0}, {0, 1}, {0, 2}}, ""},
		{"lost", []mark{{0, 0}, {1, 0}}, "did not arrive"},
		{"twice", []mark{{0, 0}, {1, 0}, {0, 1}, {0, 1}}, "twice"},
		{"out of order", []mark{{0, 1}, {0, 0}, {1, 0}}, "after message"},
		{"made up", []mark{{0, 0}, {1, 0}, {0, 1}, {5, 0}}, "nobody sent"},
		{"to another", []mark{{0, 0}, {1, 0}, {0, 1}, {2, 0}}, "not for"},
	} {
		l := newLedger()
		l.acked(l.next(0, []int32{3}))
		l.acked(l.next(0, []int32{3}))
		l.next(0, []int32{3})
		l.acked(l.next(1, []int32{3}))
		l.next(2, []int32{4})
		l.arrived(3, text(c.arrived...))
		n, err := l.check()
		switch {
		case c.want == "" && (err != nil || n != len(c.arrived)):
			t.Errorf("%s: got %d, %v", c.name, n, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestKeyring(t *testing.T) {
	t.Parallel()
	k := &keyring{}
	body := k.appendUpload(nil, &seat{user: "@a:b", device: "D"}, 3)
	if !json.Valid(body) {
		t.Fatalf("the upload is not JSON: %s", body)
	}
	if n, err := k.claimed(1, body); n != 3 || err != nil {
		t.Errorf("got %d keys, %v", n, err)
	}
	if n, err := k.check(); n != 3 || err != nil {
		t.Errorf("got %d keys, %v", n, err)
	}
	if _, err := k.claimed(2, []byte(`{"signed_curve25519:00000001":{}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.check(); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v, want a key given out twice", err)
	}
	other := &keyring{}
	if _, err := other.claimed(2, []byte(`{"signed_curve25519:00000001":{}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.check(); err == nil || !strings.Contains(err.Error(), "never uploaded") {
		t.Errorf("got %v, want a key that no one made", err)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	w := &world{users: 3}
	for u := range w.users {
		for d := range devicesEach {
			w.seats = append(w.seats, &seat{user: fmt.Sprintf("@u%d:b", u), device: fmt.Sprintf("D%d", d)})
		}
	}
	var claim struct {
		Keys map[string]map[string]string `json:"one_time_keys"`
	}
	if err := json.Unmarshal(w.appendClaim(nil, 3, 4), &claim); err != nil || len(claim.Keys) != 3 || claim.Keys["@u0:b"]["D0"] != algorithm {
		t.Errorf("got %v, %v", claim, err)
	}
	if !json.Valid(deviceKeys(w.seats[0])) || !json.Valid(appendContent(nil, mark{1, 2})) {
		t.Error("keys or contents are not JSON")
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(i+1))
	}
	for p, want := range map[int]time.Duration{50: 100, 99: 198, 100: 200} {
		if got := percentile(d, p); got != want {
			t.Errorf("p%d: got %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: got %d", got)
	}
}

// TestReport holds a figure just inside and just outside each bar.
func TestReport(t *testing.T) {
	t.Parallel()
	r := newReport(&options{window: time.Second})
	r.add(Sample{Name: opUpload, DB: sqlite, Users: middle, PerSecond: 600, ServerCPU: 1600})
	r.add(Sample{Name: opUpload, DB: sqlite, Users: 100, PerSecond: 1, ServerCPU: 1e6}) // not judged
	r.add(Sample{Name: opSend1, DB: postgresql, Users: middle, PerSecond: 1, ServerCPU: 200, Syncs: 0.1})
	r.value(sqlite, valueMemory, 40, "MB")
	r.check(sqlite, checkClaims, "0 twice", nil)
	r.judge()
	if !r.held() || len(r.Bars) != 5 {
		t.Errorf("got %+v", r.Bars)
	}
	r.add(Sample{Name: opClaim1, DB: sqlite, Users: middle, PerSecond: 3999, ServerCPU: 201})
	r.Bars = nil
	r.judge()
	if r.held() {
		t.Error("bars that do not hold were let through")
	}
	r = newReport(&options{})
	r.check(sqlite, checkClaims, "", fmt.Errorf("the key 1 was given out twice"))
	if r.judge(); r.held() {
		t.Error("a check that failed was let through")
	}
	dir := filepath.Join(t.TempDir(), "results")
	var out bytes.Buffer
	if err := r.write(&out, dir); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, r.Date+"-load.md"))
	if err != nil || string(kept) != out.String() || !strings.Contains(out.String(), "given out twice | **no**") {
		t.Errorf("got %q, %v", kept, err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, r.Date+"-load.json")); err != nil || !json.Valid(raw) {
		t.Errorf("the JSON result: %v", err)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-db", "mysql"}, {"-only", "("}, {"-users", "1"}, {"-users", "many"}, {"extra"}, {"-nonsense"}} {
		if _, err := run(context.Background(), args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	got, err := scales("1000,100", false)
	if err != nil || fmt.Sprint(got) != "[100 1000]" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestAgainstServer drives a real quintad for a moment: every check must find
// what it looks for, and find it right.
func TestAgainstServer(t *testing.T) {
	program, err := machine.Quintad()
	if err != nil {
		t.Fatal(err)
	}
	o := &options{quick: true, window: 100 * time.Millisecond, scales: []int{100}, program: program}
	r := newReport(o)
	for _, part := range []func(context.Context, *options, string, *report) error{requests, killed, certificates} {
		if err := part(t.Context(), o, sqlite, r); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.Checks) != 8 {
		t.Errorf("got %d checks, want 8", len(r.Checks))
	}
	for _, c := range r.Checks {
		if !c.OK || strings.HasPrefix(c.Found, "0 messages") || strings.HasPrefix(c.Found, "0 keys") || strings.HasPrefix(c.Found, "0 certificates") {
			t.Errorf("%s: %s", c.What, c.Found)
		}
	}
	for _, s := range r.Samples {
		if s.Ops == 0 || s.PerSecond <= 0 || s.P99 < s.P50 {
			t.Errorf("got %+v", s)
		}
	}
}
