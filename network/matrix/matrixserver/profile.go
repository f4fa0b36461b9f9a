package matrixserver

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// The two fields of a profile that every client shows.
const (
	fieldName   = "displayname"
	fieldAvatar = "avatar_url"
)

// Bounds of a profile (client-server API, "Profiles").
const (
	maxProfileKey   = 255
	maxProfileValue = 8 << 10
	maxProfile      = 64 << 10
	maxDisplayName  = 1024
)

func (s *homeserver) profileCalls() {
	s.client(http.MethodGet, "/profile/{userId}", endpoint{open: true, rate: rateProfile, handle: (*call).getProfile})
	s.client(http.MethodGet, "/profile/{userId}/{field}", endpoint{open: true, rate: rateProfile, handle: (*call).getProfileField})
	s.client(http.MethodPut, "/profile/{userId}/{field}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putProfileField})
	s.client(http.MethodDelete, "/profile/{userId}/{field}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteProfileField})
}

// profileOf returns all fields of a user's profile, or M_NOT_FOUND.
func (s *homeserver) profileOf(tx *db.Tx, user quinta.UserID) (map[string]json.RawMessage, error) {
	name := s.accountOf(user)
	there, err := account.Exists(tx, name)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such user")
	}
	fields, err := account.Profile(tx, name)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	for f, v := range fields {
		out[f] = v
	}
	return out, nil
}

// rateProfile bounds per address how many profiles are read: no login is needed,
// and each answer says whether a user exists.
var rateProfile = server.Rate{Every: time.Second, Burst: 300}

// askedProfile returns all fields of the profile that a call asks for.
func (c *call) askedProfile() (p map[string]json.RawMessage, err error) {
	if err := limited(c.Limits.Allow("profile", server.ByAddr(c.addr()), rateProfile, 1)); err != nil {
		return nil, err
	}
	err = c.View(c.ctx(), func(tx *db.Tx) (err error) {
		p, err = c.profileOf(tx, quinta.UserID(c.path("userId")))
		return err
	})
	return p, err
}

// getProfile: "GET /profile/{userId}".
func (c *call) getProfile() (any, error) { return c.askedProfile() }

// getProfileField: "GET /profile/{userId}/{keyName}". The two fields that
// always existed answer with an empty object if they are not set.
func (c *call) getProfileField() (any, error) {
	field := c.path("field")
	p, err := c.askedProfile()
	if err != nil {
		return nil, err
	}
	v, ok := p[field]
	if !ok {
		if field == fieldName || field == fieldAvatar {
			return empty{}, nil
		}
		return nil, wire.NewError(http.StatusNotFound, wire.CodeNotFound, "this profile has no such field")
	}
	return map[string]json.RawMessage{field: v}, nil
}

// ownField returns the field of the path, if it is the caller's own.
func (c *call) ownField() (string, error) {
	if c.path("userId") != string(c.user) {
		return "", wire.NewError(http.StatusForbidden, wire.CodeForbidden, "this is another user's profile")
	}
	field := c.path("field")
	if field == "" || len(field) > maxProfileKey {
		return "", wire.NewError(http.StatusBadRequest, "M_KEY_TOO_LARGE", "the name of the field is too long")
	}
	if field != fieldName && field != fieldAvatar && !profileKey.MatchString(field) {
		return "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the name of a field must be a namespaced identifier such as m.tz")
	}
	return field, nil
}

// profileKey is the Common Namespaced Identifier Grammar of the appendices.
var profileKey = regexp.MustCompile(`^[a-z][a-z0-9_.-]*$`)

// putProfileField: "PUT /profile/{userId}/{keyName}".
func (c *call) putProfileField() (any, error) {
	field, err := c.ownField()
	if err != nil {
		return nil, err
	}
	var q map[string]json.RawMessage
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	v, ok := q[field]
	if !ok {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "the body has no member of the field's name")
	}
	if len(v) > maxProfileValue {
		return nil, wire.NewError(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "the value is too large")
	}
	if field == fieldName || field == fieldAvatar {
		if v, err = checkShown(field, v); err != nil {
			return nil, err
		}
	}
	return empty{}, c.setProfile(field, v)
}

// checkShown checks the fields that also appear in member events: strings, or
// null or an empty string to remove them.
func checkShown(field string, v json.RawMessage) (json.RawMessage, error) {
	var s *string
	if err := decode(v, &s); err != nil {
		return nil, err
	}
	if s == nil || *s == "" {
		return nil, nil
	}
	if len(*s) > maxDisplayName {
		return nil, wire.NewError(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "the "+field+" is too long")
	}
	if field == fieldAvatar && !strings.HasPrefix(*s, "mxc://") {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "an avatar must be an mxc:// address")
	}
	return wire.Encode(*s)
}

// deleteProfileField: "DELETE /profile/{userId}/{keyName}".
func (c *call) deleteProfileField() (any, error) {
	field, err := c.ownField()
	if err != nil {
		return nil, err
	}
	return empty{}, c.setProfile(field, nil)
}

// setProfile changes a field, and the user's member events if they show it.
func (c *call) setProfile(field string, v json.RawMessage) error {
	return c.Update(c.ctx(), func(tx *db.Tx) error {
		if err := account.SetProfile(tx, c.account(), field, v); err != nil {
			return err
		}
		p, err := account.Profile(tx, c.account())
		if err != nil {
			return err
		}
		size := 0
		for f, v := range p {
			size += len(f) + len(v)
		}
		if size > maxProfile {
			return wire.NewError(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "the profile is too large")
		}
		if field == fieldName || field == fieldAvatar {
			return c.profileChanged(tx, c.user)
		}
		return nil
	})
}
