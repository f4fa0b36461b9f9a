package caserver

import (
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/server/db"
)

// A record is one line of the audit: something that the authority did.
type record struct {
	Pos    quinta.Pos
	Time   int64
	Action string
	User   quinta.UserID
	Device quinta.DeviceID
	KeyID  cert.Fingerprint
	Serial string
	Detail string
}

// audit adds a line. Nothing changes or removes one.
func audit(tx *db.Tx, r record) error {
	_, err := tx.Exec(`INSERT INTO ca_audit (pos, time, action, user_id, device, key_id, serial, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		tx.NextPos(), tx.Millis(), r.Action, r.User, r.Device, r.KeyID, r.Serial, r.Detail)
	return err
}

// auditTail returns the last lines, oldest first.
func auditTail(tx *db.Tx, n int) (out []record, err error) {
	for row, err := range tx.Query(`SELECT pos, time, action, user_id, device, key_id, serial, detail FROM ca_audit ORDER BY pos DESC LIMIT $1`, n) {
		if err != nil {
			return nil, err
		}
		var r record
		if err := row.Scan(&r.Pos, &r.Time, &r.Action, &r.User, &r.Device, &r.KeyID, &r.Serial, &r.Detail); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out, nil
}
