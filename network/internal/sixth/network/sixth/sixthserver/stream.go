package sixthserver

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/internal/sixth/network/sixth/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

const (
	// waitFor is how long a fetch waits at most.
	waitFor = 20 * time.Second
	// silence is how long a client may say nothing.
	silence = 3 * waitFor
	// underWay bounds the calls of a connection that have no answer yet.
	underWay = 8
)

// A stream is one connection.
type stream struct {
	*front
	c    net.Conn
	addr string

	writing sync.Mutex
	mu      sync.Mutex
	owner   device.Owner // after a Hello
}

// ServeStream implements server.StreamFront.
func (f *front) ServeStream(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var calls sync.WaitGroup
	defer calls.Wait()
	defer cancel()
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return
	}
	s := &stream{front: f, c: c, addr: host}
	calls.Go(func() {
		select {
		case <-f.Draining():
			c.SetReadDeadline(time.Now())
		case <-ctx.Done():
		}
	})
	slots := make(chan struct{}, underWay)
	for lines := wire.Lines(c); s.listens(); {
		var call wire.Call
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &call) != nil {
			return
		}
		if call.Hello != nil { // what follows is said by the device
			s.say(s.answer(ctx, call))
			continue
		}
		slots <- struct{}{}
		calls.Go(func() {
			s.say(s.answer(ctx, call))
			<-slots
		})
	}
	calls.Wait() // the exchanges under way
}

// listens gives the client time for another call, unless the server drains.
func (s *stream) listens() bool {
	if s.c.SetReadDeadline(time.Now().Add(silence)) != nil {
		return false
	}
	select {
	case <-s.Draining():
		return false
	default:
		return true
	}
}

// say writes an answer; a client that does not take it loses the connection.
func (s *stream) say(a wire.Answer) {
	b, err := json.Marshal(a)
	s.writing.Lock()
	defer s.writing.Unlock()
	if err == nil {
		_, err = s.c.Write(append(b, '\n'))
	}
	if err != nil {
		s.c.Close()
	}
}

// answer carries a call out.
func (s *stream) answer(ctx context.Context, call wire.Call) wire.Answer {
	a := wire.Answer{N: call.N}
	s.mu.Lock()
	owner := s.owner
	s.mu.Unlock()
	var err error
	switch {
	case call.Login != nil:
		err = s.login(ctx, call.Login, &a)
	case call.Hello != nil:
		owner, err = incoming.Token(ctx, s.Core, name, call.Hello.Token, s.addr)
		s.mu.Lock()
		s.owner = owner
		s.mu.Unlock()
	case owner.User == "":
		a.Code = wire.Unauthenticated
	case call.Post != nil && len(call.Post.Box) <= wire.MaxBox && call.Post.Txn != "" && len(call.Post.Txn) <= 64:
		a.Receipt, err = s.take(ctx, owner, call.Post)
	case call.Fetch != nil:
		a.Mail, err = s.hand(ctx, owner, call.Fetch)
	default:
		a.Code = wire.Malformed
	}
	switch {
	case err == nil:
	case errors.Is(err, incoming.ErrToken), errors.Is(err, incoming.ErrNoToken), errors.Is(err, incoming.ErrCode):
		a.Code = wire.Unauthenticated
	default:
		a.Code = wire.Later
		if ctx.Err() == nil {
			s.Log.Warn("sixth: a call failed", "err", err)
		}
	}
	return a
}

// login makes a device for whoever has the code of an account.
func (s *stream) login(ctx context.Context, in *wire.Login, a *wire.Answer) error {
	if in.Code == "" {
		a.Code = wire.CodeWanted
		return nil
	}
	who, err := account.ParseName(in.User)
	if err != nil || in.Device == "" || len(in.Device) > 64 || len(in.Name) > 256 {
		a.Code = wire.Unauthenticated
		return nil
	}
	wait, err := incoming.Code(ctx, s.Core, name, incoming.Stranger(s.addr), who, in.Code)
	if wait > 0 {
		a.Code = wire.Later
		return nil
	}
	if err != nil {
		return err
	}
	a.User = s.userOf(who)
	return s.Update(ctx, func(tx *db.Tx) (err error) {
		if there, err := account.Exists(tx, who); err != nil || !there {
			return errors.Join(err, quinta.E(quinta.KindConflict, "sixth", "the account was closed meanwhile"))
		}
		if _, err = device.Put(tx, name, a.User, in.Device, &in.Name); err != nil {
			return err
		}
		a.Token, err = device.NewToken(tx, s.Rand, name, a.User, in.Device)
		return err
	})
}
