package blob

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Blob is a file, or an id reserved for one.
type Blob struct {
	ID    string
	Owner db.User
	// Type is the media type and Name the file name that the owner gave; both
	// may be empty.
	Type, Name string
	Created    int64
	// Expires is until when a reserved id may be filled, in Unix
	// milliseconds; zero for a file.
	Expires int64
	Bytes
}

// Filled reports whether b is a file and not only a reserved id.
func (b Blob) Filled() bool { return b.Key != "" }

// Errors that callers of Fill distinguish.
var (
	// ErrUnknown: there is no such id, or it has expired.
	ErrUnknown = quinta.E(quinta.KindNotFound, "", "there is no such file")
	// ErrOwner: the id was reserved by another user.
	ErrOwner = quinta.E(quinta.KindForbidden, "", "the id belongs to another user")
	// ErrFilled: the file is there already.
	ErrFilled = quinta.E(quinta.KindExists, "", "the file was already uploaded")
)

// errLate is the error of a transaction that refers to expired bytes.
var errLate = quinta.E(quinta.KindUnavailable, "", "the upload took too long")

// refer takes the bytes out of the loose ones.
func refer(tx *db.Tx, w Bytes) error {
	n, err := tx.Exec(`DELETE FROM blob_loose WHERE bytes = $1 AND NOT claimed`, w.Key)
	if err == nil && n == 0 {
		err = errLate
	}
	return err
}

// drop puts bytes that nothing refers to any more among the loose ones.
func drop(tx *db.Tx, key string) error {
	return tx.Queue(`INSERT INTO blob_loose (bytes, due, claimed) VALUES ($1, $2, $3)`, key, tx.Millis(), false)
}

// minRoom is what a file takes at least, in bytes: it has a row and a block of
// the disk however short it is.
const minRoom = 4096

// room is what a file or a variant counts.
func room(size int64) int64 { return max(size, minRoom) }

// CountAll counts all files again, see [db.Tx.Count].
func CountAll(tx *db.Tx) error {
	type sum struct {
		owner db.User
		bytes int64
	}
	var all []sum
	for row, err := range tx.Query(`SELECT owner, CAST(SUM(CASE WHEN size < $1 THEN $1 ELSE size END) AS BIGINT) FROM
			(SELECT owner, size FROM blob WHERE bytes IS NOT NULL UNION ALL SELECT b.owner, v.size FROM blob_variant v JOIN blob b ON b.id = v.id) stored
		GROUP BY owner`, minRoom) {
		if err != nil {
			return err
		}
		var s sum
		if err := row.Scan(&s.owner, &s.bytes); err != nil {
			return err
		}
		all = append(all, s)
	}
	for _, s := range all {
		tx.Count(s.owner, db.ClassMedia, s.bytes)
	}
	return nil
}

// Put stores a file whose bytes [Blobs.Write] gave, under a new id.
func Put(tx *db.Tx, b Blob) error {
	if err := refer(tx, b.Bytes); err != nil {
		return err
	}
	tx.Count(b.Owner, db.ClassMedia, room(b.Size))
	return tx.Queue(`INSERT INTO blob (id, owner, created, bytes, size, sum, type, name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		b.ID, b.Owner, tx.Millis(), b.Key, b.Size, b.Sum, b.Type, b.Name)
}

// Reserve makes an id that owner may fill for so many milliseconds. It returns
// until when, and KindLimited if max ids of the owner wait already.
func Reserve(tx *db.Tx, id string, owner db.User, millis int64, max int) (expires int64, err error) {
	var waiting int
	err = tx.Row(`SELECT COUNT(*) FROM blob WHERE owner = $1 AND bytes IS NULL AND expires > $2`, owner, tx.Millis()).Scan(&waiting)
	if err != nil {
		return 0, err
	}
	if waiting >= max {
		return 0, quinta.E(quinta.KindLimited, "", "too many files were announced and not uploaded")
	}
	expires = tx.Millis() + millis
	err = tx.Queue(`INSERT INTO blob (id, owner, created, expires, size, type, name) VALUES ($1, $2, $3, $4, 0, '', '')`,
		id, owner, tx.Millis(), expires)
	return expires, err
}

// Fillable returns nil if owner may fill the id now, and else ErrUnknown,
// ErrOwner or ErrFilled.
func Fillable(tx *db.Tx, id string, owner db.User) error {
	b, err := Get(tx, id)
	switch {
	case err != nil:
		return err
	case b.Owner != owner:
		return ErrOwner
	case b.Filled():
		return ErrFilled
	}
	return nil
}

// Fill stores a file under its reserved id, once. It returns what Fillable
// does.
func Fill(tx *db.Tx, b Blob) error {
	if err := Fillable(tx, b.ID, b.Owner); err != nil {
		return err
	}
	if err := refer(tx, b.Bytes); err != nil {
		return err
	}
	tx.Count(b.Owner, db.ClassMedia, room(b.Size))
	return tx.Queue(`UPDATE blob SET expires = NULL, bytes = $1, size = $2, sum = $3, type = $4, name = $5 WHERE id = $6`,
		b.Key, b.Size, b.Sum, b.Type, b.Name, b.ID)
}

// Get returns a file or a reserved id whose time is not over, or ErrUnknown.
func Get(tx *db.Tx, id string) (Blob, error) {
	b := Blob{ID: id}
	var expires *int64
	var key *string
	err := tx.Row(`SELECT owner, created, expires, bytes, size, sum, type, name FROM blob WHERE id = $1`, id).
		Scan(&b.Owner, &b.Created, &expires, &key, &b.Size, &b.Sum, &b.Type, &b.Name)
	if errors.Is(err, db.ErrNoRows) {
		return Blob{}, ErrUnknown
	}
	if err != nil {
		return Blob{}, err
	}
	if key != nil {
		b.Key = *key
		return b, nil
	}
	if expires == nil || *expires <= tx.Millis() {
		return Blob{}, ErrUnknown
	}
	b.Expires = *expires
	return b, nil
}

// Remove removes a file with what was made from it, or a reserved id. The
// bytes are removed after the commit, by the next sweep.
func Remove(tx *db.Tx, id string) error {
	var keys []string
	var owner db.User
	freed := int64(0)
	for row, err := range tx.Query(`SELECT owner, bytes, size FROM blob WHERE id = $1 AND bytes IS NOT NULL
		UNION ALL SELECT b.owner, v.bytes, v.size FROM blob_variant v JOIN blob b ON b.id = v.id WHERE v.id = $1`, id) {
		if err != nil {
			return err
		}
		var k string
		var size int64
		if err := row.Scan(&owner, &k, &size); err != nil {
			return err
		}
		keys = append(keys, k)
		freed += room(size)
	}
	for _, k := range keys {
		if err := drop(tx, k); err != nil {
			return err
		}
	}
	if err := tx.Queue(`DELETE FROM blob_variant WHERE id = $1`, id); err != nil {
		return err
	}
	n, err := tx.Exec(`DELETE FROM blob WHERE id = $1`, id)
	if err == nil && n == 0 {
		err = ErrUnknown
	}
	tx.Count(owner, db.ClassMedia, -freed)
	return err
}

// A Variant is what was made from a file, under a name of the caller's such
// as "96x96-crop".
type Variant struct {
	Type string
	Bytes
}

// PutVariant stores a variant of a file. If there is one of that name already
// it stays, and the new bytes go with the next sweep.
func PutVariant(tx *db.Tx, id, name string, v Variant) error {
	var owner db.User
	err := tx.Row(`SELECT owner FROM blob WHERE id = $1 AND bytes IS NOT NULL`, id).Scan(&owner)
	if errors.Is(err, db.ErrNoRows) {
		return ErrUnknown
	}
	if err != nil {
		return err
	}
	if err := refer(tx, v.Bytes); err != nil {
		return err
	}
	n, err := tx.Exec(`INSERT INTO blob_variant (id, variant, bytes, size, sum, type) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id, variant) DO NOTHING`,
		id, name, v.Key, v.Size, v.Sum, v.Type)
	if err != nil {
		return err
	}
	if n == 0 {
		return drop(tx, v.Key)
	}
	tx.Count(owner, db.ClassMedia, room(v.Size))
	return nil
}

// GetVariant returns a variant of a file, or ErrUnknown.
func GetVariant(tx *db.Tx, id, name string) (Variant, error) {
	var v Variant
	err := tx.Row(`SELECT type, bytes, size, sum FROM blob_variant WHERE id = $1 AND variant = $2`, id, name).Scan(&v.Type, &v.Key, &v.Size, &v.Sum)
	if errors.Is(err, db.ErrNoRows) {
		return v, ErrUnknown
	}
	return v, err
}

// All returns up to limit of the bytes that rows refer to, in the order of
// their keys, beginning after the key given. A backup copies the rows first
// and then the bytes that the copied rows refer to.
func All(tx *db.Tx, after string, limit int) ([]Bytes, error) {
	var out []Bytes
	const q = `SELECT bytes, size, sum FROM blob WHERE bytes IS NOT NULL AND bytes > $1
UNION ALL SELECT bytes, size, sum FROM blob_variant WHERE bytes > $1 ORDER BY 1 LIMIT $2`
	for row, err := range tx.Query(q, after, limit) {
		if err != nil {
			return nil, err
		}
		var w Bytes
		if err := row.Scan(&w.Key, &w.Size, &w.Sum); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}
