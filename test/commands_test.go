package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
)

var errUnknownCondition = errors.New("unknown condition")

// client has a bound on every request.
var client = &http.Client{Timeout: 2 * time.Minute}

// call sends a request until the status is the wanted one: a server that has
// lost its database answers again when it is back, not at once. Other than
// 503 a wrong status fails at once.
func (s *stage) call(ts *testscript.TestScript, args []string) {
	need(ts, args, 3)
	method, path, want := args[0], args[1], args[2]
	if !strings.Contains(path, "://") {
		path = ts.Getenv("URL") + path
	}
	proto := ""
	for deadline := time.Now().Add(2 * time.Minute); ; {
		req, err := http.NewRequest(method, path, strings.NewReader(strings.Join(args[3:], " ")))
		ts.Check(err)
		if token := ts.Getenv("TOKEN"); token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := s.client.Do(req)
		ts.Check(err)
		proto = resp.Proto
		s.answer, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		ts.Check(err)
		if got := fmt.Sprint(resp.StatusCode); got == want {
			break
		} else if got != "503" || time.Now().After(deadline) {
			ts.Fatalf("%s %s: got %s, want %s: %s", method, args[1], got, want, s.answer)
		}
		<-time.After(50 * time.Millisecond)
	}
	_, err := fmt.Fprintf(ts.Stdout(), "%s\n%s\n", proto, bytes.TrimSpace(s.answer))
	ts.Check(err)
}

func (s *stage) keep(ts *testscript.TestScript, args []string) {
	need(ts, args, 2)
	var members map[string]any
	ts.Check(json.Unmarshal(s.answer, &members))
	v, ok := members[args[1]]
	if !ok {
		ts.Fatalf("the answer has no %s: %s", args[1], s.answer)
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func (s *stage) database(ts *testscript.TestScript, args []string) {
	need(ts, args, 1)
	switch {
	case args[0] == "start" && s.cluster == nil:
		s.cluster = postgres.New(s.t)
		u, err := s.cluster.URL()
		ts.Check(err)
		ts.Setenv("DATABASE", u)
	case args[0] == "start":
		ts.Check(s.cluster.Start())
	case args[0] == "stop":
		ts.Check(s.cluster.Stop())
	default:
		ts.Fatalf("database start or stop")
	}
}

func (s *stage) newer(ts *testscript.TestScript, args []string) {
	need(ts, args, 1)
	d, err := db.Open(s.t.Context(), db.Config{Path: ts.MkAbs(args[0]), Now: time.Now})
	ts.Check(err)
	err = d.Update(s.t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE store_set SET version = version + 1 WHERE name = 'account'`)
		return err
	})
	ts.Check(errors.Join(err, d.Close()))
}

func (s *stage) cut(ts *testscript.TestScript, args []string) {
	need(ts, args, 2)
	path := ts.MkAbs(args[0])
	st, err := os.Stat(path)
	ts.Check(err)
	var n int64
	_, err = fmt.Sscan(args[1], &n)
	ts.Check(err)
	ts.Check(os.Truncate(path, st.Size()-n))
}

func (s *stage) alter(ts *testscript.TestScript, args []string) {
	need(ts, args, 3)
	if len(args[1]) != len(args[2]) {
		ts.Fatalf("the texts differ in length")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(b, []byte(args[1])) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(b, []byte(args[1]), []byte(args[2])), 0o600))
}

func (s *stage) catch(ts *testscript.TestScript, args []string) {
	need(ts, args, 1)
	n := 1
	if len(args) > 1 {
		var err error
		n, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	words := strings.Fields(ts.ReadFile("stdout"))
	if n < 1 || len(words) < n {
		ts.Fatalf("the last output has %d words", len(words))
	}
	ts.Setenv(args[0], words[n-1])
}
