package sync

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/room"
)

// stateAtEnd reports whether the client takes the state only from what the
// sync says it is at the end of the timeline (MSC4222).
func (q *Query) stateAtEnd() bool { return q.StateAfter || q.UnstableAfter }

// readState reads the state that the device needs: that before the timeline,
// or with stateAtEnd that behind it; the whole of it, or what changed since
// the sync before.
func (p *roomPart) readState() error {
	f := &p.q.Filter.Room.State
	if !f.In(string(p.id)) || f.Closed() {
		return nil
	}
	upTo := p.start - 1
	if p.q.stateAtEnd() {
		upTo = p.upper
	}
	var need []quinta.UserID
	if p.lazy() {
		need = p.members()
	}
	var list []*room.Event
	var err error
	if p.whole {
		list, err = p.wholeState(upTo)
	} else {
		list, err = p.changedState(upTo)
	}
	if err != nil {
		return err
	}
	if p.lazy() {
		if list, err = p.onlyMembers(list, need, upTo); err != nil {
			return err
		}
	}
	for _, e := range list {
		if f.Match(e.Type, string(e.Sender), e.Content) {
			p.state = append(p.state, e)
		}
	}
	p.state = capped(f, p.state)
	return nil
}

// lazy reports whether the client wants only those memberships that it needs
// (client-server API, "Lazy-loading room members").
func (p *roomPart) lazy() bool {
	return p.q.Filter.Room.State.LazyLoad || p.q.Filter.Room.Timeline.LazyLoad
}

// members returns whose memberships the device needs: those of the senders of
// the timeline and of the heroes, and where it gets the whole state its own.
// They are given each time: what it was given before may not have arrived.
func (p *roomPart) members() []quinta.UserID {
	var need []quinta.UserID
	for _, e := range p.events {
		need = append(need, e.Sender)
		if p.q.stateAtEnd() && e.Type == eventauth.TypeMember && e.StateKey != nil {
			need = append(need, quinta.UserID(*e.StateKey))
		}
	}
	if p.summary != nil {
		need = append(need, p.summary.Heroes...)
	}
	if p.whole {
		need = append(need, p.User)
	}
	slices.Sort(need)
	return slices.Compact(need)
}

// wholeState returns the state right after a position, without memberships
// where those are loaded lazily.
func (p *roomPart) wholeState(upTo quinta.Pos) (list []*room.Event, err error) {
	switch {
	case !p.end:
		return room.StateAt(p.tx, p.id, upTo)
	case p.lazy():
		list, err = room.StateExcept(p.tx, p.id, eventauth.TypeMember)
	default:
		list, err = room.State(p.tx, p.id)
	}
	if err != nil {
		return nil, err
	}
	return p.rewind(list, upTo)
}

// rewind turns the current state into that right after a position, by what
// each event replaced.
func (p *roomPart) rewind(list []*room.Event, upTo quinta.Pos) ([]*room.Event, error) {
	read := make(map[quinta.Pos]*room.Event, len(p.read))
	for _, e := range p.read {
		read[e.Pos] = e
	}
	out := list[:0]
	for _, e := range list {
		for e != nil && e.Pos > upTo {
			pos := e.Replaces
			if e = read[pos]; e != nil || pos == 0 {
				continue
			}
			var err error
			if e, err = room.ByPos(p.tx, p.id, pos); err != nil {
				return nil, err
			}
		}
		if e != nil {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *room.Event) int { return cmp.Compare(a.Pos, b.Pos) })
	return out, nil
}

// changedState returns the state right after a position as far as it changed
// since the sync before, and what of the timeline's own the client's filter
// kept out of it.
func (p *roomPart) changedState(upTo quinta.Pos) ([]*room.Event, error) {
	if p.all() && !slices.ContainsFunc(p.read, func(e *room.Event) bool { return e.StateKey != nil }) {
		return nil, nil
	}
	if p.all() && !p.q.stateAtEnd() && len(p.dropped) == 0 {
		return nil, nil // the timeline has it all
	}
	list, err := room.StateBetween(p.tx, p.id, room.Range{From: p.lower, To: upTo})
	if err != nil || p.q.stateAtEnd() {
		return list, err
	}
	seen := map[eventauth.Key]bool{}
	for _, e := range p.dropped {
		k := eventauth.Key{Type: e.Type, StateKey: *e.StateKey}
		if e.Pos <= upTo || seen[k] {
			continue
		}
		seen[k] = true
		list = slices.DeleteFunc(list, func(o *room.Event) bool { return o.IsState(k.Type, k.StateKey) })
		list = append(list, e)
	}
	return list, nil
}

// onlyMembers takes the memberships that the device does not need out of a
// state, and adds those that it does. Of a gap without holes the changes are
// few, and all of them stay.
func (p *roomPart) onlyMembers(list []*room.Event, need []quinta.UserID, upTo quinta.Pos) ([]*room.Event, error) {
	have := map[quinta.UserID]bool{}
	list = slices.DeleteFunc(list, func(e *room.Event) bool {
		if e.Type != eventauth.TypeMember {
			return false
		}
		u := quinta.UserID(*e.StateKey)
		_, needed := slices.BinarySearch(need, u)
		keep := needed || !p.whole && p.all()
		have[u] = have[u] || keep
		return !keep
	})
	for _, u := range need {
		if have[u] {
			continue
		}
		e, err := room.StateOfAt(p.tx, p.id, eventauth.TypeMember, string(u), upTo)
		if err != nil {
			return nil, err
		}
		if e != nil {
			list = append(list, e)
		}
	}
	return list, nil
}

// write puts the room into the form of the answer.
func (p *roomPart) write() (*roomBody, error) {
	out := &roomBody{Summary: p.summary, Unread: p.unread, Threads: p.threads}
	out.Timeline.Limited = p.limited
	out.Timeline.Prev = Token(p.start - 1)
	var err error
	r := &roomview.Reader{User: p.User, Device: p.ID, Sight: p.sight, NoRoom: true}
	if out.Timeline.Events, err = p.render(r, p.events); err != nil {
		return nil, err
	}
	// The replaced state event is not included, as it would cost one lookup each.
	r = &roomview.Reader{User: p.User, Device: p.ID, NoRoom: true, Plain: true}
	bare := make([]*room.Event, len(p.state))
	for i, e := range p.state {
		c := *e
		c.Replaces = 0
		bare[i] = &c
	}
	state := new(eventList)
	if state.Events, err = p.render(r, bare); err != nil {
		return nil, err
	}
	switch {
	case p.q.UnstableAfter:
		out.UnstableAfter = state
		if p.q.StateAfter {
			out.StateAfter = state
		}
	case p.q.StateAfter:
		out.StateAfter = state
	default:
		out.State = state
	}
	out.Ephemeral = newEventList().add(p.ephemeral...)
	out.AccountData = newEventList().add(p.accountData...)
	return out, nil
}

// render writes events with the members that the client wants of them.
func (p *roomPart) render(r *roomview.Reader, list []*room.Event) ([]any, error) {
	out := make([]any, 0, len(list))
	for _, e := range list {
		ce, err := r.Render(p.tx, e)
		if err != nil {
			return nil, err
		}
		if p.q.Fields == nil {
			out = append(out, ce)
			continue
		}
		raw, err := wire.Encode(ce)
		if err != nil {
			return nil, err
		}
		if raw, err = p.q.Fields.Apply(raw); err != nil {
			return nil, err
		}
		out = append(out, json.RawMessage(raw))
	}
	return out, nil
}
