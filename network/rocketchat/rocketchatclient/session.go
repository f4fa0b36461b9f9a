package rocketchatclient

import (
	"context"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// A Session is one logged-in device. It is safe for concurrent use; Run and Flush
// exclude each other.
type Session struct {
	env     e2ee.Env
	account account
	link    *link
	machine *rocketchat.Machine
	runner  *client.Runner
	// quiet: the messages of the step that is being committed are history; under
	// the loop's lock.
	quiet bool
}

var _ client.Session = (*Session)(nil)

func newSession(n Network, st client.Store, env e2ee.Env, a account) *Session {
	s := &Session{env: env, account: a, machine: rocketchat.New(env, a.User)}
	s.link = &link{conn: newConn(n.Transport, a.Base, a.User.ID, client.NewSecret(a.Token), env.Now), self: a.User, since: s.machine.Since}
	s.runner = client.NewRunner(
		client.Parts[rocketchat.In, rocketchat.Req, rocketchat.Ans]{Machine: s.machine, Link: s.link, Store: st, Env: env, Commit: timeline.Apply},
		client.Hooks[rocketchat.In]{Waits: s.link.waits.Store, Filter: s.shown, CaughtUp: func(in rocketchat.In) bool { return !in.More }})
	return s
}

// Self returns the device.
func (s *Session) Self() quinta.Device {
	return quinta.Device{User: quinta.UserID(s.account.User.Name), ID: s.account.Device, Name: s.account.Name}
}

// Run implements client.Session.
func (s *Session) Run(ctx context.Context, on func(e2ee.Event)) error {
	defer s.link.hangUp()
	return s.runner.Run(ctx, on)
}

// Flush implements client.Session.
func (s *Session) Flush(ctx context.Context, on func(e2ee.Event)) error {
	return s.runner.Flush(ctx, on)
}

// Close implements client.Session.
func (s *Session) Close() error {
	s.link.close()
	return s.runner.Store().Close()
}

// shown leaves out the messages that came as history.
func (s *Session) shown(events []e2ee.Event) []e2ee.Event {
	quiet := s.quiet
	s.quiet = false
	if !quiet {
		return events
	}
	var out []e2ee.Event
	for _, e := range events {
		if e.Kind != e2ee.EventMessage && e.Kind != e2ee.EventUndecryptable {
			out = append(out, e)
		}
	}
	return out
}

// do runs one step of the machine.
func (s *Session) do(ctx context.Context, quiet bool, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return s.runner.Do(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		s.quiet = quiet
		return fn(tx)
	})
}

// change runs one step of the machine that reports nothing.
func (s *Session) change(ctx context.Context, op string, fn func(tx e2ee.Tx) error) error {
	return errorOf(op, s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, fn(tx) }))
}

func (s *Session) look(ctx context.Context, fn func(tx e2ee.Tx) error) error {
	return s.runner.Look(ctx, fn)
}

func (s *Session) room(ctx context.Context, id quinta.RoomID) (r rocketchat.RoomInfo, err error) {
	err = s.look(ctx, func(tx e2ee.Tx) (err error) { r, err = s.machine.Room(tx, id); return err })
	return r, err
}

// Send implements client.Session. A file is sealed and uploaded before Send
// returns, which needs the room's key. A reply quotes the other message by its
// link, as the official clients do.
func (s *Session) Send(ctx context.Context, room quinta.RoomID, d client.Draft) (quinta.TxnID, error) {
	const op = "sending"
	if d.Type != "" {
		return "", quinta.E(quinta.KindInvalid, op, "this network has no messages of other types")
	}
	txn, err := rocketchat.NewID(s.env.Rand)
	if err != nil {
		return "", err
	}
	o := rocketchat.Outgoing{Clear: d.Clear, Message: quinta.Message{Room: room, Sender: quinta.UserID(s.account.User.Name), Device: s.account.Device,
		Txn: quinta.TxnID(txn), Time: s.env.Now(), Kind: d.Kind, Text: d.Text, Relation: d.Relation, Mentions: d.Mentions}}
	if o.Kind == "" {
		o.Kind = quinta.MessageText
	}
	r, err := s.room(ctx, room)
	if err != nil {
		return "", errorOf(op, err)
	}
	if d.Relation.Kind == quinta.RelationReply {
		o.Text = "[ ](" + s.permalink(r, d.Relation.To) + ") " + d.Text
	}
	if d.File != nil {
		if !r.Encrypted {
			return "", errorOf(op, rocketchat.ErrNotEncrypted)
		}
		if o.File, err = s.upload(ctx, room, d.File); err != nil {
			return "", err
		}
	}
	if err := s.runner.Do(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, s.machine.Put(tx, o) }); err != nil {
		return "", errorOf(op, err)
	}
	return o.Txn, nil
}

// permalink is the address of a message as clients write it into a quotation.
func (s *Session) permalink(r rocketchat.RoomInfo, id quinta.MessageID) string {
	kind := map[string]string{"d": "direct", "p": "group", "c": "channel"}[r.Type]
	name := r.Name
	if r.Type == "d" {
		name = string(r.ID)
	}
	return s.account.Base + "/" + kind + "/" + name + "?msg=" + string(id)
}

// errorOf puts the machine's refusals into the words of the core.
func errorOf(op string, err error) error {
	for _, c := range []struct {
		is   error
		kind quinta.Kind
	}{
		{rocketchat.ErrUnknownRoom, quinta.KindNotFound},
		{rocketchat.ErrUnknownUser, quinta.KindNotFound},
		{rocketchat.ErrNotEncrypted, quinta.KindForbidden},
		{rocketchat.ErrClear, quinta.KindForbidden},
		{rocketchat.ErrKeyChanged, quinta.KindForbidden},
		{rocketchat.ErrOldServer, quinta.KindForbidden},
		{rocketchat.ErrNoKeys, quinta.KindForbidden},
		{rocketchat.ErrPassword, quinta.KindUnauthenticated},
		{rocketchat.ErrKeysExist, quinta.KindExists},
		{rocketchat.ErrWeak, quinta.KindInvalid},
		{rocketchat.ErrUnsupported, quinta.KindInvalid},
		{rocketchat.ErrTampered, quinta.KindMalformed},
		{rocketchat.ErrMalformed, quinta.KindMalformed},
	} {
		if errors.Is(err, c.is) {
			return &quinta.Error{Kind: c.kind, Op: op, Err: err}
		}
	}
	return err
}
