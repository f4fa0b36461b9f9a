package caserver

import (
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/vault"
)

func (s *caServer) deviceCalls() {
	s.at(http.MethodGet, wire.PathDevices, endpoint{rate: rateRead, handle: (*call).getDevices})
	s.at(http.MethodDelete, wire.PathDevice, endpoint{rate: rateKeys, body: maxBody, handle: (*call).deleteDevice})
}

func (c *call) getDevices() (any, error) {
	list := wire.DeviceList{Devices: []wire.Device{}}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		ds, err := device.List(tx, network, c.user)
		for _, d := range ds {
			w := wire.Device{Device: d.ID, Name: d.Name, Created: utc(d.Created)}
			if d.Seen != 0 {
				seen := utc(d.Seen)
				w.Seen = &seen
			}
			list.Devices = append(list.Devices, w)
		}
		return err
	})
	return list, err
}

func (c *call) deleteDevice() (any, error) {
	var q wire.RemoveRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	reason := cert.ReasonCessation
	if q.Reason != "" {
		var ok bool
		if reason, ok = cert.Reasons[q.Reason]; !ok {
			return nil, invalid("there is no such reason")
		}
	}
	if err := c.checkPassword(incoming.Self(server.ByDevice(network, c.user, c.device)), c.accountOf(c.user), q.Password); err != nil {
		return nil, err
	}
	return wire.Empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error {
		there, err := c.removeDevice(tx, c.user, quinta.DeviceID(c.r.PathValue("device")), reason)
		if err == nil && !there {
			return notFound("there is no such device")
		}
		return err
	})
}

// removeDevice removes a device with its tokens and its mailbox and revokes
// its keys.
func (s *caServer) removeDevice(tx *db.Tx, user quinta.UserID, id quinta.DeviceID, reason cert.Reason) (bool, error) {
	there, err := device.Remove(tx, network, user, id)
	if err != nil || !there {
		return there, err
	}
	keys, err := keysOf(tx, `user_id = $1 AND device = $2`, user, id)
	if err != nil {
		return true, err
	}
	for _, k := range keys {
		if k.Revoked != nil || k.Expires <= tx.Millis() {
			continue
		}
		if err := s.revoke(tx, k, reason, "the device was removed"); err != nil {
			return true, err
		}
	}
	feed.Bump(tx, feed.Device(network, user, id))
	return true, mailbox.Remove(tx, network, user, id)
}

// logOut ends the tokens of all devices of a user.
func (s *caServer) logOut(tx *db.Tx, user quinta.UserID) error {
	ds, err := device.List(tx, network, user)
	for i := 0; i < len(ds) && err == nil; i++ {
		err = device.RevokeTokens(tx, network, user, ds[i].ID)
	}
	return err
}

// forget removes what is kept for a user whose account closes. Their
// messages stay with those who received them.
func (s *caServer) forget(tx *db.Tx, user quinta.UserID) error {
	ds, err := device.List(tx, network, user)
	if err != nil {
		return err
	}
	for _, d := range ds {
		if _, err := s.removeDevice(tx, user, d.ID, cert.ReasonCessation); err != nil {
			return err
		}
	}
	if err := conversation.LeaveAll(tx, network, user); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM ca_delivered WHERE user_id = $1`, user); err != nil {
		return err
	}
	return vault.ClearData(tx, network, user)
}
