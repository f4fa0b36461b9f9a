package client

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
)

// A CertificateHolder is a Session whose device has keys that an authority
// certifies, each for a limited time.
type CertificateHolder interface {
	Session
	// Keys asks the authority for the keys of all devices of the account,
	// oldest first, including those that have expired.
	Keys(ctx context.Context) ([]KeyInfo, error)
	// Renew replaces the valid keys of this device with new ones, and returns
	// them once the authority has certified them. If an earlier renewal was
	// interrupted, it continues with the same keys. A key that is no longer
	// valid is not renewed: an error of KindForbidden says what to do.
	Renew(ctx context.Context) ([]KeyInfo, error)
	// Revoke revokes a key of any device of the account, for good. id is its
	// fingerprint; reason is one of RevokeReasons, or empty for
	// RevokeUnspecified. A key of this device is not replaced.
	Revoke(ctx context.Context, id, reason string) error
}

// A KeyInfo is what an authority reports about one key.
type KeyInfo struct {
	// ID is the fingerprint of the key: the SHA-256 of its public half in
	// lower-case hex.
	ID     string
	Device quinta.DeviceID
	// Use is "sign", "encrypt" or "both".
	Use string
	// Profile is the network's name for the kind of key.
	Profile string
	// State is "pending", "active", "grace", "retired", "expired" or "revoked".
	State              string
	NotBefore, Expires time.Time
	// Changed is when the key entered its state.
	Changed time.Time
	// Reason is why it was revoked.
	Reason string
	// Self says that the key belongs to this device.
	Self bool
}

// The reasons for revoking a key. RevokeCompromised also applies to what was
// encrypted or signed with the key before.
const (
	RevokeUnspecified = "unspecified"
	RevokeCompromised = "key-compromise"
	RevokeSuperseded  = "superseded"
	RevokeCessation   = "cessation"
)

// RevokeReasons are all reasons.
var RevokeReasons = []string{RevokeUnspecified, RevokeCompromised, RevokeSuperseded, RevokeCessation}
