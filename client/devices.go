package client

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
)

// A DeviceJudge is a Session that lists the devices of users and lets this
// user decide which of them to trust.
type DeviceJudge interface {
	Session
	// Devices lists the devices of a user, or of this account if user is
	// empty.
	Devices(ctx context.Context, user quinta.UserID) ([]DeviceInfo, error)
	// Rename names a device of this account.
	Rename(ctx context.Context, id quinta.DeviceID, name string) error
	// SignOut signs a device of this account out. It may need the password.
	SignOut(ctx context.Context, id quinta.DeviceID, password Secret) error
	// Judge accepts or rejects a device that the user compared by hand:
	// TrustVerified or TrustRejected. TrustUnknown withdraws the judgement.
	Judge(ctx context.Context, user quinta.UserID, id quinta.DeviceID, t quinta.Trust) error
	// Acknowledge accepts a user's changed identity from now on, without
	// claiming that it was compared. Until then nothing is sent to the user if
	// their old identity was verified.
	Acknowledge(ctx context.Context, user quinta.UserID) error
}

// A DeviceInfo is a device and what is known about it.
type DeviceInfo struct {
	quinta.Device
	Trust quinta.Trust
	// Fingerprint is what two people compare, in groups for reading aloud.
	Fingerprint string
	// Own says that the device belongs to this account, Self that it is this
	// device.
	Own, Self bool
	// Seen is when the server last saw it, if the server reports that.
	Seen time.Time
}
