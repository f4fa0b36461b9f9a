package mtprotoclient

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// pollFor is how long Receive waits before it asks again by itself.
const pollFor = 60 * time.Second

// A link carries the machine's calls over one connection, which its runner
// holds.
type link struct {
	env     e2ee.Env
	dialer  dialer
	target  target
	key     *secretchat.Key
	machine *secretchat.Machine
	// waits says that Receive may wait for something to come.
	waits atomic.Bool

	mu   sync.Mutex
	live *conn
}

var _ client.Link[secretchat.In, secretchat.Req, secretchat.Ans] = (*link)(nil)

var _ client.Connected = (*link)(nil)

// Connect implements client.Connected.
func (l *link) Connect(ctx context.Context) (context.Context, func(), error) {
	c, err := l.dialer.connect(ctx, l.target, l.key)
	if err != nil {
		return nil, nil, passing(err)
	}
	l.mu.Lock()
	l.live = c
	l.mu.Unlock()
	live, end := context.WithCancelCause(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-c.done
		end(c.err)
	}()
	return live, func() { c.close(); <-ended }, nil
}

// conn returns the connection that is held.
func (l *link) conn() (*conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		return nil, errLost
	}
	return l.live, nil
}

// nudge has a Receive that waits look again when the next message ends.
func (l *link) nudge() {
	if c, err := l.conn(); err == nil {
		c.wakeUp()
	}
}

// call makes a call. What may pass is worth another try.
func (l *link) call(ctx context.Context, req any) (any, error) {
	c, err := l.conn()
	if err != nil {
		return nil, err
	}
	o, err := c.call(ctx, req)
	return o, passing(err)
}

// passing turns a refusal that passes, or that no one is logged in, into an
// error of the core; another refusal stays a callError.
func passing(err error) error {
	e, ok := errors.AsType[callError](err)
	if !ok {
		return err
	}
	const op = "speaking to the server"
	switch {
	case e.Code == 401:
		return quinta.E(quinta.KindUnauthenticated, op, "this device was logged out")
	case e.Code == 420:
		wait := 5
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Message, "FLOOD_WAIT_")); err == nil {
			wait = n
		}
		return &client.RetryError{After: time.Duration(wait) * time.Second, Err: quinta.E(quinta.KindLimited, op, "the server asks to wait")}
	case e.Code >= 500 || e.Code < 0:
		return quinta.E(quinta.KindUnavailable, op, "the server cannot do it now")
	}
	return err
}

// Do carries out a call of the machine. A refusal is an answer.
func (l *link) Do(ctx context.Context, req secretchat.Req) (secretchat.Ans, error) {
	o, err := l.call(ctx, request(&req))
	if e, ok := errors.AsType[callError](err); ok {
		return secretchat.Ans{Code: e.Message}, nil
	} else if err != nil {
		return secretchat.Ans{}, err
	}
	ans, ok := answerOf(o)
	if !ok {
		return secretchat.Ans{}, quinta.E(quinta.KindUnavailable, "speaking to the server", "the server's answer is not what this call returns")
	}
	return ans, nil
}

// request is a call of the machine on the wire.
func request(r *secretchat.Req) any {
	peer := &wire.InputEncryptedChat{ChatID: int32(r.Chat), AccessHash: r.Access}
	switch r.Method {
	case secretchat.MethodDHConfig:
		return &wire.GetDHConfig{Version: int32(r.Version), RandomLength: secretchat.Size}
	case secretchat.MethodRequest:
		return &wire.RequestEncryption{UserID: &wire.InputUser{UserID: r.User.ID, AccessHash: r.User.Access}, RandomID: int32(r.Chat), GA: r.Public}
	case secretchat.MethodAccept:
		return &wire.AcceptEncryption{Peer: peer, GB: r.Public, KeyFingerprint: r.Fingerprint}
	case secretchat.MethodDiscard:
		return &wire.DiscardEncryption{ChatID: int32(r.Chat), DeleteHistory: r.Delete}
	case secretchat.MethodService:
		return &wire.SendEncryptedService{Peer: peer, RandomID: r.RandomID, Data: r.Data}
	case secretchat.MethodFile:
		return &wire.SendEncryptedFile{Silent: r.Silent, Peer: peer, RandomID: r.RandomID, Data: r.Data, File: inputFile(r)}
	case secretchat.MethodRead:
		return &wire.ReadEncryptedHistory{Peer: peer, MaxDate: int32(r.MaxDate)}
	}
	return &wire.SendEncrypted{Silent: r.Silent, Peer: peer, RandomID: r.RandomID, Data: r.Data}
}

func inputFile(r *secretchat.Req) any {
	switch u := r.Upload; {
	case r.File != nil:
		return &wire.InputEncryptedFile{ID: r.File.ID, AccessHash: r.File.Access}
	case u == nil:
		return &wire.InputEncryptedFileEmpty{}
	case u.Big:
		return &wire.InputEncryptedFileBigUploaded{ID: u.ID, Parts: int32(u.Parts), KeyFingerprint: u.Fingerprint}
	default:
		return &wire.InputEncryptedFileUploaded{ID: u.ID, Parts: int32(u.Parts), KeyFingerprint: u.Fingerprint}
	}
}

// answerOf is what a call of the machine gave.
func answerOf(o any) (secretchat.Ans, bool) {
	switch o := o.(type) {
	case *wire.DHConfig:
		return secretchat.Ans{G: int(o.G), P: o.P, Version: int(o.Version), Random: o.Random}, true
	case *wire.DHConfigNotModified:
		return secretchat.Ans{Random: o.Random}, true
	case *wire.SentEncryptedMessage:
		return secretchat.Ans{Date: int64(o.Date)}, true
	case *wire.SentEncryptedFile:
		return secretchat.Ans{Date: int64(o.Date), File: location(o.File)}, true
	case bool:
		return secretchat.Ans{}, true
	}
	c, ok := chatOf(o)
	return secretchat.Ans{Chat: c}, ok
}

// chatOf is what the server says of a chat.
func chatOf(o any) (*secretchat.Chat, bool) {
	switch o := o.(type) {
	case *wire.EncryptedChatWaiting:
		return &secretchat.Chat{ID: secretchat.ChatID(o.ID), Access: o.AccessHash, Date: int64(o.Date), Admin: o.AdminID, Participant: o.ParticipantID}, true
	case *wire.EncryptedChatRequested:
		return &secretchat.Chat{ID: secretchat.ChatID(o.ID), Stage: secretchat.StageRequested, Access: o.AccessHash, Date: int64(o.Date), Admin: o.AdminID, Participant: o.ParticipantID, Public: o.GA}, true
	case *wire.EncryptedChat:
		return &secretchat.Chat{ID: secretchat.ChatID(o.ID), Stage: secretchat.StageOpen, Access: o.AccessHash, Date: int64(o.Date), Admin: o.AdminID, Participant: o.ParticipantID, Public: o.GAOrB, Fingerprint: o.KeyFingerprint}, true
	case *wire.EncryptedChatDiscarded:
		return &secretchat.Chat{ID: secretchat.ChatID(o.ID), Stage: secretchat.StageClosed}, true
	}
	return nil, false
}

func location(o any) *secretchat.Location {
	f, ok := o.(*wire.EncryptedFile)
	if !ok {
		return nil
	}
	return &secretchat.Location{ID: f.ID, Access: f.AccessHash, Size: f.Size, DC: int(f.DCID), Fingerprint: f.KeyFingerprint}
}

// Receive asks for everything since the position in the store. This
// acknowledges everything before it, and no more.
func (l *link) Receive(ctx context.Context, st client.Store) (secretchat.In, error) {
	for {
		var qts, pts int
		var expires time.Time
		if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
			if qts, pts, err = l.machine.Position(tx); err != nil {
				return err
			}
			expires, err = l.machine.Expires(tx)
			return err
		}); err != nil {
			return secretchat.In{}, err
		}
		c, err := l.conn()
		if err != nil {
			return secretchat.In{}, err
		}
		select {
		case <-c.wake:
		default:
		}
		o, err := c.call(ctx, &wire.GetDifference{Pts: int32(pts), Date: 1, Qts: int32(qts)})
		if err != nil {
			return secretchat.In{}, passing(err)
		}
		in, err := inputOf(o)
		due := !expires.IsZero() && !l.env.Now().Before(expires)
		if err != nil || len(in.Updates) > 0 || due || !l.waits.Load() {
			return in, err
		}
		wait := pollFor
		if !expires.IsZero() {
			wait = min(wait, max(expires.Sub(l.env.Now()), time.Millisecond))
		}
		if err := sleep(ctx, c, wait); err != nil {
			return secretchat.In{}, err
		}
	}
}

// sleep waits until something came, or for some time.
func sleep(ctx context.Context, c *conn, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-c.wake:
		// The wake-up is left for the next question, which clears it.
	case <-c.done:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// inputOf is a difference as the machine takes it: chats that begin or open,
// then messages, then what ends.
func inputOf(o any) (secretchat.In, error) {
	var sealed, others, users []any
	var state any
	switch d := o.(type) {
	case *wire.DifferenceEmpty:
		return secretchat.In{}, nil
	case *wire.Difference:
		sealed, others, users, state = d.NewEncryptedMessages, d.OtherUpdates, d.Users, d.State
	case *wire.DifferenceSlice:
		sealed, others, users, state = d.NewEncryptedMessages, d.OtherUpdates, d.Users, d.IntermediateState
	}
	st, ok := state.(*wire.State)
	if !ok {
		return secretchat.In{}, quinta.E(quinta.KindUnavailable, "asking for what is new", "the server's answer is not what this call returns")
	}
	in := secretchat.In{Qts: int(st.Qts), Pts: int(st.Pts)}
	for _, u := range users {
		if p, ok := personOf(u); ok {
			in.People = append(in.People, p)
		}
	}
	var last []secretchat.Update
	for _, u := range others {
		switch u := u.(type) {
		case *wire.UpdateEncryption:
			c, ok := chatOf(u.Chat)
			if ok && c.Stage == secretchat.StageClosed {
				last = append(last, secretchat.Update{Chat: c})
			} else if ok {
				in.Updates = append(in.Updates, secretchat.Update{Chat: c})
			}
		case *wire.UpdateEncryptedMessagesRead:
			last = append(last, secretchat.Update{Read: &secretchat.Read{Chat: secretchat.ChatID(u.ChatID), MaxDate: int64(u.MaxDate)}})
		}
	}
	for _, m := range sealed {
		switch m := m.(type) {
		case *wire.EncryptedMessage:
			in.Updates = append(in.Updates, secretchat.Update{Packet: &secretchat.Packet{Chat: secretchat.ChatID(m.ChatID), RandomID: m.RandomID, Date: int64(m.Date), Data: m.Bytes, File: location(m.File)}})
		case *wire.EncryptedMessageService:
			in.Updates = append(in.Updates, secretchat.Update{Packet: &secretchat.Packet{Chat: secretchat.ChatID(m.ChatID), RandomID: m.RandomID, Date: int64(m.Date), Data: m.Bytes}})
		}
	}
	in.Updates = append(in.Updates, last...)
	return in, nil
}

func personOf(o any) (secretchat.Person, bool) {
	u, ok := o.(*wire.User)
	if !ok {
		return secretchat.Person{}, false
	}
	return secretchat.Person{ID: u.ID, Access: u.AccessHash, Name: strings.TrimSpace(u.FirstName + " " + u.LastName), Username: u.Username, Phone: u.Phone}, true
}
