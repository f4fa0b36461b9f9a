package xmppserver

import (
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// A record is one line of the audit: what was done, and which key was given to
// whom. It never holds a key.
type record struct {
	Pos          quinta.Pos
	Time         int64
	Action       string
	User         quinta.UserID
	Device       quinta.DeviceID
	Conversation string
	Key          string
	Detail       string
}

// audit adds a line. Nothing changes or removes one.
func audit(tx *db.Tx, r record) error {
	return tx.Queue(`INSERT INTO xmpp_audit (pos, time, action, user_id, device, conversation, key_id, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		tx.NextPos(), tx.Millis(), r.Action, r.User, r.Device, r.Conversation, r.Key, r.Detail)
}

// noted adds a line for the calling user and device.
func (c *call) noted(tx *db.Tx, r record) error {
	r.User = c.user()
	if c.device != nil {
		r.Device = c.device.record.ID
	}
	return audit(tx, r)
}

// auditTail returns the last lines that fit, oldest first; an empty user or
// conversation fits all.
func auditTail(tx *db.Tx, user quinta.UserID, conversation string, n int) (out []record, err error) {
	for row, err := range tx.Query(`SELECT pos, time, action, user_id, device, conversation, key_id, detail FROM xmpp_audit
		WHERE ($1 = '' OR user_id = $1) AND ($2 = '' OR conversation = $2) ORDER BY pos DESC LIMIT $3`, string(user), conversation, n) {
		if err != nil {
			return nil, err
		}
		var r record
		if err := row.Scan(&r.Pos, &r.Time, &r.Action, &r.User, &r.Device, &r.Conversation, &r.Key, &r.Detail); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out, nil
}
