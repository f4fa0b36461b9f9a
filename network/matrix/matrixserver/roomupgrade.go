package matrixserver

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomUpgradeCalls() {
	s.client(http.MethodPost, "/rooms/{roomId}/upgrade", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postUpgrade})
}

// copiedState lists the types of state that go over into an upgraded room
// ("Room Upgrades", recommended set); all have the state key "".
var copiedState = []string{
	"m.room.server_acl", "m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic", "m.room.guest_access",
	eventauth.TypeHistoryVisibility, eventauth.TypeJoinRules,
}

// postUpgrade: "POST /rooms/{roomId}/upgrade".
func (c *call) postUpgrade() (any, error) {
	var q struct {
		Version  *string         `json:"new_version"`
		Creators []quinta.UserID `json:"additional_creators"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Version == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which new_version?")
	}
	v, err := eventauth.ParseVersion(*q.Version)
	if err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnsupportedRoom, "the server does not know this room version")
	}
	id, err := c.newRoomID()
	if err != nil {
		return nil, err
	}
	err = c.Update(c.ctx(), func(tx *db.Tx) error {
		if err := c.inRoom(tx); err != nil {
			return err
		}
		old, err := c.writeRoom(tx, c.roomID())
		if err != nil {
			return err
		}
		may, err := old.maySet(c.user, eventauth.TypeTombstone)
		if err != nil {
			return err
		}
		if !may {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "your power level is too low to upgrade the room")
		}
		next := &roomWriter{s: c.homeserver, tx: tx, id: id, version: v}
		if err := c.upgrade(old, next, q.Creators); err != nil {
			return err
		}
		id = next.id
		return nil
	})
	return map[string]any{"replacement_room": id}, err
}

// upgrade makes the room next in place of old.
func (c *call) upgrade(old, next *roomWriter, creators []quinta.UserID) error {
	tx := old.tx
	create, err := room.StateOf(tx, old.id, eventauth.TypeCreate, "")
	if err != nil {
		return err
	}
	content := map[string]any{}
	if err := mergeObject(content, create.Content); err != nil {
		return err
	}
	delete(content, "additional_creators")
	delete(content, "room_version")
	predecessor := map[string]any{"room_id": old.id}
	// The tombstone must name the new room, and the new room the tombstone:
	// where the room id is known first, the tombstone goes first. Where it is
	// made from the event, the event cannot name the tombstone.
	if !next.version.RoomIDFromCreate() {
		e, err := c.tombstone(old, next.id)
		if err != nil {
			return err
		}
		predecessor["event_id"] = e.ID
	}
	content["predecessor"] = predecessor
	if err := next.begin(c.user, content, creators); err != nil {
		return err
	}
	if next.version.RoomIDFromCreate() {
		if _, err := c.tombstone(old, next.id); err != nil {
			return err
		}
	}
	if err := c.copyState(old, next, creators); err != nil {
		return err
	}
	return c.moveNames(old, next)
}

// tombstone ends a room in favour of another.
func (c *call) tombstone(old *roomWriter, next quinta.RoomID) (*room.Event, error) {
	return old.set(eventauth.TypeTombstone, "", c.user, map[string]any{"body": "This room has been replaced", "replacement_room": next})
}

// copyState writes the copied state of old into next, and then the power
// levels: as long as there are none the upgrader may write all of it, and the
// first ones may name levels above their own.
func (c *call) copyState(old, next *roomWriter, creators []quinta.UserID) error {
	levels, err := c.copiedLevels(old, next, creators)
	if err != nil {
		return err
	}
	for _, typ := range copiedState {
		e, err := room.StateOf(old.tx, old.id, typ, "")
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		key := ""
		if _, err := next.add(proposal{Type: typ, Key: &key, Sender: c.user, Content: e.Content}); err != nil {
			return err
		}
	}
	if err := c.copyBans(old, next); err != nil {
		return err
	}
	if _, err := next.set(eventauth.TypePowerLevels, "", c.user, levels); err != nil {
		return err
	}
	return raiseLevels(old, c.user)
}

// copiedLevels returns the power levels that next gets: those of old, with
// creators taken out where creators stand above all levels.
func (c *call) copiedLevels(old, next *roomWriter, creators []quinta.UserID) (map[string]any, error) {
	e, err := room.StateOf(old.tx, old.id, eventauth.TypePowerLevels, "")
	if err != nil {
		return nil, err
	}
	if e == nil {
		return eventauth.DefaultLevels(next.version, string(c.user)), nil
	}
	levels := map[string]any{}
	if err := mergeObject(levels, e.Content); err != nil {
		return nil, err
	}
	users := map[string]json.RawMessage{}
	if raw, ok := levels["users"].(json.RawMessage); ok && json.Unmarshal(raw, &users) != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeBadState, "the power levels of the room cannot be read")
	}
	had, err := roomview.Levels(old.tx, old.id, old.version)
	if err != nil {
		return nil, eventError(err)
	}
	if next.version.RoomIDFromCreate() {
		delete(users, string(c.user))
		for _, u := range creators {
			delete(users, string(u))
		}
	} else {
		// Creators who stood above all levels become administrators, and
		// the upgrader keeps the levels needed to finish.
		for _, u := range had.Users() {
			if had.IsCreator(u) {
				users[u] = json.RawMessage("100")
			}
		}
		if _, ok := users[string(c.user)]; !ok {
			users[string(c.user)] = json.RawMessage("100")
		}
	}
	levels["users"] = users
	return integers(levels)
}

// integers writes levels that old versions let stand as strings as integers.
func integers(levels map[string]any) (map[string]any, error) {
	raw, err := canonicalJSON(levels)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	var walk func(m map[string]any)
	walk = func(m map[string]any) {
		for k, v := range m {
			switch v := v.(type) {
			case map[string]any:
				walk(v)
			case string:
				if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
					m[k] = n
				}
			}
		}
	}
	walk(m)
	return m, nil
}

// copyBans keeps those out of next who are banned from old.
func (c *call) copyBans(old, next *roomWriter) error {
	banned, err := room.Members(old.tx, old.id, "ban", roomview.MaxRelations)
	if err != nil {
		return err
	}
	for _, m := range banned {
		if _, err := next.set(eventauth.TypeMember, string(m.Member), c.user, map[string]any{"membership": "ban"}); err != nil {
			return err
		}
	}
	return nil
}

// raiseLevels makes it hard to keep talking in a room that was replaced, if
// the upgrader may change its power levels.
func raiseLevels(old *roomWriter, user quinta.UserID) error {
	may, err := old.maySet(user, eventauth.TypePowerLevels)
	if err != nil || !may {
		return err
	}
	e, err := room.StateOf(old.tx, old.id, eventauth.TypePowerLevels, "")
	if err != nil || e == nil {
		return err
	}
	had, err := roomview.Levels(old.tx, old.id, old.version)
	if err != nil {
		return eventError(err)
	}
	raised := max(50, had.Named("users_default")+1)
	if had.User(string(user)) < raised {
		return nil
	}
	levels := map[string]any{}
	if err := mergeObject(levels, e.Content); err != nil {
		return err
	}
	for _, name := range []string{"events_default", "invite"} {
		if had.Named(name) < raised {
			levels[name] = raised
		}
	}
	_, err = old.set(eventauth.TypePowerLevels, "", user, levels)
	if we, ok := err.(*wire.Error); ok && we.Code == wire.CodeForbidden {
		return nil
	}
	return err
}

// moveNames gives the aliases and the place in the public directory of old to
// next.
func (c *call) moveNames(old, next *roomWriter) error {
	tx := old.tx
	canonical, err := room.StateOf(tx, old.id, "m.room.canonical_alias", "")
	if err != nil {
		return err
	}
	if err := room.MoveAliases(tx, old.id, next.id); err != nil {
		return err
	}
	if canonical != nil {
		may, err := old.maySet(c.user, "m.room.canonical_alias")
		if err != nil {
			return err
		}
		if may {
			if _, err := old.set("m.room.canonical_alias", "", c.user, map[string]any{}); err != nil {
				return err
			}
		}
		key := ""
		if may, err = next.maySet(c.user, "m.room.canonical_alias"); err != nil {
			return err
		}
		if may {
			if _, err := next.add(proposal{Type: "m.room.canonical_alias", Key: &key, Sender: c.user, Content: canonical.Content}); err != nil {
				return err
			}
		}
	}
	r, err := room.Get(tx, old.id)
	if err != nil || !r.Listed {
		return err
	}
	if err := room.SetListed(tx, old.id, false); err != nil {
		return err
	}
	return room.SetListed(tx, next.id, true)
}
