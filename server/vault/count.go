package vault

import "github.com/quinta-chat/quinta/server/db"

// keyBytes is what one sealed key counts, with the names that it is stored
// under and its row.
const keyBytes = `LENGTH(body) + LENGTH(room) + LENGTH(session) + ` + db.RowCost

// backupBytes is what all backups of a user count.
const backupBytes = `SELECT (SELECT COALESCE(SUM(LENGTH(auth)), 0) FROM vault_backup WHERE user_id = $1) +
	(SELECT COALESCE(SUM(` + keyBytes + `), 0) FROM vault_backup_key WHERE user_id = $1) +
	(SELECT COALESCE(SUM(LENGTH(body)), 0) FROM vault_dehydrated WHERE user_id = $1)`

// count counts sign times what a query for one sum gives.
func count(tx *db.Tx, u db.User, class db.Class, sign int64, sql string, args ...any) error {
	var n *int64
	if err := tx.Row(`SELECT CAST((`+sql+`) AS BIGINT)`, args...).Scan(&n); err != nil || n == nil {
		return err
	}
	tx.Count(u, class, sign*(*n))
	return nil
}

// CountAll counts all data and backups again, see [db.Tx.Count].
func CountAll(tx *db.Tx) error {
	for _, q := range []struct {
		class db.Class
		sql   string
	}{
		{db.ClassData, `SELECT user_id, CAST(SUM(LENGTH(value)) AS BIGINT) FROM vault_data WHERE value IS NOT NULL GROUP BY user_id`},
		{db.ClassBackup, `SELECT user_id, CAST(SUM(LENGTH(auth)) AS BIGINT) FROM vault_backup GROUP BY user_id`},
		{db.ClassBackup, `SELECT user_id, CAST(SUM(` + keyBytes + `) AS BIGINT) FROM vault_backup_key GROUP BY user_id`},
		{db.ClassBackup, `SELECT user_id, CAST(SUM(LENGTH(body)) AS BIGINT) FROM vault_dehydrated GROUP BY user_id`},
	} {
		for row, err := range tx.Query(q.sql) {
			if err != nil {
				return err
			}
			var u db.User
			var n int64
			if err := row.Scan(&u, &n); err != nil {
				return err
			}
			tx.Count(u, q.class, n)
		}
	}
	return nil
}
