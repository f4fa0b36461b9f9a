package caserver

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A key is never removed, so it counts for its user: its bytes, its row, and the
// lines of the audit that it leads to until it ends. Revoking it is always
// possible and therefore costs nothing more.
const (
	keyRows = 4 * db.RowBytes
	keyCost = `SELECT user_id, CAST(SUM(LENGTH(spki) + COALESCE(LENGTH(cert), 0) + COALESCE(LENGTH(renewal), 0) + 4 * ` + db.RowCost + `) AS BIGINT) FROM ca_key GROUP BY user_id`
	// Approvals leave a line of the audit each, whatever becomes of the key.
	approvalCost = `SELECT user_id, COUNT(*) * ` + db.RowCost + ` FROM ca_audit WHERE action = 'approved' GROUP BY user_id`
)

// CountStored counts keys and approvals.
func (s *caServer) CountStored(tx *db.Tx) error {
	for _, sql := range []string{keyCost, approvalCost} {
		for row, err := range tx.Query(sql) {
			if err != nil {
				return err
			}
			var user quinta.UserID
			var n int64
			if err := row.Scan(&user, &n); err != nil {
				return err
			}
			tx.Count(db.UserOf(network, user), db.ClassData, n)
		}
	}
	return nil
}
