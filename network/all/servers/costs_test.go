package servers_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

var update = flag.Bool("update", false, "write the table of doc/security.md")

// TestEveryCallIsBounded: each network that clients call declares its calls,
// each with a rate and with a bound of its body. A call that was added without
// them is reported here.
func TestEveryCallIsBounded(t *testing.T) {
	t.Parallel()
	all := quintatest.Start(t).Core.Bounds()
	for _, n := range servers.All() {
		if len(all[n.Name]) == 0 {
			t.Errorf("%s declares no calls", n.Name)
		}
		seen := map[string]bool{}
		for _, b := range all[n.Name] {
			if err := b.Check(); err != nil {
				t.Errorf("%s: %v", n.Name, err)
			}
			if seen[b.Call] {
				t.Errorf("%s declares %s twice", n.Name, b.Call)
			}
			seen[b.Call] = true
		}
	}
}

const (
	document   = "../../../doc/security.md"
	tableBegin = "<!-- The table of calls: go test ./network/all/servers -run TestBoundsInDocument -update -->\n"
	tableEnd   = "<!-- The end of the table of calls. -->\n"
)

// TestBoundsInDocument: the table of doc/security.md has the calls and bounds
// that the code has.
func TestBoundsInDocument(t *testing.T) {
	t.Parallel()
	want := tableBegin + table(quintatest.Start(t).Core.Bounds()) + tableEnd
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		t.Fatalf("%s has no table of calls", document)
	}
	if got := before + want + after; got != string(raw) {
		if !*update {
			t.Fatalf("the table of %s differs from the code: run the command above it", document)
		}
		if err := os.WriteFile(document, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// versions are the prefixes of paths that differ between the versions of one
// call.
var versions = regexp.MustCompile(`/_matrix/(client|media)/(v3|v1|r0)`)

// table writes the bounds, with the calls of equal bounds in one row.
func table(all map[quinta.NetworkName][]server.Bound) string {
	var b strings.Builder
	b.WriteString("\n| network | who | at once | then one every | body in memory | calls |\n|---|---|---|---|---|---|\n")
	for _, network := range slices.Sorted(maps.Keys(all)) {
		rows := map[string][]string{}
		for _, bound := range all[network] {
			who := "user"
			if bound.Open {
				who = "address"
			}
			body := "none"
			if bound.Body > 0 {
				body = size(bound.Body)
			}
			if bound.File {
				body += ", and a file"
			}
			key := fmt.Sprintf("| %s | %s | %d | %v | %s |", network, who, bound.Rate.Burst, bound.Rate.Every, body)
			call := "`" + versions.ReplaceAllString(bound.Call, "") + "`"
			if !slices.Contains(rows[key], call) {
				rows[key] = append(rows[key], call)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			slices.Sort(rows[key])
			fmt.Fprintf(&b, "%s %s |\n", key, strings.Join(rows[key], ", "))
		}
	}
	b.WriteString("\n")
	return b.String()
}

func size(n int64) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// A payer is a server that is made to pay, by a stranger and by users whose
// calls come without a network between.
type payer struct {
	*quintatest.Server
	t       *testing.T
	clock   *atomic.Int64 // in milliseconds
	handler http.Handler
	// user has the headers of a logged-in user of each network.
	user map[quinta.NetworkName]http.Header
}

// newPayer starts a server with limits under a clock that stands still.
func newPayer(t *testing.T, opts ...quintatest.Option) *payer {
	t.Helper()
	clock := new(atomic.Int64)
	clock.Store(1_800_000_000_000)
	opts = append([]quintatest.Option{quintatest.RateLimits(), quintatest.Registration(server.RegistrationClosed),
		quintatest.Clock(func() time.Time { return time.UnixMilli(clock.Load()) }),
		quintatest.Setting("xmpp-domains", "test.example"), quintatest.Setting("xmpp-escrow", "on"),
	}, opts...)
	p := &payer{Server: quintatest.Start(t, opts...), t: t, clock: clock, user: map[quinta.NetworkName]http.Header{}}
	p.handler = p.Core.Handler(http.NotFoundHandler())
	if err := p.Core.AddAccount(t.Context(), "mallory", "right"); err != nil {
		t.Fatal(err)
	}
	return p
}

// login logs mallory in on every network.
func (p *payer) login() {
	p.t.Helper()
	post := func(path, body string, to any) {
		w := p.call("POST", path, "192.0.2.1", nil, strings.NewReader(body))
		if err := json.Unmarshal(w.Body.Bytes(), to); w.Code != http.StatusOK || err != nil {
			p.t.Fatalf("%s: got %d %.200s", path, w.Code, w.Body)
		}
	}
	var mx struct {
		Token string `json:"access_token"`
	}
	post("/_matrix/client/v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"mallory"},"password":"right","device_id":"M"}`, &mx)
	p.user["matrix"] = http.Header{"Authorization": {"Bearer " + mx.Token}}
	var ca struct {
		Token string `json:"token"`
	}
	post("/ca/v1/login", `{"username":"mallory","password":"right","device":"M"}`, &ca)
	p.user["ca"] = http.Header{"Authorization": {"Bearer " + ca.Token}}
	var rc struct {
		Data struct {
			User  string `json:"userId"`
			Token string `json:"authToken"`
		} `json:"data"`
	}
	post("/api/v1/login", `{"user":"mallory","password":"right"}`, &rc)
	p.user["rocketchat"] = http.Header{"X-User-Id": {rc.Data.User}, "X-Auth-Token": {rc.Data.Token}}
	token, err := p.Core.RunCommand(p.t.Context(), "xmpp token", server.CommandInput{Args: []string{"mallory@test.example"}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.user["xmpp"] = http.Header{"Authorization": {"Bearer " + strings.TrimSpace(token)}}
}

// enter gives mallory another token of a network.
func (p *payer) enter(network quinta.NetworkName) http.Header {
	p.t.Helper()
	h := p.user[network].Clone()
	user := map[quinta.NetworkName]quinta.UserID{"matrix": "@mallory:hs1", "ca": "mallory@hs1", "rocketchat": quinta.UserID(h.Get("X-User-Id"))}[network]
	if err := p.Core.Update(p.t.Context(), func(tx *db.Tx) error {
		if _, err := device.Put(tx, network, user, "M", nil); err != nil {
			return err
		}
		token, err := device.NewToken(tx, p.Core.Rand, network, user, "M")
		if network == "rocketchat" {
			h.Set("X-Auth-Token", token)
		} else {
			h.Set("Authorization", "Bearer "+token)
		}
		return err
	}); err != nil {
		p.t.Fatal(err)
	}
	p.user[network] = h
	return h
}

// call makes one call, from an address.
func (p *payer) call(method, path, addr string, h http.Header, body io.Reader) *httptest.ResponseRecorder {
	p.t.Helper()
	if body == nil {
		body = http.NoBody
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.URL+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.RequestURI = path
	if _, ok := body.(*blanks); ok {
		r.ContentLength = -1
	}
	r.RemoteAddr = addr + ":4321"
	for k, v := range h {
		r.Header[k] = v
	}
	if body != http.NoBody && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return w
}

// http returns the calls over HTTP of a network.
func (p *payer) http(network quinta.NetworkName) (all []server.Bound) {
	for _, b := range p.Core.Bounds()[network] {
		if verb, path, ok := strings.Cut(b.Call, " "); ok && strings.HasPrefix(path, "/") && verb == strings.ToUpper(verb) && path != "/websocket" {
			all = append(all, b)
		}
	}
	return all
}

// rows counts the rows of each table of the store.
func (p *payer) rows() map[string]int64 {
	p.t.Helper()
	all := map[string]int64{}
	if err := p.Core.View(p.t.Context(), func(tx *db.Tx) error {
		var names []string
		for row, err := range tx.Query(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`) {
			if err != nil {
				return err
			}
			var name string
			if err := row.Scan(&name); err != nil {
				return err
			}
			names = append(names, name)
		}
		for _, name := range names {
			var rows int64
			if err := tx.Row(`SELECT COUNT(*) FROM "` + name + `"`).Scan(&rows); err != nil {
				return err
			}
			all[name] = rows
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return all
}

// more returns the rows that there are more than before, in all and by table.
func (p *payer) more(before map[string]int64) (n int64, where string) {
	p.t.Helper()
	for table, rows := range p.rows() {
		if grown := rows - before[table]; grown != 0 {
			n += grown
			where += fmt.Sprintf(" %s %+d", table, grown)
		}
	}
	return n, where
}

// variables are the names of variables in a path.
var variables = regexp.MustCompile(`\{[^}]*\}`)

// odd are values for the variables of paths, escaped.
var odd = []string{
	"x", "%00", "%FF%FE", "..%2F..%2F..%2Fetc%2Fpasswd", "%F0%9F%94%91", "-1", "99999999999999999999999999", "%27%3B+DROP+TABLE+account%3B--",
	"@mallory:hs1", "!x:hs1", strings.Repeat("A", 4096), strings.Repeat("%E2%80%AE", 100), "null", "%25%32%65",
}

// oddBodies are bodies that are no request, or a strange one.
var oddBodies = []string{
	"", "{}", "null", "[]", "1e400", `{"a":1,"a":2}`, "\xff\xfe", `"` + strings.Repeat("x", 60_000) + `"`, strings.Repeat("[", 60_000), strings.Repeat(`{"a":`, 12_000),
	`{"limit":-1,"timeout":-9223372036854775809}`, `{"user":{"a":{}},"password":[],"auth":7,"device_keys":3,"messages":[[]],"keys":"\u0000"}`,
	"{" + strings.Repeat(`"k":{},`, 8000) + `"z":0}`,
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// refusals are the answers to a call that is made too often.
func refused(w *httptest.ResponseRecorder) bool {
	n, err := strconv.Atoi(w.Header().Get("Retry-After"))
	return w.Code == http.StatusTooManyRequests && err == nil && n > 0
}

// TestAttackEveryCall calls each call of HTTP with the oddest input and the
// largest body until it is refused, under a clock that stands still. It is
// refused after its rate at the latest, a body that is too large is refused
// whatever it holds, none fails, together they cost little time and memory, and
// without a login nothing but the rows that the document names is kept.
func TestAttackEveryCall(t *testing.T) {
	p := newPayer(t)
	p.login()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	calls, began := 0, cpu(t)
	for network, h := range p.user {
		counted := map[string]bool{} // the calls that share a bucket with one that was made already
		for _, b := range p.http(network) {
			method, route, _ := strings.Cut(b.Call, " ")
			if b.Open {
				h = nil
			} else {
				h = p.user[network]
			}
			const addr = "198.51.100.1"
			path := func(v string) string { return variables.ReplaceAllLiteralString(route, v) }
			if !b.Open {
				if w := p.call(method, path("x"), addr, nil, nil); w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden && !refused(w) {
					t.Errorf("%s without a login: got %d %.100s", b.Call, w.Code, w.Body)
				}
			}
			name := method + versions.ReplaceAllString(route, "")
			var last *httptest.ResponseRecorder
			n := 0
			for n <= b.Rate.Burst {
				var body io.Reader
				if method != "GET" && !b.File {
					body = strings.NewReader(oddBodies[n%len(oddBodies)])
				}
				large := &blanks{left: b.Body + 1000}
				if n == 1 && b.Body > 0 {
					body = large
				}
				last = p.call(method, path(odd[n%len(odd)]), addr, h, body)
				calls++
				if last.Code == http.StatusUnauthorized && !b.Open && network != "xmpp" {
					h = p.enter(network) // the call before this one was a logout
					continue
				}
				if refused(last) {
					break
				}
				if last.Code >= http.StatusInternalServerError && last.Code != http.StatusNotImplemented || last.Code == 0 {
					t.Errorf("%s with %.40q: got %d %.200s", b.Call, odd[n%len(odd)], last.Code, last.Body)
				}
				// A call that needs no body does not read one.
				if large.read > b.Body+1 || large.read > 0 && last.Code < 400 {
					t.Errorf("%s with %d bytes: read %d, got %d %.100s", b.Call, b.Body+1000, large.read, last.Code, last.Body)
				}
				n++
			}
			if !refused(last) {
				t.Errorf("%s: not refused after %d calls: got %d %.100s", b.Call, n, last.Code, last.Body)
			}
			if counted[name] && n > 0 && network == "matrix" {
				t.Errorf("%s: another version of the path gives %d calls more", b.Call, n)
			}
			counted[name] = true
		}
		t.Logf("%s: %d calls, %v", network, calls, cpu(t)-began)
	}
	if spent := cpu(t) - began; calls > 0 && spent/time.Duration(calls) > 20*time.Millisecond {
		t.Errorf("%d calls took %v of the processor", calls, spent)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	t.Logf("%d calls, %v of the processor", calls, cpu(t)-began)
}

// blanks is a body of left blanks of which read were read.
type blanks struct{ left, read int64 }

func (r *blanks) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(b, bytes.Repeat([]byte(" "), int(min(r.left, int64(len(b))))))
	r.left -= int64(n)
	r.read += int64(n)
	return n, nil
}

// maxStrange is how many rows one address without an account may leave behind
// in a day of calls at full speed, at most, before they expire.
const maxStrange = 2000

// TestAttackRowsOfStrangers: one address without an account makes every call for
// a day, as often as it may. It leaves few rows, and after another day none.
func TestAttackRowsOfStrangers(t *testing.T) {
	p := newPayer(t)
	p.call("GET", "/ca/v1/roots", "192.0.2.65", nil, nil) // the authority makes its own keys once
	p.call("GET", "/ca/v1/crl", "192.0.2.65", nil, nil)
	before := p.rows()
	bodies := append([]string{
		`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"mallory"},"password":"wrong"}`,
		`{"username":"new","password":"a long password"}`, `{"user":"mallory","password":"wrong"}`, `{"user":"new","password":"a long password","device":"D","name":"D"}`,
	}, oddBodies...)
	for minute := range 24 * 6 {
		for network := range p.Core.Bounds() {
			for _, b := range p.http(network) {
				method, route, _ := strings.Cut(b.Call, " ")
				if !b.Open {
					continue
				}
				for n := range min(b.Rate.Burst, 3) {
					var body io.Reader
					if method != "GET" {
						body = strings.NewReader(bodies[(minute+n)%len(bodies)])
					}
					p.call(method, variables.ReplaceAllLiteralString(route, odd[(minute+n)%len(odd)]), "192.0.2.66", nil, body)
				}
			}
		}
		p.clock.Add((10 * time.Minute).Milliseconds())
	}
	if grown, where := p.more(before); grown > maxStrange {
		t.Errorf("a stranger left %d rows, want at most %d:%s", grown, maxStrange, where)
	}
	p.clock.Add((25 * time.Hour).Milliseconds())
	if err := p.Core.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.call("POST", "/_matrix/client/v3/register", "192.0.2.67", nil, strings.NewReader(`{"username":"other"}`))
	if grown, where := p.more(before); grown > 1 {
		t.Errorf("after a day %d rows of a stranger are still there:%s", grown, where)
	}
	if err := p.Core.View(t.Context(), func(tx *db.Tx) error {
		_, err := account.Stored(tx, "mallory")
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestAttackRegistrations: where registration is open, one address that makes
// accounts at full speed on three networks gets no more than one a minute,
// after the first ten.
func TestAttackRegistrations(t *testing.T) {
	p := newPayer(t, quintatest.Registration(server.RegistrationOpen))
	made := 0
	const hours = 2
	for second := range hours * 360 {
		for network, body := range map[string]string{
			"/_matrix/client/v3/register": `{"username":"m%d","password":"a long password","auth":{"type":"m.login.dummy"}}`,
			"/ca/v1/register":             `{"username":"c%d","password":"a long password","device":"D"}`,
			"/api/v1/users.register":      `{"username":"r%d","name":"r","pass":"a long password","email":"r%[1]d@example.org"}`,
		} {
			if w := p.call("POST", network, "192.0.2.66", nil, strings.NewReader(fmt.Sprintf(body, second))); w.Code < 300 {
				made++
			} else if !refused(w) {
				t.Fatalf("%s: got %d %.200s", network, w.Code, w.Body)
			}
		}
		p.clock.Add((10 * time.Second).Milliseconds())
	}
	if most := server.RateRegister.Burst + hours*60; made > most || made < most/2 {
		t.Errorf("got %d accounts, want at most %d", made, most)
	}
}
