package directory

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// An Identity is one public key of a person, such as the one that signs their
// devices.
type Identity struct {
	User quinta.UserID
	// Usage is what the key is for, in the network's words. A user has one
	// key for each usage.
	Usage string
	// Key is the public key alone, in the network's text form.
	Key  string
	Body []byte
}

// PutIdentity stores a key in place of the one with the same usage. If that
// was another key, what others have signed of it is forgotten.
func PutIdentity(tx *db.Tx, network quinta.NetworkName, id Identity) error {
	if err := tx.Queue(`DELETE FROM directory_signature WHERE user_id = $1 AND target IN
		(SELECT key FROM directory_identity WHERE user_id = $1 AND usage = $2 AND key <> $3)`, db.UserOf(network, id.User), id.Usage, id.Key); err != nil {
		return err
	}
	return tx.Queue(`INSERT INTO directory_identity (user_id, usage, key, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id, usage) DO UPDATE SET key = excluded.key, body = excluded.body`, db.UserOf(network, id.User), id.Usage, id.Key, id.Body)
}

// Identities returns the keys of the users, each user's together.
func Identities(tx *db.Tx, network quinta.NetworkName, users []quinta.UserID) ([]Identity, error) {
	var out []Identity
	for piece := range db.Pieces(users) {
		for row, err := range tx.Query(`SELECT user_id, usage, key, body FROM directory_identity WHERE user_id IN (`+db.Tuples(1, len(piece), 1)+`) ORDER BY user_id, usage`, db.UsersOf(network, piece)...) {
			if err != nil {
				return nil, err
			}
			var id Identity
			var u db.User
			if err := row.Scan(&u, &id.Usage, &id.Key, &id.Body); err != nil {
				return nil, err
			}
			id.User = u.ID()
			out = append(out, id)
		}
	}
	return out, nil
}

// RemoveIdentity removes a user's key of one usage, and what others have
// signed of it.
func RemoveIdentity(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, usage string) error {
	if err := tx.Queue(`DELETE FROM directory_signature WHERE user_id = $1 AND target IN
		(SELECT key FROM directory_identity WHERE user_id = $1 AND usage = $2)`, db.UserOf(network, user), usage); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM directory_identity WHERE user_id = $1 AND usage = $2`, db.UserOf(network, user), usage)
}

// A Signature is one that a user made over another user's key. Only its maker
// gets to see it.
type Signature struct {
	Signer quinta.UserID
	// User is the holder of the key that is signed, Target is that key.
	User   quinta.UserID
	Target string
	// Key is the signer's key.
	Key       string
	Signature string
}

// PutSignature stores a signature. It reports whether that changed anything.
func PutSignature(tx *db.Tx, network quinta.NetworkName, s Signature) (bool, error) {
	n, err := tx.Exec(`INSERT INTO directory_signature (signer, user_id, target, key, signature) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (signer, user_id, target, key) DO UPDATE SET signature = excluded.signature WHERE directory_signature.signature <> excluded.signature`,
		db.UserOf(network, s.Signer), db.UserOf(network, s.User), s.Target, s.Key, s.Signature)
	return n > 0, err
}

// SignaturesBy returns the signatures that the signer made over keys of the
// users.
func SignaturesBy(tx *db.Tx, network quinta.NetworkName, signer quinta.UserID, users []quinta.UserID) ([]Signature, error) {
	var out []Signature
	for piece := range db.Pieces(users) {
		args := append([]any{string(db.UserOf(network, signer))}, db.UsersOf(network, piece)...)
		for row, err := range tx.Query(`SELECT user_id, target, key, signature FROM directory_signature WHERE signer = $1 AND user_id IN (`+db.Tuples(2, len(piece), 1)+`) ORDER BY user_id, target, key`, args...) {
			if err != nil {
				return nil, err
			}
			s := Signature{Signer: signer}
			var u db.User
			if err := row.Scan(&u, &s.Target, &s.Key, &s.Signature); err != nil {
				return nil, err
			}
			s.User = u.ID()
			out = append(out, s)
		}
	}
	return out, nil
}

// ForgetSignatures removes what a user signed with a key that was replaced.
func ForgetSignatures(tx *db.Tx, network quinta.NetworkName, signer quinta.UserID, key string) error {
	return tx.Queue(`DELETE FROM directory_signature WHERE signer = $1 AND key = $2`, db.UserOf(network, signer), key)
}

// Remove removes all keys and signatures of a user whose account ends.
func Remove(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) error {
	for _, sql := range []string{
		`DELETE FROM directory_device WHERE user_id = $1`,
		`DELETE FROM directory_identity WHERE user_id = $1`,
		`DELETE FROM directory_signature WHERE user_id = $1`,
		`DELETE FROM directory_signature WHERE signer = $1`,
	} {
		if err := tx.Queue(sql, db.UserOf(network, user)); err != nil {
			return err
		}
	}
	return nil
}
