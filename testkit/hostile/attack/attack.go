// Package attack runs attacks on a running server over real connections. Each
// is a row of a table: what is tried, and the one refusal that it must get. [Run]
// sends each, compares the answer, and compares the whole store before and after:
// an attack that is refused has changed nothing.
//
// The tables are tests of the folders beside this one, one for each network.
// ATTACKS.md of each folder shows them with what they got.
package attack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
)

// A Row is one attack. The strings may hold names of [Target.Names] in double
// braces, such as {{room}}.
type Row struct {
	// Tries says what is tried, without a full stop.
	Tries string
	// As is the name of who sends it: their headers are in Target.Heads. Empty
	// is a stranger.
	As           string
	Method, Path string
	Head         http.Header
	Body         string
	// Raw is sent as it is, in place of a request made of the above.
	Raw string
	// Do makes the attack in place of a request, and returns what it got.
	Do func(t *testing.T, tg *Target) string
	// Leaves are the tables that it may change, with blanks between them, such as
	// that of the authentications that are under way.
	Leaves string
	// Want is what it must get: the status and the network's code, such as "403
	// M_FORBIDDEN", or "closed" for a connection that ends without an answer.
	Want string
}

// A Target is a server with what the rows speak of.
type Target struct {
	*quintatest.Server
	// Names are the values of names in double braces.
	Names map[string]string
	// Heads are the headers of each user.
	Heads map[string]http.Header
	// Code reads the network's code from the body of a refusal.
	Code func(body []byte) string
}

// patience bounds the wait for an answer.
const patience = 30 * time.Second

// Run makes all attacks of the table, and holds the document at path equal to it;
// with update it writes the document.
func Run(t *testing.T, tg *Target, rows []Row, path string, update bool) {
	t.Helper()
	seen := map[string]bool{}
	var doc strings.Builder
	fmt.Fprintf(&doc, "# Attacks on the server\n\nEach was sent to a running server over a connection of its own. None changed anything in the store.\n\n| | what was tried | what it got |\n|---|---|---|\n")
	before := Digest(t, tg.Server)
	for i, r := range rows {
		if seen[r.Tries] || r.Tries == "" || r.Want == "" {
			t.Errorf("row %d: %q is there twice, or says nothing", i, r.Tries)
		}
		seen[r.Tries] = true
		got := tg.try(t, &r)
		if got != r.Want {
			t.Errorf("%s: got %s, want %s", r.Tries, got, r.Want)
		}
		after, leaves := Digest(t, tg.Server), strings.Fields(r.Leaves)
		for table, sum := range after {
			if before[table] != sum && !slices.Contains(leaves, table) {
				t.Errorf("%s: changed %s", r.Tries, table)
			}
		}
		before = after
		fmt.Fprintf(&doc, "| %d | %s | %s |\n", i+1, r.Tries, r.Want)
	}
	if update {
		if err := os.WriteFile(path, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != doc.String() {
		t.Errorf("%s is not the table of the attacks: run this test with -update (%v)", path, err)
	}
}

// Must makes a call that must succeed, for the stage, and returns its answer.
func (tg *Target) Must(t *testing.T, as, method, path, body string) map[string]any {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, tg.URL+tg.Fill(path), strings.NewReader(tg.Fill(body)))
	if err != nil {
		t.Fatal(err)
	}
	q.Header = tg.Heads[as].Clone()
	if q.Header == nil {
		q.Header = http.Header{}
	}
	q.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(a.Body)
	if err = errors.Join(err, a.Body.Close()); err != nil || a.StatusCode >= 300 {
		t.Fatalf("%s %s as %q: got %d %.300s, %v", method, path, as, a.StatusCode, raw, err)
	}
	out := map[string]any{}
	if len(raw) > 0 && json.Unmarshal(raw, &out) != nil {
		out[""] = string(raw)
	}
	return out
}

// try makes one attack and returns what it got.
func (tg *Target) try(t *testing.T, r *Row) string {
	t.Helper()
	if r.Do != nil {
		return r.Do(t, tg)
	}
	if r.Raw != "" {
		return tg.Send(t, tg.Fill(r.Raw))
	}
	q, err := http.NewRequestWithContext(t.Context(), r.Method, tg.URL+tg.Fill(r.Path), strings.NewReader(tg.Fill(r.Body)))
	if err != nil {
		t.Fatalf("%s: %v", r.Tries, err)
	}
	for k, v := range tg.Heads[r.As] {
		q.Header[k] = v
	}
	for k, v := range r.Head {
		q.Header[k] = nil
		for _, one := range v {
			q.Header.Add(k, tg.Fill(one))
		}
	}
	if r.Body != "" && q.Header.Get("Content-Type") == "" {
		q.Header.Set("Content-Type", "application/json")
	}
	return tg.Answer(t, q)
}

// Fill replaces the names in double braces.
func (tg *Target) Fill(s string) string {
	for name, v := range tg.Names {
		s = strings.ReplaceAll(s, "{{"+name+"}}", v)
	}
	return s
}

// Answer sends a request over a connection of its own and returns what it got.
func (tg *Target) Answer(t *testing.T, q *http.Request) string {
	t.Helper()
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := c.Do(q)
	if err != nil {
		return failed(err)
	}
	return tg.read(t, a)
}

// read reads an answer.
func (tg *Target) read(t *testing.T, a *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err = errors.Join(err, a.Body.Close()); err != nil {
		return failed(err)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.StatusCode, tg.Code(body)))
}

// Send sends bytes over a connection of their own and returns what they got.
func (tg *Target) Send(t *testing.T, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(tg.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(c, strings.NewReader(raw)); err != nil {
		return failed(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return failed(err)
	}
	return tg.read(t, a)
}

// failed says how a connection without an answer ended.
func failed(err error) string {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return "no answer"
	}
	return "closed"
}

// Digest hashes the rows of each table of a server's store, except the counter
// of positions: a transaction that is refused may skip one.
func Digest(t *testing.T, s *quintatest.Server) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	if err := s.Core.View(t.Context(), func(tx *db.Tx) error {
		names, err := texts(tx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'store_position' ORDER BY name`)
		if err != nil {
			return err
		}
		for _, table := range names {
			columns, err := texts(tx, `SELECT 'quote("' || name || '")' FROM pragma_table_info('`+table+`') ORDER BY cid`)
			if err != nil {
				return err
			}
			rows, err := texts(tx, `SELECT `+strings.Join(columns, ` || ',' || `)+` AS r FROM "`+table+`" ORDER BY r`)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			for _, r := range rows {
				fmt.Fprintln(&b, r)
			}
			all[table] = sha256.Sum256(b.Bytes())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func texts(tx *db.Tx, sql string) (all []string, err error) {
	for row, err := range tx.Query(sql) {
		if err != nil {
			return nil, err
		}
		var s string
		if err := row.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Problem reads the code of a refusal in the form of RFC 9457: the end of its
// type.
func Problem(body []byte) string {
	var e struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(body, &e) != nil {
		return "not JSON"
	}
	return e.Type[strings.LastIndexByte(e.Type, ':')+1:]
}

// Bomb is n zeros in gzip.
func Bomb(t *testing.T, n int) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Text returns a member of an answer that is text.
func Text(t *testing.T, m map[string]any, member string) string {
	t.Helper()
	v, ok := m[member].(string)
	if !ok {
		t.Fatalf("%v has no %s", m, member)
	}
	return v
}
