package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var (
	_ client.Talker       = (*Session)(nil)
	_ client.MemberLister = (*Session)(nil)
)

// Rooms implements client.Talker. It does not contact the server.
func (s *Session) Rooms(ctx context.Context) ([]client.RoomInfo, error) {
	var out []client.RoomInfo
	err := s.look(ctx, func(tx e2ee.Tx) error {
		var ids []quinta.RoomID
		own := map[quinta.RoomID]roomRecord{}
		for e, err := range tx.All(keyRoom) {
			if err != nil {
				return err
			}
			id := quinta.RoomID(strings.TrimPrefix(e.Key, keyRoom))
			var r roomRecord
			if err := json.Unmarshal(e.Value, &r); err != nil {
				return seat.ErrDamaged
			}
			ids, own[id] = append(ids, id), r
		}
		known, err := s.machine.Known(tx, ids...)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if r, ok := known[id]; ok {
				out = append(out, s.info(r, own[id]))
			}
		}
		return nil
	})
	return out, err
}

// room puts together what is known of a room.
func (s *Session) room(tx e2ee.Tx, id quinta.RoomID) (client.RoomInfo, bool, error) {
	own, err := loadRoom(tx, id)
	if err != nil {
		return client.RoomInfo{}, false, err
	}
	r, err := s.machine.Room(tx, id)
	if errors.Is(err, matrix.ErrUnknownRoom) {
		return client.RoomInfo{}, false, nil
	}
	if err != nil {
		return client.RoomInfo{}, false, err
	}
	return s.info(r, own), true, nil
}

// info puts together what the machine and the list know of a room.
func (s *Session) info(r quinta.Room, own roomRecord) client.RoomInfo {
	r.Encrypted = r.Encrypted || own.Encrypted
	r.Name = printable.Line(r.Name)
	if r.Name == "" {
		r.Name = s.nameFor(r, own)
	}
	return client.RoomInfo{Room: r, Membership: own.Standing, Topic: own.Topic, Inviter: own.Inviter, Direct: own.Direct}
}

// nameFor makes a name for a room that has none ("Calculating the display
// name for a room"), of the ids of who is in it.
func (s *Session) nameFor(r quinta.Room, own roomRecord) string {
	if own.Alias != "" {
		return own.Alias
	}
	var names []string
	for _, id := range slices.Concat(own.Heroes, r.Members, []quinta.UserID{own.Inviter}) {
		if n := printable.Line(string(id)); n != "" && id != s.account.User && !slices.Contains(names, n) && len(names) < maxHeroes {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// Create implements client.Talker. It returns when the room is ready for
// Send.
func (s *Session) Create(ctx context.Context, in client.NewRoom) (quinta.RoomID, error) {
	const op = "creating a room"
	if err := client.RefuseLegacy(op, in); err != nil {
		return "", err
	}
	var out wire.RoomAnswer
	if err := s.link.ask(ctx, op, http.MethodPost, path("createRoom"), newRoom(in), &out); err != nil {
		return "", err
	}
	if !validID(string(out.Room)) {
		return "", quinta.E(quinta.KindMalformed, op, "the server's answer names no room")
	}
	if err := s.st.Update(ctx, func(tx e2ee.Tx) error {
		r, err := loadRoom(tx, out.Room)
		if err != nil {
			return err
		}
		r.Encrypted, r.Direct, r.Begun = r.Encrypted || !in.Clear, in.Direct, true
		return seat.Store(tx, keyRoom+string(out.Room), r)
	}); err != nil {
		return out.Room, err
	}
	if in.Direct && len(in.Invite) == 1 {
		if err := s.noteDirect(ctx, in.Invite[0], out.Room); err != nil {
			return out.Room, err
		}
	}
	return out.Room, s.runner.Wait(ctx, op, s.joined(out.Room))
}

// newRoom is the request for a room: encrypted from its beginning, unless it
// is to be in clear.
func newRoom(in client.NewRoom) wire.NewRoom {
	q := wire.NewRoom{Preset: wire.PresetPrivate, Visibility: "private", Invite: in.Invite, Direct: in.Direct}
	if in.Direct {
		q.Preset = wire.PresetTrusted
	}
	if in.Name != "" {
		q.Name = &in.Name
	}
	if in.Topic != "" {
		q.Topic = &in.Topic
	}
	if !in.Clear {
		typ := "m.room.encryption"
		q.Initial = []wire.InitialEvent{{Type: &typ, Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`)}}
	}
	return q
}

// joined is the condition that a room is there and its encryption is known.
func (s *Session) joined(id quinta.RoomID) func(tx e2ee.Tx) (bool, error) {
	return func(tx e2ee.Tx) (bool, error) {
		r, known, err := s.room(tx, id)
		if err != nil || !known || r.Membership != "join" {
			return false, err
		}
		m, err := s.machine.Room(tx, id)
		return m.Encrypted == r.Encrypted, err
	}
}

// noteDirect adds a direct conversation to the account data m.direct, where
// other devices look for it.
func (s *Session) noteDirect(ctx context.Context, with quinta.UserID, room quinta.RoomID) error {
	const op = "noting a direct conversation"
	at := path("user", string(s.account.User), "account_data", "m.direct")
	direct := map[string]json.RawMessage{}
	if err := s.link.ask(ctx, op, http.MethodGet, at, nil, &direct); err != nil && quinta.KindOf(err) != quinta.KindNotFound {
		return err
	}
	var rooms []quinta.RoomID
	if raw := direct[string(with)]; raw != nil && json.Unmarshal(raw, &rooms) != nil {
		return nil // what another program wrote there in another form is left alone
	}
	if slices.Contains(rooms, room) {
		return nil
	}
	b, err := json.Marshal(append(rooms, room))
	if err != nil {
		return err
	}
	direct[string(with)] = b
	return s.link.ask(ctx, op, http.MethodPut, at, direct, nil)
}

// Invite implements client.Talker.
func (s *Session) Invite(ctx context.Context, room quinta.RoomID, user quinta.UserID) error {
	return s.link.ask(ctx, "inviting", http.MethodPost, path("rooms", string(room), "invite"), wire.MemberChange{User: &user}, nil)
}

// Join implements client.Talker. It returns when the room is ready for Send.
func (s *Session) Join(ctx context.Context, room string) (quinta.RoomID, error) {
	const op = "joining a room"
	if room == "" || len(room) > wire.MaxID {
		return "", quinta.E(quinta.KindInvalid, op, "a room is named by an id such as !id:server or an address such as #name:server")
	}
	var out wire.RoomAnswer
	if err := s.link.ask(ctx, op, http.MethodPost, path("join", room), struct{}{}, &out); err != nil {
		return "", err
	}
	if !validID(string(out.Room)) || strings.HasPrefix(room, "!") && string(out.Room) != room {
		return "", quinta.E(quinta.KindMalformed, op, "the server's answer names another room, or none")
	}
	return out.Room, s.runner.Wait(ctx, op, s.joined(out.Room))
}

// Leave implements client.Talker; it also declines an invitation.
func (s *Session) Leave(ctx context.Context, room quinta.RoomID) error {
	return s.link.ask(ctx, "leaving a room", http.MethodPost, path("rooms", string(room), "leave"), struct{}{}, nil)
}

// Members implements client.MemberLister.
func (s *Session) Members(ctx context.Context, room quinta.RoomID) ([]client.Member, error) {
	const op = "asking for the members"
	a, err := s.link.call(ctx, op, request{method: http.MethodGet, path: path("rooms", string(room), "members"), max: maxLarge})
	if err != nil {
		return nil, err
	}
	var v wire.Messages[wire.StrippedEvent]
	if err := a.decode(op, &v); err != nil {
		return nil, err
	}
	out := make([]client.Member, 0, len(v.Chunk))
	for _, e := range v.Chunk {
		if e.Type != "m.room.member" || e.StateKey == nil || !validID(*e.StateKey) {
			continue
		}
		membership, _ := wire.TextMember(e.Content, "membership")
		name, _ := wire.TextMember(e.Content, "displayname")
		m := client.Member{User: quinta.UserID(*e.StateKey), Name: printable.Line(name), Membership: printable.Line(membership)}
		out = append(out, m)
	}
	order.By(out, func(a, b client.Member) int { return strings.Compare(string(a.User), string(b.User)) })
	return out, nil
}
