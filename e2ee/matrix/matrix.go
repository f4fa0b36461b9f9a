// Package matrix implements the end-to-end encryption of one Matrix device:
// the end-to-end module of the client-server API with device lists, Olm and
// Megolm sessions, cross-signing, key requests and withheld keys.
//
// [Machine] does no input or output. [Machine.Receive] takes the content of a
// /sync response ([ParseSync] parses it), [Machine.Send] a message;
// [Machine.Outgoing] returns the HTTP requests that are due, with their exact
// bytes, and [Machine.Done] takes each answer. The caller commits the
// transaction of each call before it does anything else; then, after a crash
// at any point, a request is repeated with the same bytes, and nothing is
// encrypted twice with one key.
//
// [New] makes a machine that sends to the devices that their owners signed,
// and to all devices of users without cross-signing, except those that were
// rejected. [NewVerifiedOnly] makes one that sends to verified devices only.
//
// Beware: what a server says about who is in a room is not authenticated by
// Matrix. New devices and changed identities are reported as events; a program
// that needs more protection uses NewVerifiedOnly.
package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

// Names of algorithms and of event types.
const (
	algorithmOlm    = "m.olm.v1.curve25519-aes-sha2"
	algorithmMegolm = "m.megolm.v1.aes-sha2"
	otkAlgorithm    = "signed_curve25519"

	typeEncrypted  = "m.room.encrypted"
	typeEncryption = "m.room.encryption"
	typeMember     = "m.room.member"
	typeHistory    = "m.room.history_visibility"
	typeRoomKey    = "m.room_key"
	typeForwarded  = "m.forwarded_room_key"
	typeKeyRequest = "m.room_key_request"
	typeWithheld   = "m.room_key.withheld"
	typeDummy      = "m.dummy"
	typeSecretReq  = "m.secret.request"
	typeSecretSend = "m.secret.send"

	edPrefix    = "ed25519:"
	curvePrefix = "curve25519:"
)

// Errors of the machine.
var (
	// ErrOtherDevice: the state in the transaction belongs to another device.
	ErrOtherDevice = errors.New("matrix: the store belongs to another device")
	// ErrOutOfOrder: the sync does not follow on the last one.
	ErrOutOfOrder = errors.New("matrix: sync does not follow the last one")
	// ErrUnknownRoom: the room was never seen in a sync, so nothing is known
	// of its encryption.
	ErrUnknownRoom = errors.New("matrix: unknown room")
	// ErrIdentityChanged: a member's verified identity changed, and the user
	// has not acknowledged it. Until then nothing is sent to the room. It wraps
	// e2ee.ErrIdentityChanged.
	ErrIdentityChanged = fmt.Errorf("matrix: %w", e2ee.ErrIdentityChanged)
	// ErrUnsupportedRoom: the room is encrypted in a way that is not supported.
	ErrUnsupportedRoom = errors.New("matrix: the room's encryption is not supported")
	// ErrMalformed: an answer or an event of the wrong shape.
	ErrMalformed = errors.New("matrix: malformed")
	// ErrUnknownDevice: there is no such device or user.
	ErrUnknownDevice = errors.New("matrix: unknown device or user")
	// ErrMismatch: a key is not the one that was expected.
	ErrMismatch = errors.New("matrix: another key than expected")
)

// A Machine is the encryption of one device. It has no state of its own: all
// of it is in the transactions. It may be used by several goroutines if their
// transactions are serial.
type Machine struct {
	env    e2ee.Env
	user   quinta.UserID
	device quinta.DeviceID
	// verifiedOnly gives room keys to verified devices only.
	verifiedOnly bool
}

var _ e2ee.Machine[In, Req, Ans] = (*Machine)(nil)

// New returns the machine of a logged-in device.
func New(env e2ee.Env, user quinta.UserID, device quinta.DeviceID) *Machine {
	return &Machine{env: env, user: user, device: device}
}

// NewVerifiedOnly returns a machine that gives room keys to verified devices
// only. A device may go from one kind of machine to the other: a session whose
// key others have is not used again.
func NewVerifiedOnly(env e2ee.Env, user quinta.UserID, device quinta.DeviceID) *Machine {
	m := New(env, user, device)
	m.verifiedOnly = true
	return m
}

// admit reports whether a device that is not rejected gets room keys.
func (m *Machine) admit(u *userRecord, t quinta.Trust) bool {
	if m.verifiedOnly {
		return t == quinta.TrustVerified
	}
	return t >= quinta.TrustSigned || u.Pinned.IsZero()
}

// meta is the part of the state that is not about others.
type meta struct {
	User      quinta.UserID   `json:"user"`
	Device    quinta.DeviceID `json:"device"`
	Created   int64           `json:"created"`
	NextBatch string          `json:"next_batch,omitempty"`
	Seq       e2ee.Seq        `json:"seq"`
	// Epoch grows whenever a device list, a decision or a membership changes.
	Epoch     uint64 `json:"epoch"`
	Published bool   `json:"published"`
	// Uploading says that an upload of keys is on its way.
	Uploading   bool  `json:"uploading"`
	Refusals    int   `json:"refusals,omitempty"`
	UploadAfter int64 `json:"upload_after,omitempty"`
	Counted     bool  `json:"counted"`
	OneTimeKeys int   `json:"one_time_keys"`
	NewFallback bool  `json:"new_fallback"`
	FallbackAt  int64 `json:"fallback_at"`
	ForgetAt    int64 `json:"forget_at"`
	// Keys is the signed device_keys object.
	Keys json.RawMessage `json:"keys,omitempty"`
	// Foreign says that the server lists other keys for this device.
	Foreign bool `json:"foreign,omitempty"`
	// MasterTrusted says that this device knows its own user's master key to
	// be the right one.
	MasterTrusted bool `json:"master_trusted"`
	// BackupLocked says that there is a key backup which this device cannot
	// open.
	BackupLocked bool `json:"backup_locked,omitempty"`
	// Curves says that the owner of every known device key is noted.
	Curves bool `json:"curves,omitempty"`
}

// work is one call: the transaction and what was read of it.
type work struct {
	m    *Machine
	tx   e2ee.Tx
	now  time.Time
	meta meta
	acc  *olm.Account
	// accChanged says that acc is to be written back.
	accChanged bool
	metaStored []byte
	users      map[quinta.UserID]*userRecord
	peers      peers
	reqs       *requests
	events     []e2ee.Event
	// reading says that events come out of the history.
	reading bool
}

// run does f on a unit of work and writes back what changed.
func (m *Machine) run(tx e2ee.Tx, f func(w *work) error) ([]e2ee.Event, error) {
	w := &work{m: m, tx: tx, now: m.env.Now(), users: map[quinta.UserID]*userRecord{}, peers: newPeers(tx)}
	w.reqs = newRequests(tx, &w.meta.Seq)
	if err := w.load(); err != nil {
		return nil, err
	}
	defer w.acc.Wipe()
	if err := f(w); err != nil {
		return nil, err
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	return w.events, nil
}

// load reads the account, or makes it.
func (w *work) load() error {
	var err error
	if w.metaStored, err = w.tx.Get("meta"); err != nil {
		return err
	}
	if w.metaStored == nil {
		if w.acc, err = olm.NewAccount(w.m.env.Rand); err != nil {
			return err
		}
		w.accChanged = true
		w.meta = meta{User: w.m.user, Device: w.m.device, Created: w.now.UnixMilli()}
		return w.makeDeviceKeys()
	}
	if err := exactjson.Unmarshal(w.metaStored, &w.meta); err != nil {
		return e2ee.Damaged("meta")
	}
	if w.meta.User != w.m.user || w.meta.Device != w.m.device {
		return ErrOtherDevice
	}
	state, err := w.tx.Get("account")
	if err != nil {
		return err
	}
	w.acc, err = olm.DecodeAccount(state)
	return err
}

// flush writes back what changed.
func (w *work) flush() error {
	if err := w.flushUsers(); err != nil {
		return err
	}
	if err := w.peers.flush(); err != nil {
		return err
	}
	if w.accChanged {
		if err := w.tx.Put("account", w.acc.Encode()); err != nil {
			return err
		}
	}
	if b := e2ee.JSON(&w.meta); !bytes.Equal(b, w.metaStored) {
		return w.tx.Put("meta", b)
	}
	return nil
}

// next returns the next number of the store, as text that sorts like it.
func (w *work) next() string { return w.meta.Seq.Next() }

func (w *work) emit(e e2ee.Event) { w.events = append(w.events, e) }

// makeDeviceKeys makes the signed device_keys object.
func (w *work) makeDeviceKeys() error {
	raw, err := canonicaljson.Marshal(map[string]any{
		"user_id": w.m.user, "device_id": w.m.device,
		"algorithms": []string{algorithmOlm, algorithmMegolm},
		"keys": map[string]string{
			curvePrefix + string(w.m.device): w.acc.Identity().String(),
			edPrefix + string(w.m.device):    w.acc.Signing().String(),
		},
	})
	if err != nil {
		return err
	}
	w.meta.Keys, err = w.sign(raw)
	return err
}

// sign puts the device's signature on an object.
func (w *work) sign(raw []byte) ([]byte, error) {
	return canonicaljson.Sign(raw, string(w.m.user), edPrefix+string(w.m.device), w.acc.Sign)
}

// An Identity is the public part of this device.
type Identity struct {
	User    quinta.UserID
	Device  quinta.DeviceID
	Curve   key.IdentityPublic
	Ed25519 key.DeviceSigningPublic
}

// Identity returns the keys of this device; Ed25519 is the fingerprint to show.
func (m *Machine) Identity(tx e2ee.Tx) (Identity, error) {
	id := Identity{User: m.user, Device: m.device}
	_, err := m.run(tx, func(w *work) error {
		id.Curve, id.Ed25519 = w.acc.Identity(), w.acc.Signing()
		return nil
	})
	return id, err
}

// Since returns the position that the next /sync continues from; it is empty
// before the first. It only reads.
func Since(tx e2ee.Tx) (string, error) {
	have, _, err := e2ee.Load[meta](tx, "meta")
	return have.NextBatch, err
}
