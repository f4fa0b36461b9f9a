package wire

import (
	"encoding/json"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// A State is where a key stands in its life.
type State string

// The states of a key.
const (
	// StatePending: not valid yet.
	StatePending State = "pending"
	// StateActive: valid.
	StateActive State = "active"
	// StateGrace: renewed; it still decrypts and is not used to send. It lasts
	// for Roots.Grace seconds, or for longer while messages that are sealed for
	// the key were not delivered; its owner can end it sooner.
	StateGrace State = "grace"
	// StateRetired: its grace is over.
	StateRetired State = "retired"
	// StateExpired: its time is over, and nobody renewed it.
	StateExpired State = "expired"
	// StateRevoked: it is not to be used, not even for what was sent before
	// if the reason is "key-compromise".
	StateRevoked State = "revoked"
)

// States are all states.
var States = []State{StatePending, StateActive, StateGrace, StateRetired, StateExpired, StateRevoked}

// The profiles and uses of a key, as package e2ee/ca names them. A key of the
// legacy profile has the use UseBoth.
const (
	ProfileSecure = "secure"
	ProfileLegacy = "legacy"

	UseSign    = "sign"
	UseEncrypt = "encrypt"
	UseBoth    = "both"
)

// A KeyInfo is what the authority says of one key.
type KeyInfo struct {
	Username quinta.UserID   `json:"username"`
	Device   quinta.DeviceID `json:"device"`
	// KeyID and Fingerprint are both the SHA-256 of PublicKey in lower-case
	// hex.
	KeyID       string `json:"keyId"`
	PublicKey   []byte `json:"publicKey"` // SubjectPublicKeyInfo, DER
	Fingerprint string `json:"fingerprint"`
	Use         string `json:"use"`
	Profile     string `json:"profile"`
	// Serial is the certificate's serial number in hex.
	Serial    string    `json:"serial,omitempty"`
	NotBefore time.Time `json:"notBefore"`
	Expires   time.Time `json:"expires"`
	State     State     `json:"state"`
	// Changed is when the state became what it is.
	Changed time.Time `json:"changed"`
	// Reason is why it was revoked.
	Reason string `json:"reason,omitempty"`
	// Replaces is the key that this one renewed.
	Replaces string `json:"replaces,omitempty"`
	// Renewal is the statement by which it was renewed, with the signatures of
	// both keys; absent for a key that renewed none, in the legacy profile, and
	// where the old certificate itself has signed (EST).
	Renewal *cert.Renewal `json:"renewal,omitempty"`
	// Cert is the certificate in DER; absent in the legacy profile.
	Cert []byte `json:"cert,omitempty"`
}

// A KeyList is the answer of PathUserKeys: the keys of all devices of a user,
// oldest first. An empty list says that he has none; a user whom the server
// does not have is CodeNotFound.
type KeyList struct {
	Username quinta.UserID `json:"username"`
	// At is the time as of which the states are.
	At   time.Time `json:"at"`
	Keys []KeyInfo `json:"keys"`
}

// An EnrolRequest is POST PathKeys.
type EnrolRequest struct {
	// Username and Device must be the caller's own; empty means these.
	Username quinta.UserID   `json:"username,omitempty"`
	Device   quinta.DeviceID `json:"device,omitempty"`
	Profile  string          `json:"profile"`
	// Use is UseSign or UseEncrypt; empty in the legacy profile.
	Use string `json:"use,omitempty"`
	// PublicKey is the key as SubjectPublicKeyInfo (DER). It may be left out
	// where Pop has it.
	PublicKey []byte `json:"publicKey,omitempty"`
	// Expires is until when the key is to be valid: required in the legacy
	// profile; in the secure one at most 90 days ahead, and 30 days if absent.
	Expires *time.Time `json:"expires,omitempty"`
	// Pop is the proof of possession: a PKCS #10 request (DER). Required in
	// the secure profile, not used in the legacy one.
	Pop []byte `json:"pop,omitempty"`
}

// A Nonce is the answer of PathNonce. It is good for one renewal of that key.
type Nonce struct {
	Nonce   string    `json:"nonce"`
	Expires time.Time `json:"expires"`
}

// A RenewRequest is POST PathRenew. For a key of the legacy profile it has
// PublicKey, Signature and Expires; for one of the secure profile CSR, the
// statement and its two signatures (e2ee/ca.Renewal).
type RenewRequest struct {
	PublicKey []byte     `json:"publicKey,omitempty"`
	Signature []byte     `json:"signature,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`

	CSR              []byte          `json:"csr,omitempty"`
	RenewalStatement json.RawMessage `json:"renewalStatement,omitempty"`
	OldSignature     []byte          `json:"oldSignature,omitempty"`
	NewSignature     []byte          `json:"newSignature,omitempty"`
}

// A RevokeRequest is POST PathRevoke. Reason is "unspecified",
// "key-compromise", "superseded" or "cessation".
type RevokeRequest struct {
	Reason string `json:"reason"`
}

// An ApprovalRequest is PUT PathApproval (e2ee/ca.Approval). A device whose
// key has expired or was revoked may enrol another one only with it.
type ApprovalRequest struct {
	Statement json.RawMessage `json:"statement"`
	Signature []byte          `json:"signature"`
}
