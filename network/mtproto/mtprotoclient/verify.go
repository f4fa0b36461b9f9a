package mtprotoclient

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
)

var (
	_ client.Verifier    = (*Session)(nil)
	_ client.TimerSetter = (*Session)(nil)
)

// Verify implements client.Verifier for the newest open chat with a user, who is named by id, number or
// @username. All 36 bytes of the key's hash are compared, as a picture and in hexadecimal; other clients
// show the first 32 bytes. Nothing is sent: each side decides for itself, and what it decided holds for as
// long as the chat lives.
func (s *Session) Verify(ctx context.Context, user quinta.UserID, id quinta.DeviceID, compare func(ctx context.Context, s client.ShortStrings) (bool, error)) error {
	const op = "verifying"
	var chats []secretchat.ChatInfo
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { chats, err = s.machine.Chats(tx); return err }); err != nil {
		return errorOf(op, err)
	}
	var chat *secretchat.ChatInfo
	for i := range chats {
		c := &chats[i]
		if c.State == secretchat.StateOpen && isUser(c.Peer, string(user)) && (chat == nil || c.Created.After(chat.Created)) {
			chat = c
		}
	}
	if chat == nil {
		return quinta.E(quinta.KindNotFound, op, "there is no open chat with this user")
	}
	same, err := compare(ctx, client.ShortStrings{With: quinta.Device{User: secretchat.UserID(chat.Peer.ID)}, Words: hexGroups(chat.Hash), Picture: picture(chat.Hash)})
	if err != nil {
		return err
	}
	if err := s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return s.machine.Verify(tx, quinta.RoomID(chat.ID.String()), same)
	}); err != nil {
		return err
	}
	if !same {
		return &quinta.Error{Kind: quinta.KindForbidden, Op: op, Err: fmt.Errorf("%w: someone may be between the two sides; close the chat", client.ErrMismatch)}
	}
	return nil
}

// isUser reports whether a person is the one that a user typed.
func isUser(p secretchat.Person, typed string) bool {
	name, username := strings.CutPrefix(typed, "@")
	return typed == string(secretchat.UserID(p.ID)) || username && strings.EqualFold(name, p.Username) || p.Phone != "" && digits(typed) == p.Phone
}

// hexGroups writes a hash as groups of four digits.
func hexGroups(h secretchat.Hash) []string {
	var out []string
	for i := 0; i < len(h); i += 2 {
		out = append(out, fmt.Sprintf("%02x%02x", h[i], h[i+1]))
	}
	return out
}

// picture is the drawing of a hash.
func picture(h secretchat.Hash) [][]uint8 {
	var rows [][]uint8
	for _, row := range h.Picture() {
		rows = append(rows, row[:])
	}
	return rows
}

// AwaitVerify implements client.Verifier. On this network no request comes.
func (s *Session) AwaitVerify(context.Context, func(quinta.Device) bool, func(context.Context, client.ShortStrings) (bool, error)) error {
	return quinta.E(quinta.KindInvalid, "verifying", "this network has no requests: each side verifies the other by name")
}

// SetTimer implements client.TimerSetter.
func (s *Session) SetTimer(ctx context.Context, room quinta.RoomID, d time.Duration) error {
	return s.do(ctx, "setting the timer", func(tx e2ee.Tx) ([]e2ee.Event, error) { return s.machine.SetTimer(tx, room, d) })
}
