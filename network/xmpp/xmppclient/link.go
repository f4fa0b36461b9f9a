package xmppclient

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
)

// waitFor is how long Receive waits for something to come; the machine looks
// then whether something else is due.
const waitFor = 20 * time.Second

// settleFor is how long after the beginning of a stream the archive is read once
// more.
const settleFor = 3 * time.Second

// A link carries the machine's requests: stanzas over the XMPP server, and calls
// of the key server.
type link struct {
	account *account
	env     e2ee.Env
	keys    *keyServer
	machine *keysrv.Machine
	// waits says that Receive may wait.
	waits atomic.Bool

	mu   sync.Mutex
	conn *connection
}

var (
	_ client.Link[keysrv.In, keysrv.Req, keysrv.Ans] = (*link)(nil)
	_ client.Connected                               = (*link)(nil)
)

func newLink(a *account, env e2ee.Env, sign key.DeviceSigningPrivate, machine *keysrv.Machine) *link {
	return &link{account: a, env: env, keys: &keyServer{http: dial.NewClient(nil), env: env, sign: sign}, machine: machine}
}

// Connect implements client.Connected: it logs in at the XMPP server and resumes
// the stream that was lost, if there is one.
func (l *link) Connect(ctx context.Context) (context.Context, func(), error) {
	var last *flow
	l.mu.Lock()
	if l.conn != nil {
		last = l.conn.flow
	}
	l.mu.Unlock()
	c, resumed, err := connect(ctx, l.account, last)
	if err == nil && !resumed {
		c.flow.again = l.env.Now().Add(settleFor)
		if err = c.greet(ctx, l.env.Rand); err != nil {
			c.close()
		}
	}
	if err != nil {
		return nil, nil, dial.Passing(err)
	}
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
	live, end := context.WithCancelCause(context.Background())
	context.AfterFunc(c.ended, func() { end(errDropped) })
	return live, func() {
		c.close()
		end(nil)
	}, nil
}

// current returns the stream.
func (l *link) current() (*connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || !l.conn.alive() {
		return nil, errDropped
	}
	return l.conn, nil
}

// Do carries out a request. A refusal is only what the server itself says, in
// the network's own form.
func (l *link) Do(ctx context.Context, req keysrv.Req) (keysrv.Ans, error) {
	c, err := l.current()
	if err != nil {
		return keysrv.Ans{}, err
	}
	if req.Kind == keysrv.ReqMessage {
		return l.send(ctx, c, &req)
	}
	ans, err := l.call(ctx, c, &req)
	we, answered := errors.AsType[*wire.Error](err)
	switch k := quinta.KindOf(err); {
	case err == nil:
		return ans, nil
	case !answered || k == quinta.KindUnavailable || k == quinta.KindLimited:
		return keysrv.Ans{}, dial.Passing(err)
	}
	return keysrv.Ans{Code: string(we.Code), Detail: we.Detail}, nil
}

// call makes the call of a request.
func (l *link) call(ctx context.Context, c *connection, req *keysrv.Req) (ans keysrv.Ans, err error) {
	const op = "speaking to the key server"
	do := func(method, path string, in, out any) error {
		return l.keys.call(ctx, c, l.account.Component, op, method, path, in, out)
	}
	switch req.Kind {
	case keysrv.ReqDevice:
		var list wire.DeviceList
		err = do(http.MethodPut, dial.Path(wire.PathDevice, string(req.Device.ID)), req.Device, &list)
		return keysrv.Ans{Devices: list.Devices}, err
	case keysrv.ReqDevices:
		var list wire.DeviceList
		err = do(http.MethodGet, dial.Path(wire.PathUserDevices, string(req.User)), nil, &list)
		return keysrv.Ans{Devices: list.Devices}, err
	case keysrv.ReqApprove:
		return ans, do(http.MethodPost, dial.Path(wire.PathApprove, string(req.Target)), req.Approval, nil)
	case keysrv.ReqCreate:
		o := &keysrv.Object{}
		err = do(http.MethodPost, wire.PathKeys, req.Create, o)
		return keysrv.Ans{Object: o}, err
	case keysrv.ReqObjects:
		var got wire.GetAnswer
		if err = do(http.MethodPost, wire.PathKeysGet, wire.GetRequest{IDs: req.IDs}, &got); err != nil {
			return ans, err
		}
		ans.Refused = got.Refused
		ans.Objects, err = wire.Objects(got.Keys)
		return ans, err
	case keysrv.ReqWants:
		var list wire.WantList
		err = do(http.MethodGet, wire.PathWants, nil, &list)
		return keysrv.Ans{Wants: list.Wants}, err
	case keysrv.ReqMembers:
		ans.Members, err = c.members(ctx, l.env.Rand, req.Room)
		if k := quinta.KindOf(err); k == quinta.KindForbidden || k == quinta.KindNotFound {
			return keysrv.Ans{Code: keysrv.CodeRoom, Detail: reason(err)}, nil
		}
		return ans, err
	case keysrv.ReqWrap:
		return ans, do(http.MethodPost, dial.Path(wire.PathCopies, req.ObjectID), wire.CopiesRequest{Wrapped: req.Wrapped}, nil)
	}
	return ans, quinta.E(quinta.KindInternal, op, "a request of an unknown kind")
}

// send sends a stanza and asks the server whether it is still there: a server
// takes what comes on a stream in order, so the answer says that it has taken
// the stanza. One that got no answer is sent again with the same id and bytes,
// unless the stream was resumed and the server has counted it.
func (l *link) send(ctx context.Context, c *connection, req *keysrv.Req) (keysrv.Ans, error) {
	to, err := jid.Parse(string(req.Room))
	if err != nil {
		return keysrv.Ans{Code: keysrv.CodeNotFound, Detail: "the recipient is not a JID"}, nil
	}
	m := wire.NewSent(req.StanzaID, to, req.Group, req.Packet)
	if req.Group {
		taken, err := c.deliverToRoom(ctx, l.env.Rand, req.Room, req.StanzaID, m)
		if err != nil {
			return keysrv.Ans{}, dial.Passing(err)
		}
		if !taken {
			return keysrv.Ans{Code: keysrv.CodeNotFound, Detail: "the room does not take messages of this user"}, nil
		}
		return keysrv.Ans{}, nil
	}
	if err := c.deliver(ctx, l.env.Rand, req.StanzaID, m); err != nil {
		return keysrv.Ans{}, dial.Passing(err)
	}
	if c.flow.done(req.StanzaID) {
		return keysrv.Ans{Code: keysrv.CodeNotFound, Detail: "the XMPP server cannot deliver to this user"}, nil
	}
	return keysrv.Ans{}, nil
}

// Receive reads the archive to its end when the stream is new, and then waits
// for what comes.
func (l *link) Receive(ctx context.Context, st client.Store) (keysrv.In, error) {
	c, err := l.current()
	if err != nil {
		return keysrv.In{}, err
	}
	// Whatever was received before is committed by now.
	if err := c.committed(ctx); err != nil {
		return keysrv.In{}, dial.Passing(err)
	}
	var after string
	var groups map[quinta.RoomID]string
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
		if after, err = l.machine.Archive(tx); err != nil {
			return err
		}
		groups, err = l.machine.Groups(tx)
		return err
	}); err != nil {
		return keysrv.In{}, err
	}
	// What a server was handing to the stream before this one, which was just
	// ending, gets into the archive late, and hints get nowhere.
	now := l.env.Now()
	again := !c.flow.again.IsZero() && !now.Before(c.flow.again)
	if again {
		c.flow.caughtUp, c.flow.again = false, time.Time{}
	}
	if !c.flow.caughtUp {
		in, done, err := c.catchUp(ctx, l.env.Rand, after)
		if err != nil {
			return keysrv.In{}, dial.Passing(err)
		}
		c.flow.caughtUp = done
		if again {
			in.Wants, in.Changed = true, []quinta.UserID{l.account.User}
		}
		if !done || again || len(in.Items) > 0 || len(in.Invitations) > 0 {
			return in, nil
		}
	}
	for _, room := range slices.Sorted(maps.Keys(groups)) {
		in, more, err := c.readRoom(ctx, l.env.Rand, room, groups[room])
		if err != nil {
			return keysrv.In{}, dial.Passing(err)
		}
		if more {
			return in, nil
		}
	}
	if list, changed := c.pop(), c.popChanged(); len(list) > 0 || len(changed) > 0 || !l.waits.Load() {
		in := c.inputOf(list, l.account.Component)
		in.Rooms = changed
		return in, nil
	}
	wait := waitFor
	if !c.flow.again.IsZero() {
		wait = max(0, min(wait, c.flow.again.Sub(now)))
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return keysrv.In{}, context.Cause(ctx)
	case <-c.ended.Done():
		return keysrv.In{}, errDropped
	case <-c.arrived:
	case <-t.C:
		if !c.flow.again.IsZero() {
			return keysrv.In{}, nil
		}
		// An idle stream is asked whether it is still there.
		if err := c.ping(ctx, l.env.Rand); err != nil {
			return keysrv.In{}, dial.Passing(err)
		}
		// A server that does not count stanzas may hand one to a stream of this
		// device that has just ended, where no one takes it: the archive has it.
		c.flow.caughtUp = c.flow.isManaged()
	}
	in := c.inputOf(c.pop(), l.account.Component)
	in.Rooms = c.popChanged()
	return in, nil
}

// reason is the sentence of an error of the core.
func reason(err error) string {
	if e, ok := errors.AsType[*quinta.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return ""
}

// kick wakes Receive: there is a room to enter.
func (l *link) kick() {
	if c, err := l.current(); err == nil {
		c.wake()
	}
}
