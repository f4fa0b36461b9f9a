package wire

import "github.com/quinta-chat/quinta"

// DeviceList is the answer of "GET /devices".
type DeviceList struct {
	Devices []Device `json:"devices"`
}

// A Device is a device as its owner sees it. Seen is in Unix milliseconds.
type Device struct {
	ID       quinta.DeviceID `json:"device_id"`
	Name     *string         `json:"display_name,omitempty"`
	SeenAddr string          `json:"last_seen_ip,omitempty"`
	Seen     int64           `json:"last_seen_ts,omitempty"`
}

// A DeviceName is the body of "PUT /devices/{deviceId}".
type DeviceName struct {
	Name *string `json:"display_name"`
}
