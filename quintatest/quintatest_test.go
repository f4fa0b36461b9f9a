package quintatest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
)

func TestStart(t *testing.T) {
	s := quintatest.Start(t)
	resp, err := http.Get(s.URL + "/_matrix/client/versions")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var v struct{ Versions []string }
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || len(v.Versions) == 0 {
		t.Errorf("got %v, %v, want the versions of a homeserver", v, err)
	}
	s.Stop()
	if _, err := http.Get(s.URL); err == nil {
		t.Error("the stopped server answers")
	}
}

// TestStartRehearses: a function for Tx.Prefetch is called on no rows first, as
// it is on PostgreSQL.
func TestStartRehearses(t *testing.T) {
	s := quintatest.Start(t)
	runs := 0
	if err := s.Core.View(t.Context(), func(tx *db.Tx) error {
		return tx.Prefetch(func() error { runs++; return nil })
	}); err != nil || runs != 2 {
		t.Errorf("got %d runs, %v, want 2", runs, err)
	}
}

// TestStartIsQuick: a server is there in under 100 ms, ten times
// that with the race detector. The quickest of ten
// counts, since the machine may be busy with other tests.
func TestStartIsQuick(t *testing.T) {
	best := time.Hour
	for range 10 {
		began := time.Now()
		s := quintatest.Start(t)
		best = min(best, time.Since(began))
		s.Stop()
	}
	if best > bound {
		t.Errorf("the quickest of ten took %v, want at most %v", best, bound)
	}
}
