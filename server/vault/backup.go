package vault

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// MaxBackups bounds the versions of a backup that a user may ever make, and
// MaxBackupKeys the keys in one version.
const (
	MaxBackups    = 10_000
	MaxBackupKeys = 1_000_000
)

// A Backup is one version of a user's backup of sealed keys, without them.
type Backup struct {
	Version   int64
	Algorithm string
	// Auth is what the user's devices need to know of the backup, in the form
	// of the network.
	Auth []byte
	// Count is how many keys there are. Etag changes whenever the keys do.
	Count, Etag int64
}

// A BackupKey is one sealed key.
type BackupKey struct {
	Room    quinta.RoomID
	Session string
	// First, Forwarded, Verified say how good the key is; see PutBackupKeys.
	First, Forwarded int64
	Verified         bool
	Body             []byte
}

// ErrNoBackup is returned if there is no such version of a backup.
var ErrNoBackup = quinta.E(quinta.KindNotFound, "backup", "there is no such backup")

// ErrNoBackupKey is returned where a backup does not hold a key.
var ErrNoBackupKey = quinta.E(quinta.KindNotFound, "backup", "the backup does not hold this key")

// NewBackup makes a new version, which is then the latest, and returns its
// number.
func NewBackup(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, algorithm string, auth []byte) (int64, error) {
	var last int64
	if err := tx.Row(`SELECT COALESCE(MAX(version), 0) FROM vault_backup WHERE user_id = $1`, db.UserOf(network, user)).Scan(&last); err != nil {
		return 0, err
	}
	if last >= MaxBackups {
		return 0, quinta.E(quinta.KindLimited, "backup", "the account has made too many backups")
	}
	tx.Count(db.UserOf(network, user), db.ClassBackup, int64(len(auth)))
	err := tx.Queue(`INSERT INTO vault_backup (user_id, version, algorithm, auth, count, etag, deleted) VALUES ($1, $2, $3, $4, 0, 0, FALSE)`,
		db.UserOf(network, user), last+1, algorithm, auth)
	return last + 1, err
}

// LatestBackup returns the latest version that is not deleted, or ErrNoBackup.
func LatestBackup(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) (Backup, error) {
	return backup(tx.Row(`SELECT version, algorithm, auth, count, etag FROM vault_backup WHERE user_id = $1 AND NOT deleted ORDER BY version DESC LIMIT 1`, db.UserOf(network, user)))
}

// BackupOf returns one version, or ErrNoBackup if it is deleted or never was.
func BackupOf(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, version int64) (Backup, error) {
	return backup(tx.Row(`SELECT version, algorithm, auth, count, etag FROM vault_backup WHERE user_id = $1 AND version = $2 AND NOT deleted`, db.UserOf(network, user), version))
}

func backup(row db.OneRow) (Backup, error) {
	var b Backup
	err := row.Scan(&b.Version, &b.Algorithm, &b.Auth, &b.Count, &b.Etag)
	if errors.Is(err, db.ErrNoRows) {
		err = ErrNoBackup
	}
	return b, err
}

// SetBackupAuth replaces what the devices need to know of a version.
func SetBackupAuth(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, version int64, auth []byte) error {
	old, err := BackupOf(tx, network, user, version)
	if err != nil {
		return err
	}
	tx.Count(db.UserOf(network, user), db.ClassBackup, int64(len(auth)-len(old.Auth)))
	return tx.Queue(`UPDATE vault_backup SET auth = $3 WHERE user_id = $1 AND version = $2`, db.UserOf(network, user), version, auth)
}

// DeleteBackup deletes a version with its keys. Its number is not used again.
// A version that was already deleted is not an error; one that never existed
// is ErrNoBackup.
func DeleteBackup(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, version int64) error {
	u := db.UserOf(network, user)
	if err := count(tx, u, db.ClassBackup, -1, `SELECT (SELECT COALESCE(SUM(LENGTH(auth)), 0) FROM vault_backup WHERE user_id = $1 AND version = $2) +
		(SELECT COALESCE(SUM(`+keyBytes+`), 0) FROM vault_backup_key WHERE user_id = $1 AND version = $2)`, u, version); err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE vault_backup SET deleted = TRUE, count = 0, auth = '' WHERE user_id = $1 AND version = $2`, db.UserOf(network, user), version)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNoBackup
	}
	return tx.Queue(`DELETE FROM vault_backup_key WHERE user_id = $1 AND version = $2`, db.UserOf(network, user), version)
}

// PutBackupKeys puts keys into a version. Of two keys of one session the
// better one stays: a verified one before one that is not, then the one whose
// first message is earlier, then the one that was forwarded less often
// (client-server API, "Backup algorithm"). Each session may be given once.
func PutBackupKeys(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, version int64, keys []BackupKey) (Backup, error) {
	b, err := BackupOf(tx, network, user, version)
	if err != nil {
		return b, err
	}
	u := db.UserOf(network, user)
	var added, changed int64
	for piece := range db.Pieces(keys) {
		// The bytes that the sessions took before and take now.
		places := []any{u, version}
		for i := range piece {
			places = append(places, string(piece[i].Room), piece[i].Session)
		}
		held := `SELECT SUM(` + keyBytes + `) FROM vault_backup_key WHERE user_id = $1 AND version = $2 AND (room, session) IN (VALUES ` + db.Tuples(3, len(piece), 2) + `)`
		if err := count(tx, u, db.ClassBackup, -1, held, places...); err != nil {
			return b, err
		}
		args := make([]any, 0, 8*len(piece))
		for i := range piece {
			k := &piece[i]
			args = append(args, string(db.UserOf(network, user)), version, string(k.Room), k.Session, k.First, k.Forwarded, k.Verified, k.Body)
		}
		insert := `INSERT INTO vault_backup_key (user_id, version, room, session, first, forwarded, verified, body) VALUES ` + db.Tuples(1, len(piece), 8) +
			` ON CONFLICT (user_id, version, room, session) DO `
		n, err := tx.Exec(insert+`NOTHING`, args...)
		if err != nil {
			return b, err
		}
		added += n
		if int(n) == len(piece) {
			if err := count(tx, u, db.ClassBackup, 1, held, places...); err != nil {
				return b, err
			}
			continue
		}
		// The rows that were just added are equal to their like, not better.
		if n, err = tx.Exec(insert+`UPDATE SET first = excluded.first, forwarded = excluded.forwarded, verified = excluded.verified, body = excluded.body
			WHERE (excluded.verified AND NOT vault_backup_key.verified) OR (excluded.verified = vault_backup_key.verified AND
			(excluded.first < vault_backup_key.first OR (excluded.first = vault_backup_key.first AND excluded.forwarded < vault_backup_key.forwarded)))`, args...); err != nil {
			return b, err
		}
		changed += n
		if err := count(tx, u, db.ClassBackup, 1, held, places...); err != nil {
			return b, err
		}
	}
	if b.Count+added > MaxBackupKeys {
		return b, quinta.E(quinta.KindTooLarge, "backup", "the backup holds too many keys")
	}
	return b, b.changed(tx, network, user, added, added+changed)
}

// changed notes that the keys of a backup have changed.
func (b *Backup) changed(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, more, changes int64) error {
	if changes == 0 {
		return nil
	}
	b.Count += more
	b.Etag++
	return tx.Queue(`UPDATE vault_backup SET count = $3, etag = $4 WHERE user_id = $1 AND version = $2`, db.UserOf(network, user), b.Version, b.Count, b.Etag)
}

// BackupKeys returns the keys of a version in the order of their rooms: all,
// or those of one room.
func BackupKeys(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, version int64, room quinta.RoomID) ([]BackupKey, error) {
	if _, err := BackupOf(tx, network, user, version); err != nil {
		return nil, err
	}
	var out []BackupKey
	for row, err := range tx.Query(`SELECT room, session, body FROM vault_backup_key WHERE user_id = $1 AND version = $2 AND ($3 = '' OR room = $3) ORDER BY room, session`,
		db.UserOf(network, user), version, room) {
		if err != nil {
			return nil, err
		}
		var k BackupKey
		if err := row.Scan(&k.Room, &k.Session, &k.Body); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// BackupKeyOf returns the body of one key, or ErrNoBackupKey, or ErrNoBackup.
func BackupKeyOf(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, version int64, room quinta.RoomID, session string) ([]byte, error) {
	if _, err := BackupOf(tx, network, user, version); err != nil {
		return nil, err
	}
	var body []byte
	err := tx.Row(`SELECT body FROM vault_backup_key WHERE user_id = $1 AND version = $2 AND room = $3 AND session = $4`, db.UserOf(network, user), version, room, session).Scan(&body)
	if errors.Is(err, db.ErrNoRows) {
		err = ErrNoBackupKey
	}
	return body, err
}

// DeleteBackupKeys deletes keys of a version: all if room is empty, those of
// a room if session is empty, or one.
func DeleteBackupKeys(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, version int64, room quinta.RoomID, session string) (Backup, error) {
	b, err := BackupOf(tx, network, user, version)
	if err != nil {
		return b, err
	}
	u := db.UserOf(network, user)
	const which = ` FROM vault_backup_key WHERE user_id = $1 AND version = $2 AND ($3 = '' OR room = $3) AND ($4 = '' OR session = $4)`
	if err := count(tx, u, db.ClassBackup, -1, `SELECT SUM(`+keyBytes+`)`+which, u, version, room, session); err != nil {
		return b, err
	}
	n, err := tx.Exec(`DELETE`+which, u, version, room, session)
	if err != nil {
		return b, err
	}
	return b, b.changed(tx, network, user, -n, n)
}

// ClearBackups removes all backups and the dehydrated device of a user whose
// account ends.
func ClearBackups(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) error {
	u := db.UserOf(network, user)
	if err := count(tx, u, db.ClassBackup, -1, backupBytes, u); err != nil {
		return err
	}
	for _, sql := range []string{
		`DELETE FROM vault_backup_key WHERE user_id = $1`,
		`DELETE FROM vault_backup WHERE user_id = $1`,
		`DELETE FROM vault_dehydrated WHERE user_id = $1`,
	} {
		if err := tx.Queue(sql, u); err != nil {
			return err
		}
	}
	return nil
}
