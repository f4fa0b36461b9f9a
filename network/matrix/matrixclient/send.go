package matrixclient

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// Send implements client.Session. A file is sealed and uploaded before Send
// returns.
func (s *Session) Send(ctx context.Context, room quinta.RoomID, d client.Draft) (quinta.TxnID, error) {
	const op = "sending"
	txn, err := seat.NewTxn(s.env.Rand)
	if err != nil {
		return "", err
	}
	m := s.account.Message(room, d, txn, s.env.Now())
	if m.Kind == quinta.MessageRedaction {
		m.Text = "" // a reason would leave in clear
	}
	sealed := true
	if d.File != nil {
		if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
			sealed, err = s.mayLeave(tx, room, d.Clear)
			return err
		}); err != nil {
			return "", err
		}
		if m.File, err = s.upload(ctx, d.File, sealed); err != nil {
			return "", err
		}
		m.Kind = quinta.MessageFile
	}
	err = s.st.Update(ctx, func(tx e2ee.Tx) error {
		encrypted, err := s.mayLeave(tx, room, d.Clear)
		if err != nil {
			return err
		}
		if encrypted && !sealed {
			return quinta.E(quinta.KindConflict, op, "the room became encrypted while the file was being uploaded: send it again")
		}
		return s.machine.Send(tx, m)
	})
	if err != nil {
		return "", sendError(err)
	}
	s.runner.Wake()
	return txn, nil
}

// mayLeave reports whether what is sent to a room is sealed. Of a room that is
// not known to be encrypted, or that this device knows to be encrypted and the
// server does not, nothing may leave unless the user allowed it.
func (s *Session) mayLeave(tx e2ee.Tx, room quinta.RoomID, clear bool) (sealed bool, err error) {
	const op = "sending"
	r, err := s.machine.Room(tx, room)
	if err != nil {
		return false, err
	}
	own, err := loadRoom(tx, room)
	switch {
	case err != nil:
		return false, err
	case r.Encrypted:
		return true, nil
	case own.Encrypted:
		return false, quinta.E(quinta.KindForbidden, op, "the room is encrypted, but the server denies it: nothing is sent")
	case !clear:
		return false, quinta.E(quinta.KindForbidden, op, "the room is not encrypted: allow it to leave in clear, or encrypt the room")
	}
	return false, nil
}

// sendError puts the machine's refusals into the words of the core.
func sendError(err error) error {
	const op = "sending"
	for _, c := range []struct {
		is   error
		kind quinta.Kind
	}{
		{matrix.ErrUnknownRoom, quinta.KindNotFound},
		{matrix.ErrIdentityChanged, quinta.KindForbidden},
		{matrix.ErrUnsupportedRoom, quinta.KindForbidden},
		{matrix.ErrMalformed, quinta.KindInvalid},
	} {
		if errors.Is(err, c.is) {
			return &quinta.Error{Kind: c.kind, Op: op, Err: err}
		}
	}
	return err
}
