package matrixserver

import (
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

func (s *homeserver) deviceCalls() {
	s.client(http.MethodGet, "/devices", endpoint{rate: rateRead, handle: (*call).getDevices})
	s.client(http.MethodGet, "/devices/{deviceId}", endpoint{rate: rateRead, handle: (*call).getDevice})
	s.client(http.MethodPut, "/devices/{deviceId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putDevice})
	s.client(http.MethodDelete, "/devices/{deviceId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteDevice})
	s.client(http.MethodPost, "/delete_devices", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postDeleteDevices})
}

// rowOf is a device as its owner sees it.
func rowOf(d device.Device) wire.Device {
	r := wire.Device{ID: d.ID, SeenAddr: d.SeenAddr, Seen: d.Seen}
	if d.HasName {
		r.Name = &d.Name
	}
	return r
}

// getDevices: "GET /devices".
func (c *call) getDevices() (any, error) {
	rows := []wire.Device{}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		ds, err := device.List(tx, network, c.user)
		for _, d := range ds {
			rows = append(rows, rowOf(d))
		}
		return err
	})
	return wire.DeviceList{Devices: rows}, err
}

// getDevice: "GET /devices/{deviceId}".
func (c *call) getDevice() (any, error) {
	var d device.Device
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		d, err = device.Get(tx, network, c.user, quinta.DeviceID(c.path("deviceId")))
		return err
	})
	return rowOf(d), err
}

// maxDeviceName bounds what people call their devices, in bytes.
const maxDeviceName = 1024

// putDevice: "PUT /devices/{deviceId}".
func (c *call) putDevice() (any, error) {
	var q wire.DeviceName
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Name != nil && len(*q.Name) > maxDeviceName {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "the name is too long")
	}
	id := quinta.DeviceID(c.path("deviceId"))
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		if q.Name == nil {
			_, err := device.Get(tx, network, c.user, id)
			return err
		}
		if err := device.Rename(tx, network, c.user, id, q.Name); err != nil {
			return err
		}
		return c.deviceChanged(tx, c.user)
	})
}

// deleteDevice: "DELETE /devices/{deviceId}".
func (c *call) deleteDevice() (any, error) {
	return c.deleteAfterAuth([]string{c.path("deviceId")})
}

// postDeleteDevices: "POST /delete_devices".
func (c *call) postDeleteDevices() (any, error) {
	var q struct {
		Devices []string `json:"devices"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Devices == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which devices?")
	}
	if len(q.Devices) > device.MaxDevices {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many devices at once")
	}
	return c.deleteAfterAuth(q.Devices)
}

// deleteAfterAuth removes devices once the user has given their password for
// just these.
func (c *call) deleteAfterAuth(ids []string) (any, error) {
	var q wire.WithAuth
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	slices.Sort(ids)
	if err := c.interact(q.Auth, "delete devices "+strings.Join(ids, "\n"), wire.StagePassword); err != nil {
		return nil, err
	}
	return empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error {
		for _, id := range slices.Compact(ids) {
			if err := c.removeDevice(tx, c.user, quinta.DeviceID(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// removeDevices removes all devices of a user but one.
func (s *homeserver) removeDevices(tx *db.Tx, user quinta.UserID, but quinta.DeviceID) error {
	ds, err := device.List(tx, network, user)
	if err != nil {
		return err
	}
	for _, d := range ds {
		if d.ID != but {
			if err := s.removeDevice(tx, user, d.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
