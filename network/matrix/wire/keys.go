package wire

import "github.com/quinta-chat/quinta"

// A KeyQuery is the body of "POST /keys/query". An empty list of devices asks
// for all. Timeout is in milliseconds.
type KeyQuery struct {
	Devices map[quinta.UserID][]quinta.DeviceID `json:"device_keys"`
	Timeout *int64                              `json:"timeout,omitempty"`
}

// KeyCounts is the answer of "POST /keys/upload": how many one-time keys of
// each algorithm are left.
type KeyCounts struct {
	OneTime map[string]int64 `json:"one_time_key_counts"`
}
