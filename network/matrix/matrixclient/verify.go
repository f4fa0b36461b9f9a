package matrixclient

import (
	"context"
	"errors"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

var _ client.CodeVerifier = (*Session)(nil)

// Verify implements client.Verifier.
func (s *Session) Verify(ctx context.Context, user quinta.UserID, id quinta.DeviceID, compare func(context.Context, client.ShortStrings) (bool, error)) error {
	return s.VerifyBy(ctx, user, id, client.Comparison{Strings: compare})
}

// methods are those that a comparison has.
func methods(by client.Comparison) []string {
	var out []string
	if by.Strings != nil {
		out = append(out, sas.MethodSAS)
	}
	if by.Show != nil && by.Scanned != nil {
		out = append(out, sas.MethodShowQR)
	}
	if by.Scan != nil {
		out = append(out, sas.MethodScanQR)
	}
	if len(out) > 1 || len(out) == 1 && by.Strings == nil {
		out = append(out, sas.MethodReciprocate)
	}
	return out
}

// VerifyBy implements client.CodeVerifier. Another user is asked in the direct
// conversation with them, which is made if there is none; one of the user's
// own devices directly, and all of the user's own devices if id is empty.
// Under [Network.VerifiedOnly] the devices of other users are asked directly,
// too: no one who was not verified could read a request in the conversation.
func (s *Session) VerifyBy(ctx context.Context, user quinta.UserID, id quinta.DeviceID, by client.Comparison) error {
	if err := s.awaitRun(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sas.Lifetime)
	defer cancel()
	if user == "" {
		user = s.account.User
	}
	if err := s.refresh(ctx, user); err != nil {
		return err
	}
	if err := s.refresh(ctx, s.account.User); err != nil {
		return err
	}
	f := &flow{user: user, device: id, ours: true, begun: s.env.Now(), in: make(chan letter, maxLetters), methods: methods(by)}
	var err error
	if user == s.account.User || s.verifiedOnly {
		err = s.askDevices(ctx, f)
	} else {
		err = s.askInRoom(ctx, f)
	}
	if err != nil {
		return err
	}
	defer s.drop(f)
	machine, err := s.newFlow(ctx, f)
	if err != nil {
		return err
	}
	out, err := machine.Request()
	if err != nil {
		return verifyError("verifying", err)
	}
	if err := s.post(ctx, f, machine, out); err != nil {
		return err
	}
	return s.carry(ctx, f, machine, by)
}

// askDevices chooses the devices of the user that are asked, and an id.
func (s *Session) askDevices(ctx context.Context, f *flow) error {
	const op = "verifying"
	known, err := s.knownDevices(ctx, f.user)
	if err != nil {
		return err
	}
	for _, d := range known {
		if d.ID != s.account.Device && (f.device == "" || d.ID == f.device) {
			f.asked = append(f.asked, d.ID)
		}
	}
	if len(f.asked) == 0 {
		return quinta.E(quinta.KindNotFound, op, "there is no such device that has keys")
	}
	txn, err := seat.NewTxn(s.env.Rand)
	if err != nil {
		return err
	}
	f.id = string(txn)
	return s.keep(f)
}

// AwaitVerify implements client.Verifier.
func (s *Session) AwaitVerify(ctx context.Context, accept func(quinta.Device) bool, compare func(context.Context, client.ShortStrings) (bool, error)) error {
	return s.AwaitVerifyBy(ctx, accept, client.Comparison{Strings: compare})
}

// AwaitVerifyBy implements client.CodeVerifier.
func (s *Session) AwaitVerifyBy(ctx context.Context, accept func(quinta.Device) bool, by client.Comparison) error {
	if err := s.awaitRun(ctx); err != nil {
		return err
	}
	for {
		var f *flow
		select {
		case f = <-s.asked:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.env.Now().Sub(f.begun) > sas.Lifetime {
			s.drop(f)
			continue
		}
		f.methods = methods(by)
		err := s.answer(ctx, f, accept, by)
		s.drop(f)
		if !errors.Is(err, errTurnedDown) {
			return err
		}
	}
}

var errTurnedDown = errors.New("the request was declined")

// answer carries out a verification that someone else asked for.
func (s *Session) answer(ctx context.Context, f *flow, accept func(quinta.Device) bool, by client.Comparison) error {
	const op = "verifying"
	ctx, cancel := context.WithTimeout(ctx, sas.Lifetime)
	defer cancel()
	if err := s.refresh(ctx, f.user); err != nil {
		return err
	}
	machine, err := s.newFlow(ctx, f)
	if err != nil {
		return err
	}
	if err := s.read(ctx, f, machine); err != nil {
		return err
	}
	if machine.State() == sas.StateCancelled {
		return errTurnedDown // answered elsewhere, or not worth an answer
	}
	other, _ := machine.Other()
	if !accept(quinta.Device{User: f.user, ID: other.Device}) {
		return errors.Join(errTurnedDown, s.post(ctx, f, machine, machine.Cancel()))
	}
	out, err := machine.Accept()
	if err != nil {
		return verifyError(op, err)
	}
	if err := s.post(ctx, f, machine, out); err != nil {
		return err
	}
	return s.carry(ctx, f, machine, by)
}

// runsWithin is how long a verification waits for Run to begin, as both are
// often started together.
const runsWithin = 2 * time.Second

// awaitRun returns when Run is going on.
func (s *Session) awaitRun(ctx context.Context) error {
	return s.runner.AwaitRun(ctx, "verifying", runsWithin)
}
