package sync

import (
	"cmp"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/room"
)

// The bounds of a timeline.
const (
	defaultTimeline = 10
	maxTimeline     = 200
	// maxTimelineLook bounds how many events one sync looks at in one room,
	// where a filter refuses most of them.
	maxTimelineLook = 2000
)

// A roomPart is one room on its way into the answer.
type roomPart struct {
	*look
	id    quinta.RoomID
	sight *roomview.Sight
	// The timeline is taken from the events after lower, up to upper; end
	// says that upper is the end of the log.
	lower, upper quinta.Pos
	end          bool
	// known says that the device has the state as it was at q.Since; whole
	// that it gets all state in any case.
	known, whole bool

	// events are the timeline, oldest first, and start the position of the
	// first, or just behind upper. limited says that there are others after
	// lower and before start.
	events  []*room.Event
	start   quinta.Pos
	limited bool
	// skipped says that the client wants no timeline of the room.
	skipped bool
	// read are the events that were read, newest first: all that there are
	// after lower, if all says so. dropped are the state events among them
	// that the client's filter refused.
	dropped, read []*room.Event

	state       []*room.Event
	ephemeral   []any
	accountData []any
	summary     *summary
	unread      *wire.UnreadCount
	threads     map[quinta.MessageID]*wire.UnreadCount
	// receipt says that the user has read further.
	receipt bool
}

// readTimeline reads the newest events that the user may see and the client
// wants. It ends at an event that the user may not see: events before it
// are not adjacent to those the user sees, so clients have to ask for them.
func (p *roomPart) readTimeline() error {
	p.start = p.upper + 1
	f := &p.q.Filter.Room.Timeline
	limit := f.Max(defaultTimeline, maxTimeline)
	if !f.In(string(p.id)) || f.Closed() && limit > 0 {
		p.skipped = true
		return nil
	}
	err := p.scan(limit)
	slices.Reverse(p.events)
	return err
}

// scan reads back from the end of the timeline.
func (p *roomPart) scan(limit int) error {
	end := p.upper
	for looked := 0; looked < maxTimelineLook; {
		list, more, err := room.Backward(p.tx, p.id, room.Range{From: p.lower, To: end}, limit+1-len(p.events))
		if err != nil {
			return err
		}
		for _, e := range list {
			if !p.sight.Sees(e) {
				// The state may have changed unseen.
				p.limited, p.whole = true, true
				return nil
			}
			wanted, err := p.wants(e)
			switch {
			case err != nil:
				return err
			case wanted && len(p.events) == limit:
				p.limited = true
				return nil
			case wanted:
				p.events = append(p.events, e)
				p.start = e.Pos
			case e.StateKey != nil:
				p.dropped = append(p.dropped, e)
			}
			p.read = append(p.read, e)
			end = e.Pos - 1
		}
		if looked += len(list); !more {
			return nil
		}
	}
	p.limited = true
	return nil
}

// wants reports whether an event belongs into the timeline.
func (p *roomPart) wants(e *room.Event) (bool, error) {
	f := &p.q.Filter.Room.Timeline
	if e.StateKey == nil && p.ignored[e.Sender] || !f.Match(e.Type, string(e.Sender), e.Content) {
		return false, nil
	}
	return roomview.Related(p.tx, f, e)
}

// all reports whether read holds every event after lower.
func (p *roomPart) all() bool { return !p.limited && !p.skipped }

// nothing reports whether there is nothing new to say about the room.
func (p *roomPart) nothing() bool {
	return len(p.events) == 0 && !p.limited && len(p.state) == 0 && len(p.ephemeral) == 0 && len(p.accountData) == 0 && !p.receipt
}

// maxHeroes is how many members a summary names.
const maxHeroes = 5

// summarize counts the members, and names some of them if the room has no
// name, if any of that may have changed.
func (p *roomPart) summarize() error {
	if p.all() && !p.whole && !slices.ContainsFunc(p.read, changesSummary) {
		return nil
	}
	r, err := room.Get(p.tx, p.id)
	if err != nil {
		return err
	}
	p.summary = &summary{Joined: r.Joined, Invited: r.Invited}
	for typ, field := range map[string]string{"m.room.name": "name", "m.room.canonical_alias": "alias"} {
		e, err := room.StateOf(p.tx, p.id, typ, "")
		if err != nil {
			return err
		}
		if e != nil {
			if s, _ := wire.TextMember(e.Content, field); s != "" {
				return nil
			}
		}
	}
	p.summary.Heroes, err = p.heroes(room.Join, room.Invite)
	if err == nil && len(p.summary.Heroes) == 0 {
		p.summary.Heroes, err = p.heroes("leave", "ban")
	}
	return err
}

func changesSummary(e *room.Event) bool {
	return e.StateKey != nil && (e.Type == eventauth.TypeMember || e.Type == "m.room.name" || e.Type == "m.room.canonical_alias")
}

// heroes returns the first members other than the user that have one of the
// memberships.
func (p *roomPart) heroes(memberships ...string) ([]quinta.UserID, error) {
	var list []room.Member
	for _, m := range memberships {
		some, err := room.Members(p.tx, p.id, m, maxHeroes+1)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	slices.SortFunc(list, func(a, b room.Member) int { return cmp.Compare(a.Pos, b.Pos) })
	var out []quinta.UserID
	for _, m := range list {
		if m.Member != p.User && len(out) < maxHeroes {
			out = append(out, m.Member)
		}
	}
	return out, nil
}

// countUnread gives the unread counts of the room, with those of threads apart
// if the client wants that.
func (p *roomPart) countUnread(m room.Member) error {
	recent, after := p.read, p.lower
	if !p.all() {
		recent = nil
	}
	all, err := p.Notices.Unread(p.tx, m, p.upper, recent, after)
	if err != nil {
		return err
	}
	p.unread = &wire.UnreadCount{}
	for thread, n := range all {
		if thread != wire.ThreadMain && p.q.Filter.Room.Timeline.Threads {
			if p.threads == nil {
				p.threads = map[quinta.MessageID]*wire.UnreadCount{}
			}
			p.threads[quinta.MessageID(thread)] = &n
			continue
		}
		p.unread.Notify += n.Notify
		p.unread.Highlight += n.Highlight
	}
	return nil
}
