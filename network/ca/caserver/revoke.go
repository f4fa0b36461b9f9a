package caserver

import (
	"net/http"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *caServer) revokeCalls() {
	s.at(http.MethodPost, wire.PathRevoke, endpoint{rate: rateKeys, body: maxBody, handle: (*call).postRevoke})
}

// postRevoke revokes a key of any device of the caller: a lost device cannot
// do so itself.
func (c *call) postRevoke() (any, error) {
	id := cert.Fingerprint(c.r.PathValue("key"))
	if err := checkKeyID(id); err != nil {
		return nil, err
	}
	var q wire.RevokeRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	reason, ok := cert.Reasons[q.Reason]
	if !ok {
		return nil, invalid("a reason is unspecified, key-compromise, superseded or cessation")
	}
	var k *key
	err := c.UpdateAlways(c.ctx(), func(tx *db.Tx) (err error) {
		if k, err = keyByID(tx, id); err != nil {
			return err
		}
		if k.User != c.user {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the key is another user's")
		}
		return c.revoke(tx, k, reason, "by device "+string(c.device))
	})
	if err != nil {
		return nil, err
	}
	return k.info(c.Now().UnixMilli()), nil
}

// revoke revokes a key. One that is revoked stays as it is, but for a reason
// that is graver: a compromise also counts for the time before.
func (s *caServer) revoke(tx *db.Tx, k *key, reason cert.Reason, detail string) error {
	if k.Revoked != nil && (reason != cert.ReasonKeyCompromise || cert.Reason(*k.Reason) == reason) {
		return nil
	}
	now, code := tx.Millis(), int64(reason)
	if k.Revoked != nil {
		now = *k.Revoked
	}
	if _, err := tx.Exec(`UPDATE ca_key SET revoked = $1, reason = $2 WHERE key_id = $3`, now, code, k.ID); err != nil {
		return err
	}
	k.Revoked, k.Reason = &now, &code
	if err := staleCRL(tx); err != nil {
		return err
	}
	r := record{Action: "revoked", User: k.User, Device: k.Device, KeyID: k.ID, Detail: reasonText(reason) + ", " + detail}
	if k.Serial != nil {
		r.Serial = *k.Serial
	}
	if err := audit(tx, r); err != nil {
		return err
	}
	return s.tell(tx, k, "revoked")
}
