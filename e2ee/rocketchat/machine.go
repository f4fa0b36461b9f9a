package rocketchat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Errors of the machine.
var (
	// ErrOtherUser: the state in the transaction belongs to another user.
	ErrOtherUser = errors.New("rocketchat: the store belongs to another user")
	// ErrUnknownRoom: this user is in no such room.
	ErrUnknownRoom = errors.New("rocketchat: unknown room")
	// ErrUnknownUser: no key of that user was seen.
	ErrUnknownUser = errors.New("rocketchat: no key of this user has been seen")
	// ErrNotEncrypted: the room is in clear and the caller has not allowed that.
	ErrNotEncrypted = errors.New("rocketchat: the room is not encrypted")
	// ErrClear: what is to be sent has only a form in clear and the caller has
	// not allowed that.
	ErrClear = errors.New("rocketchat: this can only be sent in clear on this network")
	// ErrKeyChanged: a verified key of a member changed and no one acknowledged
	// it; nothing is sent to the room until then.
	ErrKeyChanged = errors.New("rocketchat: a verified key changed")
	// ErrNoKeys: this user has no key pair on this device that is open.
	ErrNoKeys = errors.New("rocketchat: the E2E keys of this account are not open on this device")
	// ErrKeysExist: the user has a key pair already.
	ErrKeysExist = errors.New("rocketchat: the account has E2E keys already")
	// ErrOldServer: other clients of this server's release read no v2.
	ErrOldServer = errors.New("rocketchat: clients of this server's release cannot read the current format")
)

// again is how long to wait before something is asked for once more.
const again = 10 * time.Second

// A Machine is the encryption of one user on one device. All of its state is in
// the transactions. It may be used by several goroutines if their transactions
// are serial.
type Machine struct {
	env  e2ee.Env
	self Author
}

var _ e2ee.Machine[In, Req, Ans] = (*Machine)(nil)

// New returns the machine of a logged-in user.
func New(env e2ee.Env, self Author) *Machine { return &Machine{env: env, self: self} }

// meta is the part of the state that is about this user alone.
type meta struct {
	User string   `json:"user"`
	Seq  e2ee.Seq `json:"seq"`
	// Since is the server's time of the last catching up.
	Since Date `json:"since,omitempty"`
	// Version is the release that the server announces.
	Version string `json:"version,omitempty"`
	// Keys is the state of the key pair.
	Keys keyState `json:"keys"`
	// OfferAfter, AskAfter are when the waiting queue is looked at again and
	// when keys are requested again, in Unix milliseconds.
	OfferAfter int64 `json:"offerAfter,omitempty"`
	AskAfter   int64 `json:"askAfter,omitempty"`
	// Asks says that some message waits for a room key.
	Asks bool `json:"asks,omitempty"`
	// Rotating are rooms whose key is to be replaced.
	Rotating []quinta.RoomID `json:"rotating,omitempty"`
	// Untold counts the events that are kept until a call that returns events.
	Untold int `json:"untold,omitempty"`
}

// work is one call: the transaction and what was read of it.
type work struct {
	m      *Machine
	tx     e2ee.Tx
	now    time.Time
	meta   meta
	stored []byte
	rooms  map[quinta.RoomID]*room
	reqs   *e2ee.Queue[Req]
	out    *e2ee.Queue[outEntry]
	events []e2ee.Event
	// private is the open private key, once it was parsed.
	private PrivateKey
}

// run does f on a unit of work and writes back what changed.
func (m *Machine) run(tx e2ee.Tx, f func(w *work) error) ([]e2ee.Event, error) {
	w := &work{m: m, tx: tx, now: m.env.Now(), rooms: map[quinta.RoomID]*room{}}
	if err := w.load(); err != nil {
		return nil, err
	}
	w.reqs = e2ee.NewQueue[Req](tx, "req/", &w.meta.Seq)
	w.out = e2ee.NewQueue[outEntry](tx, "out/", &w.meta.Seq)
	if err := f(w); err != nil {
		return nil, err
	}
	return w.events, w.flush()
}

func (w *work) load() error {
	have, found, err := e2ee.Load[meta](w.tx, "meta")
	if err != nil {
		return err
	}
	if !found {
		w.meta = meta{User: w.m.self.ID}
		return nil
	}
	if have.User != w.m.self.ID {
		return ErrOtherUser
	}
	w.meta, w.stored = have, e2ee.JSON(have)
	return nil
}

// flush writes back what changed.
func (w *work) flush() error {
	for id, r := range w.rooms {
		if b := e2ee.JSON(r); !bytes.Equal(b, r.stored) {
			if err := w.tx.Put(roomKeyOf(id), b); err != nil {
				return err
			}
			r.stored = b
		}
	}
	if b := e2ee.JSON(w.meta); !bytes.Equal(b, w.stored) {
		w.stored = b
		return w.tx.Put("meta", b)
	}
	return nil
}

func (w *work) emit(e e2ee.Event) { w.events = append(w.events, e) }

// trouble reports that something is stuck, and why.
func (w *work) trouble(what string, ans Ans) {
	for _, s := range []string{ans.Code, ans.Detail} {
		if s != "" {
			what += ": " + s
		}
	}
	w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: what})
}

// early reports whether it is too early for what may be done after a time, in
// Unix milliseconds. A clock that was set back since does not put it off.
func (w *work) early(after int64) bool {
	now := w.now.UnixMilli()
	return after > now && after <= now+again.Milliseconds()
}

func (w *work) later() int64 { return w.now.Add(again).UnixMilli() }

// ask stores a request, unless one of its kind for the same thing is on its way.
// From then on its members stay as they are.
func (w *work) ask(r Req) error {
	for have, err := range w.reqs.All() {
		if err != nil {
			return err
		}
		if have.Value.Kind == r.Kind && have.Value.Room == r.Room && r.Kind != ReqProvide && r.Kind != ReqSend {
			return nil
		}
	}
	_, err := w.reqs.Put(r)
	return err
}

// asked reports whether a request of that kind is on its way for a room.
func (w *work) asked(kind ReqKind, id quinta.RoomID) (bool, error) {
	for have, err := range w.reqs.All() {
		if err != nil {
			return false, err
		}
		if have.Value.Kind == kind && have.Value.Room == id {
			return true, nil
		}
	}
	return false, nil
}

// idAlphabet has the characters of Rocket.Chat's own ids: none that is easily
// taken for another.
const idAlphabet = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz"

// NewID makes an id of 17 random characters, as messages and users have them: 98
// bits.
func NewID(rand io.Reader) (string, error) {
	id := make([]byte, 0, 17)
	var b [32]byte
	for len(id) < 17 {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return "", fmt.Errorf("rocketchat: making an id: %w", err)
		}
		for _, c := range b {
			// 220 is a multiple of 55, so no character is likelier than another.
			if c < 220 && len(id) < 17 {
				id = append(id, idAlphabet[c%55])
			}
		}
	}
	return string(id), nil
}

// Since returns the server's time of the last catching up; 0 if there was none.
func (m *Machine) Since(tx e2ee.Tx) (Date, error) {
	have, _, err := e2ee.Load[meta](tx, "meta")
	return have.Since, err
}

// keepEvents keeps what there is to tell until a call that returns events.
func (w *work) keepEvents() error {
	for _, e := range w.events {
		w.meta.Untold++
		if err := e2ee.Store(w.tx, "event/"+w.meta.Seq.Next(), e); err != nil {
			return err
		}
	}
	w.events = nil
	return nil
}

// keptEvents tells what was kept.
func (w *work) keptEvents() error {
	if w.meta.Untold == 0 {
		return nil
	}
	w.meta.Untold = 0
	for r, err := range e2ee.Records[e2ee.Event](w.tx, "event/") {
		if err != nil {
			return err
		}
		w.emit(r.Value)
		if err := w.tx.Delete(r.Key); err != nil {
			return err
		}
	}
	return nil
}

// Outgoing returns the requests that are due, oldest first.
func (m *Machine) Outgoing(tx e2ee.Tx) ([]Req, error) {
	var due []Req
	_, err := m.run(tx, func(w *work) error {
		for _, step := range []func() error{w.planKeys, w.planRotations, w.takeBack, w.planOutbox, w.planOffers, w.planAsking, w.keepEvents} {
			if err := step(); err != nil {
				return err
			}
		}
		for r, err := range w.reqs.All() {
			if err != nil {
				return err
			}
			r.Value.ID = r.Name
			due = append(due, r.Value)
		}
		return nil
	})
	return due, err
}

// Done takes the answer to a request. An answer to a request that is not due is
// ignored, because it came twice.
func (m *Machine) Done(tx e2ee.Tx, req Req, ans Ans) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if err := w.keptEvents(); err != nil {
			return err
		}
		r, found, err := w.reqs.Get(req.ID)
		if err != nil || !found {
			return err
		}
		if err := w.reqs.Done(req.ID); err != nil {
			return err
		}
		r.ID = req.ID
		take := map[ReqKind]func(Req, Ans) error{
			ReqKeys: w.doneKeys, ReqSetKeys: w.doneSetKeys, ReqRequestKeys: w.doneNothing, ReqRoom: w.doneRoom,
			ReqSetRoomKey: w.doneSetRoomKey, ReqOwnRoomKey: w.doneOwnRoomKey, ReqUsers: w.doneWaiting, ReqWaiting: w.doneWaiting,
			ReqProvide: w.doneNothing, ReqAccept: w.doneNothing, ReqReject: w.doneNothing, ReqReset: w.doneReset,
			ReqSend: w.doneSend, ReqConfirm: w.doneSend, ReqUpdate: w.doneSend, ReqDelete: w.doneSend, ReqReact: w.doneSend,
		}[r.Kind]
		if take == nil {
			return e2ee.Damaged("req/")
		}
		return take(r, ans)
	})
}

func (w *work) doneNothing(r Req, ans Ans) error {
	if ans.Code != "" && ans.Code != CodeNoSuggestion {
		w.trouble(string(r.Kind), ans)
	}
	return nil
}

// ReasonOf returns the reason that an error of the forms is for a message.
func ReasonOf(err error) quinta.Reason {
	switch {
	case errors.Is(err, ErrTampered):
		return quinta.ReasonTampered
	case errors.Is(err, ErrUnsupported):
		return quinta.ReasonUnsupported
	case errors.Is(err, ErrOtherKey):
		return quinta.ReasonNoKeyYet
	}
	return quinta.ReasonMalformed
}
