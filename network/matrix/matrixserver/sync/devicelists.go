package sync

import (
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/room"
)

// maxRoomMembers bounds the members of a room whose device lists are looked at.
const maxRoomMembers = 1 << 20

// DeviceLists returns what happened to the device lists that viewer
// follows after from, up to and including to (client-server API, "Tracking
// the device list for a user"): changed are those whose devices or keys have
// changed, or with whom viewer shares a room again or for the first time;
// left are those with whom viewer shares no room any more. Both are sorted
// and never nil.
func DeviceLists(tx *db.Tx, viewer quinta.UserID, from, to quinta.Pos) (changed, left []quinta.UserID, err error) {
	changed, left = []quinta.UserID{}, []quinta.UserID{}
	if from >= to {
		return changed, left, nil
	}
	keys, err := directory.ChangedBetween(tx, network, viewer, from, to)
	if err != nil {
		return nil, nil, err
	}
	came, went, err := metBetween(tx, viewer, room.Range{From: from, To: to})
	if err != nil {
		return nil, nil, err
	}
	if len(keys) == 0 && len(came) == 0 && len(went) == 0 {
		return changed, left, nil
	}
	now, err := room.Sharing(tx, viewer, slices.Concat(keys, came, went), to)
	if err != nil {
		return nil, nil, err
	}
	before, err := room.Sharing(tx, viewer, came, from)
	if err != nil {
		return nil, nil, err
	}
	for _, u := range keys {
		if now[u] || u == viewer {
			changed = append(changed, u)
		}
	}
	for _, u := range came {
		if now[u] && !before[u] {
			changed = append(changed, u)
		}
	}
	for _, u := range went {
		if !now[u] {
			left = append(left, u)
		}
	}
	slices.Sort(changed)
	return slices.Compact(changed), left, nil
}

// metBetween returns those who, in the range, came into a room of viewer's or
// in whose room viewer came, and those who went, each sorted and once. Who
// went was there at the beginning of the range, together with viewer.
func metBetween(tx *db.Tx, viewer quinta.UserID, r room.Range) (came, went []quinta.UserID, err error) {
	in, out := map[quinta.UserID]bool{}, map[quinta.UserID]bool{}
	seen, err := room.ChangesSeen(tx, viewer, r)
	if err != nil {
		return nil, nil, err
	}
	if err := sortChanges(tx, viewer, seen, r.From, in, out); err != nil {
		return nil, nil, err
	}
	own, err := room.ChangesOf(tx, viewer, r)
	if err != nil {
		return nil, nil, err
	}
	done := map[quinta.RoomID]bool{}
	for _, c := range own {
		if done[c.Room] {
			continue
		}
		done[c.Room] = true
		if err := viewerMoved(tx, viewer, c.Room, r, in, out); err != nil {
			return nil, nil, err
		}
	}
	delete(in, viewer)
	delete(out, viewer)
	return slices.Sorted(maps.Keys(in)), slices.Sorted(maps.Keys(out)), nil
}

// viewerMoved looks at a room in which viewer's own membership has changed.
func viewerMoved(tx *db.Tx, viewer quinta.UserID, id quinta.RoomID, r room.Range, in, out map[quinta.UserID]bool) error {
	me, err := room.MemberOf(tx, id, viewer)
	if err != nil {
		return err
	}
	was, err := room.MembershipAt(tx, id, viewer, r.From)
	if err != nil || (me.Membership != room.Join && was != room.Join) {
		return err
	}
	others, err := room.Members(tx, id, room.Join, maxRoomMembers)
	if err != nil {
		return err
	}
	if me.Membership == room.Join {
		if me.Joined > r.From {
			for i := range others {
				in[others[i].Member] = true
			}
		}
		return nil
	}
	// Users who are in it now, or have left since, shared it with viewer.
	for i := range others {
		if others[i].Joined <= r.From {
			out[others[i].Member] = true
		}
	}
	gone, err := room.ChangesIn(tx, id, r)
	if err != nil {
		return err
	}
	return sortChanges(tx, viewer, gone, r.From, map[quinta.UserID]bool{}, out)
}

// sortChanges puts those who are joined by a change into in, and those who
// were there at from, and are not after it, into out.
func sortChanges(tx *db.Tx, viewer quinta.UserID, list []room.Change, from quinta.Pos, in, out map[quinta.UserID]bool) error {
	for _, c := range list {
		if c.Membership == room.Join {
			in[c.Member] = true
			continue
		}
		was, err := room.MembershipAt(tx, c.Room, c.Member, from)
		if err != nil {
			return err
		}
		if was != room.Join {
			continue
		}
		mine, err := room.MembershipAt(tx, c.Room, viewer, from)
		if err != nil {
			return err
		}
		if mine == room.Join {
			out[c.Member] = true
		}
	}
	return nil
}
