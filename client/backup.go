package client

import "context"

// A BackupKeeper is a Session that can back its keys up on the server,
// encrypted under a recovery key that only the user has.
type BackupKeeper interface {
	Session
	// Backup reports whether there is a backup and whether this device uses
	// it.
	Backup(ctx context.Context) (BackupInfo, error)
	// CreateBackup makes a backup of all keys, which this device keeps up to
	// date. It returns the recovery key, which is shown to the user once.
	CreateBackup(ctx context.Context) (recovery Secret, err error)
	// UnlockBackup imports the keys of a backup, which this device uses from
	// then on, and returns how many were new. If progress is not nil, it is
	// called from time to time. A wrong recovery key is an error of
	// KindUnauthenticated.
	UnlockBackup(ctx context.Context, recovery Secret, progress func(done, all int)) (int, error)
}

// A BackupInfo is the state of the key backup.
type BackupInfo struct {
	// Exists says that the server has a backup, Unlocked that this device has
	// its key, and Keys how many keys it holds.
	Exists, Unlocked bool
	Keys             int
}

// A RecoveryKeeper is a BackupKeeper whose recovery key opens more than the
// backup, and can be changed.
type RecoveryKeeper interface {
	BackupKeeper
	// CreateBackupBy is CreateBackup with choices. A backup that this device
	// uses is kept and gets a new recovery key; one that it cannot open is an
	// error of KindExists.
	CreateBackupBy(ctx context.Context, in NewBackup) (recovery Secret, err error)
}

// A NewBackup says how to make a key backup.
type NewBackup struct {
	// Passphrase, if not empty, opens the backup as well as the recovery key
	// does; the recovery key is then derived from it.
	Passphrase Secret
	// Reset discards what this device cannot open: an existing backup, and
	// whatever else was stored under its recovery key.
	Reset bool
}
