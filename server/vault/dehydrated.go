package vault

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// PutDehydrated stores the sealed state of the user's dehydrated device in
// place of the one before.
func PutDehydrated(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID, body []byte) error {
	u := db.UserOf(network, user)
	if err := count(tx, u, db.ClassBackup, -1, `SELECT SUM(LENGTH(body)) FROM vault_dehydrated WHERE user_id = $1`, u); err != nil {
		return err
	}
	tx.Count(u, db.ClassBackup, int64(len(body)))
	return tx.Queue(`INSERT INTO vault_dehydrated (user_id, device, body) VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET device = excluded.device, body = excluded.body`, u, device, body)
}

// Dehydrated returns the user's dehydrated device and its sealed state, or an
// error of KindNotFound.
func Dehydrated(tx *db.Tx, network quinta.NetworkName, user quinta.UserID) (quinta.DeviceID, []byte, error) {
	var id quinta.DeviceID
	var body []byte
	err := tx.Row(`SELECT device, body FROM vault_dehydrated WHERE user_id = $1`, db.UserOf(network, user)).Scan(&id, &body)
	if errors.Is(err, db.ErrNoRows) {
		err = quinta.E(quinta.KindNotFound, "dehydrated device", "there is no dehydrated device")
	}
	return id, body, err
}

// RemoveDehydrated removes the sealed state of a device that is removed. A
// device that is not dehydrated has none.
func RemoveDehydrated(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) error {
	u := db.UserOf(network, user)
	if err := count(tx, u, db.ClassBackup, -1, `SELECT SUM(LENGTH(body)) FROM vault_dehydrated WHERE user_id = $1 AND device = $2`, u, device); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM vault_dehydrated WHERE user_id = $1 AND device = $2`, u, device)
}
