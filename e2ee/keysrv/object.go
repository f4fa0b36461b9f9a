package keysrv

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/key"
)

// A Mode says who holds the keys of a conversation. It never changes.
type Mode string

// The modes.
const (
	// ModeSealed: the devices of the members. The server has copies that it
	// cannot open.
	ModeSealed Mode = "sealed"
	// ModeEscrow: the key server as well; its operator can read messages.
	ModeEscrow Mode = "escrow"
)

// Check returns ErrUnsupported for an unknown mode.
func (m Mode) Check() error {
	if m != ModeSealed && m != ModeEscrow {
		return fmt.Errorf("%w: the mode %.20q", ErrUnsupported, string(m))
	}
	return nil
}

// A Statement is the creator's signed description of a sealed key.
type Statement struct {
	ObjectID     string
	Conversation string
	Suite        Suite
	// Creator and Device made the key.
	Creator quinta.UserID
	Device  quinta.DeviceID
	// Created and Expires are in Unix milliseconds. Nothing is sealed under the
	// key after Expires.
	Created, Expires int64
	// Check commits to the key; see Commit.
	Check []byte
}

// checkSize is the length of a commitment in bytes.
const checkSize = 32

// Commit returns the commitment of a key to the statement without its Check:
// HMAC-SHA-256 under the key. It reveals nothing about the key, and no other
// key has the same commitment.
func (s *Statement) Commit(k key.ConversationKey) []byte {
	secret := k.Secret()
	defer clear(secret)
	h := hmac.New(sha256.New, secret)
	h.Write(s.bytes("quinta-keysrv-check/1", nil))
	return h.Sum(nil)
}

// Holds reports in constant time whether k is the key of the statement.
func (s *Statement) Holds(k key.ConversationKey) bool {
	return subtle.ConstantTimeCompare(s.Commit(k), s.Check) == 1
}

func (s *Statement) bytes(context string, check []byte) []byte {
	return fields(context, s.ObjectID, s.Conversation, string(s.Suite), string(s.Creator), string(s.Device),
		strconv.FormatInt(s.Created, 10), strconv.FormatInt(s.Expires, 10), string(check))
}

// Sign returns the creator's signature of the statement.
func (s *Statement) Sign(k key.DeviceSigningPrivate) []byte {
	return k.Sign(s.bytes("quinta-keysrv-statement/1", s.Check))
}

// Verify returns ErrTampered if the signature is not by the creator's device,
// to which p belongs.
func (s *Statement) Verify(p key.DeviceSigningPublic, signature []byte) error {
	if DeviceID(p) != s.Device || !p.Verify(s.bytes("quinta-keysrv-statement/1", s.Check), signature) {
		return fmt.Errorf("%w: the statement of a key", ErrTampered)
	}
	return nil
}

// MaxKeyLife limits how long a key is used for sealing.
const MaxKeyLife = 31 * 24 * time.Hour

// An Object is a key object as a server hands it out.
type Object struct {
	ID           string          `json:"id"`
	Conversation string          `json:"conversation"`
	Mode         Mode            `json:"mode"`
	Suite        Suite           `json:"suite"`
	Created      time.Time       `json:"created"`
	Expires      time.Time       `json:"expires"`
	Creator      quinta.UserID   `json:"creator"`
	Device       quinta.DeviceID `json:"device,omitempty"`
	// Key is the key itself, in escrow mode only.
	Key []byte `json:"key,omitempty"`
	// Check and Signature are those of the statement, and Wrapped the caller's
	// own copy, in sealed mode only. Wrapped is nil if there is none yet.
	Check     []byte   `json:"check,omitempty"`
	Signature []byte   `json:"signature,omitempty"`
	Wrapped   *Wrapped `json:"wrapped,omitempty"`
}

// Statement returns what the creator of a sealed object signed.
func (o *Object) Statement() Statement {
	return Statement{ObjectID: o.ID, Conversation: o.Conversation, Suite: o.Suite, Creator: o.Creator, Device: o.Device,
		Created: o.Created.UnixMilli(), Expires: o.Expires.UnixMilli(), Check: o.Check}
}

// ConversationKey returns the key of an escrow object.
func (o *Object) ConversationKey() (key.ConversationKey, error) {
	k, err := key.NewSymmetric[key.Conversation](o.Key)
	if err != nil {
		return k, fmt.Errorf("%w: the key of an object", ErrMalformed)
	}
	return k, nil
}

// CheckForm reports whether an object is complete and within limits. It does
// not verify signatures.
func (o *Object) CheckForm() error {
	if err := CheckObjectID(o.ID); err != nil {
		return err
	}
	if err := CheckConversation(o.Conversation); err != nil {
		return err
	}
	if err := o.Mode.Check(); err != nil {
		return err
	}
	if err := o.Suite.Check(); err != nil {
		return err
	}
	if err := CheckJID(o.Creator); err != nil {
		return err
	}
	life := o.Expires.Sub(o.Created)
	switch {
	case o.Created.UnixMilli() <= 0 || life <= 0 || life > MaxKeyLife:
		return fmt.Errorf("%w: the times of a key object", ErrMalformed)
	case o.Mode == ModeEscrow && (len(o.Key) != key.Size || o.Wrapped != nil || o.Check != nil || o.Signature != nil):
		return fmt.Errorf("%w: an escrow object has a key of 32 bytes and nothing else", ErrMalformed)
	case o.Mode == ModeSealed && (o.Key != nil || len(o.Check) != checkSize || len(o.Signature) != key.SignatureSize || !isDeviceID(o.Device)):
		return fmt.Errorf("%w: a sealed object has a signed statement and no key", ErrMalformed)
	case o.Mode == ModeSealed && o.Suite != SuiteGCM:
		return fmt.Errorf("%w: a sealed object is A256GCM", ErrUnsupported)
	}
	if o.Wrapped != nil {
		return o.Wrapped.check()
	}
	return nil
}

// ParseObject reads a key object of at most 16 KiB of JSON.
func ParseObject(raw []byte) (*Object, error) {
	o := &Object{}
	if err := decode(raw, 16<<10, o); err != nil {
		return nil, err
	}
	return o, o.CheckForm()
}

// Format writes an object without its key, whatever the verb.
func (o Object) Format(s fmt.State, _ rune) {
	io.WriteString(s, "key object "+o.ID+" ("+string(o.Mode)+", "+string(o.Suite)+")")
}

// objectJSON is an object with its key.
type objectJSON Object

// Encode returns the JSON of an object with its key, for the one device that
// may have it.
func (o *Object) Encode() []byte {
	b, err := json.Marshal((*objectJSON)(o))
	if err != nil {
		panic("keysrv: internal error: " + err.Error())
	}
	return b
}

// MarshalJSON writes an object without its key, so that no log shows it; use
// Encode.
func (o Object) MarshalJSON() ([]byte, error) {
	o.Key = nil
	return json.Marshal(objectJSON(o))
}
