package main

import (
	"context"
	"errors"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/backup"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

var trustCalls = map[string]call{
	"bootstrap":         method(bootstrap),
	"crossSigning":      method(crossSigning),
	"untilUserVerified": method(untilUserVerified),
	"untilDevice":       method(untilDevice),
	"unlock":            method(unlock),
	"restore":           method(restore),
	"importKeys":        method(importKeys),
}

type recovery struct {
	RecoveryKey string `json:"recoveryKey"`
}

// bootstrap makes cross-signing keys and secret storage.
func bootstrap(ctx context.Context, d *device, _ none) (recovery, error) {
	key, _, err := d.mach.GenerateAndUploadCrossSigningKeysWithPassword(ctx, d.account.Password, "")
	if err != nil {
		return recovery{}, err
	}
	if err := d.mach.SignOwnDevice(ctx, d.mach.OwnIdentity()); err != nil {
		return recovery{}, err
	}
	return recovery{key}, d.mach.SignOwnMasterKey(ctx)
}

type identity struct {
	Ready   bool `json:"ready"`
	Private bool `json:"private"`
}

func crossSigning(ctx context.Context, d *device, _ none) (identity, error) {
	trusted, err := d.mach.IsUserTrusted(ctx, d.account.User)
	return identity{trusted, d.mach.CrossSigningKeys != nil}, err
}

type userArgs struct {
	User     id.UserID
	Verified *bool
	Device   id.DeviceID
	Signed   *bool
}

func untilUserVerified(ctx context.Context, d *device, a userArgs) (none, error) {
	want := a.Verified == nil || *a.Verified
	return none{}, d.until(ctx, func() (bool, error) {
		if _, err := d.mach.FetchKeys(ctx, []id.UserID{a.User}, true); err != nil {
			return false, err
		}
		got, err := d.mach.IsUserTrusted(ctx, a.User)
		return got == want, err
	})
}

// untilDevice waits until the device is known and is signed by its owner, or
// not.
func untilDevice(ctx context.Context, d *device, a userArgs) (none, error) {
	return none{}, d.until(ctx, func() (bool, error) {
		known, err := d.mach.FetchKeys(ctx, []id.UserID{a.User}, true)
		if err != nil {
			return false, err
		}
		dev := known[a.User][a.Device]
		if dev == nil || a.Signed == nil {
			return dev != nil, nil
		}
		trust, err := d.mach.ResolveTrustContext(ctx, dev)
		return (trust >= id.TrustStateCrossSignedUntrusted) == *a.Signed, err
	})
}

// unlock takes the identity from secret storage and signs this device.
func unlock(ctx context.Context, d *device, a recovery) (none, error) {
	return none{}, d.mach.VerifyWithRecoveryKey(ctx, a.RecoveryKey)
}

type restored struct {
	Total    int `json:"total"`
	Imported int `json:"imported"`
}

// restore takes the backup key from secret storage and the room keys from the
// backup.
func restore(ctx context.Context, d *device, a recovery) (restored, error) {
	keyID, data, err := d.mach.SSSS.GetDefaultKeyData(ctx)
	if err != nil {
		return restored{}, err
	}
	key, err := data.VerifyRecoveryKey(keyID, a.RecoveryKey)
	if err != nil {
		return restored{}, err
	}
	secret, err := d.mach.SSSS.GetDecryptedAccountData(ctx, event.AccountDataMegolmBackupKey, key)
	if err != nil {
		return restored{}, err
	}
	backupKey, err := backup.MegolmBackupKeyFromBytes(secret)
	if err != nil {
		return restored{}, err
	}
	before, err := d.sessions(ctx)
	if err != nil {
		return restored{}, err
	}
	version, err := d.mach.DownloadAndStoreLatestKeyBackup(ctx, backupKey)
	if err != nil {
		return restored{}, err
	}
	if version == "" {
		return restored{}, errors.New("the backup is not trusted")
	}
	info, err := d.client.GetKeyBackupLatestVersion(ctx)
	if err != nil {
		return restored{}, err
	}
	after, err := d.sessions(ctx)
	return restored{info.Count, after - before}, err
}

// sessions counts the inbound Megolm sessions.
func (d *device) sessions(ctx context.Context) (int, error) {
	all, err := d.store.GetAllGroupSessions(ctx).AsList()
	return len(all), err
}

// importKeys takes keys as JSON, by way of an export file.
func importKeys(ctx context.Context, d *device, a struct{ Keys string }) (none, error) {
	const passphrase = "only for the way in"
	file, err := crypto.EncryptKeyExport(passphrase, []byte(a.Keys))
	if err != nil {
		return none{}, err
	}
	_, _, err = d.mach.ImportKeys(ctx, passphrase, file)
	return none{}, err
}
