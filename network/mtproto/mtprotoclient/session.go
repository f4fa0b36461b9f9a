package mtprotoclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/printable"
)

// A Session is one logged-in device. It is safe for concurrent use; Run and
// Flush exclude each other.
type Session struct {
	env     e2ee.Env
	account account
	link    *link
	machine *secretchat.Machine
	runner  *client.Runner
}

var _ client.Session = (*Session)(nil)

func (n Network) newSession(st client.Store, env e2ee.Env, a account) (*Session, error) {
	key, err := secretchat.ParseKey(a.Key)
	if err != nil {
		return nil, e2ee.Damaged(keyAccount)
	}
	s := &Session{env: env, account: a, machine: secretchat.New(env, a.User, a.Device)}
	s.link = &link{env: env, dialer: dialer{env, n.Transport}, target: a.Target, key: key, machine: s.machine}
	s.runner = client.NewRunner(
		client.Parts[secretchat.In, secretchat.Req, secretchat.Ans]{Machine: s.machine, Link: s.link, Store: st, Env: env, Commit: timeline.Apply},
		client.Hooks[secretchat.In]{
			Waits:    s.link.waits.Store,
			CaughtUp: func(in secretchat.In) bool { return len(in.Updates) == 0 },
		})
	return s, nil
}

// Self returns the device.
func (s *Session) Self() quinta.Device { return s.account.self() }

// Run implements client.Session.
func (s *Session) Run(ctx context.Context, on func(e2ee.Event)) error { return s.runner.Run(ctx, on) }

// Flush implements client.Session.
func (s *Session) Flush(ctx context.Context, on func(e2ee.Event)) error {
	return s.runner.Flush(ctx, on)
}

// Close implements client.Session.
func (s *Session) Close() error { return s.runner.Store().Close() }

// do runs one step of the machine and hands on what it reports.
func (s *Session) do(ctx context.Context, op string, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	err := errorOf(op, s.runner.Do(ctx, fn))
	s.runner.Wake()
	return err
}

// call makes a call that is not the machine's.
func (s *Session) call(ctx context.Context, req any) (any, error) {
	live, release, err := s.runner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.link.call(live, req)
}

// look runs fn over what is committed.
func (s *Session) look(ctx context.Context, fn func(tx e2ee.Tx) error) error {
	return s.runner.Look(ctx, fn)
}

// Send implements client.Session.
func (s *Session) Send(ctx context.Context, room quinta.RoomID, d client.Draft) (quinta.TxnID, error) {
	const op = "sending"
	var b [16]byte
	if _, err := io.ReadFull(s.env.Rand, b[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	txn := quinta.TxnID(base64.RawURLEncoding.EncodeToString(b[:]))
	m := quinta.Message{Room: room, Sender: s.Self().User, Device: s.account.Device, Txn: txn, Time: s.env.Now(), Kind: d.Kind, Text: d.Text, Relation: d.Relation, Type: d.Type, Body: d.Body}
	if m.Kind == "" {
		m.Kind = quinta.MessageText
	}
	if d.File != nil {
		// Nothing is uploaded for a chat that takes no message.
		if err := s.look(ctx, func(tx e2ee.Tx) error {
			c, err := s.machine.Chat(tx, room)
			if err == nil && c.State == secretchat.StateClosed {
				err = fmt.Errorf("%w: %s", secretchat.ErrClosed, c.Why)
			}
			return err
		}); err != nil {
			return "", errorOf(op, err)
		}
		f, err := s.upload(ctx, d.File)
		if err != nil {
			return "", err
		}
		m.File, m.Kind = f, quinta.MessageFile
	}
	return txn, errorOf(op, s.runner.Send(ctx, m))
}

// errorOf puts the machine's refusals into the words of the core.
func errorOf(op string, err error) error {
	for _, c := range []struct {
		is   error
		kind quinta.Kind
	}{
		{secretchat.ErrUnknownChat, quinta.KindNotFound},
		{secretchat.ErrClosed, quinta.KindForbidden},
		{secretchat.ErrNotOpen, quinta.KindForbidden},
		{secretchat.ErrNotAsked, quinta.KindConflict},
		{secretchat.ErrNoSuchForm, quinta.KindInvalid},
		{secretchat.ErrTooLong, quinta.KindTooLarge},
		{secretchat.ErrMalformed, quinta.KindInvalid},
		{secretchat.ErrOtherUser, quinta.KindConflict},
	} {
		if errors.Is(err, c.is) {
			return &quinta.Error{Kind: c.kind, Op: op, Err: err}
		}
	}
	if e, ok := errors.AsType[callError](err); ok {
		return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: errors.New(printable.Line(e.Message))}
	}
	return err
}
