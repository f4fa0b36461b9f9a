package xmppserver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server/db"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// listWithin bounds how long a room may take to answer.
const listWithin = 10 * time.Second

// maxJoined bounds the rooms that the component enters when it connects.
const maxJoined = 5000

// rooms reads the lists of rooms over the component's connection.
type rooms struct {
	rand  io.Reader
	asker wire.Asker

	mu      sync.Mutex
	session *xmpp.Session
	// busy are the rooms that are being read, and entered those of which the
	// component is an occupant on this connection.
	busy    map[quinta.RoomID]chan struct{}
	entered map[quinta.RoomID]bool
	// stale are rooms whose lists have changed.
	stale chan quinta.RoomID
}

func newRooms(rand io.Reader) *rooms {
	return &rooms{rand: rand, busy: map[quinta.RoomID]chan struct{}{}, stale: make(chan quinta.RoomID, maxHints)}
}

// lock waits until no one else reads a room.
func (r *rooms) lock(ctx context.Context, room quinta.RoomID) (unlock func(), err error) {
	for {
		r.mu.Lock()
		other := r.busy[room]
		if other == nil {
			mine := make(chan struct{})
			r.busy[room] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				delete(r.busy, room)
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// use sets the connection, or none.
func (r *rooms) use(session *xmpp.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session, r.entered = session, map[quinta.RoomID]bool{}
}

func (r *rooms) current() *xmpp.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session
}

// enter notes that a room is entered, and reports whether it was not yet.
func (r *rooms) enter(room quinta.RoomID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entered[room] || len(r.entered) >= maxJoined {
		return false
	}
	r.entered[room] = true
	return true
}

// errAway: the lists of a room are too old, and cannot be read now.
var errAway = wire.NewError(http.StatusServiceUnavailable, wire.CodeUnavailable, "the members of the room are not known now: the key server is not connected to the XMPP server")

// ask sends a request to a room.
func (r *rooms) ask(ctx context.Context, to jid.JID, kind stanza.IQType, payload, v any) error {
	session := r.current()
	if session == nil {
		return errAway
	}
	var id [12]byte
	if _, err := io.ReadFull(r.rand, id[:]); err != nil {
		return err
	}
	raw, err := xml.Marshal(payload)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	iq := stanza.IQ{ID: base64.RawURLEncoding.EncodeToString(id[:]), Type: kind, To: to, From: session.LocalAddr()}
	err = r.asker.Ask(ctx, iq, xml.NewDecoder(bytes.NewReader(raw)), v, func(t xml.TokenReader) error { return session.Send(ctx, t) })
	if _, refused := errors.AsType[stanza.Error](err); err != nil && !refused {
		return errAway
	}
	return err
}

// read reads what a room is and who its members are.
func (r *rooms) read(ctx context.Context, room quinta.RoomID) (*roomState, error) {
	to, err := jid.Parse(string(room))
	if err != nil {
		return nil, errNotFound
	}
	var info wire.Info
	err = r.ask(ctx, to, stanza.GetIQ, &wire.Info{}, &info)
	if se, refused := errors.AsType[stanza.Error](err); refused {
		return refusedRoom(se)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Has(wire.NSMUC):
		return nil, errNotFound
	case !info.Has(wire.FeatureMembersOnly):
		return &roomState{frozen: "it is not for members only"}, nil
	case !info.Has(wire.FeatureNonAnonymous):
		return &roomState{frozen: "its members do not see each other's JIDs"}, nil
	}
	state := &roomState{}
	for _, a := range wire.MemberAffiliations {
		var list wire.AdminQuery
		err := r.ask(ctx, to, stanza.GetIQ, &wire.AdminQuery{Items: []wire.Occupant{{Affiliation: a}}}, &list)
		if se, refused := errors.AsType[stanza.Error](err); refused {
			return refusedRoom(se)
		}
		if err != nil {
			return nil, err
		}
		for _, it := range list.Items {
			// The component itself is a member, and no user.
			if u := bareOf(it.JID); u != "" && it.Affiliation == a && len(state.members) < maxMembers {
				state.members = append(state.members, u)
			}
		}
	}
	if r.enter(room) {
		if err := r.join(ctx, to); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// refusedRoom is what it means that a room does not answer.
func refusedRoom(e stanza.Error) (*roomState, error) {
	switch e.Condition {
	case stanza.ItemNotFound, stanza.Gone:
		return &roomState{frozen: "it is not there any more"}, nil
	case stanza.Forbidden, stanza.NotAllowed, stanza.RegistrationRequired:
		return &roomState{frozen: "the key server is not a member of it: an owner of the room must make the key server's name a member"}, nil
	}
	return nil, errAway
}

// bareOf returns the bare JID of a user, or "" if it is none.
func bareOf(text string) quinta.UserID {
	j, err := jid.Parse(text)
	if err != nil {
		return ""
	}
	u := quinta.UserID(j.Bare().String())
	if keysrv.CheckJID(u) != nil {
		return ""
	}
	return u
}

// nick is the name of the component in rooms.
const nick = "key-server"

// join enters a room, so that it tells of changes.
func (r *rooms) join(ctx context.Context, room jid.JID) error {
	session := r.current()
	if session == nil {
		return errAway
	}
	to, err := room.WithResource(nick)
	if err != nil {
		return errNotFound
	}
	raw, err := xml.Marshal(&wire.Join{})
	if err != nil {
		return err
	}
	p := stanza.Presence{To: to, From: session.LocalAddr()}
	if session.Send(ctx, p.Wrap(xml.NewDecoder(bytes.NewReader(raw)))) != nil {
		return errAway
	}
	return nil
}

// notice looks whether a presence or message of a room tells of a change.
func (s *xmppServer) notice(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	var p struct {
		XMLName xml.Name
		From    string           `xml:"from,attr"`
		Room    *wire.RoomNotice `xml:"http://jabber.org/protocol/muc#user x"`
	}
	if err := xml.NewTokenDecoder(xmlstream.MultiReader(xmlstream.Token(*start), t)).Decode(&p); err != nil {
		return err
	}
	from, err := jid.Parse(p.From)
	if err != nil || p.Room == nil {
		return nil
	}
	changed := p.Room.Changed() || from.Resourcepart() == "" || from.Resourcepart() == nick
	for _, it := range p.Room.Items {
		changed = changed || !it.Affiliation.Belongs()
	}
	if changed || start.Name.Local == "message" {
		select {
		case s.rooms.stale <- quinta.RoomID(from.Bare().String()):
		default: // its lists are believed for roomAge only
		}
	}
	return nil
}

// watchRooms enters the rooms that are known and reads those again whose lists
// have changed, until the connection ends.
func (s *xmppServer) watchRooms(ctx context.Context) error {
	var known []quinta.RoomID
	if err := s.View(ctx, func(tx *db.Tx) error {
		known = nil
		for row, err := range tx.Query(`SELECT room FROM xmpp_room WHERE frozen = '' ORDER BY checked DESC LIMIT $1`, maxJoined) {
			if err != nil {
				return err
			}
			var r quinta.RoomID
			if err := row.Scan(&r); err != nil {
				return err
			}
			known = append(known, r)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, r := range known {
		to, err := jid.Parse(string(r))
		if err == nil && s.rooms.enter(r) {
			err = s.rooms.join(ctx, to)
		}
		if err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.rooms.stale:
			if err := s.changedRoom(ctx, r); err != nil && ctx.Err() == nil {
				s.Log.Warn("xmpp: the lists of a room are not read", "room", r, "err", err)
			}
		}
	}
}

// changedRoom reads a room again, if it is one that is served. Until that is done
// its old lists are not believed.
func (s *xmppServer) changedRoom(ctx context.Context, room quinta.RoomID) error {
	unlock, err := s.rooms.lock(ctx, room)
	if err != nil {
		return err
	}
	defer unlock()
	var n int64
	if err := s.UpdateAlways(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.Exec(`UPDATE xmpp_room SET checked = 0 WHERE room = $1`, room)
		return err
	}); err != nil || n == 0 {
		return err
	}
	return s.readRoom(ctx, room, true)
}
