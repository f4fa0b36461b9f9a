package rocketchatclient

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

var _ client.OffTheRecord = (*Session)(nil)

// otrWithin is how long the invited user has to accept.
const otrWithin = 10 * time.Second

// otrDeclined is how long the invited user's side waits before it declines: a little
// longer, because the inviter's side then ends the invitation, and the message that
// declines it must not be taken for an answer to the next one.
const otrDeclined = otrWithin + time.Second

// A signal is an event about sessions off the record.
type signal struct {
	kind string
	wire.OTRSignal
}

// signalOf reads a frame; ok is false if it is no signal.
func (s *Session) signalOf(f wire.Frame) (sig signal, ok bool) {
	var e wire.Event
	if f.Msg != "changed" || f.Collection != "stream-notify-user" || json.Unmarshal(f.Fields, &e) != nil || e.Name != wire.OTREvent(s.account.User.ID) || len(e.Args) < 2 {
		return sig, false
	}
	return sig, json.Unmarshal(e.Args[0], &sig.kind) == nil && json.Unmarshal(e.Args[1], &sig.OTRSignal) == nil
}

// listenOTR opens a connection of its own on which signals come.
func (s *Session) listenOTR(ctx context.Context) (*stream, error) {
	st, err := s.link.listen(ctx)
	if err != nil {
		return nil, err
	}
	if err := st.subscribe(ctx, "stream-notify-user", wire.OTREvent(s.account.User.ID)); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// signal tells the other user something. The server says who tells it.
func (s *Session) signal(ctx context.Context, st *stream, peer, kind string, room quinta.RoomID, public string, refresh bool) error {
	_, err := st.method(ctx, "stream-notify-user", wire.OTREvent(peer), kind, wire.OTRSignal{Room: room, User: s.account.User.ID, Public: public, Refresh: refresh})
	return err
}

// InviteOffRecord implements client.OffTheRecord.
func (s *Session) InviteOffRecord(ctx context.Context, user quinta.UserID) (*client.OffRecord, error) {
	const op = "inviting off the record"
	user = quinta.UserID(strings.TrimPrefix(string(user), "@"))
	peer, err := s.userID(ctx, user)
	if err != nil {
		return nil, err
	}
	room, err := s.direct(ctx, user)
	if err != nil {
		return nil, err
	}
	st, err := s.listenOTR(ctx)
	if err != nil {
		return nil, err
	}
	o, err := s.invite(ctx, op, st, room, rocketchat.Author{ID: peer, Name: string(user)})
	if err != nil {
		st.close()
		return nil, errorOf(op, err)
	}
	return o, nil
}

func (s *Session) invite(ctx context.Context, op string, st *stream, room quinta.RoomID, peer rocketchat.Author) (*client.OffRecord, error) {
	// Messages that are sent as soon as the other side is ready must not be missed.
	if err := st.subscribe(ctx, "stream-room-messages", string(room)); err != nil {
		return nil, err
	}
	key, err := s.newOTRKey(ctx, st, room)
	if err != nil {
		return nil, err
	}
	if err := s.signal(ctx, st, peer.ID, wire.OTRHandshake, room, key.Public(), false); err != nil {
		return nil, err
	}
	late := time.NewTimer(otrWithin)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-st.gone:
			return nil, errClosed
		case <-late.C:
			if err := s.signal(ctx, st, peer.ID, wire.OTREnd, room, "", false); err != nil {
				return nil, err
			}
			return nil, quinta.E(quinta.KindUnavailable, op, "the other user did not answer within 10 seconds")
		case f := <-st.events:
			sig, ok := s.signalOf(f)
			if !ok || sig.User != peer.ID || sig.Room != room {
				continue
			}
			switch sig.kind {
			case wire.OTRDeny, wire.OTREnd:
				return nil, quinta.E(quinta.KindForbidden, op, "the other user declined")
			case wire.OTRAcknowledge:
				return s.begin(ctx, st, room, peer, key, sig.Public)
			}
		}
	}
}

// newOTRKey makes a key; what is left of earlier sessions on the server goes first.
func (s *Session) newOTRKey(ctx context.Context, st *stream, room quinta.RoomID) (rocketchat.OTRKey, error) {
	if _, err := st.method(ctx, "deleteOldOTRMessages", room); err != nil {
		return rocketchat.OTRKey{}, err
	}
	return rocketchat.GenerateOTRKey(s.env.Rand)
}

// AwaitOffRecord implements client.OffTheRecord. An invitation counts only for the
// direct conversation with the user who sent it.
func (s *Session) AwaitOffRecord(ctx context.Context, accept func(from quinta.UserID) bool) (*client.OffRecord, error) {
	const op = "awaiting an invitation off the record"
	st, err := s.listenOTR(ctx)
	if err != nil {
		return nil, err
	}
	for {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-st.gone:
			err = errClosed
		case f := <-st.events:
			sig, ok := s.signalOf(f)
			if !ok || sig.kind != wire.OTRHandshake {
				continue
			}
			var o *client.OffRecord
			if o, err = s.invited(ctx, st, sig, accept); o == nil && err == nil {
				continue
			}
			if err == nil {
				return o, nil
			}
		}
		st.close()
		return nil, errorOf(op, err)
	}
}

// answer waits for the answer to an invitation; ended says that it was withdrawn.
func (s *Session) answer(ctx context.Context, st *stream, in signal, answered <-chan bool) (yes, ended bool, err error) {
	late := time.NewTimer(otrDeclined)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, false, ctx.Err()
		case <-st.gone:
			return false, false, errClosed
		case <-late.C:
			return false, false, nil
		case yes := <-answered:
			return yes, false, nil
		case f := <-st.events: // another invitation meanwhile is not answered
			if sig, ok := s.signalOf(f); ok && sig.kind == wire.OTREnd && sig.User == in.User && sig.Room == in.Room {
				return false, true, nil
			}
		}
	}
}

// invited answers an invitation; it returns nil if that was declined or
// withdrawn.
func (s *Session) invited(ctx context.Context, st *stream, sig signal, accept func(from quinta.UserID) bool) (*client.OffRecord, error) {
	var a struct {
		User wire.User `json:"user"`
	}
	if err := s.link.get(ctx, "looking a user up", "users.info", url.Values{"userId": {sig.User}}, &a); err != nil {
		return nil, err
	}
	peer := rocketchat.Author{ID: sig.User, Name: a.User.Username}
	room, err := s.direct(ctx, quinta.UserID(peer.Name))
	if err != nil {
		return nil, err
	}
	deny := func() (*client.OffRecord, error) {
		return nil, s.signal(ctx, st, peer.ID, wire.OTRDeny, sig.Room, "", false)
	}
	if a.User.ID != sig.User || room != sig.Room || rocketchat.CheckOTRKey(sig.Public) != nil {
		return nil, nil // not of the conversation with that user
	}
	answered := make(chan bool, 1)
	go func() { answered <- accept(quinta.UserID(printable.Line(peer.Name))) }()
	switch yes, ended, err := s.answer(ctx, st, sig, answered); {
	case err != nil || ended:
		return nil, err
	case !yes:
		return deny()
	}
	// Messages that are sent as soon as the other side is ready must not be missed.
	if err := st.subscribe(ctx, "stream-room-messages", string(room)); err != nil {
		return nil, err
	}
	key, err := s.newOTRKey(ctx, st, room)
	if err != nil {
		return nil, err
	}
	if err := s.signal(ctx, st, peer.ID, wire.OTRAcknowledge, room, key.Public(), false); err != nil {
		return nil, err
	}
	return s.begin(ctx, st, room, peer, key, sig.Public)
}
