package matrixserver_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// TestLogOfAFailure: a call that fails inside is a 500, and the log has the
// cause, the route, and not the user of the path.
func TestLogOfAFailure(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := newStage(t, quintatest.Configure(func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }))
	alice := s.register("alice")
	if err := s.Core.Update(t.Context(), func(tx *db.Tx) error { _, err := tx.Exec(`DROP TABLE account_profile`); return err }); err != nil {
		t.Fatal(err)
	}
	alice.get("/_matrix/client/v3/profile/@alice:hs1").want(500)
	s.Stop()
	got := log.String()
	if !strings.Contains(got, "account_profile") || !strings.Contains(got, "{userId}") {
		t.Errorf("got %s, want the cause and the route of the call", got)
	}
	if strings.Contains(got, "alice") {
		t.Errorf("a name is in the log: %s", got)
	}
}
