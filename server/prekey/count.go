package prekey

import "github.com/quinta-chat/quinta/server/db"

// What one-time keys and fallback keys count, by their users.
const (
	oneTimeCost  = `SELECT user_id, CAST(SUM(LENGTH(body) + ` + db.RowCost + `) AS BIGINT) FROM prekey_onetime`
	fallbackCost = `SELECT user_id, LENGTH(body) + ` + db.RowCost + ` FROM prekey_fallback`
)

// count counts what the rows of a statement say, which are a user and bytes,
// times sign. It returns how many rows there were.
func count(tx *db.Tx, sign int64, sql string, args ...any) (rows int, err error) {
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return 0, err
		}
		var u db.User
		var n int64
		if err := row.Scan(&u, &n); err != nil {
			return 0, err
		}
		tx.Count(u, db.ClassData, sign*n)
		rows++
	}
	return rows, nil
}

// CountAll counts all keys again, see [db.Tx.Count].
func CountAll(tx *db.Tx) error {
	if _, err := count(tx, 1, oneTimeCost+` GROUP BY user_id`); err != nil {
		return err
	}
	_, err := count(tx, 1, fallbackCost)
	return err
}
