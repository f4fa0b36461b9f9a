package xmppclient

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// findRooms returns the service of the user's domain that has rooms.
func (c *connection) findRooms(ctx context.Context, random io.Reader) (jid.JID, error) {
	to, err := c.find(ctx, random, func(i *wire.Info) bool { return i.Has(wire.NSMUC) })
	if err == nil && to.Domainpart() == "" {
		err = quinta.E(quinta.KindNotFound, "looking for rooms", "the XMPP server has no service for rooms: its operator adds one (XEP-0045)")
	}
	return to, err
}

// find returns the first service of the user's domain that fits, or the zero
// JID.
func (c *connection) find(ctx context.Context, random io.Reader, fits func(*wire.Info) bool) (jid.JID, error) {
	var items wire.Items
	err := c.askWith(ctx, random, c.self.Domain(), stanza.GetIQ, &wire.Items{}, &items)
	if _, refused := errors.AsType[stanza.Error](err); err != nil && !refused {
		return jid.JID{}, err
	}
	for _, it := range items.Items[:min(len(items.Items), maxComponents)] {
		to, err := jid.Parse(it.JID)
		if err != nil {
			continue
		}
		var info wire.Info
		err = c.askWith(ctx, random, to, stanza.GetIQ, &wire.Info{}, &info)
		if _, refused := errors.AsType[stanza.Error](err); refused {
			continue
		}
		if err != nil {
			return jid.JID{}, err
		}
		if fits(&info) {
			return to, nil
		}
	}
	return jid.JID{}, nil
}

// roomName makes the local part of a new room's JID.
func roomName(random io.Reader, name string) (string, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	plain = strings.Trim(plain, "-")
	if plain == "" {
		plain = "room"
	}
	return plain[:min(len(plain), 40)] + "-" + hex.EncodeToString(b[:]), nil
}

// createRoom makes a room: for members only, everyone's JID known, persistent,
// archived.
func (c *connection) createRoom(ctx context.Context, random io.Reader, name string) (quinta.RoomID, error) {
	const op = "creating a room"
	service, err := c.findRooms(ctx, random)
	if err != nil {
		return "", err
	}
	local, err := roomName(random, name)
	if err != nil {
		return "", err
	}
	to, err := jid.New(local, service.Domainpart(), "")
	if err != nil {
		return "", quinta.E(quinta.KindInvalid, op, "the name of the room cannot be part of a JID")
	}
	room := quinta.RoomID(to.String())
	o, err := c.enter(ctx, room, false)
	if err != nil {
		return "", err
	}
	if o.refused {
		return "", quinta.E(quinta.KindForbidden, op, "the XMPP server lets this user create no room")
	}
	var form wire.OwnerQuery
	if err := c.askWith(ctx, random, to, stanza.GetIQ, &wire.OwnerQuery{}, &form); err != nil || form.Form == nil {
		return "", roomError(op, err)
	}
	if err := c.askWith(ctx, random, to, stanza.SetIQ, &wire.OwnerQuery{Form: form.Form.Configured(name)}, nil); err != nil {
		return "", roomError(op, err)
	}
	return room, c.checkRoom(ctx, random, to)
}

// checkRoom reports whether a room is fit for encryption.
func (c *connection) checkRoom(ctx context.Context, random io.Reader, room jid.JID) error {
	const op = "looking at a room"
	var info wire.Info
	if err := c.askWith(ctx, random, room, stanza.GetIQ, &wire.Info{}, &info); err != nil {
		return roomError(op, err)
	}
	switch {
	case !info.Has(wire.NSMUC):
		return quinta.E(quinta.KindNotFound, op, "there is no room of this name")
	case !info.Has(wire.FeatureMembersOnly):
		return quinta.E(quinta.KindForbidden, op, "the room is not for members only: nothing is sent to it")
	case !info.Has(wire.FeatureNonAnonymous):
		return quinta.E(quinta.KindForbidden, op, "the members of the room do not see each other's JIDs: nothing is sent to it")
	}
	return nil
}

// setAffiliation makes someone a member of a room, or removes them.
func (c *connection) setAffiliation(ctx context.Context, random io.Reader, room quinta.RoomID, who string, a wire.Affiliation, reason string) error {
	to, err := jid.Parse(string(room))
	if err != nil {
		return quinta.E(quinta.KindInvalid, "changing a room", "the name of the room is not a JID")
	}
	err = c.askWith(ctx, random, to, stanza.SetIQ, &wire.AdminQuery{Items: []wire.Occupant{{JID: who, Affiliation: a, Reason: reason}}}, nil)
	if err != nil {
		return roomError("changing a room", err)
	}
	return nil
}

// invite sends an invitation to a room.
func (c *connection) invite(ctx context.Context, random io.Reader, room quinta.RoomID, user quinta.UserID) error {
	to, err := jid.Parse(string(user))
	if err != nil {
		return quinta.E(quinta.KindInvalid, "inviting", "the user is not a JID")
	}
	id, err := newID(random)
	if err != nil {
		return err
	}
	return c.deliver(ctx, random, quinta.MessageID(id), &wire.Inviting{ID: id, To: to, Invite: wire.Invite{JID: string(room)}})
}

// members asks a room for its members.
func (c *connection) members(ctx context.Context, random io.Reader, room quinta.RoomID) ([]quinta.UserID, error) {
	to, err := jid.Parse(string(room))
	if err != nil {
		return nil, quinta.E(quinta.KindInvalid, "asking a room for its members", "the name of the room is not a JID")
	}
	if err := c.checkRoom(ctx, random, to); err != nil {
		return nil, err
	}
	var out []quinta.UserID
	for _, a := range wire.MemberAffiliations {
		var list wire.AdminQuery
		if err := c.askWith(ctx, random, to, stanza.GetIQ, &wire.AdminQuery{Items: []wire.Occupant{{Affiliation: a}}}, &list); err != nil {
			return nil, roomError("asking a room for its members", err)
		}
		for _, it := range list.Items {
			j, err := jid.Parse(it.JID)
			if err != nil || j.Localpart() == "" || it.Affiliation != a || len(out) >= keysrv.MaxMembers {
				continue // services are members, too
			}
			out = append(out, quinta.UserID(j.Bare().String()))
		}
	}
	return out, nil
}

// roomError puts the refusal of a room into words.
func roomError(op string, err error) error {
	se, refused := errors.AsType[stanza.Error](err)
	switch {
	case err == nil:
		return quinta.E(quinta.KindUnavailable, op, "the XMPP server gives no form for the room")
	case !refused:
		return err
	}
	switch se.Condition {
	case stanza.ItemNotFound, stanza.Gone:
		return quinta.E(quinta.KindNotFound, op, "there is no room of this name")
	case stanza.Forbidden, stanza.NotAllowed, stanza.RegistrationRequired, stanza.NotAuthorized:
		return quinta.E(quinta.KindForbidden, op, "the room does not allow this user to do that")
	}
	return quinta.E(quinta.KindUnavailable, op, "the room refuses: "+string(se.Condition)+sentence(se))
}
