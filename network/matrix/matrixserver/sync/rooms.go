package sync

import (
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/room"
	"github.com/quinta-chat/quinta/server/vault"
)

// roomsToFollow finds the rooms that the user is in.
func (l *look) roomsToFollow() (err error) {
	l.joined, err = room.Joined(l.tx, l.User)
	return err
}

// rooms gives all rooms of which the device does not know the newest.
func (l *look) rooms() error {
	if err := l.roomsToFollow(); err != nil {
		return err
	}
	list, err := l.roomsToShow()
	if err != nil || len(list) == 0 {
		return err
	}
	if err := l.loadIgnored(); err != nil {
		return err
	}
	for _, m := range list {
		if !l.q.Filter.Room.In(string(m.Room)) {
			continue
		}
		if err := l.room(m); err != nil {
			return err
		}
	}
	return nil
}

// roomsToShow returns the memberships whose rooms may have something new.
func (l *look) roomsToShow() ([]room.Member, error) {
	if l.q.Initial {
		return room.RoomsOf(l.tx, l.User)
	}
	var err error
	if l.changed, err = room.Changed(l.tx, l.User, l.q.Since.Pos); err != nil {
		return nil, err
	}
	ids := slices.Clone(l.changed)
	moved, err := room.ChangesOf(l.tx, l.User, room.Range{From: l.q.Since.Pos, To: l.now})
	if err != nil {
		return nil, err
	}
	for _, m := range moved {
		ids = append(ids, m.Room)
	}
	for id := range l.data {
		ids = append(ids, id)
	}
	if l.q.Full {
		ids = append(ids, l.joined...)
	}
	slices.Sort(ids)
	var out []room.Member
	for _, id := range slices.Compact(ids) {
		m, err := room.MemberOf(l.tx, id, l.User)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// room gives one room in the part of the answer that the membership asks for.
func (l *look) room(m room.Member) error {
	fresh := m.Pos > l.q.Since.Pos
	switch m.Membership {
	case room.Join:
		return l.joinedRoom(m)
	case room.Invite, "knock":
		if fresh {
			return l.outsideRoom(m)
		}
	case "leave", "ban":
		if l.q.Initial && (!l.q.Filter.Room.IncludeLeave || m.Forgotten) {
			return nil
		}
		if fresh {
			return l.leftRoom(m)
		}
	}
	return nil
}

// parts returns the rooms of the answer.
func (l *look) parts() *rooms {
	if l.answer.rest.Rooms == nil {
		l.answer.rest.Rooms = &rooms{}
	}
	return l.answer.rest.Rooms
}

// put sets an entry of a map that may not be there yet.
func put[V any](m *map[quinta.RoomID]V, id quinta.RoomID, v V) {
	if *m == nil {
		*m = map[quinta.RoomID]V{}
	}
	(*m)[id] = v
}

// outsideRoom gives a room that the user is invited to or has knocked on.
func (l *look) outsideRoom(m room.Member) error {
	own, err := room.StateOf(l.tx, m.Room, eventauth.TypeMember, string(l.User))
	if err != nil || own == nil || l.ignored[own.Sender] {
		return err
	}
	state, err := roomview.Stripped(l.tx, m.Room, l.User)
	if err != nil {
		return err
	}
	list := newEventList()
	for _, e := range state {
		list.add(e)
	}
	if m.Membership == room.Invite {
		put(&l.parts().Invite, m.Room, &invitation{State: *list})
	} else {
		put(&l.parts().Knock, m.Room, &knock{State: *list})
	}
	return nil
}

// joinedRoom gives a room that the user is in, if there is anything new.
func (l *look) joinedRoom(m room.Member) error {
	p := &roomPart{look: l, id: m.Room, upper: l.now, end: true, known: true, lower: l.q.Since.Pos}
	if m.Joined > l.q.Since.Pos {
		s, err := roomview.SightOf(l.tx, m.Room, l.User)
		if err != nil {
			return err
		}
		p.sight, p.known, p.lower = s, false, s.SeenUpTo(l.q.Since.Pos)
		// A user who comes back may have missed the end of their last stay, if
		// there was no sync between leaving and the new invitation.
		p.limited = p.lower > 0
	} else {
		// They were in the room all the time, and see everything.
		p.sight = roomview.Always(l.User)
	}
	p.whole = !p.known || l.q.Full
	if err := p.readTimeline(); err != nil {
		return err
	}
	if err := p.summarize(); err != nil {
		return err
	}
	if err := p.readState(); err != nil {
		return err
	}
	if err := p.readEphemeral(); err != nil {
		return err
	}
	if err := p.readData(); err != nil {
		return err
	}
	if !p.whole && p.nothing() {
		return nil
	}
	if err := p.countUnread(m); err != nil {
		return err
	}
	out, err := p.write()
	if err == nil {
		put(&l.parts().Join, m.Room, out)
	}
	return err
}

// leftRoom gives a room that the user has left, was removed from, or was invited
// to but never joined.
func (l *look) leftRoom(m room.Member) error {
	s, err := roomview.SightOf(l.tx, m.Room, l.User)
	if err != nil {
		return err
	}
	p := &roomPart{look: l, id: m.Room, sight: s, upper: s.LeftAt(), lower: s.SeenUpTo(l.q.Since.Pos)}
	p.known = !l.q.Initial && s.Was(l.q.Since.Pos) == room.Join
	p.whole = !p.known
	if m.Forgotten || p.upper <= l.q.Since.Pos || !s.EverJoined() {
		// The user has not been in the room since: give only the new membership.
		return p.onlyMembership(m)
	}
	if err := p.readTimeline(); err != nil {
		return err
	}
	if err := p.readState(); err != nil {
		return err
	}
	out, err := p.write()
	if err == nil {
		put(&l.parts().Leave, m.Room, out)
	}
	return err
}

// onlyMembership gives nothing of a room but the event that set the user's
// membership.
func (p *roomPart) onlyMembership(m room.Member) error {
	e, err := room.ByPos(p.tx, m.Room, m.Pos)
	if err != nil {
		return err
	}
	p.start, p.limited = e.Pos, false
	p.events = []*room.Event{e}
	out, err := p.write()
	if err == nil {
		put(&p.parts().Leave, m.Room, out)
	}
	return err
}

// readData gives the account data of the room: all of it to a device that did
// not know the room.
func (p *roomPart) readData() error {
	f := &p.q.Filter.Room.AccountData
	if !f.In(string(p.id)) {
		return nil
	}
	list := p.data[p.id]
	if !p.known && !p.q.Initial {
		all, err := vault.DataIn(p.tx, network, p.User, string(p.id))
		if err != nil {
			return err
		}
		list = nil
		for _, d := range all {
			list = append(list, dataEvent(d))
		}
	}
	for _, e := range list {
		d := e.(wire.DataEvent)
		if f.Match(d.Type, string(p.User), d.Content) {
			p.accountData = append(p.accountData, e)
		}
	}
	p.accountData = capped(f, p.accountData)
	return nil
}

// capped keeps as many entries of a list as the client asked for.
func capped[E any](f *filter.RoomEvents, list []E) []E {
	return list[:f.Max(len(list), len(list))]
}
