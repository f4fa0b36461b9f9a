package driver

import (
	"errors"
	"slices"

	"github.com/quinta-chat/quinta"
)

// Bootstrap makes cross-signing keys, secret storage and a key backup, and
// returns the recovery key.
func (d *Device) Bootstrap() (recoveryKey string) {
	d.tb.Helper()
	var r struct{ RecoveryKey string }
	d.must("bootstrap", none{}, &r)
	return r.RecoveryKey
}

// BootstrapBy is Bootstrap with a recovery key that is made of a passphrase.
func (d *Device) BootstrapBy(passphrase string) {
	d.tb.Helper()
	d.must("bootstrap", map[string]string{"passphrase": passphrase}, nil)
}

// ResetIdentity replaces the cross-signing keys, giving the password.
func (d *Device) ResetIdentity() {
	d.tb.Helper()
	d.must("resetIdentity", none{}, nil)
}

// CrossSigning is what a device holds of its own user's identity.
type CrossSigning struct {
	// Ready says that the identity can be used, Private that this device has
	// its private keys, Stored that secret storage has them.
	Ready, Private, Stored bool
}

// CrossSigning says what this device holds.
func (d *Device) CrossSigning() CrossSigning {
	d.tb.Helper()
	var s CrossSigning
	d.must("crossSigning", none{}, &s)
	return s
}

// UntilPrivateKeys returns when this device has the private keys of its own
// user's identity.
func (d *Device) UntilPrivateKeys() {
	d.tb.Helper()
	d.must("untilPrivateKeys", none{}, nil)
}

// UserStatus is what a client thinks of a user's identity.
type UserStatus struct {
	// Verified: verified by the user's own identity. Was: it once was. Changed: it
	// has changed since and asks for the user's decision. Known: there is one.
	Verified, Was, Changed, Known bool
}

// UserStatus says what this client thinks of user.
func (d *Device) UserStatus(user quinta.UserID) UserStatus {
	d.tb.Helper()
	var s UserStatus
	d.must("userStatus", map[string]any{"user": user}, &s)
	return s
}

// UntilUserVerified returns when this client holds user for verified, or not
// verified.
func (d *Device) UntilUserVerified(user quinta.UserID, verified bool) {
	d.tb.Helper()
	d.must("untilUserVerified", map[string]any{"user": user, "verified": verified}, nil)
}

// UntilDevice returns when this client knows the device and sees it as signed
// by its owner, or not.
func (d *Device) UntilDevice(other *Device, signed bool) {
	d.tb.Helper()
	d.UntilDeviceID(other.User, other.ID, signed)
}

// UntilDeviceID is UntilDevice for a device that is not in a peer program.
func (d *Device) UntilDeviceID(user quinta.UserID, device quinta.DeviceID, signed bool) {
	d.tb.Helper()
	d.must("untilDevice", map[string]any{"user": user, "device": device, "signed": signed}, nil)
}

// UntilKnown returns when this client knows exactly these devices of user.
func (d *Device) UntilKnown(user quinta.UserID, devices ...quinta.DeviceID) {
	d.tb.Helper()
	d.must("untilKnown", map[string]any{"user": user, "devices": devices}, nil)
}

// A Target says whom to verify: a user in a room, one device of a user, or,
// with neither, the other devices of the same user.
type Target struct {
	User   quinta.UserID   `json:"user,omitempty"`
	Device quinta.DeviceID `json:"device,omitempty"`
	Room   quinta.RoomID   `json:"room,omitempty"`
}

// A flow names a verification of a device, and the answer to its emoji.
type flow struct {
	Flow int  `json:"flow"`
	Same bool `json:"same,omitempty"`
}

// A Verification is one flow between two devices.
type Verification struct {
	asker, asked *Device
	a, b         flow
}

// Verify goes from the request to the emoji on both devices.
func (d *Device) Verify(other *Device, target Target) *Verification {
	d.tb.Helper()
	v := &Verification{asker: d, asked: other}
	d.must("askVerification", target, &v.a)
	other.must("acceptVerification", map[string]any{"user": d.User}, &v.b)
	d.must("startVerification", v.a, nil)
	return v
}

// A Flow is one device's side of a verification, for a story whose other side
// is not in a peer program.
type Flow struct{ flow }

// AskVerification asks target to verify.
func (d *Device) AskVerification(target Target) Flow {
	d.tb.Helper()
	var f Flow
	d.must("askVerification", target, &f.flow)
	return f
}

// AcceptVerification waits to be asked by user, and agrees.
func (d *Device) AcceptVerification(user quinta.UserID) Flow {
	d.tb.Helper()
	var f Flow
	d.must("acceptVerification", map[string]any{"user": user}, &f.flow)
	return f
}

// ShowCode makes a code for the other side to scan when that has agreed, and
// returns its bytes.
func (d *Device) ShowCode(f Flow) []byte {
	d.tb.Helper()
	var r struct{ Code []byte }
	d.must("showCode", f.flow, &r)
	return r.Code
}

// ConfirmScan says that the other side scanned the code, once it has, and
// waits for the end.
func (d *Device) ConfirmScan(f Flow) {
	d.tb.Helper()
	d.must("confirmScan", f.flow, nil)
}

// ScanCode scans the code of the other side when that has agreed, and waits
// for the end.
func (d *Device) ScanCode(f Flow, code []byte) {
	d.tb.Helper()
	d.must("scanCode", map[string]any{"flow": f.Flow, "code": code}, nil)
}

// StartVerification begins with emoji when the other side has agreed.
func (d *Device) StartVerification(f Flow) {
	d.tb.Helper()
	d.must("startVerification", f.flow, nil)
}

// FlowEmoji waits for the names of the emoji.
func (d *Device) FlowEmoji(f Flow) []string {
	d.tb.Helper()
	var r struct{ Emoji []string }
	d.must("emoji", f.flow, &r)
	return r.Emoji
}

// ConfirmFlow says that the emoji are the same and waits for the end.
func (d *Device) ConfirmFlow(f Flow) {
	d.tb.Helper()
	f.Same = true
	d.must("confirm", f.flow, nil)
}

// Emoji returns the emoji that each side shows.
func (v *Verification) Emoji() (asker, asked []string) {
	v.asker.tb.Helper()
	var a, b struct{ Emoji []string }
	v.both(func() error { return v.asked.Try("emoji", v.b, &b) }, func() error { return v.asker.Try("emoji", v.a, &a) })
	return a.Emoji, b.Emoji
}

// both lets both sides act at once: each needs the other to continue.
func (v *Verification) both(asked, asker func() error) {
	v.asker.tb.Helper()
	done := make(chan error, 1)
	go func() { done <- asked() }()
	if err := errors.Join(asker(), <-done); err != nil {
		v.asker.tb.Fatal(err)
	}
}

// Same compares the emoji as two people do and confirms on both sides.
func (v *Verification) Same() {
	tb := v.asker.tb
	tb.Helper()
	a, b := v.Emoji()
	if len(a) != 7 || !slices.Equal(a, b) {
		tb.Fatalf("got emoji %q and %q, want the same seven", a, b)
	}
	v.a.Same, v.b.Same = true, true
	v.both(func() error { return v.asked.Try("confirm", v.b, nil) }, func() error { return v.asker.Try("confirm", v.a, nil) })
}

// Different says on the asked side that the emoji differ; it returns the
// cancellation codes that both sides end with.
func (v *Verification) Different() (asker, asked string) {
	v.asker.tb.Helper()
	v.Emoji()
	var a, b struct{ Cancelled string }
	v.asked.must("confirm", v.b, &b)
	v.asker.must("untilCancelled", v.a, &a)
	return a.Cancelled, b.Cancelled
}

// Unlock takes the identity from secret storage and signs this device.
func (d *Device) Unlock(recoveryKey string) {
	d.tb.Helper()
	d.must("unlock", map[string]string{"recoveryKey": recoveryKey}, nil)
}

// UnlockBy is Unlock with the passphrase of secret storage.
func (d *Device) UnlockBy(passphrase string) {
	d.tb.Helper()
	d.must("unlock", map[string]string{"passphrase": passphrase}, nil)
}

// Restore takes the room keys from the backup and returns how many there were
// and how many were taken.
func (d *Device) Restore(recoveryKey string) (total, imported int) {
	d.tb.Helper()
	var r struct{ Total, Imported int }
	d.must("restore", map[string]string{"recoveryKey": recoveryKey}, &r)
	return r.Total, r.Imported
}

// UntilBackedUp returns when the backup on the server holds count keys.
func (d *Device) UntilBackedUp(count int) {
	d.tb.Helper()
	d.must("untilBackedUp", map[string]int{"count": count}, nil)
}

// Dehydrate leaves a device of the account on the server that takes in keys
// while no other is there.
func (d *Device) Dehydrate() {
	d.tb.Helper()
	d.must("dehydrate", none{}, nil)
}

// Rehydrate takes over what that device was sent, and returns how many room
// keys that were.
func (d *Device) Rehydrate() (keys int) {
	d.tb.Helper()
	var r struct{ Keys int }
	d.must("rehydrate", none{}, &r)
	return r.Keys
}

// ExportKeys returns the room keys of this device as JSON.
func (d *Device) ExportKeys() string {
	d.tb.Helper()
	var r struct{ Keys string }
	d.must("exportKeys", none{}, &r)
	return r.Keys
}

// ImportKeys takes room keys as ExportKeys returns them.
func (d *Device) ImportKeys(keys string) {
	d.tb.Helper()
	d.must("importKeys", map[string]string{"keys": keys}, nil)
}

// ExportFile returns the room keys of this device in a file under a
// passphrase.
func (d *Device) ExportFile(passphrase string) (file string) {
	d.tb.Helper()
	var r struct{ File string }
	d.must("exportFile", map[string]string{"passphrase": passphrase}, &r)
	return r.File
}

// ImportFile takes the room keys of such a file.
func (d *Device) ImportFile(file, passphrase string) {
	d.tb.Helper()
	d.must("importFile", map[string]string{"file": file, "passphrase": passphrase}, nil)
}
