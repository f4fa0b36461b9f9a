// Package lease lets exactly one of several nodes hold something for a time,
// such as a connection that may exist only once, or a job that one node does
// for all.
//
// [Take] takes or renews a lease in one transaction. [Lease.Hold] does some
// work while a lease is held: it renews the lease, stops the work before the
// lease can pass to another node, and takes over when the holder has died.
//
// Times are compared with each node's own clock. The clocks of the nodes may
// differ by [Terms.Margin].
package lease

import (
	_ "embed"
	"errors"

	"github.com/quinta-chat/quinta/server/db"
)

//go:embed schema.sql
var schema string

// Schema is what this set keeps.
var Schema = db.Schema{Set: "lease", Base: schema}

// Take takes the lease of that name for node until a time, in Unix
// milliseconds, and reports whether node holds it now. It fails while another
// node holds it; the holder itself takes it again to renew it.
func Take(tx *db.Tx, name, node string, until int64) (bool, error) {
	n, err := tx.Exec(`INSERT INTO lease (name, node, until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET node = excluded.node, until = excluded.until
		WHERE lease.node = excluded.node OR lease.until <= $4`, name, node, until, tx.Millis())
	return n == 1, err
}

// Release ends the hold of node, if it has the lease.
func Release(tx *db.Tx, name, node string) error {
	_, err := tx.Exec(`DELETE FROM lease WHERE name = $1 AND node = $2`, name, node)
	return err
}

// Holder returns the node that holds the lease, or "" if none does.
func Holder(tx *db.Tx, name string) (node string, err error) {
	err = tx.Row(`SELECT node FROM lease WHERE name = $1 AND until > $2`, name, tx.Millis()).Scan(&node)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	return node, err
}
