package rocketchatclient

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

var _ client.Verifier = (*Session)(nil)

// Verify implements client.Verifier. Both sides see the same twelve words, made of the
// fingerprints of both key pairs, each on its own: nothing is sent, and each side
// decides for itself. A key that changed has to be accepted before it can be compared.
func (s *Session) Verify(ctx context.Context, user quinta.UserID, id quinta.DeviceID, compare func(ctx context.Context, s client.ShortStrings) (bool, error)) error {
	const op = "verifying"
	user = quinta.UserID(strings.TrimPrefix(string(user), "@"))
	if user == "" || user == s.Self().User {
		return quinta.E(quinta.KindInvalid, op, "on this network, all devices of an account have the same key pair: there is nothing to compare")
	}
	pin, err := s.pin(ctx, user)
	if err != nil {
		if errors.Is(err, rocketchat.ErrUnknownUser) {
			return quinta.E(quinta.KindNotFound, op, "no key of this user has been seen yet: exchange a message first")
		}
		return errorOf(op, err)
	}
	var words []string
	var fingerprint string
	err = s.look(ctx, func(tx e2ee.Tx) (err error) {
		words, fingerprint, err = s.machine.Words(tx, pin.User)
		return err
	})
	if err != nil {
		return errorOf(op, err)
	}
	if id != "" && id != keyName(fingerprint) {
		return quinta.E(quinta.KindNotFound, op, "the user's key pair has another name")
	}
	same, err := compare(ctx, client.ShortStrings{With: quinta.Device{User: user, ID: keyName(fingerprint), Name: "key pair"}, Words: words})
	if err != nil {
		return err
	}
	if !same {
		return &quinta.Error{Kind: quinta.KindForbidden, Op: op, Err: fmt.Errorf("%w: the words are not the same, and the key pair is not verified", client.ErrMismatch)}
	}
	return s.change(ctx, op, func(tx e2ee.Tx) error { return s.machine.Verified(tx, pin.User, fingerprint) })
}

// AwaitVerify implements client.Verifier. On this network no request comes.
func (s *Session) AwaitVerify(context.Context, func(quinta.Device) bool, func(context.Context, client.ShortStrings) (bool, error)) error {
	return quinta.E(quinta.KindInvalid, "verifying", "on this network there are no requests: verify the other user by name while they do the same")
}
