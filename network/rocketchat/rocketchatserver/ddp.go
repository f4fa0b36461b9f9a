package rocketchatserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/internal/socket"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/feed"
)

// The bounds of a connection.
const (
	maxSubs   = 1000
	maxSubKey = 256
	// lookAgain is how often a connection looks for events without being woken,
	// and whether its login still stands.
	lookAgain = 20 * time.Second
)

// A ddpConn is one websocket.
type ddpConn struct {
	*rcServer
	ws   *socket.Conn
	ctx  context.Context
	addr string

	connected bool
	me        person
	device    quinta.DeviceID
	token     string
	stop      context.CancelFunc // ends the pump; nil before a login
	pumped    sync.WaitGroup

	mu sync.Mutex
	// subs are the subscriptions of streams: by id, "stream key".
	subs map[string]string
	// from is where the events begin that a subscription sees.
	from map[string]quinta.Pos
	// talks are the sessions off the record that the connection takes part in: the
	// other user, by the room.
	talks map[quinta.RoomID]string
}

func (s *rcServer) serveWebsocket(w http.ResponseWriter, r *http.Request) {
	addr := incoming.Addr(r)
	_ = socket.Serve(s.Core, w, r, socket.Config{Limit: maxOpenFrame}, func(ctx context.Context, ws *socket.Conn) {
		c := &ddpConn{rcServer: s, ws: ws, ctx: ctx, addr: addr, subs: map[string]string{}, from: map[string]quinta.Pos{}, talks: map[quinta.RoomID]string{}}
		c.serve()
		if c.stop != nil {
			c.stop()
		}
		c.pumped.Wait()
		c.endTalks()
	})
}

func (c *ddpConn) send(f any) {
	raw, err := json.Marshal(f)
	if err != nil {
		c.Log.Error("rocketchat: a frame cannot be written", "err", err)
		return
	}
	// A peer that does not take it is dropped, which ends the reading.
	_ = c.ws.Write(raw)
}

func (c *ddpConn) serve() {
	for {
		raw, err := c.ws.Read()
		if err != nil {
			return
		}
		if !c.frames() {
			c.ws.Close(socket.Policy, "too many frames")
			return
		}
		var f wire.Frame
		if json.Unmarshal(raw, &f) != nil {
			c.send(wire.Frame{Msg: "error", Reason: "Parse error"})
			continue
		}
		if !c.frame(&f) {
			return
		}
	}
}

// rateFrames bounds the frames of one address, or of one user after the login.
// A client subscribes to some streams for each of its rooms when it connects.
var rateFrames = server.Rate{Every: 20 * time.Millisecond, Burst: 2000}

// frames reports whether the client may send another frame now.
func (c *ddpConn) frames() bool {
	who := server.ByAddr(c.addr)
	if c.me.ID != "" {
		who = server.ByUser(name, c.me.user())
	}
	return c.Calls.Allow("rocketchat frame", who, rateFrames, 1) == 0
}

// frame answers one frame and reports whether the connection continues.
func (c *ddpConn) frame(f *wire.Frame) bool {
	switch f.Msg {
	case "ping":
		c.send(wire.Frame{Msg: "pong", ID: f.ID})
		return true
	case "pong":
		return true
	case "connect":
		return c.connect(f)
	}
	if !c.connected {
		c.send(wire.Frame{Msg: "error", Reason: "Must connect first"})
		return true
	}
	switch f.Msg {
	case "method":
		c.method(f)
	case "sub":
		c.sub(f)
	case "unsub":
		c.unsub(f)
	default:
		c.send(wire.Frame{Msg: "error", Reason: "Unknown message type"})
	}
	return true
}

func (c *ddpConn) connect(f *wire.Frame) bool {
	good := f.Version == "1"
	for _, v := range f.Support {
		good = good || v == "1"
	}
	if !good {
		c.send(wire.Frame{Msg: "failed", Version: "1"})
		return false
	}
	if c.connected {
		c.send(wire.Frame{Msg: "error", Reason: "Already connected"})
		return true
	}
	id, err := rocketchat.NewID(c.Rand)
	if err != nil {
		return false
	}
	c.connected = true
	c.send(wire.Frame{Msg: "connected", Session: id})
	return true
}

// method carries out a call: first what it changes, then the result, then that
// its changes are done.
func (c *ddpConn) method(f *wire.Frame) {
	v, err := c.invoke(f)
	out := wire.Frame{Msg: "result", ID: f.ID}
	if err != nil {
		cc := &call{rcServer: c.rcServer, ctx: c.ctx}
		out.Error = cc.translate(err).DDP()
	} else if raw, merr := json.Marshal(v); merr == nil && string(raw) != "null" {
		if out.Result, merr = wire.EJSON(raw); merr != nil {
			out.Error = wire.NewError(0, wire.CodeInternal, "internal error").DDP()
		}
	} else if merr != nil {
		c.Log.Error("rocketchat: a result cannot be written", "err", merr)
		out.Error = wire.NewError(0, wire.CodeInternal, "internal error").DDP()
	}
	if err == nil && f.Method == "login" {
		c.send(wire.Frame{Msg: "added", Collection: "users", ID: c.me.ID, Fields: mustRaw(answer{"username": c.me.Name, "name": c.me.Name, "status": "online"})})
	}
	c.send(out)
	c.send(wire.Frame{Msg: "updated", Methods: []string{f.ID}})
}

func mustRaw(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("rocketchat: internal error: " + err.Error())
	}
	return raw
}

func (c *ddpConn) invoke(f *wire.Frame) (any, error) {
	m, ok := c.methods[f.Method]
	if !ok || f.ID == "" || len(f.Method) > 128 {
		return nil, wire.NewError(http.StatusNotFound, wire.CodeNoMethod, "Method not found")
	}
	k := &call{rcServer: c.rcServer, addr: c.addr, conn: c}
	if len(f.Params) > 0 && json.Unmarshal(f.Params, &k.params) != nil {
		return nil, invalid("params is not an array")
	}
	ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	k.ctx = ctx
	who := server.ByAddr(c.addr)
	if !m.open {
		if c.me.ID == "" {
			return nil, wire.NewError(http.StatusUnauthorized, "error-invalid-user", "You must be logged in to do this.")
		}
		if err := k.authenticate(c.me.ID, c.token); err != nil {
			return nil, err
		}
		who = server.ByUser(name, c.me.user())
	}
	if err := limited(c.Calls.Allow("rocketchat "+f.Method, who, m.rate, 1)); err != nil {
		return nil, err
	}
	v, err := m.handle(k)
	switch {
	case err != nil:
		return nil, err
	case f.Method == "login":
		if err := c.enter(k); err != nil {
			return nil, err
		}
	case f.Method == "logout":
		c.leave()
	}
	return v, nil
}

// enter binds the connection to a login and begins to hand out events.
func (c *ddpConn) enter(k *call) error {
	c.leave()
	// Events after this moment are heard, whatever is subscribed to later.
	var at quinta.Pos
	if err := c.View(k.ctx, func(tx *db.Tx) (err error) { at, err = tx.Pos(); return err }); err != nil {
		return err
	}
	c.me, c.device, c.token = k.me, k.device, k.token
	c.ws.Limit(wire.MaxFrame)
	ctx, stop := context.WithCancel(c.ctx)
	c.stop = stop
	me, token := c.me, c.token
	w := c.Hub.Wait(feed.User(name, me.user()))
	c.pumped.Go(func() {
		defer w.Close()
		c.pump(ctx, me, token, at, w)
	})
	return nil
}

func (c *ddpConn) leave() {
	if c.stop != nil {
		c.stop()
		c.pumped.Wait()
		c.endTalks()
	}
	c.stop, c.me, c.token = nil, person{}, ""
	c.ws.Limit(maxOpenFrame)
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.subs)
	clear(c.from)
}

// pump hands out the events of a user after a position until the connection or the login
// ends.
func (c *ddpConn) pump(ctx context.Context, me person, token string, at quinta.Pos, own *feed.Waiter) {
	rooms := own
	var in []quinta.RoomID
	for {
		// The rooms are looked up each time: a user comes and goes.
		var list []heard
		var now []quinta.RoomID
		err := c.View(ctx, func(tx *db.Tx) (err error) {
			if _, err = device.ByToken(tx, name, token); err != nil {
				return err
			}
			if now, err = roomsOf(tx, me.ID); err != nil {
				return err
			}
			list, err = eventsAfter(tx, me.ID, at)
			return err
		})
		if errors.Is(err, device.ErrNoToken) {
			c.ws.Close(socket.Policy, "logged out")
			return
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.Log.Warn("rocketchat: events cannot be read", "err", err)
		}
		if !equalRooms(in, now) {
			if rooms != own {
				rooms.Close()
			}
			keys := []string{feed.User(name, me.user())}
			for _, id := range now {
				keys = append(keys, feed.Room(name, id))
			}
			rooms, in = c.Hub.Wait(keys...), now
			if len(list) == 0 {
				continue // what came between the look and the wait is not missed
			}
		}
		for _, e := range list {
			c.hear(e, me)
			at = e.pos
		}
		if len(list) > 0 {
			continue
		}
		t := time.NewTimer(lookAgain)
		select {
		case <-ctx.Done():
		case <-rooms.C():
		case <-own.C():
		case <-t.C:
		}
		t.Stop()
		if ctx.Err() != nil {
			if rooms != own {
				rooms.Close()
			}
			return
		}
	}
}

func equalRooms(a, b []quinta.RoomID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// hear hands one event to the subscriptions that it fits.
func (c *ddpConn) hear(e heard, me person) {
	names := []string{e.name}
	if e.stream == "stream-room-messages" {
		names = append(names, "__my_messages__")
	}
	c.mu.Lock()
	var fits []string
	for _, n := range names {
		for id, key := range c.subs {
			if key == e.stream+" "+n && e.pos > c.from[id] {
				fits = append(fits, n)
				break
			}
		}
	}
	c.mu.Unlock()
	var args []json.RawMessage
	if len(fits) == 0 || json.Unmarshal(e.args, &args) != nil {
		return
	}
	if e.stream == "stream-notify-user" && e.name == wire.OTREvent(me.ID) {
		c.talkEnded(args)
	}
	for _, n := range fits {
		if n == "__my_messages__" {
			args = append(args, mustRaw(answer{"roomParticipant": true}))
		}
		c.send(wire.Frame{Msg: "changed", Collection: e.stream, ID: "id", Fields: mustRaw(wire.Event{Name: n, Args: args})})
	}
}

var errStream = wire.NewError(http.StatusForbidden, "not-allowed", "Not allowed")

// sub subscribes to a stream, if its events concern the user.
func (c *ddpConn) sub(f *wire.Frame) {
	err := c.subscribe(f)
	if err != nil {
		k := &call{rcServer: c.rcServer, ctx: c.ctx}
		c.send(wire.Frame{Msg: "nosub", ID: f.ID, Error: k.translate(err).DDP()})
		return
	}
	c.send(wire.Frame{Msg: "ready", Subs: []string{f.ID}})
}

func (c *ddpConn) subscribe(f *wire.Frame) error {
	if c.me.ID == "" {
		return errStream
	}
	if !strings.HasPrefix(f.Name, "stream-") {
		switch f.Name {
		case "userData", "activeUsers", "meteor.loginServiceConfiguration", "meteor_autoupdate_clientVersions":
			return nil // nothing ever changes there
		}
		return wire.NewError(http.StatusNotFound, wire.CodeNoMethod, "Subscription '"+f.Name[:min(len(f.Name), 64)]+"' not found")
	}
	var params []json.RawMessage
	var key string
	if json.Unmarshal(f.Params, &params) != nil || len(params) == 0 || json.Unmarshal(params[0], &key) != nil || f.ID == "" || len(f.ID) > maxSubKey || len(key) > maxSubKey {
		return invalid("a subscription must have an id and the key of a stream")
	}
	if err := c.mayHear(f.Name, key); err != nil {
		return err
	}
	var at quinta.Pos
	if err := c.View(c.ctx, func(tx *db.Tx) (err error) { at, err = tx.Pos(); return err }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, have := c.subs[f.ID]; !have && len(c.subs) >= maxSubs {
		return &wire.Error{Status: http.StatusTooManyRequests, Code: wire.CodeLimited, Text: "too many subscriptions on one connection"}
	}
	c.subs[f.ID], c.from[f.ID] = f.Name+" "+key, at
	return nil
}

// mayHear refuses the events of other users and of rooms that the user is not in.
func (c *ddpConn) mayHear(stream, key string) error {
	first, _, _ := strings.Cut(key, "/")
	switch stream {
	case "stream-notify-user":
		if first != c.me.ID {
			return errStream
		}
		return nil
	case "stream-room-messages", "stream-notify-room":
		if stream == "stream-room-messages" && key == "__my_messages__" {
			return nil
		}
		err := c.View(c.ctx, func(tx *db.Tx) error { _, err := getSub(tx, quinta.RoomID(first), c.me.ID); return err })
		if quinta.KindOf(err) == quinta.KindNotFound {
			return errStream
		}
		return err
	case "stream-notify-all", "stream-notify-logged", "stream-roles":
		return nil
	}
	return errStream
}

func (c *ddpConn) unsub(f *wire.Frame) {
	c.mu.Lock()
	delete(c.subs, f.ID)
	delete(c.from, f.ID)
	c.mu.Unlock()
	c.send(wire.Frame{Msg: "nosub", ID: f.ID})
}
