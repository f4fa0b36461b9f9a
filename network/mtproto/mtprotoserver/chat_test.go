package mtprotoserver_test

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/tl"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// TestLogin: the answer to a number tells nothing, whether anyone has it or
// not; a wrong code costs a try, and asking again gives no more of them; the
// right one logs in once.
func TestLogin(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		for _, name := range []string{"alice", "bob"} {
			if err := s.Core.AddAccount(t.Context(), name, "a long password"); err != nil {
				t.Fatal(err)
			}
		}
		p := join(t, s)
		p.refused(&wire.GetState{}, 401, "AUTH_KEY_UNREGISTERED")
		if e, ok := p.call([]byte{1, 2, 3, 4}).(*wire.RPCError); !ok || e.Code != 401 {
			t.Errorf("an unknown call before the login: got %+v", e)
		}
		p.refused(&wire.SendCode{PhoneNumber: "none", Settings: &wire.CodeSettings{}}, 400, "PHONE_NUMBER_INVALID")
		signIn := func(number, code string) *wire.SignIn {
			sent := ask[*wire.SentCode](p, &wire.SendCode{PhoneNumber: number, Settings: &wire.CodeSettings{}})
			if n := sent.Type.(*wire.SentCodeTypeSms).Length; n != 5 {
				t.Errorf("the code has %d digits, want 5", n)
			}
			return &wire.SignIn{PhoneNumber: number, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: code}
		}
		for _, number := range []string{"+88899999999", command(t, s, "user number", nil, "bob")} {
			in := signIn(number, "x")
			for range 5 {
				p.refused(in, 400, "PHONE_CODE_INVALID")
			}
			for _, in := range []*wire.SignIn{in, signIn(number, "x")} {
				if e, ok := p.do(in).(*wire.RPCError); !ok || e.Code != 420 || !strings.HasPrefix(e.Message, "FLOOD_WAIT_") {
					t.Errorf("%s, a sixth try: got %+v, want a wait", number, e)
				}
			}
		}
		number := command(t, s, "user number", nil, "alice")
		if _, err := s.Core.RunCommand(t.Context(), "user code", server.CommandInput{Args: []string{"alice"}}); quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("the code of someone who does not log in: got %v", err)
		}
		in := signIn(number, "")
		p.refused(in, 400, "PHONE_CODE_EMPTY")
		p.refused(&wire.SignIn{PhoneNumber: number, PhoneCodeHash: "another", PhoneCode: "1"}, 400, "PHONE_CODE_EXPIRED")
		in.PhoneCode = command(t, s, "user code", nil, "alice")
		again := ask[*wire.SentCode](p, &wire.ResendCode{PhoneNumber: number, PhoneCodeHash: in.PhoneCodeHash})
		if now := command(t, s, "user code", nil, "alice"); now != in.PhoneCode || again.PhoneCodeHash != in.PhoneCodeHash {
			t.Errorf("asked again: got %s, want the code %s", now, in.PhoneCode)
		}
		u := ask[*wire.Authorization](p, in).User.(*wire.User)
		if !u.Self || u.FirstName != "alice" || u.ID <= 1<<32 || "+"+u.Phone != number {
			t.Errorf("got %+v", u)
		}
		if e, ok := p.call([]byte{1, 2, 3, 4}).(*wire.RPCError); !ok || e.Code != 400 {
			t.Errorf("an unknown call after the login: got %+v, want 400 and never 401", e)
		}
		// The code is used up also for another device, which has to ask for one;
		// the first device is told.
		q := join(t, s)
		ask[*wire.Config](q, &wire.GetConfig{})
		sent := ask[*wire.SentCode](q, &wire.SendCode{PhoneNumber: number, Settings: &wire.CodeSettings{}})
		next := command(t, s, "user code", nil, "alice")
		if next != in.PhoneCode {
			q.refused(&wire.SignIn{PhoneNumber: number, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: in.PhoneCode}, 400, "PHONE_CODE_INVALID")
		}
		told := false
		for _, u := range p.difference(1, 1).OtherUpdates {
			n, ok := u.(*wire.UpdateServiceNotification)
			told = told || ok && strings.Contains(n.Message, next) && n.InboxDate > 0
		}
		if !told {
			t.Errorf("the other device is not told the code %s", next)
		}
		ask[*wire.LoggedOut](p, &wire.LogOut{})
		p.refused(&wire.GetState{}, 401, "AUTH_KEY_UNREGISTERED")
	})
}

// TestCodeTooLate: after five minutes a code has expired, and the next one is
// another.
func TestCodeTooLate(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := start(t, quintatest.Clock(now))
	if err := s.Core.AddAccount(t.Context(), "alice", "a long password"); err != nil {
		t.Fatal(err)
	}
	number := command(t, s, "user number", nil, "alice")
	p := join(t, s)
	sent := ask[*wire.SentCode](p, &wire.SendCode{PhoneNumber: number, Settings: &wire.CodeSettings{}})
	in := &wire.SignIn{PhoneNumber: number, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: command(t, s, "user code", nil, "alice")}
	ahead.Store(int64(5 * time.Minute))
	p.now = now
	p.refused(in, 400, "PHONE_CODE_EXPIRED")
}

// TestFixedCode: an operator's fixed code logs in again and again, for that
// account alone, until it is taken away.
func TestFixedCode(t *testing.T) {
	s := start(t)
	for _, name := range []string{"alice", "bob"} {
		if err := s.Core.AddAccount(t.Context(), name, "a long password"); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"1234", "abcdef", "123456789012345678901"} {
		if _, err := s.Core.RunCommand(t.Context(), "user code", server.CommandInput{Args: []string{"alice"}, Flags: map[string]string{"fix": bad}}); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("the code %s: got %v", bad, err)
		}
	}
	command(t, s, "user code", map[string]string{"fix": "4711081547"}, "alice")
	p := join(t, s)
	signIn := func(name string) any {
		number := command(t, s, "user number", nil, name)
		sent := ask[*wire.SentCode](p, &wire.SendCode{PhoneNumber: number, Settings: &wire.CodeSettings{}})
		return p.do(&wire.SignIn{PhoneNumber: number, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: "4711081547"})
	}
	for range 2 {
		if got, ok := signIn("alice").(*wire.Authorization); !ok {
			t.Errorf("the fixed code: got %+v", got)
		}
		ask[*wire.LoggedOut](p, &wire.LogOut{})
	}
	if got, ok := signIn("bob").(*wire.RPCError); !ok || got.Message != "PHONE_CODE_INVALID" {
		t.Errorf("another account: got %+v", got)
	}
	command(t, s, "user code", map[string]string{"fix": "none"}, "alice")
	if got, ok := signIn("alice").(*wire.RPCError); !ok || got.Message != "PHONE_CODE_INVALID" {
		t.Errorf("after it was taken away: got %+v", got)
	}
}

// TestNumbers: an operator sets numbers, no one has one twice, and an account
// with another number has lost its own.
func TestNumbers(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		p := logged(t, s, "alice")
		logged(t, s, "bob")
		own := command(t, s, "user number", nil, "bob")
		if got := command(t, s, "user number", map[string]string{"set": "+1 (555) 123-4567"}, "bob"); got != "+15551234567" {
			t.Errorf("got %s", got)
		}
		ask[*wire.ResolvedPeer](p, &wire.ResolvePhone{Phone: "15551234567"})
		p.refused(&wire.ResolvePhone{Phone: own}, 400, "PHONE_NOT_OCCUPIED")
		for _, taken := range []string{"15551234567", "12", "abc"} {
			if _, err := s.Core.RunCommand(t.Context(), "user number", server.CommandInput{Args: []string{"alice"}, Flags: map[string]string{"set": taken}}); err == nil {
				t.Errorf("alice got the number %s", taken)
			}
		}
		for _, cmd := range []string{"user number", "user code"} {
			if _, err := s.Core.RunCommand(t.Context(), cmd, server.CommandInput{Args: []string{"nobody"}}); quinta.KindOf(err) != quinta.KindNotFound {
				t.Errorf("%s of no one: got %v", cmd, err)
			}
		}
	})
}

// TestPeople: access hashes are those of the viewer, and no one is shown
// without one.
func TestPeople(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		ab, bb := a.finds("bob"), b.finds("bob")
		if ab.UserID != bb.UserID || ab.AccessHash == bb.AccessHash {
			t.Errorf("the same user: %+v and %+v, want one id and two hashes", ab, bb)
		}
		a.refused(&wire.GetFullUser{ID: bb}, 400, "USER_ID_INVALID")
		a.refused(&wire.RequestEncryption{UserID: bb, RandomID: 5, GA: public(t)}, 400, "USER_ID_INVALID")
		ask[*wire.UsersUserFull](a, &wire.GetFullUser{ID: ab})
		if v := ask[tl.Rest](a, &wire.GetUsers{ID: []any{&wire.InputUserSelf{}, ab}}); v[4] != 2 {
			t.Errorf("two users: got %d", v[4])
		}
		a.refused(&wire.ResolveUsername{Username: "nobody"}, 400, "USERNAME_NOT_OCCUPIED")
	})
}

// TestAttack02PublicValues: the server refuses degenerate public values, so that
// no client has to meet them.
func TestAttack02PublicValues(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		p := new(big.Int).SetBytes(secretchat.KnownGroup().P())
		ask[*wire.EncryptedChatWaiting](a, &wire.RequestEncryption{UserID: a.finds("bob"), RandomID: 9, GA: public(t)})
		r := chatOf[*wire.EncryptedChatRequested](b)
		for _, v := range [][]byte{nil, {0}, {1}, p.Bytes(), new(big.Int).Sub(p, big.NewInt(1)).Bytes(), append([]byte{1}, p.Bytes()...)} {
			a.refused(&wire.RequestEncryption{UserID: a.finds("bob"), RandomID: 10, GA: v}, 400, "DH_G_A_INVALID")
			b.refused(&wire.AcceptEncryption{Peer: &wire.InputEncryptedChat{ChatID: 9, AccessHash: r.AccessHash}, GB: v}, 400, "DH_G_A_INVALID")
		}
	})
}

// TestAttackForeignChat: a chat belongs to two devices. The hash of the other
// side, another device of the same user and a stranger get nothing of it.
func TestAttackForeignChat(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b, c := logged(t, s, "alice"), logged(t, s, "bob"), logged(t, s, "carol")
		b2 := logged(t, s, "bob")
		ca, cb := opens(t, a, b, "bob", 21)
		if ca.AccessHash == cb.AccessHash {
			t.Error("both sides have one access hash")
		}
		send := func(in *wire.InputEncryptedChat) *wire.SendEncrypted {
			return &wire.SendEncrypted{Peer: in, RandomID: 1, Data: packet(t, 8)}
		}
		a.refused(send(cb), 400, "CHAT_ID_INVALID")
		c.refused(send(ca), 400, "CHAT_ID_INVALID")
		b2.refused(send(cb), 400, "ENCRYPTION_ID_INVALID")
		b2.refused(&wire.AcceptEncryption{Peer: cb, GB: public(t)}, 400, "ENCRYPTION_ALREADY_ACCEPTED")
		b2.refused(&wire.DiscardEncryption{ChatID: 21}, 400, "ENCRYPTION_ALREADY_ACCEPTED")
		c.refused(&wire.DiscardEncryption{ChatID: 21}, 400, "ENCRYPTION_ID_INVALID")
		c.refused(&wire.RequestEncryption{UserID: c.finds("bob"), RandomID: 21, GA: public(t)}, 400, "RANDOM_ID_DUPLICATE")
		a.refused(&wire.DiscardEncryption{}, 400, "CHAT_ID_EMPTY")
		for _, bad := range [][]byte{nil, make([]byte, 24), make([]byte, 41)} {
			a.refused(&wire.SendEncrypted{Peer: ca, RandomID: 2, Data: bad}, 400, "DATA_INVALID")
		}
		ask[*wire.SentEncryptedMessage](a, send(ca))
		if got := b.difference(0, 0); len(got.NewEncryptedMessages) != 1 {
			t.Errorf("bob has %d messages, want 1", len(got.NewEncryptedMessages))
		}
		if got := b2.difference(0, 0); len(got.NewEncryptedMessages) != 0 {
			t.Error("the second device got the message of the first")
		}
		if got := chatOf[*wire.EncryptedChatDiscarded](b2); got.ID != 21 {
			t.Errorf("the second device: got %+v", got)
		}
	})
}

// TestQueue: qts begins above 1 and counts by one, the same random_id is
// delivered once, what was acknowledged is gone, a position acknowledges only
// the device's own queue, and long queues come in slices.
func TestQueue(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		ca, cb := opens(t, a, b, "bob", 31)
		const n = 130
		first := &wire.SendEncrypted{Peer: ca, RandomID: 1000, Data: packet(t, 8)}
		date := ask[*wire.SentEncryptedMessage](a, first).Date
		for i := range int64(n - 1) {
			ask[*wire.SentEncryptedMessage](a, &wire.SendEncryptedService{Peer: ca, RandomID: 1001 + i, Data: packet(t, 8)})
		}
		if again := ask[*wire.SentEncryptedMessage](a, first).Date; again != date {
			t.Errorf("a repetition: got the date %d, want %d", again, date)
		}
		// Someone else's acknowledgements change nothing.
		a.do(&wire.GetDifference{Qts: 1 << 30, Pts: 1 << 30})
		var ids []int64
		qts, pts := int32(1), int32(1)
		slices := 0
		for {
			d := b.difference(qts, pts)
			if len(d.NewEncryptedMessages) == 0 {
				break
			}
			slices++
			for _, m := range d.NewEncryptedMessages {
				switch m := m.(type) {
				case *wire.EncryptedMessage:
					ids = append(ids, m.RandomID)
				case *wire.EncryptedMessageService:
					ids = append(ids, m.RandomID)
				}
			}
			st := d.State.(*wire.State)
			if int(st.Qts) != len(ids)+1 {
				t.Fatalf("after %d messages qts is %d, want %d", len(ids), st.Qts, len(ids)+1)
			}
			qts, pts = st.Qts, st.Pts
		}
		if len(ids) != n || slices < 2 {
			t.Fatalf("%d messages in %d slices, want %d in several", len(ids), slices, n)
		}
		for i, id := range ids {
			if id != 1000+int64(i) {
				t.Fatalf("message %d is %d: not in order", i, id)
			}
		}
		if got := b.difference(0, 0); len(got.NewEncryptedMessages) != 0 {
			t.Errorf("%d messages came again after they were acknowledged", len(got.NewEncryptedMessages))
		}
		// The other direction, and receivedQueue.
		ask[*wire.SentEncryptedMessage](b, &wire.SendEncrypted{Peer: cb, RandomID: 5, Data: packet(t, 8)})
		if got, want := ask[tl.Rest](a, &wire.ReceivedQueue{MaxQts: 2}), tl.Rest("\x15\xc4\xb5\x1c\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00"); !bytes.Equal(got, want) {
			t.Errorf("receivedQueue: got %x, want %x", got, want)
		}
		if got := a.difference(0, 0); len(got.NewEncryptedMessages) != 0 {
			t.Error("receivedQueue acknowledged nothing")
		}
	})
}

// TestPush: what comes is pushed in order to a device that is connected, the
// chat before its messages and the end after them, with the users.
func TestPush(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		st := ask[*wire.State](b, &wire.GetState{})
		w := ask[*wire.EncryptedChatWaiting](a, &wire.RequestEncryption{UserID: a.finds("bob"), RandomID: 41, GA: public(t)})
		ca := &wire.InputEncryptedChat{ChatID: 41, AccessHash: w.AccessHash}
		for len(b.pushed) == 0 {
			b.receive()
		}
		r, ok := b.pushed[0].(*wire.UpdateEncryption).Chat.(*wire.EncryptedChatRequested)
		if !ok {
			t.Fatalf("pushed: %+v", b.pushed[0])
		}
		b.pushed = nil
		ask[*wire.EncryptedChat](b, &wire.AcceptEncryption{Peer: &wire.InputEncryptedChat{ChatID: 41, AccessHash: r.AccessHash}, GB: public(t)})
		for i := range int64(5) {
			ask[*wire.SentEncryptedMessage](a, &wire.SendEncrypted{Peer: ca, RandomID: i + 1, Data: packet(t, 8)})
		}
		a.do(&wire.SetEncryptedTyping{Peer: ca, Typing: true})
		a.do(&wire.ReadEncryptedHistory{Peer: ca, MaxDate: 99})
		a.do(&wire.DiscardEncryption{ChatID: 41, DeleteHistory: true})
		qts := st.Qts
		typed, read, closed := false, false, false
		for !closed {
			b.receive()
			for _, u := range b.pushed {
				switch u := u.(type) {
				case *wire.UpdateNewEncryptedMessage:
					if qts++; u.Qts != qts {
						t.Errorf("pushed qts %d, want %d", u.Qts, qts)
					}
				case *wire.UpdateEncryptedChatTyping:
					typed = true
				case *wire.UpdateEncryptedMessagesRead:
					read = u.MaxDate == 99
				case *wire.UpdateEncryption:
					d, ok := u.Chat.(*wire.EncryptedChatDiscarded)
					closed = ok && d.HistoryDeleted
				}
			}
			b.pushed = nil
		}
		if qts != st.Qts+5 || !typed || !read {
			t.Errorf("pushed up to qts %d, typing %v, read %v", qts, typed, read)
		}
	})
}

// TestAcceptRace: of two devices that accept at the same time exactly one wins.
func TestAcceptRace(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b1 := logged(t, s, "alice"), logged(t, s, "bob")
		b2 := logged(t, s, "bob")
		for i := range int32(5) {
			id := 51 + i
			ask[*wire.EncryptedChatWaiting](a, &wire.RequestEncryption{UserID: a.finds("bob"), RandomID: id, GA: public(t)})
			var access int64
			for _, u := range b1.difference(0, 0).OtherUpdates {
				e, ok := u.(*wire.UpdateEncryption)
				if !ok {
					continue // the server's word on the other device's login
				}
				if r, ok := e.Chat.(*wire.EncryptedChatRequested); ok && r.ID == id {
					access = r.AccessHash
				}
			}
			var wg sync.WaitGroup
			won := make([]bool, 2)
			for j, p := range []*peer{b1, b2} {
				gb := public(t)
				wg.Go(func() {
					_, won[j] = p.do(&wire.AcceptEncryption{Peer: &wire.InputEncryptedChat{ChatID: id, AccessHash: access}, GB: gb}).(*wire.EncryptedChat)
				})
			}
			wg.Wait()
			if won[0] == won[1] {
				t.Fatalf("chat %d: accepted by both or none: %v", id, won)
			}
		}
	})
}

// TestDHConfig: the parameters, their version, and randomness of the length
// that is requested.
func TestDHConfig(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		p := logged(t, s, "alice")
		got := ask[*wire.DHConfig](p, &wire.GetDHConfig{RandomLength: 256})
		var v secretchat.Verdicts
		if _, err := v.Group(rand.Reader, int(got.G), got.P); err != nil || len(got.Random) != 256 {
			t.Errorf("got %v, %d random bytes", err, len(got.Random))
		}
		if n := len(ask[*wire.DHConfigNotModified](p, &wire.GetDHConfig{Version: got.Version, RandomLength: 16}).Random); n != 16 {
			t.Errorf("got %d random bytes, want 16", n)
		}
		p.refused(&wire.GetDHConfig{RandomLength: 1 << 30}, 400, "RANDOM_LENGTH_INVALID")
	})
}

// TestClosedAccount: the peers of an account that is closed are told, and its
// requests are gone.
func TestClosedAccount(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		opens(t, a, b, "bob", 61)
		if err := s.Core.RemoveAccount(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		if got := chatOf[*wire.EncryptedChatDiscarded](a); got.ID != 61 {
			t.Errorf("got %+v", got)
		}
		a.refused(&wire.ResolveUsername{Username: "bob"}, 400, "USERNAME_NOT_OCCUPIED")
	})
}

// TestWeek: what no one has acknowledged is kept for a week.
func TestWeek(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		s := start(t, store, quintatest.Clock(now))
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		ca, _ := opens(t, a, b, "bob", 71)
		ask[*wire.SentEncryptedMessage](a, &wire.SendEncrypted{Peer: ca, RandomID: 1, Data: packet(t, 8)})
		a.now, b.now = now, now
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{6 * 24 * time.Hour, 1}, {2 * 24 * time.Hour, 0}} {
			ahead.Add(int64(c.after))
			if err := s.Core.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(b.difference(0, 0).NewEncryptedMessages); n != c.want {
				t.Errorf("%s later: %d messages, want %d", c.after, n, c.want)
			}
		}
	})
}
