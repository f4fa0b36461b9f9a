package matrixserver

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/vault"
)

func (s *homeserver) tagCalls() {
	s.client(http.MethodGet, "/user/{userId}/rooms/{roomId}/tags", endpoint{rate: rateRead, handle: (*call).getTags})
	s.client(http.MethodPut, "/user/{userId}/rooms/{roomId}/tags/{tag}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putTag})
	s.client(http.MethodDelete, "/user/{userId}/rooms/{roomId}/tags/{tag}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteTag})
}

// maxTag is how long the name of a tag may be, in bytes ("Room Tagging").
const maxTag = 255

// roomTags is the content of the account data m.tag of a room.
type roomTags struct {
	Tags map[string]json.RawMessage `json:"tags"`
}

// tagsOf reads the tags of a room. Account data is the client's own, so what
// is stored there may have any shape; what is not tags counts as none.
func tagsOf(tx *db.Tx, user quinta.UserID, room string) (roomTags, error) {
	t := roomTags{Tags: map[string]json.RawMessage{}}
	raw, err := vault.GetData(tx, network, user, room, wire.DataTags)
	if err != nil {
		if quinta.KindOf(err) == quinta.KindNotFound {
			err = nil
		}
		return t, err
	}
	var have roomTags
	if json.Unmarshal(raw, &have) == nil && have.Tags != nil {
		return have, nil
	}
	return t, nil
}

// tagRoom returns the room that the path names, if the path is the caller's.
func (c *call) tagRoom() (string, error) {
	if err := c.mine(); err != nil {
		return "", err
	}
	return c.dataScope()
}

// getTags: "GET /user/{userId}/rooms/{roomId}/tags".
func (c *call) getTags() (any, error) {
	room, err := c.tagRoom()
	if err != nil {
		return nil, err
	}
	var t roomTags
	err = c.View(c.ctx(), func(tx *db.Tx) (err error) {
		t, err = tagsOf(tx, c.user, room)
		return err
	})
	return t, err
}

// putTag: "PUT /user/{userId}/rooms/{roomId}/tags/{tag}".
func (c *call) putTag() (any, error) {
	room, err := c.tagRoom()
	if err != nil {
		return nil, err
	}
	tag := c.path("tag")
	if len(tag) > maxTag {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "the tag is too long")
	}
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	var q struct {
		Order *json.RawMessage `json:"order"`
	}
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	if q.Order != nil && !number(*q.Order) {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, "order must be a number")
	}
	return c.changeTags(room, func(t roomTags) bool {
		t.Tags[tag] = body
		return true
	})
}

// number reports whether raw is a JSON number.
func number(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && (raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9')
}

// deleteTag: "DELETE /user/{userId}/rooms/{roomId}/tags/{tag}".
func (c *call) deleteTag() (any, error) {
	room, err := c.tagRoom()
	if err != nil {
		return nil, err
	}
	return c.changeTags(room, func(t roomTags) bool {
		_, there := t.Tags[c.path("tag")]
		delete(t.Tags, c.path("tag"))
		return there
	})
}

// changeTags changes the tags of a room if fn says so.
func (c *call) changeTags(room string, fn func(roomTags) bool) (any, error) {
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		t, err := tagsOf(tx, c.user, room)
		if err != nil || !fn(t) {
			return err
		}
		raw, err := wire.Encode(t)
		if err != nil {
			return err
		}
		return putData(tx, c.user, room, wire.DataTags, raw)
	})
}
