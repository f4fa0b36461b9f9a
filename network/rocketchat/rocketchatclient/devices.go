package rocketchatclient

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/internal/printable"
)

var _ client.DeviceJudge = (*Session)(nil)

// Devices implements client.DeviceJudge. A user has one entry, their key pair: the
// network knows no devices. A key that was never seen is requested, where the
// server shows public keys.
func (s *Session) Devices(ctx context.Context, user quinta.UserID) ([]client.DeviceInfo, error) {
	const op = "looking keys up"
	user = quinta.UserID(strings.TrimPrefix(string(user), "@"))
	if user == "" || user == s.Self().User {
		info, err := s.keys(ctx)
		if err != nil || info.Fingerprint == "" {
			return nil, err
		}
		return []client.DeviceInfo{{Device: quinta.Device{User: s.Self().User, ID: keyName(info.Fingerprint), Name: "key pair"}, Fingerprint: printable.Grouped(info.Fingerprint),
			Own: true, Self: info.Phase == rocketchat.PhaseOpen, Trust: quinta.TrustVerified}}, nil
	}
	pin, err := s.pin(ctx, user)
	if errors.Is(err, rocketchat.ErrUnknownUser) {
		return nil, nil
	}
	if err != nil {
		return nil, errorOf(op, err)
	}
	out := []client.DeviceInfo{{Device: quinta.Device{User: user, ID: keyName(pin.Fingerprint), Name: "key pair"}, Fingerprint: printable.Grouped(pin.Fingerprint), Trust: pin.Trust}}
	if pin.New != "" {
		out = append(out, client.DeviceInfo{Device: quinta.Device{User: user, ID: keyName(pin.New), Name: "changed key pair, not accepted"}, Fingerprint: printable.Grouped(pin.New)})
	}
	return out, nil
}

// pin asks the server for a user's public key, if it shows keys, and returns what is
// pinned, for the id of the user: what the server calls them may change.
func (s *Session) pin(ctx context.Context, user quinta.UserID) (rocketchat.PinInfo, error) {
	id, err := s.userID(ctx, user)
	if err != nil {
		return rocketchat.PinInfo{}, err
	}
	var a struct {
		Public string `json:"RSA-PubKey"`
	}
	err = s.link.get(ctx, "looking keys up", "e2e.fetchKeychain", url.Values{"uid": {id}}, &a)
	if err == nil && a.Public != "" {
		if err := s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return s.machine.Show(tx, rocketchat.Waiting{User: id, Name: string(user), Public: a.Public})
		}); err != nil {
			return rocketchat.PinInfo{}, err
		}
	} else if k := quinta.KindOf(err); err != nil && k != quinta.KindNotFound && k != quinta.KindInvalid {
		return rocketchat.PinInfo{}, err
	}
	var pin rocketchat.PinInfo
	err = s.look(ctx, func(tx e2ee.Tx) (err error) { pin, err = s.machine.Pin(tx, quinta.UserID(id)); return err })
	return pin, err
}

// keyName is the name of a key pair where others have devices.
func keyName(fingerprint string) quinta.DeviceID {
	return quinta.DeviceID(fingerprint[:min(16, len(fingerprint))])
}

// Rename implements client.DeviceJudge; the network has no names of devices.
func (s *Session) Rename(context.Context, quinta.DeviceID, string) error {
	return quinta.E(quinta.KindInvalid, "renaming", "this network has no device names")
}

// SignOut implements client.DeviceJudge; the network ends all other logins at once.
func (s *Session) SignOut(context.Context, quinta.DeviceID, client.Secret) error {
	return quinta.E(quinta.KindInvalid, "signing out", "this network ends all other logins at once: use its app for that")
}

// Judge implements client.DeviceJudge.
func (s *Session) Judge(ctx context.Context, user quinta.UserID, id quinta.DeviceID, t quinta.Trust) error {
	const op = "judging a key"
	if t == quinta.TrustUnknown {
		t = quinta.TrustPinned
	}
	pin, err := s.pin(ctx, quinta.UserID(strings.TrimPrefix(string(user), "@")))
	if err != nil {
		return errorOf(op, err)
	}
	if id != "" && id != keyName(pin.Fingerprint) {
		return quinta.E(quinta.KindNotFound, op, "this is not the user's accepted key pair: accept the changed one first")
	}
	return s.change(ctx, op, func(tx e2ee.Tx) error { return s.machine.Judge(tx, pin.User, t) })
}

// Acknowledge implements client.DeviceJudge.
func (s *Session) Acknowledge(ctx context.Context, user quinta.UserID) error {
	const op = "accepting a changed key"
	pin, err := s.pin(ctx, quinta.UserID(strings.TrimPrefix(string(user), "@")))
	if err != nil {
		return errorOf(op, err)
	}
	return s.change(ctx, op, func(tx e2ee.Tx) error { return s.machine.Acknowledge(tx, pin.User) })
}
