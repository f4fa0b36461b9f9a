package matrixclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/internal/printable"
)

// A verdict is what the user says of a comparison.
type verdict struct {
	same bool
	err  error
}

// A scan is what the user's camera saw.
type scan struct {
	code []byte
	err  error
}

// A course is one verification on its way, with what the user is asked.
type course struct {
	s  *Session
	f  *flow
	m  *sas.Flow
	by client.Comparison
	// start says that this side may begin with short strings.
	start         bool
	asking, shown bool
	scanning      bool
	verdicts      chan verdict
	scans         chan scan
	compareCtx    context.Context
}

// carry carries a verification to its end.
func (s *Session) carry(ctx context.Context, f *flow, m *sas.Flow, by client.Comparison) (err error) {
	defer func() {
		if err != nil && m.State() != sas.StateCancelled && m.State() != sas.StateDone {
			// The other side is told that it has ended, even if ctx has ended.
			tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = errors.Join(err, s.post(tell, f, m, m.Cancel()))
		}
	}()
	begin := time.NewTimer(startAfter)
	defer begin.Stop()
	compareCtx, stopCompare := context.WithCancel(ctx)
	defer stopCompare()
	c := &course{s: s, f: f, m: m, by: by, start: f.ours, verdicts: make(chan verdict, 1), scans: make(chan scan, 1), compareCtx: compareCtx}
	for {
		switch m.State() {
		case sas.StateDone:
			return s.believe(ctx, f, m)
		case sas.StateCancelled:
			return cancelled(m)
		}
		out, err := c.proceed()
		if err != nil {
			return err
		}
		if len(out) > 0 {
			if err := s.post(ctx, f, m, out); err != nil {
				return err
			}
			continue
		}
		select {
		case l := <-f.in:
			out = m.Receive(l.from, l.typ, l.raw)
		case v := <-c.verdicts:
			out, err = c.judge(v)
		case k := <-c.scans:
			out, err = c.scanned(k)
		case <-begin.C:
			c.start = true
		case <-ctx.Done():
			return ctx.Err()
		}
		if posted := s.post(ctx, f, m, out); posted != nil || err != nil {
			return errors.Join(err, posted)
		}
	}
}

// proceed does what is this side's turn, without waiting.
func (c *course) proceed() ([]sas.Message, error) {
	switch c.m.State() {
	case sas.StateReady:
		return c.ready()
	case sas.StateCompare:
		if !c.asking {
			c.asking = true
			shown := c.s.strings(c.f, c.m)
			c.ask(func(ctx context.Context) (bool, error) { return c.by.Strings(ctx, shown) })
		}
	case sas.StateScanned:
		if !c.asking {
			c.asking = true
			other, _ := c.m.Other()
			c.ask(func(ctx context.Context) (bool, error) {
				return c.by.Scanned(ctx, quinta.Device{User: c.f.user, ID: other.Device})
			})
		}
	}
	return nil, nil
}

// ready shows a code, waits for one, or begins with short strings if neither
// is possible.
func (c *course) ready() ([]sas.Message, error) {
	const op = "verifying"
	common := c.m.Common()
	codes := false
	if slices.Contains(common, sas.MethodShowQR) {
		if !c.shown {
			code, err := c.m.ShowQR()
			if err == nil {
				c.shown = true
				err = c.by.Show(code)
			}
			if err != nil && !errors.Is(err, sas.ErrIdentity) {
				return nil, verifyError(op, err)
			}
		}
		codes = c.shown
	}
	if slices.Contains(common, sas.MethodScanQR) {
		codes = true
		if !c.scanning {
			c.scanning = true
			go func() { b, err := c.by.Scan(c.compareCtx); c.scans <- scan{b, err} }()
		}
	}
	if codes || !c.start {
		return nil, nil
	}
	if !slices.Contains(common, sas.MethodSAS) {
		return nil, quinta.E(quinta.KindConflict, op, "the two sides share no way to compare, or one of them has no identity that a code could contain")
	}
	out, err := c.m.StartSAS()
	if err != nil {
		return nil, verifyError(op, err)
	}
	return out, nil
}

// ask asks the user, while the other side may still end it.
func (c *course) ask(question func(context.Context) (bool, error)) {
	go func() { same, err := question(c.compareCtx); c.verdicts <- verdict{same, err} }()
}

// judge takes what the user says.
func (c *course) judge(v verdict) ([]sas.Message, error) {
	if v.err != nil {
		return nil, v.err
	}
	end := c.m.Mismatch
	if v.same {
		end = c.m.Confirm
	}
	out, err := end()
	if err != nil && c.m.State() != sas.StateCancelled {
		return nil, verifyError("verifying", err)
	}
	return out, nil
}

// scanned takes the code that the user scanned. A code of other keys ends the
// verification, which carry reports.
func (c *course) scanned(k scan) ([]sas.Message, error) {
	if k.err != nil {
		return nil, k.err
	}
	if c.m.State() != sas.StateReady {
		return nil, nil // ended, or begun in another way
	}
	out, err := c.m.ScanQR(k.code)
	if err != nil && !errors.Is(err, sas.ErrMismatch) {
		return nil, &quinta.Error{Kind: quinta.KindInvalid, Op: "verifying", Err: err}
	}
	return out, nil
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

// believe stores what was verified, signs it, and shares secrets between the
// user's own devices.
func (s *Session) believe(ctx context.Context, f *flow, m *sas.Flow) error {
	other, _ := m.Other()
	v := m.Verified()
	var known []matrix.DeviceInfo
	if err := trustError("verifying", s.do(ctx, false, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		if known, err = s.machine.Devices(tx, f.user); err != nil {
			return nil, err
		}
		if !v.Master.IsZero() {
			if events, err = s.machine.VerifyUser(tx, f.user, v.Master); err != nil {
				return nil, err
			}
		}
		if v.Device.IsZero() {
			return events, nil
		}
		more, err := s.machine.Decide(tx, f.user, other.Device, v.Device, matrix.Accept)
		return append(events, more...), err
	})); err != nil {
		return err
	}
	s.runner.Wake()
	if err := s.waitALittle(ctx, func(tx e2ee.Tx) (bool, error) {
		waits, err := s.machine.Signing(tx)
		return !waits, err
	}); err != nil || f.user != s.account.User {
		return err
	}
	fresh := slices.ContainsFunc(known, func(d matrix.DeviceInfo) bool { return d.ID == other.Device && !d.Signed })
	return s.shareSecrets(ctx, other.Device, fresh)
}

// cancelled is the error of a verification that came to nothing.
func cancelled(m *sas.Flow) error {
	const op = "verifying"
	code, byUs := m.Cancelled()
	who := "the other side"
	if byUs {
		who = "this side"
	}
	text := fmt.Sprintf("%s ended it (%s)", who, printable.Line(code))
	switch code {
	case sas.CodeSAS, sas.CodeKeyMismatch, sas.CodeCommitment, sas.CodeUserMismatch:
		return &quinta.Error{Kind: quinta.KindForbidden, Op: op, Err: fmt.Errorf("%w: %s", client.ErrMismatch, text)}
	}
	return quinta.E(quinta.KindConflict, op, text)
}

func verifyError(op string, err error) error {
	return &quinta.Error{Kind: quinta.KindConflict, Op: op, Err: err}
}
