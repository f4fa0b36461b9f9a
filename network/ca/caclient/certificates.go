package caclient

import (
	"context"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

var (
	_ client.CertificateHolder = (*Session)(nil)
	_ client.Approver          = (*Session)(nil)
	_ client.Asker             = (*Session)(nil)
)

// Keys implements client.CertificateHolder.
func (s *Session) Keys(ctx context.Context) ([]client.KeyInfo, error) {
	const op = "asking for the keys"
	var list wire.KeyList
	if err := s.link.ask(ctx, op, large(get(dial.Path(wire.PathUserKeys, string(s.account.User)))), nil, &list); err != nil {
		return nil, err
	}
	out := make([]client.KeyInfo, 0, len(list.Keys))
	for i := range list.Keys {
		k := &list.Keys[i]
		if k.User != s.account.User {
			return nil, quinta.E(quinta.KindMalformed, op, "the server lists keys of another user")
		}
		out = append(out, client.KeyInfo{ID: printable.Line(string(k.ID)), Device: quinta.DeviceID(printable.Line(string(k.Device))), Use: printable.Line(k.Use), Profile: printable.Line(k.Profile),
			State: printable.Line(string(k.State)), NotBefore: k.NotBefore, Expires: k.Expires, Changed: k.Changed, Reason: printable.Line(k.Reason), Self: k.Device == s.account.Device})
	}
	return out, nil
}

// valid returns the ids of the valid keys of this device, and of those that
// are on the way to replace one.
func (s *Session) valid(tx e2ee.Tx) (active, made []string, err error) {
	keys, err := s.machine.OwnKeys(tx)
	now := s.env.Now()
	for _, k := range keys {
		switch {
		case k.State == "active" && now.Before(k.Expires):
			active = append(active, string(k.ID))
		case k.State == "made":
			made = append(made, string(k.ID))
		}
	}
	return active, made, err
}

// Renew implements client.CertificateHolder.
func (s *Session) Renew(ctx context.Context) ([]client.KeyInfo, error) {
	const op = "renewing the keys"
	nonce, renew := &errand{kind: ca.ReqNonce}, &errand{kind: ca.ReqRenew}
	defer s.errands.expect(nonce, renew)()
	var old, fresh []string
	if err := s.change(ctx, op, func(tx e2ee.Tx) (err error) {
		if old, _, err = s.valid(tx); err != nil {
			return err
		}
		if len(old) == 0 {
			return quinta.E(quinta.KindForbidden, op, "this device has no valid key: let another device of the account approve new keys, or log in as a new device")
		}
		return s.machine.Renew(tx)
	}); err != nil {
		return nil, err
	}
	if err := s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) {
		for _, e := range []*errand{nonce, renew} {
			if a := e.answer(); a != nil && a.Code != "" && a.Code != string(wire.CodeNonce) {
				return false, refused(op, a)
			}
		}
		active, _, err := s.valid(tx)
		fresh = active
		return err == nil && len(active) >= len(old) && !slices.ContainsFunc(old, func(id string) bool { return slices.Contains(active, id) }), err
	}); err != nil {
		return nil, errorOf(op, err)
	}
	all, err := s.Keys(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(k client.KeyInfo) bool { return !slices.Contains(fresh, k.ID) }), nil
}

// Revoke implements client.CertificateHolder.
func (s *Session) Revoke(ctx context.Context, id, reason string) error {
	const op = "revoking a key"
	if reason == "" {
		reason = client.RevokeUnspecified
	}
	if _, ok := cert.Reasons[reason]; !ok {
		return quinta.E(quinta.KindInvalid, op, "a reason is unspecified, key-compromise, superseded or cessation")
	}
	return s.carry(ctx, op, &errand{kind: ca.ReqRevoke, what: id}, func(tx e2ee.Tx) error { return s.machine.Revoke(tx, cert.Fingerprint(id), reason) }, nil)
}

// Approve implements client.Approver.
func (s *Session) Approve(ctx context.Context, id quinta.DeviceID, keys ...string) error {
	const op = "approving a device"
	if len(keys) == 0 {
		return quinta.E(quinta.KindInvalid, op, "no key was named")
	}
	for _, k := range keys {
		if err := s.carry(ctx, op, &errand{kind: ca.ReqApprove, what: k}, func(tx e2ee.Tx) error { return s.machine.Approve(tx, id, cert.Fingerprint(k)) }, nil); err != nil {
			return err
		}
	}
	return nil
}

// Give implements client.Approver.
func (s *Session) Give(ctx context.Context, id quinta.DeviceID) error {
	const op = "giving keys to a device"
	if _, err := s.device(ctx, op, s.account.User, id); err != nil {
		return err
	}
	return s.change(ctx, op, func(tx e2ee.Tx) error { return s.machine.GiveKeys(tx, id) })
}

// Retry implements client.Approver.
func (s *Session) Retry(ctx context.Context) error {
	return s.change(ctx, "asking for certificates again", s.machine.Retry)
}

// AskAgain implements client.Asker.
func (s *Session) AskAgain(ctx context.Context) (n int, err error) {
	err = s.change(ctx, "asking senders", func(tx e2ee.Tx) (err error) {
		n, err = s.machine.AskSenders(tx)
		return err
	})
	return n, err
}
