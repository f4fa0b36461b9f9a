package matrixclient

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

var _ client.KeyPorter = (*Session)(nil)

const (
	// exportRounds is how often a passphrase is hashed.
	exportRounds = 500_000
	// maxExport bounds a file of exported keys.
	maxExport = 256 << 20
	// importAtOnce is how many keys are taken in one transaction.
	importAtOnce = 200
)

// ExportKeys implements client.KeyPorter.
func (s *Session) ExportKeys(ctx context.Context, w io.Writer, passphrase client.Secret) (int, error) {
	const op = "exporting keys"
	if passphrase.Empty() {
		return 0, quinta.E(quinta.KindInvalid, op, "the passphrase is empty")
	}
	var sessions []keyexport.Session
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		sessions, err = s.machine.Export(tx)
		return err
	}); err != nil {
		return 0, err
	}
	b, err := keyexport.Seal(s.env.Rand, sessions, passphrase.Reveal(), exportRounds)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	if _, err := w.Write(b); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	return len(sessions), nil
}

// ImportKeys implements client.KeyPorter.
func (s *Session) ImportKeys(ctx context.Context, r io.Reader, passphrase client.Secret, progress func(done, all int)) (int, error) {
	const op = "importing keys"
	b, err := dial.ReadAll(r, maxExport)
	if errors.Is(err, dial.ErrLarge) {
		return 0, quinta.E(quinta.KindTooLarge, op, "the file is too large")
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	sessions, _, err := keyexport.Open(b, passphrase.Reveal())
	if err != nil {
		return 0, &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	}
	return s.takeIn(ctx, sessions, progress)
}

// takeIn gives sessions to the machine, some at a time, so that what they open
// is shown while the rest is on its way.
func (s *Session) takeIn(ctx context.Context, sessions []keyexport.Session, progress func(done, all int)) (int, error) {
	total := 0
	for done := 0; done < len(sessions); {
		part := sessions[done:min(done+importAtOnce, len(sessions))]
		n := 0
		if err := s.do(ctx, false, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
			n, events, err = s.machine.Import(tx, part)
			return events, err
		}); err != nil {
			return total, err
		}
		total += n
		done += len(part)
		if progress != nil {
			progress(done, len(sessions))
		}
	}
	return total, nil
}
