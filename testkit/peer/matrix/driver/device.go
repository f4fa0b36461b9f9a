package driver

import (
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
)

// A Device is one client in a peer program, logged in to one account. Its
// methods fail the test if the program answers an error; Try says the error
// instead.
type Device struct {
	tb   testing.TB
	p    *Process
	name string

	// User, ID and Token are the session: user id, device id, access token.
	User  quinta.UserID
	ID    quinta.DeviceID
	Token string
}

// Account says where an account is and how to get into it.
type Account struct {
	// Server is the base URL of the server.
	Server   string `json:"server"`
	Username string `json:"username"`
	Password string `json:"password"`
	// Device is the device id to ask for; the server chooses if it is empty.
	Device quinta.DeviceID `json:"device,omitempty"`
}

// A none is the argument or result of a call without one.
type none struct{}

// Register makes an account and the client called name on it, not yet
// started.
func (p *Process) Register(tb testing.TB, name string, a Account) *Device {
	tb.Helper()
	return p.enter(tb, name, "register", a)
}

// Login makes the client called name on an account that is there, not yet
// started.
func (p *Process) Login(tb testing.TB, name string, a Account) *Device {
	tb.Helper()
	return p.enter(tb, name, "login", a)
}

func (p *Process) enter(tb testing.TB, name, call string, a Account) *Device {
	tb.Helper()
	d := &Device{tb: tb, p: p, name: name}
	var s struct {
		User   quinta.UserID
		Device quinta.DeviceID
		Token  string
	}
	d.must(call, a, &s)
	d.User, d.ID, d.Token = s.User, s.Device, s.Token
	return d
}

// Try runs a call and returns its error.
func (d *Device) Try(call string, args, result any) error {
	return d.p.Call(d.name, call, args, result, Patience)
}

// TryFor is Try with another limit than [Patience].
func (d *Device) TryFor(limit time.Duration, call string, args, result any) error {
	return d.p.Call(d.name, call, args, result, limit)
}

// must runs a call that has to succeed.
func (d *Device) must(call string, args, result any) {
	d.tb.Helper()
	if err := d.Try(call, args, result); err != nil {
		d.tb.Fatal(err)
	}
}

// Refused runs a call that the server has to refuse, and checks its error
// code.
func (d *Device) Refused(errcode, call string, args any) {
	d.tb.Helper()
	var e *Error
	if err := d.Try(call, args, nil); !errors.As(err, &e) || e.Errcode != errcode {
		d.tb.Fatalf("%s.%s: got %v, want %s", d.name, call, err, errcode)
	}
}

// Start begins to sync; the first sync is done when it returns.
func (d *Device) Start() *Device {
	d.tb.Helper()
	d.must("start", none{}, nil)
	return d
}

// Stop ends the client as closing its program does: its stores stay.
func (d *Device) Stop() {
	d.tb.Helper()
	d.must("stop", none{}, nil)
}

// Crash ends the client as killing its program does: in the middle of what it
// does, without saving where it was in its sync. Its calls fail.
func (d *Device) Crash() {
	d.tb.Helper()
	d.must("stop", map[string]bool{"save": false}, nil)
}

// Reopen makes the client again over its stores, on server if that is not
// empty, and starts it.
func (d *Device) Reopen(server string) {
	d.tb.Helper()
	d.must("reopen", map[string]string{"server": server}, nil)
	d.Start()
}

// Online tells the client that the network is back and returns when it syncs.
func (d *Device) Online() {
	d.tb.Helper()
	d.must("online", none{}, nil)
}

// Devices returns the ids of the account's devices as the server lists them.
func (d *Device) Devices() []quinta.DeviceID {
	d.tb.Helper()
	var r struct{ Devices []quinta.DeviceID }
	d.must("devices", none{}, &r)
	return r.Devices
}

// DeleteDevice deletes a device of the account, giving the password.
func (d *Device) DeleteDevice(id quinta.DeviceID) {
	d.tb.Helper()
	d.must("deleteDevice", map[string]quinta.DeviceID{"device": id}, nil)
}

// Logout ends the session and the client.
func (d *Device) Logout() {
	d.tb.Helper()
	d.must("logout", none{}, nil)
}

// Isolate sets whether keys go only to devices that their owner has signed.
func (d *Device) Isolate(signed bool) {
	d.tb.Helper()
	d.must("isolate", map[string]bool{"signed": signed}, nil)
}
