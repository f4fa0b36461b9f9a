package prekey

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A Want names a device and the algorithm of which a key is wanted.
type Want struct {
	User      quinta.UserID
	Device    quinta.DeviceID
	Algorithm string
}

// A Claimed is a key that was given out.
type Claimed struct {
	Want
	ID   string
	Body []byte
	// Fallback says that it is not a one-time key: others may get it too.
	Fallback bool
}

// Claim gives out one key for each want, the oldest one-time key or else the
// fallback key, in no particular order. Where there is neither, nothing is
// returned; a want that is given twice counts once.
func Claim(tx *db.Tx, wants []Want) ([]Claimed, error) {
	open := make(map[Want]bool, len(wants))
	list := make([]Want, 0, len(wants))
	for _, w := range wants {
		if !open[w] {
			open[w] = true
			list = append(list, w)
		}
	}
	out := make([]Claimed, 0, len(list))
	for piece := range db.Pieces(list) {
		got, err := next(tx, piece)
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
		for _, k := range got {
			delete(open, k.Want)
		}
	}
	if len(open) == 0 {
		return out, nil
	}
	rest := list[:0]
	for _, w := range list {
		if open[w] {
			rest = append(rest, w)
		}
	}
	for piece := range db.Pieces(rest) {
		got, err := fallbacks(tx, piece)
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

// next claims the next one-time key of each want.
func next(tx *db.Tx, piece []Want) ([]Claimed, error) {
	if len(piece) == 1 {
		return one(tx, piece[0])
	}
	got, seqs, err := oldest(tx, piece)
	if err != nil {
		return nil, err
	}
	return got, spend(tx, seqs)
}

// oldest reads the next one-time key of each want. The statements are such
// that no planner reads more than these rows, however little it knows of the
// table.
func oldest(tx *db.Tx, piece []Want) ([]Claimed, []any, error) {
	seqs := make([]any, 0, len(piece))
	for row, err := range tx.Query(`WITH w (u, d, a) AS (VALUES `+db.Tuples(1, len(piece), 3)+`)
		SELECT (SELECT MIN(seq) FROM prekey_onetime WHERE user_id = w.u AND device = w.d AND algorithm = w.a AND claimed IS NULL) FROM w`, wanted(piece)...) {
		if err != nil {
			return nil, nil, err
		}
		var seq *int64
		if err := row.Scan(&seq); err != nil {
			return nil, nil, err
		}
		if seq != nil {
			seqs = append(seqs, *seq)
		}
	}
	out := make([]Claimed, 0, len(seqs))
	for part := range db.Pieces(seqs) {
		got, err := collect(tx, `SELECT user_id, device, algorithm, id, body FROM prekey_onetime
			WHERE claimed IS NULL AND seq IN (`+db.Tuples(1, len(part), 1)+`)`, false, part)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, got...)
	}
	return out, seqs, nil
}

// spend marks the keys as claimed. What is left of them is the id.
func spend(tx *db.Tx, seqs []any) error {
	for part := range db.Pieces(seqs) {
		n, err := tx.Exec(`UPDATE prekey_onetime SET claimed = $1, body = '' WHERE claimed IS NULL AND seq IN (`+db.Tuples(2, len(part), 1)+`)`,
			append([]any{tx.Millis()}, part...)...)
		if err != nil {
			return err
		}
		if int(n) != len(part) {
			panic("prekey: internal error: a key was claimed by somebody else in the same transaction")
		}
	}
	return nil
}

// one claims the next one-time key of one want, or returns nothing.
func one(tx *db.Tx, w Want) ([]Claimed, error) {
	k := Claimed{Want: w}
	var seq int64
	err := tx.Row(`SELECT seq, id, body FROM prekey_onetime WHERE user_id = $1 AND device = $2 AND algorithm = $3 AND claimed IS NULL ORDER BY seq LIMIT 1`,
		string(w.User), string(w.Device), w.Algorithm).Scan(&seq, &k.ID, &k.Body)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []Claimed{k}, spend(tx, []any{seq})
}

// fallbacks reads the fallback key of each want and marks it as used.
func fallbacks(tx *db.Tx, piece []Want) ([]Claimed, error) {
	got, err := collect(tx, `WITH w (u, d, a) AS (VALUES `+db.Tuples(1, len(piece), 3)+`)
		SELECT k.user_id, k.device, k.algorithm, k.id, k.body FROM w JOIN prekey_fallback k ON k.user_id = w.u AND k.device = w.d AND k.algorithm = w.a`, true, wanted(piece))
	if err != nil {
		return nil, err
	}
	for _, k := range got {
		if _, err := tx.Exec(`UPDATE prekey_fallback SET used = TRUE WHERE user_id = $1 AND device = $2 AND algorithm = $3 AND NOT used`, k.User, k.Device, k.Algorithm); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// wanted lists the wants as arguments.
func wanted(piece []Want) []any {
	args := make([]any, 0, 3*len(piece))
	for _, w := range piece {
		args = append(args, string(w.User), string(w.Device), w.Algorithm)
	}
	return args
}

func collect(tx *db.Tx, sql string, fallback bool, args []any) ([]Claimed, error) {
	var out []Claimed
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		k := Claimed{Fallback: fallback}
		if err := row.Scan(&k.User, &k.Device, &k.Algorithm, &k.ID, &k.Body); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// AnswerLife is how long ClaimOnce remembers an answer, in milliseconds.
const AnswerLife = 24 * 60 * 60 * 1000

// ClaimOnce is Claim for a network whose requests have idempotency ids: a
// repeat of a claimer's request under the same id gets the same keys.
func ClaimOnce(tx *db.Tx, claimer quinta.UserID, txn quinta.TxnID, wants []Want) ([]Claimed, error) {
	var before []Claimed
	for row, err := range tx.Query(`SELECT user_id, device, algorithm, id, body, fallback FROM prekey_answer WHERE claimer = $1 AND txn = $2`, claimer, txn) {
		if err != nil {
			return nil, err
		}
		var k Claimed
		if err := row.Scan(&k.User, &k.Device, &k.Algorithm, &k.ID, &k.Body, &k.Fallback); err != nil {
			return nil, err
		}
		before = append(before, k)
	}
	if len(before) > 0 {
		return before, nil
	}
	got, err := Claim(tx, wants)
	if err != nil {
		return nil, err
	}
	for _, k := range got {
		if _, err := tx.Exec(`INSERT INTO prekey_answer (claimer, txn, user_id, device, algorithm, id, body, fallback, time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			claimer, txn, k.User, k.Device, k.Algorithm, k.ID, k.Body, k.Fallback, tx.Millis()); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// Sweep removes answers to claims that are older than AnswerLife, at most
// limit rows, and reports whether there may be more.
func Sweep(tx *db.Tx, limit int) (more bool, err error) {
	n, err := tx.Exec(`DELETE FROM prekey_answer WHERE (claimer, txn, user_id, device, algorithm) IN
		(SELECT claimer, txn, user_id, device, algorithm FROM prekey_answer WHERE time < $1 ORDER BY time LIMIT $2)`, tx.Millis()-AnswerLife, limit)
	return int(n) >= limit, err
}
