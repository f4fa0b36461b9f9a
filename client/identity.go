package client

import "context"

// An IdentityKeeper is a Session whose account has an identity, a key that
// signs the devices of the account so that others need not compare each one.
type IdentityKeeper interface {
	Session
	// Identity reports the account's identity, and what this device has of it.
	Identity(ctx context.Context) (IdentityInfo, error)
	// CreateIdentity makes the identity and signs this device with it. If the
	// account has one, it returns an error of KindExists and changes nothing.
	// It may need the password. If it is interrupted, the next call continues
	// with the same keys.
	CreateIdentity(ctx context.Context, password Secret) error
	// ResetIdentity replaces the account's identity with a new one. Everyone who
	// verified the old one has to verify again, and the account's other
	// devices are no longer signed.
	ResetIdentity(ctx context.Context, password Secret) error
}

// An IdentityInfo is the state of the account's identity.
type IdentityInfo struct {
	// Exists says that the account has one; Fingerprint shows it in groups for
	// reading aloud.
	Exists      bool
	Fingerprint string
	// Trusted says that this device knows it to be the right one; Changed that
	// it differs from the one that this device knew.
	Trusted, Changed bool
	// SignsThis says that it has signed this device. Complete says that its
	// private keys are here, so that this device can sign others.
	SignsThis, Complete bool
}

// EnsureIdentity makes an identity for the account of a device that has just
// logged in, if the account has none and this is its only device: an identity
// made here would not sign the others. It returns the resulting state; a
// Session without identities has an empty one, and that is not an error.
func EnsureIdentity(ctx context.Context, s Session, password Secret) (IdentityInfo, error) {
	k, ok := As[IdentityKeeper](s)
	if !ok {
		return IdentityInfo{}, nil
	}
	id, err := k.Identity(ctx)
	if err != nil || id.Exists {
		return id, err
	}
	if d, ok := As[DeviceJudge](s); ok {
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
