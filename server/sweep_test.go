package server_test

import (
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
)

func TestSweepRemovesAcknowledgedMessages(t *testing.T) {
	t.Parallel()
	c := quintatest.Start(t).Core
	rows := func() (n int) {
		t.Helper()
		if err := c.View(t.Context(), func(tx *db.Tx) error {
			return tx.Row(`SELECT COUNT(*) FROM mailbox_message`).Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := c.Update(t.Context(), func(tx *db.Tx) error {
		for range 1200 {
			if err := mailbox.Put(tx, "matrix", 0, quinta.Envelope{To: "@a:hs1", Device: "D"}); err != nil {
				return err
			}
		}
		if err := mailbox.Put(tx, "matrix", 0, quinta.Envelope{To: "@a:hs1", Device: "OTHER"}); err != nil {
			return err
		}
		return mailbox.Ack(tx, "matrix", "@a:hs1", "D", 1<<60)
	}); err != nil {
		t.Fatal(err)
	}
	if got := rows(); got != 1201 {
		t.Fatalf("got %d rows, want 1201", got)
	}
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rows(); got != 1 {
		t.Errorf("got %d rows after the sweep, want 1", got)
	}
}
