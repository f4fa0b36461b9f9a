// Package prekey keeps the keys with which a session is set up while their
// owner is away: one-time keys, each given out exactly once and in the order
// of upload, and one fallback key per algorithm for when they are used up.
//
// [Put] and [PutFallback] take uploads, [Claim] gives keys out. A claim runs
// in db.Update, which runs alone, so no key is ever given out twice; the ids
// of claimed keys are kept, so that a repeated upload cannot make one
// available again.
//
// Keys are public and opaque here: their owner signed them, and the claimer
// checks that. Matrix alone uses this set so far.
package prekey

import (
	"bytes"
	"embed"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("prekey", tables)

// MaxKeys bounds the one-time keys of one device, of all algorithms, that no one
// has claimed yet. A caller of Put compares it with [Counts] in the same
// transaction and fails with ErrFull. All keys, and the ids of claimed ones, also
// count against the quota of their user, see [db.Tx.Count].
const MaxKeys = 100_000

// A Key is one public key as its owner uploaded it.
type Key struct {
	Algorithm string
	ID        string
	Body      []byte
}

// ErrDiffers is returned by Put for an id under which the device has uploaded
// another key that is still there.
var ErrDiffers = quinta.E(quinta.KindConflict, "one-time keys", "a one-time key with this id was uploaded before, with different content")

// ErrFull says that a device has more than MaxKeys keys.
var ErrFull = quinta.E(quinta.KindTooLarge, "one-time keys", "the device has too many one-time keys")

// Put adds one-time keys of a device in the order given. A key that is there
// already with the same content, or that was claimed before, changes nothing.
// If one is there with other content, Put fails with ErrDiffers, and nothing
// is added once the transaction is rolled back.
func Put(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, keys []Key) error {
	if err := prepare(tx, network, user, device, keys); err != nil {
		return err
	}
	args := make([]any, 0, 6*min(len(keys), 128))
	for piece := range db.Pieces(keys) {
		args = args[:0]
		for i := range piece {
			k := &piece[i]
			args = append(args, string(db.UserOf(network, user)), string(device), k.Algorithm, k.ID, int64(tx.NextPos()), k.Body)
		}
		n, err := count(tx, 1, `INSERT INTO prekey_onetime (user_id, device, algorithm, id, seq, body) VALUES `+db.Tuples(1, len(piece), 6)+
			` ON CONFLICT (user_id, device, algorithm, id) DO NOTHING RETURNING user_id, LENGTH(body) + `+db.RowCost, args...)
		if err != nil {
			return err
		}
		if n == len(piece) {
			continue
		}
		if err := same(tx, network, user, device, piece); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the cursors of the keys' algorithms, and empties the keys that
// were claimed since the last upload: of them only the id is wanted.
func prepare(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, keys []Key) error {
	done := map[string]bool{}
	for i := range keys {
		alg := keys[i].Algorithm
		if done[alg] {
			continue
		}
		done[alg] = true
		n, err := tx.Exec(`INSERT INTO prekey_cursor (user_id, device, algorithm, claimed, emptied) VALUES ($1, $2, $3, 0, 0)
			ON CONFLICT (user_id, device, algorithm) DO NOTHING`, db.UserOf(network, user), device, alg)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		var claimed, emptied quinta.Pos
		err = tx.Row(`SELECT claimed, emptied FROM prekey_cursor WHERE user_id = $1 AND device = $2 AND algorithm = $3`, db.UserOf(network, user), device, alg).Scan(&claimed, &emptied)
		if err != nil {
			return err
		}
		if claimed == emptied {
			continue
		}
		if _, err := count(tx, -1, `SELECT user_id, CAST(SUM(LENGTH(body)) AS BIGINT) FROM prekey_onetime
			WHERE user_id = $1 AND device = $2 AND algorithm = $3 AND seq > $4 AND seq <= $5 GROUP BY user_id`,
			db.UserOf(network, user), device, alg, emptied, claimed); err != nil {
			return err
		}
		if err := tx.Queue(`UPDATE prekey_onetime SET body = '' WHERE user_id = $1 AND device = $2 AND algorithm = $3 AND seq > $4 AND seq <= $5`,
			db.UserOf(network, user), device, alg, emptied, claimed); err != nil {
			return err
		}
		if err := tx.Queue(`UPDATE prekey_cursor SET emptied = claimed WHERE user_id = $1 AND device = $2 AND algorithm = $3`, db.UserOf(network, user), device, alg); err != nil {
			return err
		}
	}
	return nil
}

// same returns ErrDiffers if one of the keys is in the table with other
// content and is not claimed. A piece may hold one id twice.
func same(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, piece []Key) error {
	args := []any{db.UserOf(network, user), device}
	for _, k := range piece {
		args = append(args, k.Algorithm, k.ID)
	}
	have := make(map[[2]string][]byte, len(piece))
	for row, err := range tx.Query(`SELECT algorithm, id, body FROM prekey_onetime k WHERE user_id = $1 AND device = $2
		AND (algorithm, id) IN (VALUES `+db.Tuples(3, len(piece), 2)+`) AND seq >
		(SELECT claimed FROM prekey_cursor c WHERE c.user_id = k.user_id AND c.device = k.device AND c.algorithm = k.algorithm)`, args...) {
		if err != nil {
			return err
		}
		var k Key
		if err := row.Scan(&k.Algorithm, &k.ID, &k.Body); err != nil {
			return err
		}
		have[[2]string{k.Algorithm, k.ID}] = k.Body
	}
	for _, k := range piece {
		if body, ok := have[[2]string{k.Algorithm, k.ID}]; ok && !bytes.Equal(body, k.Body) {
			return ErrDiffers
		}
	}
	return nil
}

// PutFallback sets the fallback key of each algorithm. A new one counts as
// unused; the one that is there already stays as it is.
func PutFallback(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, keys []Key) error {
	for _, k := range keys {
		if _, err := count(tx, -1, fallbackCost+` WHERE user_id = $1 AND device = $2 AND algorithm = $3`, db.UserOf(network, user), device, k.Algorithm); err != nil {
			return err
		}
		tx.Count(db.UserOf(network, user), db.ClassData, int64(len(k.Body))+db.RowBytes)
		if err := tx.Queue(`INSERT INTO prekey_fallback (user_id, device, algorithm, id, body, used) VALUES ($1, $2, $3, $4, $5, FALSE)
			ON CONFLICT (user_id, device, algorithm) DO UPDATE SET id = excluded.id, body = excluded.body, used = FALSE
			WHERE prekey_fallback.id <> excluded.id OR prekey_fallback.body <> excluded.body`,
			db.UserOf(network, user), device, k.Algorithm, k.ID, k.Body); err != nil {
			return err
		}
	}
	return nil
}

// Counts returns how many one-time keys of each algorithm no one has claimed;
// an algorithm without any is absent.
func Counts(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) (map[string]int64, error) {
	counts := map[string]int64{}
	for row, err := range tx.Query(`SELECT c.algorithm, (SELECT COUNT(*) FROM prekey_onetime k WHERE k.user_id = c.user_id AND k.device = c.device AND k.algorithm = c.algorithm AND k.seq > c.claimed)
		FROM prekey_cursor c WHERE c.user_id = $1 AND c.device = $2`, db.UserOf(network, user), device) {
		if err != nil {
			return nil, err
		}
		var alg string
		var n int64
		if err := row.Scan(&alg, &n); err != nil {
			return nil, err
		}
		if n > 0 {
			counts[alg] = n
		}
	}
	return counts, nil
}

// UnusedFallback returns the algorithms whose fallback key was never given
// out, in their order; never nil.
func UnusedFallback(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) ([]string, error) {
	algs := []string{}
	for row, err := range tx.Query(`SELECT algorithm FROM prekey_fallback WHERE user_id = $1 AND device = $2 AND NOT used ORDER BY algorithm`, db.UserOf(network, user), device) {
		if err != nil {
			return nil, err
		}
		var alg string
		if err := row.Scan(&alg); err != nil {
			return nil, err
		}
		algs = append(algs, alg)
	}
	return algs, nil
}

// Remove removes all keys of a device, and what is known of claimed ones: the
// device is removed or starts from scratch with another identity.
func Remove(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) error {
	for _, cost := range []string{oneTimeCost + ` WHERE user_id = $1 AND device = $2 GROUP BY user_id`, fallbackCost + ` WHERE user_id = $1 AND device = $2`} {
		if _, err := count(tx, -1, cost, db.UserOf(network, user), device); err != nil {
			return err
		}
	}
	for _, table := range []string{"prekey_onetime", "prekey_cursor", "prekey_fallback"} {
		if err := tx.Queue(`DELETE FROM `+table+` WHERE user_id = $1 AND device = $2`, db.UserOf(network, user), device); err != nil {
			return err
		}
	}
	return nil
}

// Forget takes the one-time keys of all devices back: after a restore of an
// older copy of the store some of them may have been given out already. They
// count as claimed, so that no late upload brings one back. The devices see
// the counts and upload new ones; fallback keys carry on.
func Forget(tx *db.Tx) error {
	if _, err := count(tx, -1, `SELECT user_id, CAST(SUM(LENGTH(body)) AS BIGINT) FROM prekey_onetime GROUP BY user_id`); err != nil {
		return err
	}
	if err := tx.Queue(`UPDATE prekey_onetime SET body = ''`); err != nil {
		return err
	}
	return tx.Queue(`UPDATE prekey_cursor SET claimed = $1, emptied = $1`, tx.NextPos())
}
