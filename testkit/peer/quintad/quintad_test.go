package quintad_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/testkit/peer/postgres"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// post makes a POST request and returns its status.
func post(t *testing.T, url, body string) int {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

const (
	register = `{"username":"alice","password":"a good password","auth":{"type":"m.login.dummy"}}`
	login    = `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"a good password"}`
)

// TestLife: a server keeps its data and its port through a kill and a stop.
func TestLife(t *testing.T) {
	t.Parallel()
	for name, conf := range map[string]func(t *testing.T) quintad.Config{
		"sqlite":   func(*testing.T) quintad.Config { return quintad.Config{} },
		"postgres": func(t *testing.T) quintad.Config { return quintad.Config{Database: postgres.URL(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := quintad.Start(t, conf(t))
			url := s.URL()
			if got := post(t, url+"/_matrix/client/v3/register", register); got != http.StatusOK {
				t.Fatalf("got status %d, want an account", got)
			}
			for _, end := range []func(){s.Kill9, s.Stop} {
				end()
				if _, err := http.Get(url + "/_matrix/client/versions"); err == nil {
					t.Error("got an answer from a server that has ended")
				}
				s.Restart()
				if s.URL() != url {
					t.Errorf("got %s after the restart, want %s", s.URL(), url)
				}
				if got := post(t, url+"/_matrix/client/v3/login", login); got != http.StatusOK {
					t.Errorf("got status %d for a login after the restart, want 200", got)
				}
			}
			if s.Started <= 0 || s.Log() == "" {
				t.Errorf("got start time %s and log %q, want both", s.Started, s.Log())
			}
		})
	}
}
