package wire

import (
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
)

// A LoginRequest is POST PathLogin. The name is "alice" or "alice@domain".
type LoginRequest struct {
	Username string `json:"username"`
	Password string `json:"password"`
	// Device is the device's own id, 1 to 64 letters, digits, _ and -; empty
	// lets the server choose one. A device that exists gets a new token and
	// loses the old one.
	Device     quinta.DeviceID `json:"device,omitempty"`
	DeviceName string          `json:"deviceName,omitempty"`
}

// A RegisterRequest is POST PathRegister: a new account, and the login of its
// first device.
type RegisterRequest struct {
	LoginRequest
	// Token is the invitation, where the server asks for one.
	Token string `json:"token,omitempty"`
}

// A LoginAnswer tells a device its user and id.
type LoginAnswer struct {
	// Username is the whole name, "alice@domain".
	Username quinta.UserID   `json:"username"`
	Device   quinta.DeviceID `json:"device"`
	Token    string          `json:"token"`
	Domain   string          `json:"domain"`
	// New says that the device did not exist before.
	New bool `json:"new"`
	// Delivered is the position up to which some device of the user had
	// acknowledged its messages before this login: no device has read the
	// later messages in the history yet.
	Delivered quinta.Pos `json:"delivered"`
	// Pos is the server's current position.
	Pos quinta.Pos `json:"pos"`
}

// A LogoutRequest is POST PathLogout: the device is removed, and its keys are
// revoked with the reason "cessation".
type LogoutRequest struct{}

// A RemoveRequest is DELETE PathDevice. It requires the password again, so
// that a stolen token cannot remove the other devices.
type RemoveRequest struct {
	Password string `json:"password"`
	// Reason is one of the reasons of RevokeRequest; "cessation" if empty.
	Reason string `json:"reason,omitempty"`
}

// A Device is one device of the caller.
type Device struct {
	Device  quinta.DeviceID `json:"device"`
	Name    string          `json:"name,omitempty"`
	Created time.Time       `json:"created"`
	// Seen is when it was last active, to the minute; absent if never.
	Seen *time.Time `json:"seen,omitempty"`
}

// A DeviceList is the answer of PathDevices.
type DeviceList struct {
	Devices []Device `json:"devices"`
}

// Anchors are what a client trusts, as the server gives them.
type Anchors = ca.Roots

// Roots is the answer of PathRoots: what a client trusts, and the network's
// limits.
type Roots struct {
	Anchors
	// MaxMessage bounds a message's body, MaxFile a file, in bytes.
	MaxMessage int64 `json:"maxMessage"`
	MaxFile    int64 `json:"maxFile"`
}
