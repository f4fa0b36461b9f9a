package caserver

import (
	"errors"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/foreign"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// approvalLife is for how long an approval may be used.
const approvalLife = time.Hour

func (s *caServer) approvalCalls() {
	s.at(http.MethodPut, wire.PathApproval, endpoint{rate: rateKeys, body: maxBody, handle: (*call).putApproval})
}

// putApproval takes in that another device of the user approves a key which is
// not enrolled yet. The statement names the device that the key is for.
func (c *call) putApproval() (any, error) {
	id := cert.Fingerprint(c.r.PathValue("key"))
	if err := checkKeyID(id); err != nil {
		return nil, err
	}
	var q wire.ApprovalRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	var st cert.ApprovalStatement
	if err := wire.Decode(q.Statement, &st); err != nil {
		return nil, invalid("the statement is not an approval")
	}
	if st.Device == c.device {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "a device cannot approve its own key")
	}
	var by *key
	if err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		by, err = activeKey(tx, c.user, c.device, wire.UseSign)
		return err
	}); err != nil {
		return nil, err
	}
	pub, err := foreign.PublicKey(by.SPKI)
	if err != nil {
		return nil, err
	}
	want := cert.ApprovalStatement{Username: c.user, Device: st.Device, KeyID: id, By: by.ID}
	if err := q.Check(want, pub, c.Now()); err != nil {
		return nil, err
	}
	return wire.Empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		if _, err := tx.Exec(`DELETE FROM ca_approval WHERE expires <= $1`, tx.Millis()); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO ca_approval (user_id, key_id, device, approver, expires) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (user_id, key_id) DO UPDATE SET device = excluded.device, approver = excluded.approver, expires = excluded.expires`,
			c.user, id, st.Device, by.ID, tx.Millis()+approvalLife.Milliseconds()); err != nil {
			return err
		}
		tx.Count(db.UserOf(network, c.user), db.ClassData, db.RowBytes)
		return audit(tx, record{Action: "approved", User: c.user, Device: st.Device, KeyID: id, Detail: "by device " + string(c.device)})
	})
}

// useApproval takes the approval of a key, once, and returns the approving
// key.
func useApproval(tx *db.Tx, k *key) (*cert.Fingerprint, error) {
	var approver cert.Fingerprint
	err := tx.Row(`DELETE FROM ca_approval WHERE user_id = $1 AND key_id = $2 AND device = $3 AND expires > $4 RETURNING approver`,
		k.User, k.ID, k.Device, tx.Millis()).Scan(&approver)
	if errors.Is(err, db.ErrNoRows) {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeApproval, "the device's former key is no longer valid: approve the new one from another device, or log in as a new device")
	}
	return &approver, err
}
