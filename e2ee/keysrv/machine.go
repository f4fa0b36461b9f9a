package keysrv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/key"
)

// Errors of the machine.
var (
	// ErrOtherDevice: the state in the transaction belongs to another device.
	ErrOtherDevice = errors.New("keysrv: the store belongs to another device")
	// ErrUnknownConversation: there is no such conversation on this device.
	ErrUnknownConversation = errors.New("keysrv: unknown conversation")
	// ErrUnknownDevice: there is no such device or user.
	ErrUnknownDevice = errors.New("keysrv: unknown device or user")
	// ErrKeyChanged: a verified user has a device that no known device
	// vouches for; nothing is sent until the user decides.
	ErrKeyChanged = errors.New("keysrv: a verified user has a device that nothing vouches for")
)

// A Policy is what a user or an operator decides beforehand. The zero Policy
// is a good default.
type Policy struct {
	// VerifiedOnly gives keys only to devices that the user has verified.
	VerifiedOnly bool
	// Messages and Life are the number of messages and the time after which a
	// key is replaced; 0 means 100 messages and 24 hours.
	Messages uint64
	Life     time.Duration
}

func (p Policy) messages() uint64 {
	if p.Messages == 0 || p.Messages > MaxMessages {
		return 100
	}
	return p.Messages
}

func (p Policy) life() time.Duration {
	if p.Life <= 0 || p.Life > MaxKeyLife {
		return 24 * time.Hour
	}
	return p.Life
}

// Times of the machine.
const (
	// again is how long a call that was refused waits, and how often an answer
	// is asked for that may come.
	again = 30 * time.Second
	// againAtMost bounds how rarely a key that does not come is requested.
	againAtMost = time.Hour
	// listLife is how long the list of a user's devices is believed before
	// something is sent.
	listLife = 10 * time.Minute
	// skew is how far the clock of a sender may be off.
	skew = 5 * time.Minute
)

// A Machine is the encryption of one device. All of its state is in the
// transactions. It may be used by several goroutines if their transactions are
// serial.
type Machine struct {
	env    e2ee.Env
	user   quinta.UserID
	policy Policy
}

var _ e2ee.Machine[In, Req, Ans] = (*Machine)(nil)

// New returns the machine of a device. The device's keys and id are made by
// Begin.
func New(env e2ee.Env, user quinta.UserID, p Policy) *Machine {
	return &Machine{env: env, user: user, policy: p}
}

// meta is the part of the state that is about this device alone.
type meta struct {
	User   quinta.UserID   `json:"user"`
	Device quinta.DeviceID `json:"device"`
	// Record is what is published; Signing and Agreement are the private keys.
	Record    *Device `json:"record"`
	Signing   []byte  `json:"signing"`
	Agreement []byte  `json:"agreement"`
	// Published says that the server has the record, Approved that it counts.
	Published bool  `json:"published,omitempty"`
	Approved  bool  `json:"approved,omitempty"`
	After     int64 `json:"after,omitempty"` // Unix milliseconds, of the next try
	// Told says that the user knows that an approval is missing.
	Told bool `json:"told,omitempty"`
	// Seq numbers what is kept in order.
	Seq e2ee.Seq `json:"seq"`
	// Archive is how far the archive was taken in.
	Archive string `json:"archive,omitempty"`
	// WantsAfter is when others' wants are asked for next, in Unix milliseconds.
	WantsAfter int64 `json:"wantsAfter,omitempty"`
	// Untold counts the events that are kept until a call that returns events,
	// Waiting the items that wait to be opened.
	Untold  int `json:"untold,omitempty"`
	Waiting int `json:"waiting,omitempty"`
}

// Format hides the private keys.
func (m meta) Format(s fmt.State, _ rune) { io.WriteString(s, "the state of "+string(m.Device)) }

// work is one call: the transaction and what was read of it.
type work struct {
	m      *Machine
	tx     e2ee.Tx
	now    time.Time
	meta   meta
	stored []byte
	users  map[quinta.UserID]*userRecord
	convs  map[quinta.RoomID]*convRecord
	reqs   *e2ee.Queue[reqRecord]
	out    *e2ee.Queue[outRecord]
	// came names what waiting items may open with.
	came   map[string]bool
	events []e2ee.Event
	// failure is an error of the store that ends the call.
	failure error
}

// run does f on a unit of work and writes back what changed.
func (m *Machine) run(tx e2ee.Tx, f func(w *work) error) ([]e2ee.Event, error) {
	w := &work{m: m, tx: tx, now: m.env.Now(), users: map[quinta.UserID]*userRecord{}, convs: map[quinta.RoomID]*convRecord{}}
	raw, err := tx.Get("meta")
	if err != nil {
		return nil, err
	}
	have, found, err := e2ee.Load[meta](tx, "meta")
	if err != nil {
		return nil, err
	}
	if !found || have.User != m.user {
		return nil, ErrOtherDevice
	}
	w.meta, w.stored = have, raw
	w.reqs = e2ee.NewQueue[reqRecord](tx, "req/", &w.meta.Seq)
	w.out = e2ee.NewQueue[outRecord](tx, "outbox/", &w.meta.Seq)
	if err = f(w); err == nil {
		err = w.failure
	}
	if err != nil {
		return nil, err
	}
	return w.events, w.flush()
}

// flush writes back what changed.
func (w *work) flush() error {
	for id, u := range w.users {
		if u.dirty {
			if err := e2ee.Store(w.tx, "user/"+string(id), u); err != nil {
				return err
			}
		}
	}
	for id, c := range w.convs {
		if c.dirty {
			if err := e2ee.Store(w.tx, "conv/"+string(id), c); err != nil {
				return err
			}
		}
	}
	if b := e2ee.JSON(&w.meta); !bytes.Equal(b, w.stored) {
		return w.tx.Put("meta", b)
	}
	return nil
}

// Begin makes the keys of a new device in an empty store and returns its id.
func (m *Machine) Begin(tx e2ee.Tx) (quinta.DeviceID, error) {
	if err := CheckJID(m.user); err != nil {
		return "", err
	}
	if b, err := tx.Get("meta"); err != nil || b != nil {
		if err == nil {
			err = ErrOtherDevice
		}
		return "", err
	}
	signing, err := key.GenerateSigning[key.Device](m.env.Rand)
	if err != nil {
		return "", err
	}
	agreement, err := key.GenerateAgreement[key.Identity](m.env.Rand)
	if err != nil {
		return "", err
	}
	d := NewDevice(m.user, m.env.Now().UnixMilli(), signing, agreement.Public())
	u := userRecord{Devices: map[quinta.DeviceID]*deviceRecord{d.ID: {Device: *d, Pinned: true}}}
	if err := e2ee.Store(tx, "user/"+string(m.user), &u); err != nil {
		return "", err
	}
	return d.ID, e2ee.Store(tx, "meta", &meta{User: m.user, Device: d.ID, Record: d, Signing: signing.Secret(), Agreement: agreement.Secret()})
}

// Self returns the record of this device, and whether it counts at the server.
func (m *Machine) Self(tx e2ee.Tx) (d Device, approved bool, err error) {
	_, err = m.run(tx, func(w *work) error {
		d, approved = *w.meta.Record, w.meta.Approved
		return nil
	})
	return d, approved, err
}

// Signing returns the private key of this device, to sign proofs with.
func (m *Machine) Signing(tx e2ee.Tx) (k key.DeviceSigningPrivate, err error) {
	_, err = m.run(tx, func(w *work) error {
		k, err = w.signing()
		return err
	})
	return k, err
}

// Archive returns the position up to which the archive was read; empty at first.
func (m *Machine) Archive(tx e2ee.Tx) (id string, err error) {
	_, err = m.run(tx, func(w *work) error { id = w.meta.Archive; return nil })
	return id, err
}

func (w *work) signing() (key.DeviceSigningPrivate, error) {
	k, err := key.NewSigningPrivate[key.Device](w.meta.Signing)
	if err != nil {
		return k, e2ee.Damaged("meta")
	}
	return k, nil
}

func (w *work) agreement() (key.IdentityPrivate, error) {
	k, err := key.NewAgreementPrivate[key.Identity](w.meta.Agreement)
	if err != nil {
		return k, e2ee.Damaged("meta")
	}
	return k, nil
}

// early reports whether it is too early for what may be done after a time, in
// Unix milliseconds. A clock that was set back since does not put it off.
func (w *work) early(after int64) bool {
	now := w.now.UnixMilli()
	return after > now && after <= now+againAtMost.Milliseconds()
}

// in returns the time after a wait, in Unix milliseconds.
func (w *work) in(d time.Duration) int64 { return w.now.Add(d).UnixMilli() }

func (w *work) emit(e e2ee.Event) { w.events = append(w.events, e) }

func (w *work) trouble(what string, ans Ans) {
	text := what
	if ans.Code != "" {
		text += ": " + ans.Code
	}
	if ans.Detail != "" {
		text += ": " + ans.Detail
	}
	w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: text})
}

// newID returns 128 random bits in hexadecimal.
func (w *work) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(w.m.env.Rand, b[:]); err != nil {
		return "", fmt.Errorf("keysrv: making an id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
