package caserver_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// TestLogOfAFailure: the log of a call that fails names its route, and neither
// the user nor the conversation of the path.
func TestLogOfAFailure(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := newStage(t, quintatest.Configure(func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }))
	alice := s.register("alice")
	if err := s.Core.Update(t.Context(), func(tx *db.Tx) error { _, err := tx.Exec(`DROP TABLE conversation`); return err }); err != nil {
		t.Fatal(err)
	}
	alice.get(strings.Replace(wire.PathConversation, "{conv}", "secret-name-of-a-conversation", 1)).fails(500, wire.CodeInternal)
	s.Stop()
	got := log.String()
	if !strings.Contains(got, `msg="ca: a call failed"`) || !strings.Contains(got, "route="+wire.Base+wire.PathConversation) {
		t.Errorf("got %s, want the route of the call", got)
	}
	if strings.Contains(got, "secret-name") || strings.Contains(got, "alice") {
		t.Errorf("a name is in the log: %s", got)
	}
}
