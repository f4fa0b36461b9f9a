package matrixserver

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

func (s *homeserver) roomMembersCalls() {
	s.client(http.MethodGet, "/rooms/{roomId}/members", endpoint{rate: rateRead, handle: (*call).getMembers})
	s.client(http.MethodGet, "/rooms/{roomId}/joined_members", endpoint{rate: rateRead, handle: (*call).getJoinedMembers})
}

// memberships are the values of the filters of GET members.
var memberships = []string{"join", "invite", "knock", "leave", "ban"}

// getMembers: "GET /rooms/{roomId}/members".
func (c *call) getMembers() (any, error) {
	want, not := c.param("membership"), c.param("not_membership")
	for _, m := range []string{want, not} {
		if m != "" && !slices.Contains(memberships, m) {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "there is no such membership")
		}
	}
	at, err := c.paramToken("at", 1<<62)
	if err != nil {
		return nil, err
	}
	var chunk []*wire.Event
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		v, err := roomview.Look(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		var list []*room.Event
		if pos := min(at, v.Pos); v.Past || at < v.Pos {
			list, err = room.StateOfTypeAt(tx, c.roomID(), eventauth.TypeMember, pos)
		} else {
			list, err = room.StateOfType(tx, c.roomID(), eventauth.TypeMember)
		}
		if err != nil {
			return err
		}
		if want != "" || not != "" {
			list = slices.DeleteFunc(list, func(e *room.Event) bool {
				m, _ := wire.TextMember(e.Content, "membership")
				return want != "" && m != want || not != "" && m == not
			})
		}
		r := &roomview.Reader{User: c.user, Device: c.device, Plain: true, Bare: true}
		chunk, err = r.RenderAll(tx, list)
		return err
	})
	if err != nil {
		return nil, err
	}
	return wire.Chunk(chunk)
}

// getJoinedMembers: "GET /rooms/{roomId}/joined_members".
func (c *call) getJoinedMembers() (any, error) {
	joined := map[quinta.UserID]map[string]json.RawMessage{}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		m, err := room.MemberOf(tx, c.roomID(), c.user)
		if err != nil {
			return err
		}
		if m.Membership != room.Join {
			return roomview.ErrNotMember
		}
		list, err := room.StateOfType(tx, c.roomID(), eventauth.TypeMember)
		if err != nil {
			return err
		}
		for _, e := range list {
			if m, _ := wire.TextMember(e.Content, "membership"); m != room.Join {
				continue
			}
			null := json.RawMessage("null")
			row := map[string]json.RawMessage{"display_name": null, "avatar_url": null}
			if v, ok := wire.Member(e.Content, "displayname"); ok {
				row["display_name"] = v
			}
			if v, ok := wire.Member(e.Content, "avatar_url"); ok {
				row["avatar_url"] = v
			}
			joined[quinta.UserID(*e.StateKey)] = row
		}
		return nil
	})
	return map[string]any{"joined": joined}, err
}
