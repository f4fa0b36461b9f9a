package secretchat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Errors of the machine.
var (
	// ErrOtherUser: the state in the transaction belongs to another account or
	// device.
	ErrOtherUser = errors.New("secretchat: the store belongs to another device")
	// ErrUnknownChat: there is no such chat on this device.
	ErrUnknownChat = errors.New("secretchat: unknown chat")
	// ErrClosed: the chat is closed; the other side is gone or refused.
	ErrClosed = errors.New("secretchat: the chat is closed")
	// ErrNotAsked: no one waits for an answer to a request for this chat.
	ErrNotAsked = errors.New("secretchat: there is no request to accept")
	// ErrNotOpen: the chat has no key yet.
	ErrNotOpen = errors.New("secretchat: the chat is not open yet")
	// ErrNoSuchForm: secret chats have no message of that kind.
	ErrNoSuchForm = errors.New("secretchat: secret chats have no such message")
)

// A Machine is the secret chats of one device. All of its state is in the
// transactions. It may be used by several goroutines if their transactions are
// serial.
type Machine struct {
	env      e2ee.Env
	user     int64
	device   quinta.DeviceID
	verdicts Verdicts
}

var _ e2ee.Machine[In, Req, Ans] = (*Machine)(nil)

// New returns the machine of a logged-in device.
func New(env e2ee.Env, user int64, device quinta.DeviceID) *Machine {
	return &Machine{env: env, user: user, device: device}
}

// meta is the part of the state that is about this device alone.
type meta struct {
	User   int64           `json:"user"`
	Device quinta.DeviceID `json:"device"`
	Seq    e2ee.Seq        `json:"seq"`
	// Qts and Pts are up to where messages and other updates were taken in.
	Qts int `json:"qts"`
	Pts int `json:"pts,omitempty"`
	// G, P and Version are the parameters that the server gave last.
	G       int    `json:"g,omitempty"`
	P       []byte `json:"p,omitempty"`
	Version int    `json:"version,omitempty"`
}

// Keys of the store: one record for the device, one for each chat, and below a
// chat's prefix what it keeps message by message.
const (
	keyMeta = "secretchat/meta"
	preChat = "secretchat/chat/"
	preReq  = "secretchat/req/"
)

// work is one call: the transaction and what was read of it.
type work struct {
	m      *Machine
	tx     e2ee.Tx
	now    time.Time
	meta   meta
	before []byte
	queue  *e2ee.Queue[Req]
	chats  map[ChatID]*chat
	stored map[ChatID]string
	events []e2ee.Event
}

// run does f on a unit of work and writes back what changed.
func (m *Machine) run(tx e2ee.Tx, f func(w *work) error) ([]e2ee.Event, error) {
	w := &work{m: m, tx: tx, now: m.env.Now(), chats: map[ChatID]*chat{}, stored: map[ChatID]string{}}
	own, found, err := e2ee.Load[meta](tx, keyMeta)
	if err != nil {
		return nil, err
	}
	if found && (own.User != m.user || own.Device != m.device) {
		return nil, ErrOtherUser
	}
	if !found {
		own = meta{User: m.user, Device: m.device}
	}
	w.meta, w.before = own, e2ee.JSON(own)
	w.queue = e2ee.NewQueue[Req](tx, preReq, &w.meta.Seq)
	if err := f(w); err != nil {
		return nil, err
	}
	for id, c := range w.chats {
		if b := e2ee.JSON(c); string(b) != w.stored[id] {
			if err := tx.Put(preChat+id.String(), b); err != nil {
				return nil, err
			}
		}
	}
	if b := e2ee.JSON(w.meta); string(b) != string(w.before) {
		if err := tx.Put(keyMeta, b); err != nil {
			return nil, err
		}
	}
	return w.events, nil
}

// chat returns a chat, or nil if there is none.
func (w *work) chat(id ChatID) (*chat, error) {
	if c, ok := w.chats[id]; ok {
		return c, nil
	}
	c, found, err := e2ee.Load[chat](w.tx, preChat+id.String())
	if err != nil || !found {
		return nil, err
	}
	w.stored[id] = string(e2ee.JSON(c))
	w.chats[id] = &c
	return &c, nil
}

// room finds the chat of a room.
func (w *work) room(id quinta.RoomID) (*chat, error) {
	n, ok := chatID(id)
	if !ok {
		return nil, ErrUnknownChat
	}
	c, err := w.chat(n)
	if err == nil && c == nil {
		err = ErrUnknownChat
	}
	return c, err
}

// random64 draws a number that is not zero.
func (w *work) random64() (int64, error) {
	for {
		var b [8]byte
		if _, err := io.ReadFull(w.m.env.Rand, b[:]); err != nil {
			return 0, fmt.Errorf("secretchat: drawing an id: %w", err)
		}
		if n := int64(binary.LittleEndian.Uint64(b[:])); n != 0 {
			return n, nil
		}
	}
}

// Position is up to where messages and other updates were taken in. What is
// passed to the server as acknowledged is this and never more.
func (m *Machine) Position(tx e2ee.Tx) (qts, pts int, err error) {
	_, err = m.run(tx, func(w *work) error { qts, pts = w.meta.Qts, w.meta.Pts; return nil })
	return qts, pts, err
}

// Outgoing returns the calls that are due, oldest first.
func (m *Machine) Outgoing(tx e2ee.Tx) (due []Req, err error) {
	_, err = m.run(tx, func(w *work) error {
		if err := w.rekeyDue(); err != nil {
			return err
		}
		for r, err := range w.queue.All() {
			if err != nil {
				return err
			}
			r.Value.Name = r.Name
			due = append(due, r.Value)
		}
		return nil
	})
	return due, err
}

// Receive takes in what came.
func (m *Machine) Receive(tx e2ee.Tx, in In) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		for _, u := range in.Updates {
			var err error
			switch {
			case u.Chat != nil:
				err = w.chatUpdate(u.Chat, in.People)
			case u.Packet != nil:
				err = w.packet(u.Packet)
			case u.Read != nil:
				err = w.read(u.Read)
			}
			if err != nil {
				return err
			}
		}
		w.meta.Qts, w.meta.Pts = max(w.meta.Qts, in.Qts), max(w.meta.Pts, in.Pts)
		return w.expire()
	})
}

// Done takes the answer to a call. One that was answered before is ignored.
func (m *Machine) Done(tx e2ee.Tx, req Req, ans Ans) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		r, found, err := w.queue.Get(req.Name)
		if err != nil || !found {
			return err
		}
		if err := w.queue.Done(req.Name); err != nil {
			return err
		}
		c, err := w.chat(r.Chat)
		if err != nil {
			return err
		}
		if c == nil {
			return nil
		}
		switch r.Method {
		case MethodDHConfig:
			return w.parameters(c, ans)
		case MethodRequest:
			return w.requested(c, ans)
		case MethodAccept:
			return w.accepted(c, ans)
		case MethodSend, MethodService, MethodFile:
			return w.sent(c, r, ans)
		}
		return nil
	})
}
