package keysrv

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/key"
)

// A Device is the public keys of one device. It is signed by itself, and by an
// older device of its user unless it is the user's first one.
type Device struct {
	User quinta.UserID   `json:"user"`
	ID   quinta.DeviceID `json:"id"`
	// Signing signs statements, approvals and proofs; the id is derived from it.
	Signing key.DeviceSigningPublic `json:"signing"`
	// Agreement is what keys are wrapped for.
	Agreement key.IdentityPublic `json:"agreement"`
	// Created is in Unix milliseconds, by the device's own clock.
	Created int64 `json:"created"`
	// Signature is the device's own.
	Signature []byte `json:"signature"`
	// Approval is the approval by an older device; the first device has none.
	Approval *Approval `json:"approval,omitempty"`
	// Retired says that the device was signed out, as the server alone claims.
	// It stays listed, since it may have approved others.
	Retired bool `json:"retired,omitempty"`
}

// An Approval is an approved device's statement that it approves another one.
type Approval struct {
	By quinta.DeviceID `json:"by"`
	// Time is in Unix milliseconds.
	Time      int64  `json:"time"`
	Signature []byte `json:"signature"`
}

// isDeviceID reports whether id is what DeviceID may return.
func isDeviceID(id quinta.DeviceID) bool {
	return form.Is(string(id), form.Upper+"234567", 16, 16)
}

// DeviceID returns the id of the device with a signing key: 16 characters of
// base32 of its SHA-256. So no one can publish another key under the same id.
func DeviceID(p key.DeviceSigningPublic) quinta.DeviceID {
	sum := sha256.Sum256(p.Bytes())
	return quinta.DeviceID(base32.StdEncoding.EncodeToString(sum[:10]))
}

// NewDevice returns the signed record of a device.
func NewDevice(user quinta.UserID, created int64, signing key.DeviceSigningPrivate, agreement key.IdentityPublic) *Device {
	d := &Device{User: user, ID: DeviceID(signing.Public()), Signing: signing.Public(), Agreement: agreement, Created: created}
	d.Signature = signing.Sign(d.bytes())
	return d
}

func (d *Device) bytes() []byte {
	return fields("quinta-keysrv-device/1", string(d.User), string(d.ID), string(d.Signing.Bytes()), string(d.Agreement.Bytes()), strconv.FormatInt(d.Created, 10))
}

// Check reports whether a record is complete and signed by the device itself.
// It does not check who vouches for the device.
func (d *Device) Check() error {
	if err := CheckJID(d.User); err != nil {
		return err
	}
	switch {
	case d.Signing.IsZero() || d.Agreement.IsZero() || d.Created <= 0:
		return fmt.Errorf("%w: the record of a device", ErrMalformed)
	case d.ID != DeviceID(d.Signing):
		return fmt.Errorf("%w: the id of the device does not belong to its key", ErrMismatch)
	case !d.Signing.Verify(d.bytes(), d.Signature):
		return fmt.Errorf("%w: the record of a device", ErrTampered)
	case d.Approval != nil && (!isDeviceID(d.Approval.By) || d.Approval.Time <= 0 || len(d.Approval.Signature) != key.SignatureSize || d.Approval.By == d.ID):
		return fmt.Errorf("%w: the approval of a device", ErrMalformed)
	}
	return nil
}

// Same reports whether two records have the same keys.
func (d *Device) Same(o *Device) bool {
	return d.User == o.User && d.ID == o.ID && d.Signing == o.Signing && d.Agreement == o.Agreement
}

func (d *Device) approvalBytes(by quinta.DeviceID, at int64) []byte {
	return fields("quinta-keysrv-approval/1", string(d.bytes()), string(by), strconv.FormatInt(at, 10))
}

// Approve returns the approval of d by the device of a signing key.
func (d *Device) Approve(by key.DeviceSigningPrivate, at int64) *Approval {
	a := &Approval{By: DeviceID(by.Public()), Time: at}
	a.Signature = by.Sign(d.approvalBytes(a.By, at))
	return a
}

// ApprovedBy returns nil if the approval of d is by another device of the same
// user.
func (d *Device) ApprovedBy(by *Device) error {
	a := d.Approval
	if a == nil || a.By != by.ID || d.User != by.User || d.ID == by.ID || !by.Signing.Verify(d.approvalBytes(a.By, a.Time), a.Signature) {
		return fmt.Errorf("%w: the approval of a device", ErrUntrusted)
	}
	return nil
}

// MaxDevices bounds the devices of one user.
const MaxDevices = 200

// ParseDevice reads a record of at most 4 KiB of JSON and checks it.
func ParseDevice(raw []byte) (*Device, error) {
	d := &Device{}
	if err := decode(raw, 4<<10, d); err != nil {
		return nil, err
	}
	return d, d.Check()
}

// decode reads a JSON object of at most limit bytes without a repeated member
// or a number that is not whole.
func decode(raw []byte, limit int, v any) error {
	if len(raw) > limit || len(raw) == 0 || raw[0] != '{' || canonicaljson.Valid(raw) != nil || exactjson.Unmarshal(raw, v) != nil {
		return fmt.Errorf("%w: the JSON of an object, device or proof", ErrMalformed)
	}
	return nil
}
