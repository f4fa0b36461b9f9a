package kill

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gotd/td/exchange"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// chats is the load on the secret chat network: one user with one device asks
// a second user, who has two. One chat carries messages both ways; others are
// asked for, and both devices of the second user accept each of them.
type chats struct {
	asker *chatDevice
	// takers are the devices of the second user. The first is in the chat.
	takers []*chatDevice
	// whom names the second user for the first.
	whom *wire.InputUser
	// raced is how many chats were accepted by both, and won who got them.
	raced int
	won   map[int32]*chatDevice
}

// A chatDevice is one device, and what the server has promised to it.
type chatDevice struct {
	name string
	// line carries its own calls, ear what it is told.
	line, ear *line
	chat      *wire.InputEncryptedChat
	public    []byte // g_b of every chat that it accepts
	said      int    // acknowledged

	qts, pts int32
	heard    int

	mu    sync.Mutex
	asked map[int32]int64 // requests for chats, with their access hashes
}

// theChat is the id of the chat that carries messages.
const theChat = 1000

// raceEvery is how long the asker rests between two requests.
const raceEvery = 100 * time.Millisecond

// StartChats sets devices of the secret chat network to work as well. command
// runs a command of the operator on the server.
func (l *Load) StartChats(command func(args ...string) string) {
	l.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	end := l.cancel
	l.cancel = func() { cancel(); end() }
	text, _, _ := strings.Cut(command("mtproto", "key"), "fingerprint")
	key, err := wire.ParsePublicKey([]byte(text))
	if err != nil {
		l.tb.Fatal(err)
	}
	c := &chats{won: map[int32]*chatDevice{}}
	for i, user := range []string{"user0", "user1", "user1"} {
		d := &chatDevice{name: fmt.Sprintf("%s/%d", user, i), asked: map[int32]int64{}}
		d.line, d.ear = &line{l: l, url: l.urls[0]}, &line{l: l, url: l.urls[0]}
		number := strings.TrimSpace(command("user", "number", user))
		if err := d.login(ctx, exchange.PublicKey{RSA: key}, number, func() string { return strings.TrimSpace(command("user", "code", user)) }); err != nil {
			l.tb.Fatalf("%s: %v", d.name, err)
		}
		if c.asker == nil {
			c.asker = d
		} else {
			c.takers = append(c.takers, d)
		}
	}
	if err := l.openChat(ctx, c); err != nil {
		l.tb.Fatal(err)
	}
	l.chats = c
	for _, d := range []*chatDevice{c.asker, c.takers[0]} {
		l.run(ctx, &l.work, func(ctx context.Context, _ int) error { return l.chatSay(ctx, d) })
	}
	race := &line{l: l, url: l.urls[0], key: c.asker.line.key}
	l.run(ctx, &l.work, func(ctx context.Context, n int) error { return l.race(ctx, c, race, int32(theChat+1+n)) })
	for _, d := range append(c.takers, c.asker) {
		l.syncs.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.chatListen(ctx, d); err != nil && ctx.Err() == nil {
					l.tb.Errorf("%s: %v", d.name, err)
					return
				}
			}
		})
	}
}

// want makes a call whose answer must be a T.
func want[T any](ctx context.Context, c *line, req any) (T, error) {
	got, err := c.call(ctx, req)
	t, ok := got.(T)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %T: %+v", errBroken, req, got)
	}
	return t, err
}

func (d *chatDevice) login(ctx context.Context, server exchange.PublicKey, number string, code func() string) error {
	if err := d.line.agree(ctx, server); err != nil {
		return err
	}
	d.ear.key = d.line.key
	sent, err := want[*wire.SentCode](ctx, d.line, &wire.SendCode{PhoneNumber: number, APIHash: "x", Settings: &wire.CodeSettings{}})
	if err != nil {
		return err
	}
	if _, err = want[*wire.Authorization](ctx, d.line, &wire.SignIn{PhoneNumber: number, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: code()}); err != nil {
		return err
	}
	s, err := want[*wire.State](ctx, d.line, &wire.GetState{})
	if err != nil {
		return err
	}
	d.qts, d.pts = s.Qts, s.Pts
	secret, err := secretchat.NewSecret(rand.Reader, nil)
	if err == nil {
		d.public, err = secret.Public(secretchat.KnownGroup())
	}
	return err
}

// openChat makes the chat that carries messages.
func (l *Load) openChat(ctx context.Context, c *chats) error {
	found, err := want[*wire.ResolvedPeer](ctx, c.asker.line, &wire.ResolveUsername{Username: "user1"})
	if err != nil {
		return err
	}
	u := found.Users[0].(*wire.User)
	c.whom = &wire.InputUser{UserID: u.ID, AccessHash: u.AccessHash}
	w, err := want[*wire.EncryptedChatWaiting](ctx, c.asker.line, &wire.RequestEncryption{UserID: c.whom, RandomID: theChat, GA: c.asker.public})
	if err != nil {
		return err
	}
	c.asker.chat = &wire.InputEncryptedChat{ChatID: w.ID, AccessHash: w.AccessHash}
	d := c.takers[0]
	for d.chat == nil {
		if _, err := l.chatListen(ctx, d); err != nil {
			return err
		}
		d.chat = d.request(theChat)
	}
	_, err = want[*wire.EncryptedChat](ctx, d.line, &wire.AcceptEncryption{Peer: d.chat, GB: d.public, KeyFingerprint: 5})
	return err
}

// request returns a chat that the device was asked for, or nil.
func (d *chatDevice) request(id int32) *wire.InputEncryptedChat {
	d.mu.Lock()
	defer d.mu.Unlock()
	if access, ok := d.asked[id]; ok {
		return &wire.InputEncryptedChat{ChatID: id, AccessHash: access}
	}
	return nil
}

// chatSay sends the next message of a device. It has the form of a sealed one,
// which is all that the server looks at; its number stands where the sealed
// text would begin.
func (l *Load) chatSay(ctx context.Context, d *chatDevice) error {
	data := make([]byte, 24+64)
	rand.Read(data)
	binary.LittleEndian.PutUint64(data[24:], uint64(d.said))
	if _, err := want[*wire.SentEncryptedMessage](ctx, d.line, &wire.SendEncrypted{Peer: d.chat, RandomID: int64(d.said) + 1, Data: data}); err != nil {
		return err
	}
	d.said++
	return nil
}

// race asks for a chat and has both devices accept it at the same time. One of
// them gets it.
func (l *Load) race(ctx context.Context, c *chats, asker *line, id int32) error {
	if _, err := want[*wire.EncryptedChatWaiting](ctx, asker, &wire.RequestEncryption{UserID: c.whom, RandomID: id, GA: c.asker.public}); err != nil {
		return err
	}
	var wg sync.WaitGroup
	won, errs := make([]bool, len(c.takers)), make([]error, len(c.takers))
	for i, d := range c.takers {
		wg.Go(func() { won[i], errs[i] = l.accept(ctx, d, id) })
	}
	wg.Wait()
	for i, d := range c.takers {
		if errs[i] != nil {
			return errs[i]
		}
		if won[i] {
			if other := c.won[id]; other != nil {
				return fmt.Errorf("both %s and %s have the chat %d", other.name, d.name, id)
			}
			c.won[id] = d
		}
	}
	if c.won[id] == nil {
		return fmt.Errorf("nobody has the chat %d, which both accepted", id)
	}
	c.raced++
	select {
	case <-ctx.Done():
	case <-l.quit:
	case <-time.After(raceEvery):
	}
	return nil
}

// accept accepts a chat as soon as the device was asked for it, and reports
// whether the device got it.
func (l *Load) accept(ctx context.Context, d *chatDevice, id int32) (bool, error) {
	chat := d.request(id)
	for deadline := time.Now().Add(time.Minute); chat == nil; chat = d.request(id) {
		if time.Now().After(deadline) {
			return false, fmt.Errorf("%s was never asked for the chat %d", d.name, id)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(pause):
		}
	}
	c := &line{l: l, url: d.line.url, key: d.line.key}
	defer c.hangUp()
	got, err := c.call(ctx, &wire.AcceptEncryption{Peer: chat, GB: d.public, KeyFingerprint: 5})
	if err != nil {
		return false, err
	}
	switch got := got.(type) {
	case *wire.EncryptedChat:
		return true, nil
	case *wire.RPCError:
		if got.Message == "ENCRYPTION_ALREADY_ACCEPTED" {
			return false, nil
		}
	}
	return false, fmt.Errorf("%w: %s accepts: %+v", errBroken, d.name, got)
}

// chatListen fetches what waits for a device and acknowledges it; it returns
// how much that was.
func (l *Load) chatListen(ctx context.Context, d *chatDevice) (int, error) {
	got, err := d.ear.call(ctx, &wire.GetDifference{Qts: d.qts, Pts: d.pts, Date: 1})
	if err != nil {
		return 0, err
	}
	var messages, others []any
	var state any
	switch g := got.(type) {
	case *wire.DifferenceEmpty:
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		return 0, nil
	case *wire.Difference:
		messages, others, state = g.NewEncryptedMessages, g.OtherUpdates, g.State
	case *wire.DifferenceSlice:
		messages, others, state = g.NewEncryptedMessages, g.OtherUpdates, g.IntermediateState
	default:
		return 0, fmt.Errorf("%w: %+v", errBroken, got)
	}
	s, ok := state.(*wire.State)
	if !ok || int(s.Qts-d.qts) != len(messages) {
		return 0, fmt.Errorf("%d messages lead from qts %d to %+v", len(messages), d.qts, state)
	}
	d.qts, d.pts = s.Qts, s.Pts
	for _, m := range messages {
		e, ok := m.(*wire.EncryptedMessage)
		if !ok || len(e.Bytes) < 32 {
			return 0, fmt.Errorf("%w: %+v", errBroken, m)
		}
		if n := int(binary.LittleEndian.Uint64(e.Bytes[24:])); n != d.heard || e.ChatID != theChat {
			return 0, fmt.Errorf("got message %d, want %d: it came twice, out of order, or one is lost", n, d.heard)
		}
		d.heard++
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range others {
		if e, ok := u.(*wire.UpdateEncryption); ok {
			if r, ok := e.Chat.(*wire.EncryptedChatRequested); ok {
				d.asked[r.ID] = r.AccessHash
			}
		}
	}
	return len(messages) + len(others), nil
}

// checkChats compares what was promised with what the server has.
func (l *Load) checkChats(ctx context.Context) {
	c := l.chats
	if c == nil {
		return
	}
	l.tb.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, d := range append(c.takers, c.asker) {
		d.ear.hangUp()
		for {
			n, err := l.chatListen(ctx, d)
			if err != nil {
				l.tb.Errorf("%s: %v", d.name, err)
				return
			}
			if n == 0 {
				break
			}
		}
	}
	for _, pair := range [][2]*chatDevice{{c.asker, c.takers[0]}, {c.takers[0], c.asker}} {
		if from, to := pair[0], pair[1]; to.heard != from.said || from.said == 0 {
			l.tb.Errorf("%s got %d messages, want the %d of %s that were acknowledged", to.name, to.heard, from.said, from.name)
		}
	}
	if c.raced == 0 {
		l.tb.Error("no chat was accepted by two devices")
	}
	for id, winner := range c.won {
		for _, d := range c.takers {
			if won, err := l.accept(ctx, d, id); err != nil || won != (d == winner) {
				l.tb.Errorf("%s accepts chat %d of %s once more: got %v, %v", d.name, id, winner.name, won, err)
			}
		}
	}
	l.tb.Logf("secret chats: %d and %d messages, %d chats for which two devices ran", c.asker.said, c.takers[0].said, c.raced)
}
