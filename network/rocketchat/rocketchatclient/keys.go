package rocketchatclient

import (
	"context"
	"io"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

var (
	_ client.KeyPorter = (*Session)(nil)
	_ client.Restorer  = (*Session)(nil)
)

// ExportKeys implements client.KeyPorter. The file holds the room keys and, if it is
// open on this device, the user's key pair. It is of this project's own form: the
// official clients have none.
func (s *Session) ExportKeys(ctx context.Context, w io.Writer, passphrase client.Secret) (n int, err error) {
	const op = "exporting keys"
	var file []byte
	if err := s.change(ctx, op, func(tx e2ee.Tx) (err error) {
		file, n, err = s.machine.ExportKeys(tx, passphrase.Reveal())
		return err
	}); err != nil {
		return 0, err
	}
	_, err = w.Write(file)
	return n, err
}

// ImportKeys implements client.KeyPorter. The key pair of the file opens the account's
// keys if they are locked here and it is the same pair; it never takes the place of
// another one.
func (s *Session) ImportKeys(ctx context.Context, r io.Reader, passphrase client.Secret, progress func(done, all int)) (n int, err error) {
	const op = "importing keys"
	file, err := rocketchat.ReadExport(r)
	if err != nil {
		return 0, errorOf(op, err)
	}
	if err := s.do(ctx, false, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		n, events, err = s.machine.ImportKeys(tx, file, passphrase.Reveal())
		return events, err
	}); err != nil {
		return 0, errorOf(op, err)
	}
	if progress != nil {
		progress(n, n)
	}
	return n, nil
}

// Restored implements client.Restorer.
func (s *Session) Restored(ctx context.Context) error {
	return s.change(ctx, "reporting that the store was restored", func(tx e2ee.Tx) error { return s.machine.Restored(tx) })
}
