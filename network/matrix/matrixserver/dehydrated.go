package matrixserver

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/vault"
)

// Dehydrated devices are MSC3814, a proposal that clients use under its
// unstable prefix: a device without a login that collects messages while the
// user has no other one, and whose state the user has sealed and left here.
func (s *homeserver) dehydratedCalls() {
	const path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
	s.at(http.MethodPut, path, endpoint{rate: rateWrite, body: maxBody, handle: (*call).putDehydrated})
	s.at(http.MethodGet, path, endpoint{rate: rateRead, handle: (*call).getDehydrated})
	s.at(http.MethodDelete, path, endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteDehydrated})
	s.at(http.MethodPost, path+"/{deviceId}/events", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postDehydratedEvents})
	s.at(http.MethodGet, path+"/{deviceId}/events", endpoint{rate: rateRead, handle: (*call).getDehydratedEvents})
}

// putDehydrated stores a new dehydrated device with its keys in place of the
// old one.
func (c *call) putDehydrated() (any, error) {
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	ms, err := members(body, "the body")
	if err != nil {
		return nil, err
	}
	id, ok := text(field(ms, "device_id"))
	if !ok || id == "" {
		return nil, badJSON("device_id must be a string")
	}
	dev := quinta.DeviceID(id)
	if err := checkDeviceID(dev); err != nil {
		return nil, err
	}
	data := field(ms, "device_data")
	dms, err := members(data, "device_data")
	if err != nil {
		return nil, err
	}
	if _, ok := text(field(dms, "algorithm")); !ok {
		return nil, badJSON("device_data: algorithm must be a string")
	}
	raw := field(ms, "device_keys")
	if raw == nil {
		return nil, badJSON("a dehydrated device needs device_keys")
	}
	u := &keyUpload{}
	if u.device, err = parseDeviceKeys(raw, c.user, dev); err != nil {
		return nil, err
	}
	if u.oneTime, err = parseKeys(field(ms, "one_time_keys"), "one_time_keys", maxUploadKeys); err != nil {
		return nil, err
	}
	if u.fallback, err = parseKeys(field(ms, "fallback_keys"), "fallback_keys", maxFallback); err != nil {
		return nil, err
	}
	var name *string
	if raw := field(ms, "initial_device_display_name"); raw != nil {
		s, ok := text(raw)
		if !ok || len(s) > maxDeviceName {
			return nil, badJSON("initial_device_display_name must be a short string")
		}
		name = &s
	}
	return map[string]string{"device_id": id}, c.Update(c.ctx(), func(tx *db.Tx) error {
		return c.replaceDehydrated(tx, dev, data, name, u)
	})
}

func (c *call) replaceDehydrated(tx *db.Tx, dev quinta.DeviceID, data []byte, name *string, u *keyUpload) error {
	old, _, err := vault.Dehydrated(tx, network, c.user)
	if err == nil {
		err = c.removeDevice(tx, c.user, old)
	}
	if err != nil && quinta.KindOf(err) != quinta.KindNotFound {
		return err
	}
	if err := c.deviceIDFree(tx, c.user, dev); err != nil {
		return err
	}
	fresh, err := device.Put(tx, network, c.user, dev, name)
	if err != nil {
		return err
	}
	if !fresh {
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this device id belongs to a logged-in device")
	}
	if _, err := c.storeUpload(tx, c.user, dev, u); err != nil {
		return err
	}
	return vault.PutDehydrated(tx, network, c.user, dev, data)
}

// getDehydrated returns the dehydrated device; M_NOT_FOUND tells clients that
// the server knows such devices and the user has none.
func (c *call) getDehydrated() (any, error) {
	var id quinta.DeviceID
	var data json.RawMessage
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		id, data, err = dehydratedOf(tx, c.user)
		return err
	})
	return map[string]any{"device_id": id, "device_data": data}, err
}

func dehydratedOf(tx *db.Tx, user quinta.UserID) (quinta.DeviceID, json.RawMessage, error) {
	id, body, err := vault.Dehydrated(tx, network, user)
	return id, body, err
}

// deleteDehydrated removes the dehydrated device with its messages.
func (c *call) deleteDehydrated() (any, error) {
	var id quinta.DeviceID
	err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if id, _, err = vault.Dehydrated(tx, network, c.user); err != nil {
			return err
		}
		return c.removeDevice(tx, c.user, id)
	})
	return map[string]any{"device_id": id}, err
}

// postDehydratedEvents is the form of older clients.
func (c *call) postDehydratedEvents() (any, error) {
	var q struct {
		NextBatch string `json:"next_batch"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	return c.dehydratedEvents(q.NextBatch)
}

// getDehydratedEvents is the form of newer clients.
func (c *call) getDehydratedEvents() (any, error) { return c.dehydratedEvents(c.param("from")) }

// dehydratedPage is how many messages one answer has at most.
const dehydratedPage = 100

// dehydratedEvents returns a page of the messages for the dehydrated device.
// They stay until the device is replaced or deleted: a client that dies while
// it takes them over begins again.
func (c *call) dehydratedEvents(from string) (any, error) {
	var after int64
	if from != "" {
		n, err := strconv.ParseInt(strings.TrimPrefix(from, "d"), 10, 64)
		if err != nil || n < 0 || from[0] != 'd' {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a token of an earlier answer")
		}
		after = n
	}
	id := quinta.DeviceID(c.path("deviceId"))
	var page []mailbox.Message
	var more bool
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		have, _, err := vault.Dehydrated(tx, network, c.user)
		if err != nil {
			return err
		}
		if have != id {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "this is not the dehydrated device of the user")
		}
		page, more, err = mailbox.Read(tx, network, c.user, id, quinta.Pos(after), dehydratedPage)
		return err
	})
	if err != nil {
		return nil, err
	}
	b := append(appendEvents(append(make([]byte, 0, 512*(1+len(page))), `{"events":`...), page), ""...)
	if more {
		b = wire.AppendText(append(b, `,"next_batch":`...), "d"+strconv.FormatInt(int64(page[len(page)-1].Pos), 10))
	}
	return json.RawMessage(append(b, '}')), nil
}

// appendEvents writes messages as the list of events in which a device gets
// them.
func appendEvents(b []byte, page []mailbox.Message) []byte {
	b = append(b, '[')
	for i := range page {
		if i > 0 {
			b = append(b, ',')
		}
		m := &page[i]
		b = wire.AppendText(append(b, `{"type":`...), m.Type)
		b = wire.AppendText(append(b, `,"sender":`...), string(m.From))
		b = append(append(append(b, `,"content":`...), m.Body...), '}')
	}
	return append(b, ']')
}
