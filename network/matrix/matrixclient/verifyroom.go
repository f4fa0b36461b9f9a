package matrixclient

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// askInRoom sends the request in a direct conversation; its event is the id.
func (s *Session) askInRoom(ctx context.Context, f *flow) error {
	const op = "verifying"
	own, err := s.identity(ctx, s.account.User, s.account.Device)
	if err != nil {
		return err
	}
	if f.room, err = s.directRoom(ctx, f.user); err != nil {
		return err
	}
	txn, err := seat.NewTxn(s.env.Rand)
	if err != nil {
		return err
	}
	sent := make(chan quinta.MessageID, 1)
	s.mu.Lock()
	s.sent[txn] = sent
	s.mu.Unlock()
	defer func() { s.mu.Lock(); delete(s.sent, txn); s.mu.Unlock() }()
	m := quinta.Message{Room: f.room, Txn: txn, Type: "m.room.message", Body: sas.RoomRequest(own, f.user, f.methods)}
	if err := s.put(ctx, m); err != nil {
		return err
	}
	select {
	case id := <-sent:
		f.id = string(id)
		return s.keep(f)
	case <-ctx.Done():
		return quinta.E(quinta.KindUnavailable, op, "the request could not be sent")
	}
}

// put puts a message of a verification into the outbox. It is sealed like any
// other: a room that is not encrypted is not used.
func (s *Session) put(ctx context.Context, m quinta.Message) error {
	err := s.st.Update(ctx, func(tx e2ee.Tx) error {
		if _, err := s.mayLeave(tx, m.Room, false); err != nil {
			return err
		}
		return s.machine.Send(tx, m)
	})
	if err != nil {
		return sendError(err)
	}
	s.runner.Wake()
	return nil
}

// directRoom returns the encrypted conversation with a user, or makes it.
func (s *Session) directRoom(ctx context.Context, user quinta.UserID) (quinta.RoomID, error) {
	rooms, err := s.Rooms(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range rooms {
		if !r.Direct || !r.Encrypted || r.Membership != "join" {
			continue
		}
		members, err := s.Members(ctx, r.ID)
		if err != nil {
			return "", err
		}
		with, others := false, 0
		for _, m := range members {
			if m.Membership != "join" && m.Membership != "invite" || m.User == s.account.User {
				continue
			}
			with = with || m.User == user
			others++
		}
		if with && others == 1 {
			return r.ID, nil
		}
	}
	return s.Create(ctx, client.NewRoom{Invite: []quinta.UserID{user}, Direct: true})
}
