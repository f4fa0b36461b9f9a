// Package sixthclient is the client half of the toy network. [Network] is its
// line in the list of networks.
package sixthclient

import (
	"context"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/internal/sixth/e2ee/sixth"
	"github.com/quinta-chat/quinta/network/internal/sixth/network/sixth/wire"
)

// Network is the client half.
type Network struct{}

var _ client.Network = Network{}

// Name returns "sixth".
func (Network) Name() quinta.NetworkName { return "sixth" }

// Login makes a device at a server, "tcp://HOST:PORT" on this computer. It asks
// for the operator's code and for the word of the circle.
func (Network) Login(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	const op = "logging in"
	begun, err := seat.Begin(ctx, st, op, in.User)
	if err != nil {
		return quinta.Device{}, err
	}
	plan, err := seat.Plan(ctx, st, env, begun, in.Server, in.User, 10)
	if err != nil {
		return quinta.Device{}, err
	}
	c, err := connect(ctx, plan.Base)
	if err != nil {
		return quinta.Device{}, err
	}
	defer c.close()
	user, _, _ := strings.Cut(plan.User, "@")
	call := &wire.Login{User: user, Device: plan.Device, Name: seat.DeviceName(in)}
	a, err := c.call(ctx, wire.Call{Login: call})
	if err == nil && a.Code == wire.CodeWanted {
		code, aerr := in.Answer(ctx, client.Question{Kind: client.AskCode, Text: "the operator reads it out"})
		if aerr != nil {
			return quinta.Device{}, aerr
		}
		call.Code = code.Reveal()
		a, err = c.call(ctx, wire.Call{Login: call})
	}
	if err = refusal(op, a, err); err != nil {
		return quinta.Device{}, err
	}
	word, err := in.Answer(ctx, client.Question{Kind: client.AskKeyPassword, Text: "the word of the circle"})
	if err != nil {
		return quinta.Device{}, err
	}
	acc := seat.Account{Base: plan.Base, User: a.User, Device: plan.Device, Name: call.Name, Token: a.Token}
	return acc.Self(), st.Update(ctx, func(tx e2ee.Tx) error {
		if err := sixth.Keep(tx, word.Reveal()); err != nil {
			return err
		}
		return seat.Settle(tx, acc)
	})
}

// Open implements client.Network.
func (Network) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	a, err := seat.Open(ctx, st)
	if err != nil {
		return nil, err
	}
	l := &link{base: a.Base, token: a.Token}
	s := &session{env: env, account: a, link: l}
	s.Runner = client.NewRunner(
		client.Parts[[]sixth.Mail, sixth.Post, sixth.Receipt]{Machine: sixth.New(env, a.User), Link: l, Store: st, Env: env, Commit: timeline.Apply},
		client.Hooks[[]sixth.Mail]{Waits: l.waits.Store, CaughtUp: func(in []sixth.Mail) bool { return len(in) == 0 }})
	return s, nil
}

// A session is one logged-in device. Run and Flush are the runner's.
type session struct {
	*client.Runner
	env     e2ee.Env
	account seat.Account
	link    *link
}

var _ client.Session = (*session)(nil)

// Self implements client.Session.
func (s *session) Self() quinta.Device { return s.account.Self() }

// Send implements client.Session. The room is the user who gets the text.
func (s *session) Send(ctx context.Context, room quinta.RoomID, d client.Draft) (quinta.TxnID, error) {
	txn, err := seat.NewTxn(s.env.Rand)
	if err != nil {
		return "", err
	}
	return txn, s.Runner.Send(ctx, s.account.Message(room, d, txn, s.env.Now()))
}

// Close implements client.Session.
func (s *session) Close() error { return s.Store().Close() }
