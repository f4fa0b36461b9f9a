package xmppclient

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// pageOf is how many messages one page of the archive has.
const pageOf = 100

// An archivePage is one page of an archive.
type archivePage struct {
	// of is the archive's JID; empty for this user's own.
	of   string
	list []*wire.Message
}

// catchUp reads one page of this user's archive after an id. done reports that
// nothing more is there. A server without an archive has nothing.
func (c *connection) catchUp(ctx context.Context, random io.Reader, after string) (in keysrv.In, done bool, err error) {
	list, last, done, err := c.page(ctx, random, jid.JID{}, after)
	if err != nil {
		return in, false, err
	}
	for _, m := range list {
		inner := m.Result.Forwarded.Message
		if it, ok := c.itemOf(inner, m.Result.Forwarded.Delay); ok {
			in.Items = append(in.Items, it)
		}
		if i, ok := c.invitationOf(inner); ok {
			in.Invitations = append(in.Invitations, i)
		}
	}
	in.Archive = last
	return in, done, nil
}

// page reads one page of an archive after an id, and the id of its last message.
func (c *connection) page(ctx context.Context, random io.Reader, of jid.JID, after string) (list []*wire.Message, last string, done bool, err error) {
	const op = "reading the archive"
	id, err := newID(random)
	if err != nil {
		return nil, "", false, err
	}
	p := &archivePage{of: of.String()}
	c.mu.Lock()
	c.pages[id] = p
	c.mu.Unlock()
	var fin wire.Fin
	err = c.askWith(ctx, random, of, stanza.SetIQ, wire.NewArchiveQuery(id, after, pageOf), &fin)
	c.mu.Lock()
	list = p.list
	delete(c.pages, id)
	c.mu.Unlock()
	if se, refused := errors.AsType[stanza.Error](err); refused {
		if se.Condition == stanza.ItemNotFound && after != "" {
			// The archive does not know the id any more: begin at its start, what
			// was seen is known.
			return c.page(ctx, random, of, "")
		}
		return nil, "", true, nil
	}
	if err != nil {
		return nil, "", false, err
	}
	if len(list) > 0 {
		last = list[len(list)-1].Result.ID
	}
	if last == after && after != "" && !fin.Complete {
		return nil, "", false, quinta.E(quinta.KindUnavailable, op, "the archive gives the same page again")
	}
	return list, last, fin.Complete || len(list) == 0, nil
}

// askWith is ask with a payload that is encoded.
func (c *connection) askWith(ctx context.Context, random io.Reader, to jid.JID, kind stanza.IQType, payload, v any) error {
	raw, err := xml.Marshal(payload)
	if err != nil {
		return quinta.E(quinta.KindInternal, "speaking to the XMPP server", "a request cannot be written")
	}
	return c.ask(ctx, random, to, kind, xml.NewDecoder(bytes.NewReader(raw)), v)
}

// itemOf makes the machine's input of a message; ok is false for one that is not
// of this system.
func (c *connection) itemOf(m *wire.Message, delay *wire.Delay) (it keysrv.Item, ok bool) {
	if m == nil || m.Encrypted == nil || m.Type == stanza.GroupChatMessage || m.Type == stanza.ErrorMessage {
		return it, false
	}
	from, err := jid.Parse(m.From)
	if err != nil {
		return it, false
	}
	self := c.self.Bare().String()
	it = keysrv.Item{From: quinta.UserID(from.Bare().String()), StanzaID: quinta.MessageID(m.ID), ObjectID: m.Encrypted.ObjectID, Text: m.Encrypted.Text, Received: delay.Time()}
	it.Room = quinta.RoomID(it.From)
	if string(it.From) == self {
		to, err := jid.Parse(m.To)
		if err != nil {
			return it, false
		}
		it.Room = quinta.RoomID(to.Bare().String())
	}
	return it, true
}

// inputOf makes the machine's input of what came live.
func (c *connection) inputOf(list []*wire.Message, component string) (in keysrv.In) {
	for _, m := range list {
		switch {
		case m.Hint != nil:
			// Only the key server gives hints.
			if m.From == component {
				in.Wants = in.Wants || m.Hint.Wants
				if m.Hint.Changed != "" {
					in.Changed = append(in.Changed, quinta.UserID(m.Hint.Changed))
				}
			}
			continue
		case m.Received != nil || m.SentOut != nil:
			// Only this user's own server makes copies of what is theirs.
			if !c.own(m.From) {
				continue
			}
			carbon := m.Received
			if carbon == nil {
				carbon = m.SentOut
			}
			if it, ok := c.itemOf(carbon.Forwarded.Message, carbon.Forwarded.Delay); ok {
				in.Items = append(in.Items, it)
			}
			if i, ok := c.invitationOf(carbon.Forwarded.Message); ok {
				in.Invitations = append(in.Invitations, i)
			}
			continue
		}
		if m.Type == stanza.GroupChatMessage {
			c.liveOfRoom(m, &in)
			continue
		}
		if it, ok := c.itemOf(m, m.Delay); ok {
			in.Items = append(in.Items, it)
		}
		if i, ok := c.invitationOf(m); ok {
			in.Invitations = append(in.Invitations, i)
		}
		for _, id := range m.StanzaIDs {
			if id.By == c.self.Bare().String() && id.ID != "" {
				in.Archive = id.ID
			}
		}
	}
	return in
}
