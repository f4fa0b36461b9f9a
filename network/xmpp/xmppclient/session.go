package xmppclient

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
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

// A Session is one logged-in device. It is safe for concurrent use; Run and
// Flush exclude each other.
type Session struct {
	env     e2ee.Env
	account account
	link    *link
	machine *keysrv.Machine
	runner  *client.Runner
}

var _ client.Session = (*Session)(nil)

// newSession makes the session of a store that has a login.
func newSession(ctx context.Context, n Network, st client.Store, env e2ee.Env, a account) (*Session, error) {
	s := &Session{env: env, account: a, machine: keysrv.New(env, a.User, n.Policy)}
	var sign key.DeviceSigningPrivate
	if err := st.View(ctx, func(tx e2ee.Tx) error {
		d, _, err := s.machine.Self(tx)
		if err == nil && d.ID != a.Device {
			err = keysrv.ErrOtherDevice
		}
		if err != nil {
			return err
		}
		sign, err = s.machine.Signing(tx)
		return err
	}); err != nil {
		return nil, &quinta.Error{Kind: quinta.KindConflict, Op: "opening the session", Err: err}
	}
	s.link = newLink(&s.account, env, sign, s.machine)
	s.runner = client.NewRunner(
		client.Parts[keysrv.In, keysrv.Req, keysrv.Ans]{Machine: s.machine, Link: s.link, Store: st, Env: env, Commit: timeline.Apply},
		client.Hooks[keysrv.In]{
			Waits: s.link.waits.Store,
			CaughtUp: func(in keysrv.In) bool {
				return len(in.Items) == 0 && !in.Wants && len(in.Changed) == 0 && len(in.Rooms) == 0 && len(in.Invitations) == 0
			},
		})
	return s, nil
}

// Self returns the device.
func (s *Session) Self() quinta.Device {
	return quinta.Device{User: s.account.User, ID: s.account.Device, Name: s.account.Name}
}

// Run implements client.Session. on is called from one goroutine, and may use
// the session.
func (s *Session) Run(ctx context.Context, on func(e2ee.Event)) error { return s.runner.Run(ctx, on) }

// Flush implements client.Session.
func (s *Session) Flush(ctx context.Context, on func(e2ee.Event)) error {
	return s.runner.Flush(ctx, on)
}

// Close implements client.Session.
func (s *Session) Close() error {
	s.link.keys.http.CloseIdleConnections()
	return s.runner.Store().Close()
}

// do runs one step of the machine.
func (s *Session) do(ctx context.Context, op string, fn func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	return errorOf(op, s.runner.Do(ctx, fn))
}

// look runs fn over what is committed.
func (s *Session) look(ctx context.Context, op string, fn func(tx e2ee.Tx) error) error {
	return errorOf(op, s.runner.Look(ctx, fn))
}

// Send implements client.Session. A file is uploaded before the message that
// names it is in the outbox.
func (s *Session) Send(ctx context.Context, room quinta.RoomID, d client.Draft) (quinta.TxnID, error) {
	const op = "sending"
	var b [16]byte
	if _, err := io.ReadFull(s.env.Rand, b[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	txn := quinta.TxnID(base64.RawURLEncoding.EncodeToString(b[:]))
	m := quinta.Message{Room: room, Sender: s.account.User, Device: s.account.Device, Txn: txn, Time: s.env.Now(),
		Kind: d.Kind, Text: d.Text, Relation: d.Relation, Mentions: d.Mentions, Type: d.Type, Body: d.Body}
	if d.File != nil {
		if err := s.look(ctx, op, func(tx e2ee.Tx) error { _, err := s.machine.Room(tx, room); return err }); err != nil {
			return "", err
		}
		var err error
		if m.File, err = s.upload(ctx, d.File); err != nil {
			return "", err
		}
		m.Kind = quinta.MessageFile
	}
	if m.Kind == "" {
		m.Kind = quinta.MessageText
	}
	if err := s.runner.Send(ctx, m); err != nil {
		return "", errorOf(op, err)
	}
	return txn, nil
}

// errorOf puts the machine's refusals into the words of the core.
func errorOf(op string, err error) error {
	for _, c := range []struct {
		is   error
		kind quinta.Kind
	}{
		{keysrv.ErrUnknownConversation, quinta.KindNotFound},
		{keysrv.ErrUnknownDevice, quinta.KindNotFound},
		{keysrv.ErrKeyChanged, quinta.KindForbidden},
		{keysrv.ErrDowngrade, quinta.KindForbidden},
		{keysrv.ErrUntrusted, quinta.KindForbidden},
		{keysrv.ErrUnsupported, quinta.KindInvalid},
		{keysrv.ErrMalformed, quinta.KindInvalid},
		{keysrv.ErrMismatch, quinta.KindInvalid},
	} {
		if errors.Is(err, c.is) {
			return &quinta.Error{Kind: c.kind, Op: op, Err: err}
		}
	}
	return err
}
