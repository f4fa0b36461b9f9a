package wire

import (
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
)

// Requests and answers about keys have the types of package e2ee/ca.
type (
	// A State is a stage in the life of a key.
	State = ca.State
	// A KeyInfo is what the authority reports about one key.
	KeyInfo = ca.KeyInfo
	// A KeyList is the answer of PathUserKeys: the keys of all devices of a user,
	// oldest first.
	KeyList = ca.KeyList
	// An EnrolRequest is POST PathKeys.
	EnrolRequest = ca.Enrol
	// A RenewRequest is POST PathRenew.
	RenewRequest = ca.Renew
	// An ApprovalRequest is PUT PathApproval. A device whose key has expired or
	// was revoked may enrol another one only with it.
	ApprovalRequest = cert.Approval
)

// The states of a key.
const (
	StatePending = ca.StatePending
	StateActive  = ca.StateActive
	StateGrace   = ca.StateGrace
	StateRetired = ca.StateRetired
	StateExpired = ca.StateExpired
	StateRevoked = ca.StateRevoked
)

// States are all states.
var States = ca.States

// The profiles and uses of a key. A key of the legacy profile has the use
// UseBoth.
const (
	ProfileSecure = cert.ProfileSecure
	ProfileLegacy = cert.ProfileLegacy

	UseSign    = string(cert.UseSign)
	UseEncrypt = string(cert.UseEncrypt)
	UseBoth    = "both"
)

// A Nonce is the answer of PathNonce. It is valid for one renewal of that key.
type Nonce struct {
	Nonce   string    `json:"nonce"`
	Expires time.Time `json:"expires"`
}

// A RevokeRequest is POST PathRevoke. Reason is "unspecified",
// "key-compromise", "superseded" or "cessation".
type RevokeRequest struct {
	Reason string `json:"reason"`
}
