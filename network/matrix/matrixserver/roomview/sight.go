// Package roomview reads the log of a room for one user: what they may see of
// it, and in which form clients get it.
//
// [SightOf] loads what a user may read of a room; [Look] gives the point from
// which they see its state, or [ErrNotMember]. A [Reader] writes events in the
// form of the client-server API. Nothing here writes to the store or knows
// about HTTP.
package roomview

import (
	"net/http"
	"sort"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// A Sight says what one user may read of one room: the memberships that they
// had, and the history visibilities that the room had (client-server API,
// "Room History Visibility").
type Sight struct {
	user       quinta.UserID
	visibility []since
	membership []since
}

// since is a value that holds from a position on.
type since struct {
	pos   quinta.Pos
	value string
}

// SightOf loads what user may read of a room.
func SightOf(tx *db.Tx, id quinta.RoomID, user quinta.UserID) (*Sight, error) {
	s := &Sight{user: user}
	vs, err := room.StateLog(tx, id, eventauth.TypeHistoryVisibility, "")
	if err != nil {
		return nil, err
	}
	for _, e := range vs {
		v, _ := wire.TextMember(e.Content, "history_visibility")
		s.visibility = append(s.visibility, since{e.Pos, v})
	}
	ms, err := room.History(tx, id, user)
	for _, m := range ms {
		s.membership = append(s.membership, since{m.Pos, m.Membership})
	}
	return s, err
}

// Always returns the sight of a user who has been in the room from its
// beginning, and so sees all of it.
func Always(user quinta.UserID) *Sight {
	return &Sight{user: user, membership: []since{{0, room.Join}}}
}

// Was returns the membership that the user had right after pos, "" for none.
func (s *Sight) Was(pos quinta.Pos) string { return at(s.membership, pos) }

// at returns the value that holds right after pos.
func at(list []since, pos quinta.Pos) string {
	i := sort.Search(len(list), func(i int) bool { return list[i].pos > pos })
	if i == 0 {
		return ""
	}
	return list[i-1].value
}

// now returns the user's current membership, "" if they have none.
func (s *Sight) now() string { return at(s.membership, 1<<62) }

// last returns the position of the last change of the user's membership.
func (s *Sight) last() quinta.Pos {
	if len(s.membership) == 0 {
		return 0
	}
	return s.membership[len(s.membership)-1].pos
}

// EverJoined reports whether the user was ever in the room.
func (s *Sight) EverJoined() bool {
	for _, m := range s.membership {
		if m.value == room.Join {
			return true
		}
	}
	return false
}

// joinedAfter reports whether the user was in the room at pos or any time
// after it.
func (s *Sight) joinedAfter(pos quinta.Pos) bool {
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

// world reports whether the room is readable by everyone now.
func (s *Sight) world() bool { return at(s.visibility, 1<<62) == "world_readable" }

// Sees reports whether the user may read e. A change of the visibility, or of
// the user's own membership, may be read if the user could read before it or
// can read after it.
func (s *Sight) Sees(e *room.Event) bool {
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

func (s *Sight) allows(vis, mem string, pos quinta.Pos) bool {
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

// A Viewpoint is the point from which a user sees the state of a room.
type Viewpoint struct {
	*Sight
	// Pos is the position at which the user sees the state: the newest one for
	// a member, the one at which they left for a former member.
	Pos quinta.Pos
	// Past says that Pos is in the past.
	Past bool
}

// Look returns the point from which user may see the room's state, or
// ErrNotMember if they may not see it at all.
func Look(tx *db.Tx, id quinta.RoomID, user quinta.UserID) (*Viewpoint, error) {
	s, err := SightOf(tx, id, user)
	if err != nil {
		return nil, err
	}
	now, err := tx.Pos()
	if err != nil {
		return nil, err
	}
	v := &Viewpoint{Sight: s, Pos: now}
	m := s.now()
	switch {
	case m == room.Join, s.world():
		return v, nil
	case (m == "leave" || m == "ban") && s.EverJoined():
		mem, err := room.MemberOf(tx, id, user)
		if err != nil {
			return nil, err
		}
		if mem.Forgotten {
			return nil, ErrNotMember
		}
		v.Pos, v.Past = s.LeftAt(), true
		return v, nil
	}
	return nil, ErrNotMember
}

// LeftAt returns the position at which the user's last time in the room
// ended; the user may not see later changes of their membership.
func (s *Sight) LeftAt() quinta.Pos {
	for i := len(s.membership) - 1; i > 0; i-- {
		if s.membership[i-1].value == room.Join && s.membership[i].value != room.Join {
			return s.membership[i].pos
		}
	}
	return s.last()
}

// SeenUpTo returns the position up to which a device that synced at pos has
// got what the user could read: pos if the user was in the room, else where
// they left it before, or 0.
func (s *Sight) SeenUpTo(pos quinta.Pos) quinta.Pos {
	if at(s.membership, pos) == room.Join {
		return pos
	}
	seen := quinta.Pos(0)
	for i := 1; i < len(s.membership) && s.membership[i].pos <= pos; i++ {
		if s.membership[i-1].value == room.Join && s.membership[i].value != room.Join {
			seen = s.membership[i].pos
		}
	}
	return seen
}

// ErrNotMember is the answer about rooms that the caller is not in, whether
// they exist or not.
var ErrNotMember = wire.NewError(http.StatusForbidden, wire.CodeForbidden, "you are not in this room")
