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
func Claim(tx *db.Tx, network quinta.NetworkName, wants []Want) ([]Claimed, error) {
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
		got, err := oldest(tx, network, piece)
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
	got, err := Fallback(tx, network, rest)
	return append(out, got...), err
}

// Fallback gives out the fallback key for each want, and takes no one-time key:
// it is for those who have taken many. Where there is none, nothing is returned.
func Fallback(tx *db.Tx, network quinta.NetworkName, wants []Want) (out []Claimed, err error) {
	for piece := range db.Pieces(wants) {
		got, err := fallbacks(tx, network, piece)
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

// A Taken is a claim whose key is known once the store has answered.
type Taken struct {
	want  Want
	known []Claimed
	later *db.Answer
}

// Take is Claim for one device without its fallback key, and without waiting:
// claims of many callers share the wait. Key has what was given out, after the
// transaction was committed at the latest.
func Take(tx *db.Tx, network quinta.NetworkName, w Want) (t *Taken, err error) {
	t = &Taken{want: w}
	if !tx.Waits() {
		t.known, err = oldestOne(tx, network, w)
		return t, err
	}
	t.later, err = tx.Ask(`UPDATE prekey_cursor SET claimed = `+next+` WHERE user_id = $1 AND device = $2 AND algorithm = $3
		AND `+next+` IS NOT NULL RETURNING (SELECT k.id`+this+`, (SELECT k.body`+this, db.UserOf(network, w.User), w.Device, w.Algorithm)
	return t, err
}

// Key returns the key; ok is false if the device has no one-time key left.
func (t *Taken) Key() (k Claimed, ok bool, err error) {
	if t.later == nil {
		if len(t.known) == 0 {
			return k, false, nil
		}
		return t.known[0], true, nil
	}
	k.Want = t.want
	for row, err := range t.later.Rows() {
		if err != nil {
			return k, false, err
		}
		return k, true, row.Scan(&k.ID, &k.Body)
	}
	return k, false, nil
}

// The next key of a cursor's device, and the one that the cursor stands at.
const (
	of   = ` FROM prekey_onetime k WHERE k.user_id = prekey_cursor.user_id AND k.device = prekey_cursor.device AND k.algorithm = prekey_cursor.algorithm AND k.seq `
	next = `(SELECT MIN(k.seq)` + of + `> prekey_cursor.claimed)`
	this = of + `= prekey_cursor.claimed)`
)

// oldest takes the next one-time key of each want, by moving the cursor of its
// device. Of a key that is given out only the cursor is written: cursors lie
// close together, and keys do not.
func oldest(tx *db.Tx, network quinta.NetworkName, piece []Want) ([]Claimed, error) {
	if len(piece) == 1 {
		return oldestOne(tx, network, piece[0])
	}
	return collect(tx, network, `UPDATE prekey_cursor SET claimed = `+next+` WHERE (user_id, device, algorithm) IN (VALUES `+db.Tuples(1, len(piece), 3)+`)
		AND `+next+` IS NOT NULL RETURNING user_id, device, algorithm, (SELECT k.id`+this+`, (SELECT k.body`+this, false, piece)
}

// oldestOne is oldest for the most frequent claim, that for one device: two
// plain statements cost half as much as the one for many.
func oldestOne(tx *db.Tx, network quinta.NetworkName, w Want) ([]Claimed, error) {
	k := Claimed{Want: w}
	var seq quinta.Pos
	err := tx.Row(`SELECT seq, id, body FROM prekey_onetime WHERE user_id = $1 AND device = $2 AND algorithm = $3 AND seq >
		(SELECT claimed FROM prekey_cursor WHERE user_id = $1 AND device = $2 AND algorithm = $3) ORDER BY seq LIMIT 1`, db.UserOf(network, w.User), w.Device, w.Algorithm).Scan(&seq, &k.ID, &k.Body)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := tx.Queue(`UPDATE prekey_cursor SET claimed = $1 WHERE user_id = $2 AND device = $3 AND algorithm = $4`, seq, db.UserOf(network, w.User), w.Device, w.Algorithm); err != nil {
		return nil, err
	}
	return []Claimed{k}, nil
}

// fallbacks reads the fallback key of each want and marks it as used.
func fallbacks(tx *db.Tx, network quinta.NetworkName, piece []Want) ([]Claimed, error) {
	got, err := collect(tx, network, `WITH w (u, d, a) AS (VALUES `+db.Tuples(1, len(piece), 3)+`)
		SELECT k.user_id, k.device, k.algorithm, k.id, k.body FROM w JOIN prekey_fallback k ON k.user_id = w.u AND k.device = w.d AND k.algorithm = w.a`, true, piece)
	if err != nil {
		return nil, err
	}
	for _, k := range got {
		if err := tx.Queue(`UPDATE prekey_fallback SET used = TRUE WHERE user_id = $1 AND device = $2 AND algorithm = $3 AND NOT used`, db.UserOf(network, k.User), k.Device, k.Algorithm); err != nil {
			return nil, err
		}
	}
	return got, nil
}

func collect(tx *db.Tx, network quinta.NetworkName, sql string, fallback bool, piece []Want) ([]Claimed, error) {
	args := make([]any, 0, 3*len(piece))
	for _, w := range piece {
		args = append(args, string(db.UserOf(network, w.User)), string(w.Device), w.Algorithm)
	}
	out := make([]Claimed, 0, len(piece))
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		k := Claimed{Fallback: fallback}
		var u db.User
		if err := row.Scan(&u, &k.Device, &k.Algorithm, &k.ID, &k.Body); err != nil {
			return nil, err
		}
		k.User = u.ID()
		out = append(out, k)
	}
	return out, nil
}
