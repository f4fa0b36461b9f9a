package matrixclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// carry carries a verification to its end.
func (s *Session) carry(ctx context.Context, f *flow, m *sas.Flow, compare func(context.Context, client.ShortStrings) (bool, error)) (err error) {
	const op = "verifying"
	defer func() {
		if err != nil && m.State() != sas.StateCancelled && m.State() != sas.StateDone {
			// The other side is told that it is over, even if ctx has ended.
			tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = errors.Join(err, s.post(tell, f, m, m.Cancel()))
		}
	}()
	type verdict struct {
		same bool
		err  error
	}
	verdicts := make(chan verdict, 1)
	asking := false
	begin := time.NewTimer(startAfter)
	defer begin.Stop()
	start := f.ours
	compareCtx, stopCompare := context.WithCancel(ctx)
	defer stopCompare()
	for {
		var out []sas.Message
		var serr error
		switch st := m.State(); {
		case st == sas.StateReady && start:
			out, serr = m.StartSAS()
		case st == sas.StateCompare && !asking:
			asking = true
			shown := s.strings(f, m)
			go func() { same, err := compare(compareCtx, shown); verdicts <- verdict{same, err} }()
		case st == sas.StateDone:
			return s.believe(ctx, f, m)
		case st == sas.StateCancelled:
			return cancelled(m)
		}
		if serr != nil {
			return verifyError(op, serr)
		}
		if len(out) > 0 {
			if err := s.post(ctx, f, m, out); err != nil {
				return err
			}
			continue
		}
		select {
		case l := <-f.in:
			if err := s.post(ctx, f, m, m.Receive(l.from, l.typ, l.raw)); err != nil {
				return err
			}
		case v := <-verdicts:
			if v.err != nil {
				return v.err
			}
			end := m.Mismatch
			if v.same {
				end = m.Confirm
			}
			out, err := end()
			if err != nil {
				if m.State() == sas.StateCancelled {
					continue
				}
				return verifyError(op, err)
			}
			if err := s.post(ctx, f, m, out); err != nil {
				return err
			}
		case <-begin.C:
			start = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// strings are what the two people compare.
func (s *Session) strings(f *flow, m *sas.Flow) client.ShortStrings {
	other, _ := m.Other()
	out := client.ShortStrings{With: quinta.Device{User: f.user, ID: other.Device}}
	d := m.Decimals()
	out.Decimal = d[:]
	if emoji, ok := m.Emojis(); ok {
		for _, e := range emoji {
			out.Emoji = append(out.Emoji, client.Emoji{Symbol: e.Picture, Name: e.Name})
		}
	}
	return out
}

// believe stores what was verified.
func (s *Session) believe(ctx context.Context, f *flow, m *sas.Flow) error {
	other, _ := m.Other()
	v := m.Verified()
	return trustError("verifying", s.do(ctx, false, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		if !v.Master.IsZero() {
			if events, err = s.machine.VerifyUser(tx, f.user, v.Master.String()); err != nil {
				return nil, err
			}
		}
		if v.Device.IsZero() {
			return events, nil
		}
		more, err := s.machine.Decide(tx, f.user, other.Device, v.Device.String(), matrix.Accept)
		return append(events, more...), err
	}))
}

// cancelled is the error of a verification that came to nothing.
func cancelled(m *sas.Flow) error {
	const op = "verifying"
	code, byUs := m.Cancelled()
	who := "the other side"
	if byUs {
		who = "this side"
	}
	kind := quinta.KindConflict
	if code == sas.CodeSAS || code == sas.CodeKeyMismatch || code == sas.CodeCommitment || code == sas.CodeUserMismatch {
		kind = quinta.KindForbidden
	}
	return quinta.E(kind, op, fmt.Sprintf("%s ended it (%s)", who, wire.Printable(code)))
}

func verifyError(op string, err error) error {
	return &quinta.Error{Kind: quinta.KindConflict, Op: op, Err: err}
}
