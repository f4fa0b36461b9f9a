package caclient

import (
	"context"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

var (
	_ client.Talker         = (*Session)(nil)
	_ client.MemberLister   = (*Session)(nil)
	_ client.ProfileChooser = (*Session)(nil)
)

// roomRecord is what this package keeps of a conversation.
type roomRecord struct {
	// Name and Topic are this device's own words for it: the network has none.
	Name  string `json:"name,omitempty"`
	Topic string `json:"topic,omitempty"`
	// Before is from where history goes back, zero for the end; Begun says that
	// there is nothing older.
	Before quinta.Pos `json:"before,omitempty"`
	Begun  bool       `json:"begun,omitempty"`
}

func loadRoom(tx e2ee.Tx, id quinta.RoomID) (r roomRecord, err error) {
	_, err = seat.Load(tx, keyRoom+string(id), &r)
	return r, err
}

// Rooms implements client.Talker. It does not contact the server.
func (s *Session) Rooms(ctx context.Context) ([]client.RoomInfo, error) {
	var out []client.RoomInfo
	err := s.look(ctx, func(tx e2ee.Tx) error {
		ids, err := s.machine.Rooms(tx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := s.machine.Room(tx, id)
			if err != nil {
				return err
			}
			if r.Pending {
				continue
			}
			info, err := s.room(tx, r)
			if err != nil {
				return err
			}
			out = append(out, info)
		}
		return nil
	})
	return out, errorOf("listing conversations", err)
}

// room puts together what is known of a conversation.
func (s *Session) room(tx e2ee.Tx, r ca.RoomInfo) (client.RoomInfo, error) {
	own, err := loadRoom(tx, r.ID)
	if err != nil {
		return client.RoomInfo{}, err
	}
	info := client.RoomInfo{Room: r.Room, Membership: "join", Topic: own.Topic, Direct: r.Direct}
	if r.Left {
		info.Membership = "leave"
	}
	if info.Name = own.Name; info.Name == "" {
		info.Name = s.nameFor(r)
	}
	return info, nil
}

// maxNamed is how many members appear in the name that is made for a
// conversation.
const maxNamed = 5

// nameFor names a conversation by its other members, and says if it is weak.
func (s *Session) nameFor(r ca.RoomInfo) string {
	var names []string
	for _, id := range r.Members {
		if id != s.account.User && len(names) < maxNamed {
			names = append(names, printable.Line(string(id)))
		}
	}
	if len(names) == 0 {
		names = []string{printable.Line(string(s.account.User))}
	}
	name := strings.Join(names, ", ")
	if r.Profile == cert.ProfileLegacy {
		name += " (legacy)"
	}
	return name
}

// Create implements client.Talker. It returns when the server has the
// conversation. A direct conversation is the existing one with that user, if
// any. Name and Topic are known on this device only.
func (s *Session) Create(ctx context.Context, in client.NewRoom) (quinta.RoomID, error) {
	const op = "creating a conversation"
	if err := client.RefuseLegacy(op, in); err != nil {
		return "", err
	}
	switch {
	case in.Clear:
		return "", quinta.E(quinta.KindInvalid, op, "this network has no unencrypted conversations")
	case in.Direct && len(in.Invite) != 1:
		return "", quinta.E(quinta.KindInvalid, op, "a direct conversation has exactly one other user")
	}
	return s.make(ctx, op, func(tx e2ee.Tx) (id quinta.RoomID, err error) {
		if in.Direct {
			id, err = s.machine.Direct(tx, in.Invite[0])
		} else {
			id, err = s.machine.Create(tx, in.Invite)
		}
		if err != nil || in.Name+in.Topic == "" {
			return id, err
		}
		r, err := loadRoom(tx, id)
		if err != nil {
			return id, err
		}
		r.Name, r.Topic = printable.Line(in.Name), printable.Line(in.Topic)
		return id, seat.Store(tx, keyRoom+string(id), r)
	})
}

// make has the machine create a conversation and waits for the server's answer.
func (s *Session) make(ctx context.Context, op string, fn func(tx e2ee.Tx) (quinta.RoomID, error)) (id quinta.RoomID, err error) {
	e := &errand{kind: ca.ReqPutConversation}
	err = s.carry(ctx, op, e, func(tx e2ee.Tx) (err error) {
		id, err = fn(tx)
		e.what = string(id)
		return err
	}, func(tx e2ee.Tx) (bool, error) {
		r, err := s.machine.Room(tx, id)
		if r.Profile == cert.ProfileLegacy {
			return err == nil && slices.Contains(r.Chosen, s.account.User), err
		}
		return err == nil && !r.Pending && !r.Left, err
	})
	return id, err
}

// Legacy implements client.ProfileChooser.
func (s *Session) Legacy(ctx context.Context, user quinta.UserID) (quinta.RoomID, error) {
	return s.make(ctx, "choosing the legacy profile", func(tx e2ee.Tx) (quinta.RoomID, error) { return s.machine.ChooseLegacy(tx, user) })
}

// SetSessionMode implements client.ProfileChooser.
func (s *Session) SetSessionMode(ctx context.Context, room quinta.RoomID, on bool) error {
	return s.change(ctx, "choosing session mode", func(tx e2ee.Tx) error { return s.machine.SetSessions(tx, room, on) })
}

// Invite implements client.Talker. The user is in the conversation at once,
// and can read later messages.
func (s *Session) Invite(ctx context.Context, room quinta.RoomID, user quinta.UserID) error {
	return s.carry(ctx, "adding a member", &errand{kind: ca.ReqMembers, what: string(room)},
		func(tx e2ee.Tx) error { return s.machine.Add(tx, room, []quinta.UserID{user}) }, nil)
}

// Join implements client.Talker. There is no need to join: the id of a
// conversation that this user is in returns that conversation, and the name
// of a user the direct conversation with them.
func (s *Session) Join(ctx context.Context, room string) (quinta.RoomID, error) {
	const op = "joining a conversation"
	if strings.Contains(room, "@") {
		return s.Create(ctx, client.NewRoom{Direct: true, Invite: []quinta.UserID{quinta.UserID(room)}})
	}
	id := quinta.RoomID(room)
	if !wire.CheckConv(id) {
		return "", quinta.E(quinta.KindInvalid, op, "a conversation has an id, or is named by the other user: name@domain")
	}
	err := s.look(ctx, func(tx e2ee.Tx) error {
		r, err := s.machine.Room(tx, id)
		if err == nil && (r.Pending || r.Left) {
			err = ca.ErrUnknownConversation
		}
		return err
	})
	return id, errorOf(op, err)
}

// Leave implements client.Talker.
func (s *Session) Leave(ctx context.Context, room quinta.RoomID) error {
	return s.carry(ctx, "leaving a conversation", &errand{kind: ca.ReqLeave, what: string(room)},
		func(tx e2ee.Tx) error { return s.machine.Leave(tx, room) },
		func(tx e2ee.Tx) (bool, error) {
			r, err := s.machine.Room(tx, room)
			return r.Left, err
		})
}

// Members implements client.MemberLister.
func (s *Session) Members(ctx context.Context, room quinta.RoomID) ([]client.Member, error) {
	const op = "asking for the members"
	if !wire.CheckConv(room) {
		return nil, errorOf(op, ca.ErrUnknownConversation)
	}
	var c wire.Conversation
	if err := s.link.ask(ctx, op, get(dial.Path(wire.PathConversation, string(room))), nil, &c); err != nil {
		return nil, err
	}
	var out []client.Member
	for _, u := range c.Members {
		if (cert.Identity{User: u, Device: "x", Use: cert.UseSign}).Check() == nil {
			out = append(out, client.Member{User: u, Membership: "join"})
		}
	}
	return out, nil
}
