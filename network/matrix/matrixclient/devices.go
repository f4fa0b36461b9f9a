package matrixclient

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var _ client.DeviceJudge = (*Session)(nil)

// Devices implements client.DeviceJudge. It asks the server for the devices again;
// of another account only those are listed that can be written to.
func (s *Session) Devices(ctx context.Context, user quinta.UserID) ([]client.DeviceInfo, error) {
	const op = "listing devices"
	own := user == "" || user == s.account.User
	if own {
		user = s.account.User
	}
	known, err := s.knownDevices(ctx, user)
	if err != nil {
		return nil, err
	}
	var out []client.DeviceInfo
	at := map[quinta.DeviceID]int{}
	for _, d := range known {
		at[d.ID] = len(out)
		out = append(out, client.DeviceInfo{
			Device: quinta.Device{User: user, ID: d.ID, Name: printable.Line(d.Name)}, Trust: d.Trust,
			Fingerprint: printable.Grouped(d.Ed25519.String()), Own: own, Self: own && d.ID == s.account.Device,
		})
	}
	if !own {
		return out, nil
	}
	var list wire.DeviceList
	if err := s.link.ask(ctx, op, http.MethodGet, path("devices"), nil, &list); err != nil {
		return nil, err
	}
	for _, d := range list.Devices {
		i, ok := at[d.ID]
		if !ok {
			if !validID(string(d.ID)) {
				continue
			}
			i = len(out)
			out = append(out, client.DeviceInfo{Device: quinta.Device{User: user, ID: d.ID}, Own: true, Self: d.ID == s.account.Device})
		}
		if d.Name != nil {
			out[i].Name = printable.Line(*d.Name)
		}
		if d.Seen > 0 {
			out[i].Seen = time.UnixMilli(d.Seen)
		}
	}
	return out, nil
}

// knownDevices asks the server for the devices of a user and returns what the
// machine knows of them then.
func (s *Session) knownDevices(ctx context.Context, user quinta.UserID) ([]matrix.DeviceInfo, error) {
	if err := s.refresh(ctx, user); err != nil {
		return nil, err
	}
	var out []matrix.DeviceInfo
	err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		out, err = s.machine.Devices(tx, user)
		return err
	})
	return out, err
}

// refresh brings the device list of a user up to date.
func (s *Session) refresh(ctx context.Context, user quinta.UserID) error {
	const op = "asking for devices"
	if _, _, ok := wire.SplitUserID(user); !ok {
		return quinta.E(quinta.KindInvalid, op, "a user is named @name:server")
	}
	if err := s.st.Update(ctx, func(tx e2ee.Tx) error { return s.machine.Refresh(tx, user) }); err != nil {
		return err
	}
	s.runner.Wake()
	return s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) { return s.machine.Current(tx, user) })
}

// Rename implements client.DeviceJudge.
func (s *Session) Rename(ctx context.Context, id quinta.DeviceID, name string) error {
	const op = "naming a device"
	if err := s.link.ask(ctx, op, http.MethodPut, path("devices", string(id)), wire.DeviceName{Name: &name}, nil); err != nil {
		return err
	}
	if id != s.account.Device {
		return nil
	}
	return s.st.Update(ctx, func(tx e2ee.Tx) error {
		a := s.account
		a.Name = name
		return seat.Store(tx, seat.KeyAccount, a)
	})
}

// SignOut implements client.DeviceJudge.
func (s *Session) SignOut(ctx context.Context, id quinta.DeviceID, password client.Secret) error {
	const op = "signing a device out"
	return s.link.interact(ctx, op, interaction{
		request: request{method: http.MethodDelete, path: path("devices", string(id))},
		body:    func(a *wire.Auth) any { return wire.WithAuth{Auth: a} },
		with:    s.withPassword(password),
	}, nil)
}

// withPassword answers the stages that a password or nothing is enough for.
func (s *Session) withPassword(password client.Secret) func(stage string) *wire.Auth {
	return func(stage string) *wire.Auth {
		switch {
		case stage == wire.StageDummy:
			return &wire.Auth{}
		case stage == wire.StagePassword && !password.Empty():
			return &wire.Auth{
				Identifier: wire.Identifier{Type: wire.IdentifierUser, User: string(s.account.User)},
				Password:   password.Reveal(),
			}
		}
		return nil
	}
}

// Judge implements client.DeviceJudge.
func (s *Session) Judge(ctx context.Context, user quinta.UserID, id quinta.DeviceID, t quinta.Trust) error {
	const op = "judging a device"
	if user == "" {
		user = s.account.User
	}
	decision, ok := map[quinta.Trust]matrix.Decision{
		quinta.TrustVerified: matrix.Accept, quinta.TrustRejected: matrix.Reject, quinta.TrustUnknown: matrix.Skip,
	}[t]
	if !ok {
		return quinta.E(quinta.KindInvalid, op, "a device can be accepted, rejected, or neither")
	}
	if user == s.account.User && id == s.account.Device {
		return quinta.E(quinta.KindInvalid, op, "this is your own device")
	}
	return trustError(op, s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		devices, err := s.machine.Devices(tx, user)
		if err != nil {
			return nil, err
		}
		for _, d := range devices {
			if d.ID == id {
				return s.machine.Decide(tx, user, id, d.Ed25519, decision)
			}
		}
		return nil, matrix.ErrUnknownDevice
	}))
}

// Acknowledge implements client.DeviceJudge.
func (s *Session) Acknowledge(ctx context.Context, user quinta.UserID) error {
	return trustError("acknowledging an identity", s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		id, err := s.machine.UserIdentity(tx, user)
		if err != nil {
			return nil, err
		}
		return nil, s.machine.Acknowledge(tx, user, id.Master)
	}))
}

// trustError puts the machine's refusals into the words of the core.
func trustError(op string, err error) error {
	switch {
	case errors.Is(err, matrix.ErrUnknownDevice):
		return &quinta.Error{Kind: quinta.KindNotFound, Op: op, Err: err}
	case errors.Is(err, matrix.ErrMismatch):
		return &quinta.Error{Kind: quinta.KindConflict, Op: op, Err: err}
	}
	return err
}
