package xmppclient

import (
	"context"
	"io"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

var _ client.KeyPorter = (*Session)(nil)

// ExportKeys implements client.KeyPorter.
func (s *Session) ExportKeys(ctx context.Context, w io.Writer, passphrase client.Secret) (n int, err error) {
	var file []byte
	if err := s.look(ctx, "exporting keys", func(tx e2ee.Tx) (err error) {
		file, n, err = s.machine.ExportKeys(tx, passphrase.Reveal())
		return err
	}); err != nil {
		return 0, err
	}
	_, err = w.Write(file)
	return n, err
}

// ImportKeys implements client.KeyPorter. The file is one of the same user.
func (s *Session) ImportKeys(ctx context.Context, r io.Reader, passphrase client.Secret, progress func(done, all int)) (n int, err error) {
	const op = "importing keys"
	file, err := keysrv.ReadExport(r)
	if err != nil {
		return 0, errorOf(op, err)
	}
	if err := s.do(ctx, op, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		n, events, err = s.machine.ImportKeys(tx, file, passphrase.Reveal())
		return events, err
	}); err != nil {
		return 0, err
	}
	if progress != nil {
		progress(n, n)
	}
	return n, nil
}
