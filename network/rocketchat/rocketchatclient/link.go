package rocketchatclient

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

const (
	// tick is how often the machine looks whether something is due, such as users
	// who wait for a key.
	tick = 10 * time.Second
	// overlap is how far a catching up reaches back before the last one, for what
	// was under way then.
	overlap = 10 * time.Second
	// maxRoomSubs bounds the rooms whose own events are requested.
	maxRoomSubs = 400
	// batch bounds the events that are taken in at once.
	batch = 200
)

// A link carries the machine's requests and brings what comes.
type link struct {
	*conn
	self  rocketchat.Author
	since func(tx e2ee.Tx) (rocketchat.Date, error)
	// waits says that Receive may wait for something to come.
	waits atomic.Bool

	mu     sync.Mutex
	stream *stream

	// The server's last answers, for combining rooms and subscriptions. Only
	// Receive uses them.
	rooms map[quinta.RoomID]wire.Room
	subs  map[quinta.RoomID]wire.Subscription
}

var _ client.Link[rocketchat.In, rocketchat.Req, rocketchat.Ans] = (*link)(nil)

func (l *link) close() {
	l.hangUp()
	l.conn.close()
}

func (l *link) hangUp() {
	l.mu.Lock()
	s := l.stream
	l.stream = nil
	l.mu.Unlock()
	if s != nil {
		s.close()
	}
}

func (l *link) live() *stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream
}

// Receive catches up with the server at the beginning of a connection, and then
// waits for what comes on it.
func (l *link) Receive(ctx context.Context, st client.Store) (rocketchat.In, error) {
	in, err := l.receive(ctx, st)
	if err != nil {
		l.hangUp()
		return in, dial.Passing(err)
	}
	return in, nil
}

func (l *link) receive(ctx context.Context, st client.Store) (rocketchat.In, error) {
	if !l.waits.Load() {
		return l.catchUp(ctx, st)
	}
	s := l.live()
	if s == nil {
		if err := l.connect(ctx); err != nil {
			return rocketchat.In{}, err
		}
		return l.catchUp(ctx, st)
	}
	t := time.NewTimer(tick)
	defer t.Stop()
	var first wire.Frame
	select {
	case <-ctx.Done():
		return rocketchat.In{}, ctx.Err()
	case <-s.gone:
		return rocketchat.In{}, errClosed
	case <-t.C:
		return rocketchat.In{}, nil
	case first = <-s.events:
	}
	var in rocketchat.In
	if err := l.take(ctx, &in, first); err != nil {
		return in, err
	}
	for range batch {
		select {
		case f := <-s.events:
			if err := l.take(ctx, &in, f); err != nil {
				return in, err
			}
			continue
		default:
		}
		break
	}
	return in, l.follow(ctx, s, in.Rooms)
}

// connect opens the websocket and asks for all that concerns the user.
func (l *link) connect(ctx context.Context) error {
	s, err := l.listen(ctx)
	if err != nil {
		return err
	}
	for _, sub := range [][2]string{
		{"stream-room-messages", "__my_messages__"},
		{"stream-notify-user", l.self.ID + "/subscriptions-changed"},
		{"stream-notify-user", l.self.ID + "/rooms-changed"},
		{"stream-notify-user", l.self.ID + "/e2ekeyRequest"},
	} {
		if err := s.subscribe(ctx, sub[0], sub[1]); err != nil {
			s.close()
			return err
		}
	}
	l.mu.Lock()
	l.stream = s
	l.mu.Unlock()
	return nil
}

// follow asks for the events of rooms.
func (l *link) follow(ctx context.Context, s *stream, rooms []rocketchat.RoomState) error {
	for _, r := range rooms {
		if !r.Encrypted || len(s.subs) > 2*maxRoomSubs {
			continue
		}
		for _, what := range []string{"/deleteMessage", "/e2e.keyRequest"} {
			if err := s.subscribe(ctx, "stream-notify-room", string(r.ID)+what); err != nil {
				return err
			}
		}
	}
	return nil
}

// catchUp asks for what changed since the last time.
func (l *link) catchUp(ctx context.Context, st client.Store) (rocketchat.In, error) {
	const op = "catching up"
	var in rocketchat.In
	var since rocketchat.Date
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) { since, err = l.since(tx); return err }); err != nil {
		return in, err
	}
	var err error
	if in.Version, err = l.version(ctx); err != nil {
		return in, err
	}
	q := url.Values{}
	first := since == 0 || l.rooms == nil
	if !first {
		q.Set("updatedSince", since.Time().Format(time.RFC3339Nano))
	}
	var subs struct {
		Update []wire.Subscription `json:"update"`
		Remove []struct {
			ID   string        `json:"_id"`
			Room quinta.RoomID `json:"rid"`
		} `json:"remove"`
	}
	var rooms struct {
		Update []wire.Room `json:"update"`
		Remove []struct {
			ID quinta.RoomID `json:"_id"`
		} `json:"remove"`
	}
	at, err := l.call(ctx, op, "GET", wire.PathAPI+"subscriptions.get?"+q.Encode(), nil, nil, &subs)
	if err != nil {
		return in, err
	}
	if at.IsZero() {
		at = l.now()
	}
	if err := l.get(ctx, op, "rooms.get", q, &rooms); err != nil {
		return in, err
	}
	if first {
		l.rooms, l.subs = map[quinta.RoomID]wire.Room{}, map[quinta.RoomID]wire.Subscription{}
	}
	changed := map[quinta.RoomID]bool{}
	for _, s := range subs.Update {
		l.subs[s.Room], changed[s.Room] = s, true
	}
	for _, r := range rooms.Update {
		l.rooms[r.ID], changed[r.ID] = r, true
	}
	for _, r := range rooms.Remove {
		delete(l.rooms, r.ID)
		delete(l.subs, r.ID)
		delete(changed, r.ID)
		in.Gone = append(in.Gone, r.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		if err := l.state(ctx, &in, id); err != nil {
			return in, err
		}
		if r := l.rooms[id]; since != 0 && r.Updated > since {
			if err := l.sync(ctx, &in, id, since); err != nil {
				return in, err
			}
		}
	}
	in.Complete = first
	in.Since = rocketchat.DateOf(at.Add(-overlap))
	if s := l.live(); s != nil {
		return in, l.follow(ctx, s, in.Rooms)
	}
	return in, nil
}

// sync asks for what changed in a room.
func (l *link) sync(ctx context.Context, in *rocketchat.In, id quinta.RoomID, since rocketchat.Date) error {
	var a struct {
		Result struct {
			Updated []rocketchat.Message `json:"updated"`
			Deleted []struct {
				ID quinta.MessageID `json:"_id"`
			} `json:"deleted"`
		} `json:"result"`
	}
	err := l.get(ctx, "catching up", "chat.syncMessages", url.Values{"roomId": {string(id)}, "lastUpdate": {since.Time().Format(time.RFC3339Nano)}}, &a)
	if err != nil {
		return err
	}
	order.By(a.Result.Updated, func(x, y rocketchat.Message) int { return int(min(max(x.TS-y.TS, -1), 1)) })
	in.Messages = append(in.Messages, a.Result.Updated...)
	for _, d := range a.Result.Deleted {
		in.Deleted = append(in.Deleted, rocketchat.Deleted{Room: id, ID: d.ID})
	}
	return nil
}

// state puts a room and the user's part in it together, and asks for the half that
// is not known.
func (l *link) state(ctx context.Context, in *rocketchat.In, id quinta.RoomID) error {
	if _, ok := l.subs[id]; !ok {
		s, err := l.subscription(ctx, id)
		if err != nil || s == nil {
			return err
		}
		l.subs[id] = *s
	}
	if _, ok := l.rooms[id]; !ok {
		r, err := l.roomOf(ctx, id)
		if err != nil || r == nil {
			return err
		}
		l.rooms[id] = *r
	}
	st := wire.State(l.subs[id], l.rooms[id])
	if i := slices.IndexFunc(in.Rooms, func(o rocketchat.RoomState) bool { return o.ID == id }); i >= 0 {
		in.Rooms[i] = st
		return nil
	}
	in.Rooms = append(in.Rooms, st)
	return nil
}

// subscription asks for the user's part in a room; nil if they have none.
func (c *conn) subscription(ctx context.Context, id quinta.RoomID) (*wire.Subscription, error) {
	var a struct {
		Subscription *wire.Subscription `json:"subscription"`
	}
	err := c.get(ctx, "asking for a room", "subscriptions.getOne", url.Values{"roomId": {string(id)}}, &a)
	if k := quinta.KindOf(err); err != nil && (k == quinta.KindNotFound || k == quinta.KindForbidden) {
		return nil, nil
	}
	return a.Subscription, err
}

// roomOf asks for a room; nil if there is none for this user.
func (c *conn) roomOf(ctx context.Context, id quinta.RoomID) (*wire.Room, error) {
	var a struct {
		Room *wire.Room `json:"room"`
	}
	err := c.get(ctx, "asking for a room", "rooms.info", url.Values{"roomId": {string(id)}}, &a)
	if k := quinta.KindOf(err); err != nil && (k == quinta.KindNotFound || k == quinta.KindForbidden) {
		return nil, nil
	}
	return a.Room, err
}

// take takes one event in.
func (l *link) take(ctx context.Context, in *rocketchat.In, f wire.Frame) error {
	var e wire.Event
	if f.Msg != "changed" || json.Unmarshal(f.Fields, &e) != nil {
		return nil
	}
	arg := func(i int, v any) bool { return i < len(e.Args) && json.Unmarshal(e.Args[i], v) == nil }
	owner, what, _ := strings.Cut(e.Name, "/")
	switch f.Collection + " " + what {
	case "stream-room-messages ":
		var m rocketchat.Message
		if arg(0, &m) {
			in.Messages = append(in.Messages, m)
		}
	case "stream-notify-user e2ekeyRequest", "stream-notify-room e2e.keyRequest":
		in.Asked = true
	case "stream-notify-room deleteMessage":
		var d struct {
			ID quinta.MessageID `json:"_id"`
		}
		if arg(0, &d) {
			in.Deleted = append(in.Deleted, rocketchat.Deleted{Room: quinta.RoomID(owner), ID: d.ID})
		}
	case "stream-notify-user subscriptions-changed":
		var action string
		var s wire.Subscription
		if !arg(0, &action) || !arg(1, &s) || s.Room == "" {
			return nil
		}
		if action == "removed" {
			delete(l.subs, s.Room)
			delete(l.rooms, s.Room)
			in.Gone = append(in.Gone, s.Room)
			return nil
		}
		l.subs[s.Room] = s
		return l.state(ctx, in, s.Room)
	case "stream-notify-user rooms-changed":
		var action string
		var r wire.Room
		if !arg(0, &action) || !arg(1, &r) || r.ID == "" || action == "removed" {
			return nil
		}
		l.rooms[r.ID] = r
		return l.state(ctx, in, r.ID)
	}
	return nil
}

// Do carries out a request. A refusal is only what the server itself says.
func (l *link) Do(ctx context.Context, req rocketchat.Req) (rocketchat.Ans, error) {
	do := calls[req.Kind]
	if do == nil {
		return rocketchat.Ans{}, quinta.E(quinta.KindInternal, "speaking to the server", "a request of an unknown kind")
	}
	ans, err := do(ctx, l, req)
	if err == nil {
		return ans, nil
	}
	if code, text, ok := codeOf(err); ok {
		return rocketchat.Ans{Code: code, Detail: text}, nil
	}
	return rocketchat.Ans{}, dial.Passing(err)
}
