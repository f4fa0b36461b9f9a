package ca

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// Errors of the machine.
var (
	// ErrOtherDevice: the state in the transaction belongs to another device.
	ErrOtherDevice = errors.New("ca: the store belongs to another device")
	// ErrOutOfOrder: the page does not follow on the last one.
	ErrOutOfOrder = errors.New("ca: the page of the mailbox does not follow the last one")
	// ErrUnknownConversation: this user is in no such conversation.
	ErrUnknownConversation = errors.New("ca: unknown conversation")
	// ErrUnknownDevice: there is no such device, key or user.
	ErrUnknownDevice = errors.New("ca: unknown device, key or user")
	// ErrKeyChanged: a verified key of a member changed, and the user has not
	// acknowledged it. Until then nothing is sent to the conversation. It wraps
	// e2ee.ErrIdentityChanged.
	ErrKeyChanged = fmt.Errorf("ca: %w", e2ee.ErrIdentityChanged)
	// ErrDowngrade: someone offers a weaker profile than the one agreed.
	ErrDowngrade = errors.New("ca: a weaker profile than the conversation has")
	// ErrClock: the clocks of this device and of the server differ.
	ErrClock = errors.New("ca: the clock of this device differs from the server's")
)

// A Resealing says for which devices this one re-encrypts its own messages on
// request.
type Resealing int

// The ways to answer a request to re-encrypt.
const (
	// ResealVerified: only for devices that the user has verified. An authority
	// that invents a device for a peer gets no past messages.
	ResealVerified Resealing = iota
	// ResealPinned: for every device whose key is certified, not rejected and
	// not in doubt.
	ResealPinned
	// ResealNever: for none.
	ResealNever
)

// A Policy is what a user or an operator decides beforehand. The zero Policy
// is a good default.
type Policy struct {
	// RSA makes the device's keys RSA-3072 instead of P-256.
	RSA bool
	// VerifiedOnly gives messages only to devices that the user has verified.
	VerifiedOnly bool
	// Sessions lets direct conversations continue with small packets after one
	// message of the secure profile; see Machine.SetSessions.
	Sessions bool
	// RenewAfter is the percentage of a certificate's lifetime after which it
	// is renewed; 0 means 66.
	RenewAfter int
	Resealing  Resealing
	// Padding is how the legacy profile wraps keys; empty means LegacyOAEP.
	Padding seal.LegacyPadding
}

// renewAfter is the share of a certificate's life after which it is renewed.
func (p Policy) renewAfter() int {
	if p.RenewAfter <= 0 || p.RenewAfter >= 100 {
		return 66
	}
	return p.RenewAfter
}

func (p Policy) padding() seal.LegacyPadding {
	if p.Padding == "" {
		return seal.LegacyOAEP
	}
	return p.Padding
}

// A Machine is the encryption of one device. All of its state is in the
// transactions; anything else that it keeps was computed from them. It may be
// used by several goroutines if their transactions are serial.
type Machine struct {
	env    e2ee.Env
	user   quinta.UserID
	device quinta.DeviceID
	policy Policy

	mu sync.Mutex
	// verifier was made from the anchors and the list whose hash is judged.
	verifier *cert.Verifier
	judged   [32]byte
}

var _ e2ee.Machine[In, Req, Ans] = (*Machine)(nil)

// New returns the machine of a logged-in device.
func New(env e2ee.Env, user quinta.UserID, device quinta.DeviceID, p Policy) *Machine {
	return &Machine{env: env, user: user, device: device, policy: p}
}

// meta is the part of the state that is about this device alone.
type meta struct {
	User    quinta.UserID   `json:"user"`
	Device  quinta.DeviceID `json:"device"`
	Created int64           `json:"created"` // Unix milliseconds
	// Seq numbers what is kept in order.
	Seq e2ee.Seq `json:"seq"`
	// Pos is how far the mailbox was taken in, and Acked what the server was
	// told of it.
	Pos   quinta.Pos `json:"pos"`
	Acked quinta.Pos `json:"acked"`
	// RootsAfter and CRLAfter are when the anchors and the list may be
	// requested again, in Unix milliseconds; CRLDue asks for the list before
	// it is old.
	RootsAfter int64 `json:"rootsAfter,omitempty"`
	CRLAfter   int64 `json:"crlAfter,omitempty"`
	CRLDue     bool  `json:"crlDue,omitempty"`
	RootsDue   bool  `json:"rootsDue,omitempty"`
	// Listed says that the conversations were requested, ListedAt when, and
	// ListAfter when they may be again, in Unix milliseconds; Unread is up to
	// where some device of the user had read when this one began, if its
	// history is still to be looked at.
	Listed    bool        `json:"listed,omitempty"`
	ListedAt  int64       `json:"listedAt,omitempty"`
	ListAfter int64       `json:"listAfter,omitempty"`
	Unread    *quinta.Pos `json:"unread,omitempty"`
	// Backup is the state of the sealed backup.
	Backup backupState `json:"backup"`
	// Untold counts the events that are kept until a call that returns events.
	Untold int `json:"untold,omitempty"`
	// Waiting counts the items that wait to be opened.
	Waiting int `json:"waiting,omitempty"`
	// ClockWaits says that something waits for the clock to be put right, and
	// Heard is the latest time that the server said it took a message in.
	ClockWaits bool  `json:"clockWaits,omitempty"`
	Heard      int64 `json:"heard,omitempty"`
	// PruneAfter is when old memory is looked through again.
	PruneAfter int64 `json:"pruneAfter,omitempty"`
}

// early reports whether it is too early for what may be done after a time, in
// Unix milliseconds, that was set to at most wait ahead. A clock that was set
// back since does not put it off.
func (w *work) early(after int64, wait time.Duration) bool {
	now := w.now.UnixMilli()
	return after > now && after <= now+wait.Milliseconds()
}

// work is one call: the transaction and what was read of it.
type work struct {
	m          *Machine
	tx         e2ee.Tx
	now        time.Time
	meta       meta
	metaStored []byte
	users      map[quinta.UserID]*userRecord
	convs      map[quinta.RoomID]*convRecord
	v          *cert.Verifier
	own        *seal.Self
	keys       []*ownKey
	reqs       requests
	mem        replays
	// again names what came that waiting items may open with.
	again  map[string]bool
	events []e2ee.Event
}

// run does f on a unit of work and writes back what changed.
func (m *Machine) run(tx e2ee.Tx, f func(w *work) error) ([]e2ee.Event, error) {
	w := &work{m: m, tx: tx, now: m.env.Now(), users: map[quinta.UserID]*userRecord{}, convs: map[quinta.RoomID]*convRecord{}}
	w.reqs, w.mem = newRequests(tx, &w.meta.Seq), replays{tx}
	if err := w.load(); err != nil {
		return nil, err
	}
	if err := f(w); err != nil {
		return nil, err
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	return w.events, nil
}

func (w *work) load() error {
	var err error
	if w.metaStored, err = w.tx.Get("meta"); err != nil {
		return err
	}
	if w.metaStored == nil {
		if err := (cert.Identity{User: w.m.user, Device: w.m.device, Use: cert.UseSign}).Check(); err != nil {
			return err
		}
		w.meta = meta{User: w.m.user, Device: w.m.device, Created: w.now.UnixMilli()}
		return nil
	}
	if err := exactjson.Unmarshal(w.metaStored, &w.meta); err != nil {
		return e2ee.Damaged("meta")
	}
	if w.meta.User != w.m.user || w.meta.Device != w.m.device {
		return ErrOtherDevice
	}
	return nil
}

// flush writes back what changed.
func (w *work) flush() error {
	for id, u := range w.users {
		if u.dirty {
			if err := e2ee.Store(w.tx, "user/"+string(id), u); err != nil {
				return err
			}
			u.dirty = false
		}
	}
	for id, c := range w.convs {
		if c.dirty {
			if err := e2ee.Store(w.tx, "conv/"+string(id), c); err != nil {
				return err
			}
			c.dirty = false
		}
	}
	if b := e2ee.JSON(&w.meta); !bytes.Equal(b, w.metaStored) {
		w.metaStored = b
		return w.tx.Put("meta", b)
	}
	return nil
}

// next returns the next number of the store, as text that sorts like it.
func (w *work) next() string { return w.meta.Seq.Next() }

func (w *work) emit(e e2ee.Event) { w.events = append(w.events, e) }

// newID returns an id that was never used: 128 random bits in hex, so that no
// id begins with a character that a command line takes for a flag.
func (w *work) newID() (quinta.MessageID, error) {
	var b [16]byte
	if _, err := io.ReadFull(w.m.env.Rand, b[:]); err != nil {
		return "", fmt.Errorf("ca: making an id: %w", err)
	}
	return quinta.MessageID(hex.EncodeToString(b[:])), nil
}

// Since returns the position after which the mailbox is to be requested. It
// only reads.
func (m *Machine) Since(tx e2ee.Tx) (quinta.Pos, error) {
	have, _, err := e2ee.Load[meta](tx, "meta")
	return have.Pos, err
}
