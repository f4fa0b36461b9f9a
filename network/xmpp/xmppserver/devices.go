package xmppserver

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// A deviceRow is a device as it is stored.
type deviceRow struct {
	record   keysrv.Device
	approved bool
	retired  bool
}

const deviceColumns = `record, approval, approved, retired`

func scanDevice(scan func(...any) error) (*deviceRow, error) {
	var record, approval []byte
	var retired *int64
	d := &deviceRow{}
	if err := scan(&record, &approval, &d.approved, &retired); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(record, &d.record); err != nil {
		return nil, err
	}
	if approval != nil {
		d.record.Approval = &keysrv.Approval{}
		if err := json.Unmarshal(approval, d.record.Approval); err != nil {
			return nil, err
		}
	}
	d.retired = retired != nil
	d.record.Retired = d.retired
	return d, nil
}

// deviceByThumbprint returns the device of a key, or nil.
func deviceByThumbprint(tx *db.Tx, user quinta.UserID, thumbprint string) (*deviceRow, error) {
	d, err := scanDevice(tx.Row(`SELECT `+deviceColumns+` FROM xmpp_device WHERE user_id = $1 AND thumbprint = $2`, user, thumbprint).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	return d, err
}

// deviceByID returns a device of a user, or nil.
func deviceByID(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) (*deviceRow, error) {
	d, err := scanDevice(tx.Row(`SELECT `+deviceColumns+` FROM xmpp_device WHERE user_id = $1 AND device = $2`, user, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	return d, err
}

// devicesOf returns the devices of a user in the order of their publication.
func devicesOf(tx *db.Tx, user quinta.UserID) (out []*deviceRow, err error) {
	for row, err := range tx.Query(`SELECT `+deviceColumns+` FROM xmpp_device WHERE user_id = $1 ORDER BY pos`, user) {
		if err != nil {
			return nil, err
		}
		d, err := scanDevice(row.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func listOf(rows []*deviceRow) wire.DeviceList {
	out := wire.DeviceList{Devices: []keysrv.Device{}}
	for _, d := range rows {
		out.Devices = append(out.Devices, d.record)
	}
	return out
}

func (s *xmppServer) deviceCalls() {
	s.at(http.MethodPut, wire.PathDevice, endpoint{rate: rateWrite, body: wire.MaxBody, handle: (*call).putDevice})
	s.at(http.MethodDelete, wire.PathDevice, endpoint{rate: rateWrite, body: wire.MaxBody, handle: (*call).retireDevice})
	s.at(http.MethodPost, wire.PathApprove, endpoint{rate: rateWrite, body: wire.MaxBody, handle: (*call).approveDevice})
	s.at(http.MethodGet, wire.PathUserDevices, endpoint{rate: rateRead, handle: (*call).getDevices})
}

// putDevice publishes the calling device. The first device of a user counts at
// once; a later one when an older one has approved it.
func (c *call) putDevice() (any, error) {
	var d keysrv.Device
	if _, err := c.decode(&d); err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	if d.User != c.user() || string(d.ID) != c.r.PathValue("device") || c.grant.Thumbprint == "" || keysrv.Thumbprint(d.Signing) != c.grant.Thumbprint {
		return nil, invalid("a device can publish only itself: the record names a different user or key than the token")
	}
	d.Approval, d.Retired = nil, false
	stored, err := json.Marshal(&d)
	if err != nil {
		return nil, err
	}
	var list []*deviceRow
	err = c.update(func(tx *db.Tx) error {
		if list, err = devicesOf(tx, c.user()); err != nil {
			return err
		}
		first := true
		for _, o := range list {
			if o.record.ID == d.ID {
				if !o.record.Same(&d) {
					return wire.NewError(http.StatusConflict, wire.CodeConflict, "the device is published with other keys")
				}
				return nil
			}
			first = first && o.retired
		}
		if len(list) >= keysrv.MaxDevices {
			return wire.NewError(http.StatusConflict, wire.CodeTooLarge, "the user has too many devices")
		}
		if err := tx.Queue(`INSERT INTO xmpp_device (user_id, device, thumbprint, record, approved, pos) VALUES ($1, $2, $3, $4, $5, $6)`,
			c.user(), d.ID, c.grant.Thumbprint, stored, first, tx.NextPos()); err != nil {
			return err
		}
		detail := "waits for approval"
		if first {
			detail = "first of the user, trusted at first use"
		}
		if err := audit(tx, record{Action: "device", User: c.user(), Device: d.ID, Detail: detail}); err != nil {
			return err
		}
		if list, err = devicesOf(tx, c.user()); err != nil {
			return err
		}
		return c.hintPeers(tx, c.user())
	})
	if err != nil {
		return nil, err
	}
	return listOf(list), nil
}

// approveDevice takes the approval of another device of the user.
func (c *call) approveDevice() (any, error) {
	var a keysrv.Approval
	raw, err := c.decode(&a)
	if err != nil {
		return nil, err
	}
	id := quinta.DeviceID(c.r.PathValue("device"))
	if err := c.lines(1); err != nil {
		return nil, err
	}
	err = c.update(func(tx *db.Tx) error {
		by, err := c.needDevice()
		if err != nil {
			return err
		}
		d, err := deviceByID(tx, c.user(), id)
		if err != nil {
			return err
		}
		if d == nil || d.retired {
			return errNotFound
		}
		if d.approved && d.record.Approval == nil {
			return wire.NewError(http.StatusConflict, wire.CodeConflict, "the device needs no approval")
		}
		approved := d.record
		approved.Approval = &a
		if approved.ApprovedBy(&by.record) != nil {
			return invalid("the approval is not by the calling device for this device")
		}
		if err := tx.Queue(`UPDATE xmpp_device SET approval = $1, approved = $2 WHERE user_id = $3 AND device = $4`, raw, true, c.user(), id); err != nil {
			return err
		}
		if err := c.noted(tx, record{Action: "approve", Detail: string(id)}); err != nil {
			return err
		}
		return c.hintPeers(tx, c.user())
	})
	return struct{}{}, err
}

// retireDevice signs a device of the user out: it is given nothing any more.
func (c *call) retireDevice() (any, error) {
	id := quinta.DeviceID(c.r.PathValue("device"))
	err := c.update(func(tx *db.Tx) error {
		if c.device == nil || c.device.record.ID != id {
			if _, err := c.needDevice(); err != nil {
				return err
			}
		}
		d, err := deviceByID(tx, c.user(), id)
		if err != nil {
			return err
		}
		if d == nil || d.retired {
			return errNotFound
		}
		if err := tx.Queue(`UPDATE xmpp_device SET retired = $1 WHERE user_id = $2 AND device = $3`, tx.Millis(), c.user(), id); err != nil {
			return err
		}
		if err := countCopies(tx, -1, ` WHERE c.user_id = $1 AND c.device = $2`, c.user(), id); err != nil {
			return err
		}
		for _, table := range []string{"xmpp_copy", "xmpp_want"} {
			if err := tx.Queue(`DELETE FROM `+table+` WHERE user_id = $1 AND device = $2`, c.user(), id); err != nil {
				return err
			}
		}
		if err := c.noted(tx, record{Action: "retire", Detail: string(id)}); err != nil {
			return err
		}
		return c.hintPeers(tx, c.user())
	})
	return struct{}{}, err
}

// getDevices lists the devices of a user of the served domains.
func (c *call) getDevices() (any, error) {
	user := quinta.UserID(c.r.PathValue("jid"))
	if err := keysrv.CheckJID(user); err != nil {
		return nil, err
	}
	var list []*deviceRow
	err := c.update(func(tx *db.Tx) (err error) {
		list, err = devicesOf(tx, user)
		return err
	})
	return listOf(list), err
}
