package keysrv_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

// A post is an XMPP server with a key server beside it, both honest; bend makes
// them otherwise.
type post struct {
	t       testing.TB
	now     time.Time
	devices map[quinta.UserID][]keysrv.Device
	objects map[string]*stored
	modes   map[string]keysrv.Mode
	wants   map[keysrv.Want]bool
	// rooms are the members of the rooms.
	rooms map[quinta.RoomID][]quinta.UserID
	// archive is what was sent, oldest first.
	archive []sent
	// creates counts the key objects that were made.
	creates int
	// bend, if it is set, may answer a request in the place of the server.
	bend func(d *device, r keysrv.Req) (keysrv.Ans, bool)
}

// A stored is a key object with all copies.
type stored struct {
	object  keysrv.Object
	users   []quinta.UserID
	wrapped map[string]keysrv.Wrapped // by "user device"
}

// A sent is a stanza in the archive.
type sent struct {
	from, to quinta.UserID
	item     keysrv.Item
}

func newPost(t testing.TB) *post {
	return &post{t: t, now: began, devices: map[quinta.UserID][]keysrv.Device{}, objects: map[string]*stored{}, modes: map[string]keysrv.Mode{}, wants: map[keysrv.Want]bool{}, rooms: map[quinta.RoomID][]quinta.UserID{}}
}

func (p *post) later(d time.Duration) { p.now = p.now.Add(d) }

func (p *post) do(d *device, r keysrv.Req) keysrv.Ans {
	if p.bend != nil {
		if a, ok := p.bend(d, r); ok {
			return a
		}
	}
	return p.serve(d, r)
}

func (p *post) serve(d *device, r keysrv.Req) keysrv.Ans {
	switch r.Kind {
	case keysrv.ReqDevice:
		list := p.devices[d.user]
		if !slices.ContainsFunc(list, func(o keysrv.Device) bool { return o.ID == r.Device.ID }) {
			p.devices[d.user] = append(list, *r.Device)
		}
		return keysrv.Ans{Devices: slices.Clone(p.devices[d.user])}
	case keysrv.ReqDevices:
		return keysrv.Ans{Devices: slices.Clone(p.devices[r.User])}
	case keysrv.ReqApprove:
		for i := range p.devices[d.user] {
			if o := &p.devices[d.user][i]; o.ID == r.Target {
				o.Approval = r.Approval
			}
		}
		return keysrv.Ans{}
	case keysrv.ReqCreate:
		return p.create(d, r.Create)
	case keysrv.ReqObjects:
		return p.read(d, r.IDs)
	case keysrv.ReqWants:
		var out []keysrv.Want
		for _, w := range slices.SortedFunc(maps.Keys(p.wants), func(a, b keysrv.Want) int {
			return slices.Compare([]string{a.ObjectID, string(a.Device)}, []string{b.ObjectID, string(b.Device)})
		}) {
			if o := p.objects[w.ObjectID]; slices.Contains(o.users, d.user) && o.has(d.user, d.id) {
				out = append(out, w)
			}
		}
		return keysrv.Ans{Wants: out}
	case keysrv.ReqWrap:
		o := p.objects[r.ObjectID]
		if o == nil || !slices.Contains(o.users, d.user) {
			return keysrv.Ans{Code: keysrv.CodeNotFound}
		}
		for _, w := range r.Wrapped {
			if !o.has(w.User, w.Device) {
				o.wrapped[string(w.User)+" "+string(w.Device)] = w
			}
			delete(p.wants, keysrv.Want{ObjectID: r.ObjectID, User: w.User, Device: w.Device})
		}
		return keysrv.Ans{}
	case keysrv.ReqMembers:
		return keysrv.Ans{Members: slices.Clone(p.rooms[r.Room])}
	case keysrv.ReqMessage:
		p.send(d.user, quinta.UserID(r.Room), r.StanzaID, r.Packet)
		return keysrv.Ans{}
	}
	p.t.Fatalf("a request of the kind %q", r.Kind)
	return keysrv.Ans{}
}

func (o *stored) has(user quinta.UserID, device quinta.DeviceID) bool {
	_, ok := o.wrapped[string(user)+" "+string(device)]
	return ok
}

// approved is the judgement of the server.
func (p *post) approved(d *device) bool {
	for i, o := range p.devices[d.user] {
		if o.ID == d.id {
			return i == 0 || o.Approval != nil
		}
	}
	return false
}

func (p *post) create(d *device, c *keysrv.Create) keysrv.Ans {
	if !p.approved(d) {
		return keysrv.Ans{Code: keysrv.CodeUnapproved}
	}
	conv, users := keysrv.DirectID(d.user, c.With), []quinta.UserID{d.user, c.With}
	if c.Room != "" {
		conv, users = keysrv.RoomID(c.Room), slices.Clone(p.rooms[c.Room])
	}
	if have := p.objects[c.ID]; have != nil {
		if string(have.object.Check) != string(c.Check) {
			return keysrv.Ans{Code: keysrv.CodeConflict}
		}
		o := have.object
		return keysrv.Ans{Object: &o}
	}
	if m := p.modes[conv]; m != "" && m != c.Mode {
		return keysrv.Ans{Code: keysrv.CodeMode, Detail: string(m)}
	}
	p.modes[conv] = c.Mode
	p.creates++
	s := &stored{users: users, wrapped: map[string]keysrv.Wrapped{}, object: keysrv.Object{ID: c.ID, Conversation: conv, Mode: c.Mode, Suite: c.Suite,
		Created: c.Created, Expires: c.Expires, Creator: d.user, Device: d.id, Check: c.Check, Signature: c.Signature}}
	if c.Mode == keysrv.ModeEscrow {
		k, err := key.GenerateSymmetric[key.Conversation](random(byte(p.creates)))
		if err != nil {
			p.t.Fatal(err)
		}
		s.object.Key, s.object.Device = k.Secret(), ""
	}
	for _, w := range c.Wrapped {
		s.wrapped[string(w.User)+" "+string(w.Device)] = w
	}
	p.objects[c.ID] = s
	o := s.object
	return keysrv.Ans{Object: &o}
}

func (p *post) read(d *device, ids []string) keysrv.Ans {
	var a keysrv.Ans
	for _, id := range ids {
		s := p.objects[id]
		if s == nil || !slices.Contains(s.users, d.user) {
			a.Refused = append(a.Refused, id)
			continue
		}
		o := s.object
		if w, ok := s.wrapped[string(d.user)+" "+string(d.id)]; ok {
			o.Wrapped = &w
		} else if o.Mode == keysrv.ModeSealed && p.approved(d) {
			p.wants[keysrv.Want{ObjectID: id, User: d.user, Device: d.id}] = true
		}
		a.Objects = append(a.Objects, o)
	}
	return a
}

func (p *post) send(from, to quinta.UserID, id quinta.MessageID, packet *keysrv.Packet) {
	p.archive = append(p.archive, sent{from, to, keysrv.Item{From: from, StanzaID: id, ObjectID: packet.ObjectID, Text: packet.Text(), Received: p.now}})
}

// fetch returns what is in the archive of a user after a position.
func (p *post) fetch(user quinta.UserID, after string) keysrv.In {
	from := 0
	if after != "" {
		if _, err := fmt.Sscan(after, &from); err != nil {
			p.t.Fatal(err)
		}
	}
	in := keysrv.In{Archive: fmt.Sprint(len(p.archive))}
	for _, s := range p.archive[from:] {
		it := s.item
		if list, room := p.rooms[quinta.RoomID(s.to)]; room {
			if it.Room, it.Group = quinta.RoomID(s.to), true; slices.Contains(list, user) {
				in.Items = append(in.Items, it)
			}
			continue
		}
		switch user {
		case s.to:
			it.Room = quinta.RoomID(s.from)
		case s.from:
			it.Room = quinta.RoomID(s.to)
		default:
			continue
		}
		in.Items = append(in.Items, it)
	}
	return in
}
