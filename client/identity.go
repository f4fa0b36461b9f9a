package client

import (
	"context"

	"github.com/quinta-chat/quinta"
)

// An IdentityKeeper is a Session whose account has an identity of its own,
// which signs the devices of the account, so that others need not compare
// each.
type IdentityKeeper interface {
	Session
	// Identity says what there is, and what this device has of it.
	Identity(ctx context.Context) (IdentityInfo, error)
	// CreateIdentity makes the identity and signs this device with it. If the
	// account has one it is an error of KindExists, and nothing changes. The
	// password may be needed. What was interrupted goes on with the same keys.
	CreateIdentity(ctx context.Context, password Secret) error
	// ResetIdentity puts a new identity in the place of the account's: whoever
	// verified it has to do so again, and the other own devices are not signed
	// any more.
	ResetIdentity(ctx context.Context, password Secret) error
}

// An IdentityInfo is the state of the account's identity.
type IdentityInfo struct {
	// Exists says that the account has one, and Fingerprint which, in groups
	// for reading aloud.
	Exists      bool
	Fingerprint string
	// Trusted says that this device knows it to be the right one; Changed that
	// it is another one than this device knew.
	Trusted, Changed bool
	// SignsThis says that it signed this device, and Complete that its private
	// keys are here, so that this device can sign others.
	SignsThis, Complete bool
}

// EnsureIdentity gives the account of a device that has just logged in an
// identity if it has none and this is its only device: the other devices of an
// account would not be signed by it. It returns what there is in the end; a
// Session without identities has none, and that is no error.
func EnsureIdentity(ctx context.Context, s Session, password Secret) (IdentityInfo, error) {
	k, ok := As[IdentityKeeper](s)
	if !ok {
		return IdentityInfo{}, nil
	}
	id, err := k.Identity(ctx)
	if err != nil || id.Exists {
		return id, err
	}
	if d, ok := As[Keeper](s); ok {
		devices, err := d.Devices(ctx, "")
		if err != nil {
			return id, err
		}
		for _, one := range devices {
			if !one.Self && one.Fingerprint != "" {
				return id, nil
			}
		}
	}
	if err := k.CreateIdentity(ctx, password); err != nil {
		return id, err
	}
	return k.Identity(ctx)
}

// A RecoveryKeeper is a Backer whose recovery key opens more than the backup,
// and can be changed.
type RecoveryKeeper interface {
	Backer
	// CreateBackupBy is CreateBackup as in says. A backup that this device uses
	// stays and gets a new recovery key; one that it cannot open is an error of
	// KindExists.
	CreateBackupBy(ctx context.Context, in NewBackup) (recovery Secret, err error)
}

// A NewBackup says how a key backup is made.
type NewBackup struct {
	// Passphrase, if not empty, opens the backup as well as the recovery key,
	// which is then made of it.
	Passphrase Secret
	// Reset gives up what this device cannot open: a backup that is there, and
	// what else was kept under its recovery key.
	Reset bool
}

// A CodeVerifier is a Verifier that also verifies by codes which one side
// shows and the other one scans.
type CodeVerifier interface {
	Verifier
	// VerifyBy is Verify in any of the ways that by has.
	VerifyBy(ctx context.Context, user quinta.UserID, id quinta.DeviceID, by Comparison) error
	// AwaitVerifyBy is AwaitVerify in any of the ways that by has.
	AwaitVerifyBy(ctx context.Context, accept func(from quinta.Device) bool, by Comparison) error
}

// A Comparison is how the user compares. A function that is nil is a way that
// is not offered to the other side.
type Comparison struct {
	// Strings is shown short strings and answers whether the other side shows
	// the same.
	Strings func(ctx context.Context, s ShortStrings) (bool, error)
	// Show is given the bytes of a code for the other side to scan, and
	// returns at once. The code is a secret until the verification is over.
	Show func(code []byte) error
	// Scanned is called after Show when the other side says that it scanned
	// the code, and answers whether the user sees that it did.
	Scanned func(ctx context.Context, with quinta.Device) (bool, error)
	// Scan returns the bytes of the code that the other side shows.
	Scan func(ctx context.Context) ([]byte, error)
}

// A Moderator is a Session that can put others out of a room.
type Moderator interface {
	Session
	// Kick removes a user from a room, with a reason that all there can read,
	// or none. The keys of the room change before the next message.
	Kick(ctx context.Context, room quinta.RoomID, user quinta.UserID, reason string) error
}

// A KeyRotator is a Session that can have a room's key changed.
type KeyRotator interface {
	Session
	// RotateKey makes the next message to a room the first one under a new
	// key. A room that this device does not know is an error of KindNotFound.
	RotateKey(ctx context.Context, room quinta.RoomID) error
}
