package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAnAnswerThatIsCutOff ends as one: the client sees that it is not whole,
// and the log holds nothing of a fault.
func TestAnAnswerThatIsCutOff(t *testing.T) {
	t.Parallel()
	log := &syncBuffer{}
	cfg := config(t)
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	c := withFront(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/half") {
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
		}
		if strings.HasSuffix(r.URL.Path, "/quarter") {
			io.WriteString(w, "quarter")
			panic("oops")
		}
		panic(http.ErrAbortHandler)
	})
	s := httptest.NewServer(c.Handler(http.NotFoundHandler()))
	defer s.Close()
	if resp, err := http.Get(s.URL + "/f/none"); err == nil {
		t.Errorf("got %s, want no answer at all", resp.Status)
	}
	read := func(path string) (string, error) {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		return string(got), err
	}
	if got, err := read("/f/half"); got != "half" || err != io.ErrUnexpectedEOF {
		t.Errorf("got %q, %v, want half and an unexpected end", got, err)
	}
	if got := log.String(); strings.Contains(got, "failed") || strings.Contains(got, "panic") {
		t.Errorf("the log holds %s", got)
	}
	// So does an answer that had begun when its call failed, which is logged.
	if got, err := read("/f/quarter"); err == nil {
		t.Errorf("got the whole answer %q of a call that failed", got)
	}
	if got := log.String(); !strings.Contains(got, "a request failed") || !strings.Contains(got, "oops") {
		t.Errorf("the log holds nothing of the failure: %s", got)
	}
}
