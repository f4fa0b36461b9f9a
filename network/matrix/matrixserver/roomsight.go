package matrixserver

import (
	"sort"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// A sight says what one user may read of one room: the memberships that they
// had, and the history visibilities that the room had (client-server API,
// "Room History Visibility").
type sight struct {
	user       quinta.UserID
	visibility []since
	membership []since
}

// since is a value that holds from a position on.
type since struct {
	pos   quinta.Pos
	value string
}

// sightOf loads what user may read of a room.
func sightOf(tx *db.Tx, id quinta.RoomID, user quinta.UserID) (*sight, error) {
	s := &sight{user: user}
	vs, err := room.StateLog(tx, id, eventauth.TypeHistoryVisibility, "")
	if err != nil {
		return nil, err
	}
	for _, e := range vs {
		v, _ := textMember(e.Content, "history_visibility")
		s.visibility = append(s.visibility, since{e.Pos, v})
	}
	ms, err := room.History(tx, id, user)
	for _, m := range ms {
		s.membership = append(s.membership, since{m.Pos, m.Membership})
	}
	return s, err
}

// at returns the value that holds right after pos.
func at(list []since, pos quinta.Pos) string {
	i := sort.Search(len(list), func(i int) bool { return list[i].pos > pos })
	if i == 0 {
		return ""
	}
	return list[i-1].value
}

// now returns the user's current membership, "" if they have none.
func (s *sight) now() string { return at(s.membership, 1<<62) }

// last returns the position of the last change of the user's membership.
func (s *sight) last() quinta.Pos {
	if len(s.membership) == 0 {
		return 0
	}
	return s.membership[len(s.membership)-1].pos
}

// everJoined reports whether the user was ever in the room.
func (s *sight) everJoined() bool {
	for _, m := range s.membership {
		if m.value == room.Join {
			return true
		}
	}
	return false
}

// joinedAfter reports whether the user was in the room at pos or any time
// after it.
func (s *sight) joinedAfter(pos quinta.Pos) bool {
	if at(s.membership, pos) == room.Join {
		return true
	}
	for _, m := range s.membership {
		if m.pos > pos && m.value == room.Join {
			return true
		}
	}
	return false
}

// world reports whether the room is readable by everybody now.
func (s *sight) world() bool { return at(s.visibility, 1<<62) == "world_readable" }

// sees reports whether the user may read e. A change of the visibility, and
// one of the user's own membership, may be read by what held before it as
// well as by what holds after it.
func (s *sight) sees(e *room.Event) bool {
	vis, mem := at(s.visibility, e.Pos), at(s.membership, e.Pos)
	if s.allows(vis, mem, e.Pos) {
		return true
	}
	switch {
	case e.IsState(eventauth.TypeHistoryVisibility, ""):
		return s.allows(at(s.visibility, e.Pos-1), mem, e.Pos)
	case e.IsState(eventauth.TypeMember, string(s.user)):
		return s.allows(vis, at(s.membership, e.Pos-1), e.Pos)
	}
	return false
}

func (s *sight) allows(vis, mem string, pos quinta.Pos) bool {
	if mem == room.Join {
		return true
	}
	switch vis {
	case "world_readable":
		return true
	case "invited":
		// An invitation opens the time since it once the user has joined.
		return mem == room.Invite && s.joinedAfter(pos)
	case "joined":
		return false
	}
	// "shared", and what is not known or not set.
	return s.joinedAfter(pos)
}

// A viewpoint is from where a user looks at the state of a room.
type viewpoint struct {
	*sight
	// pos is the position at which the user sees the state: the newest one for
	// a member, the one at which they left for a former member.
	pos quinta.Pos
	// past says that pos is not now.
	past bool
}

// look returns from where user may look at the room's state; errNotMember if
// they may not at all.
func look(tx *db.Tx, id quinta.RoomID, user quinta.UserID) (*viewpoint, error) {
	s, err := sightOf(tx, id, user)
	if err != nil {
		return nil, err
	}
	now, err := tx.Pos()
	if err != nil {
		return nil, err
	}
	v := &viewpoint{sight: s, pos: now}
	m := s.now()
	switch {
	case m == room.Join, s.world():
		return v, nil
	case (m == "leave" || m == "ban") && s.everJoined():
		mem, err := room.MemberOf(tx, id, user)
		if err != nil {
			return nil, err
		}
		if mem.Forgotten {
			return nil, errNotMember
		}
		v.pos, v.past = s.leftAt(), true
		return v, nil
	}
	return nil, errNotMember
}

// leftAt returns the position at which the user's last time in the room
// ended; the user may not see later changes of their membership.
func (s *sight) leftAt() quinta.Pos {
	for i := len(s.membership) - 1; i > 0; i-- {
		if s.membership[i-1].value == room.Join && s.membership[i].value != room.Join {
			return s.membership[i].pos
		}
	}
	return s.last()
}
