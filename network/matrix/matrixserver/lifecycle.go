package matrixserver

import (
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/push"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/server/room"
	"github.com/quinta-chat/quinta/server/vault"
)

// Everything that must happen in the same transaction when a device is added,
// changed or removed is in this file, so that every path does all of it.

// deviceIDFree refuses a device id that is one of the user's cross-signing
// keys: both share a name space (client-server API, "Cross-signing").
func (s *homeserver) deviceIDFree(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) error {
	ids, err := directory.Identities(tx, network, []quinta.UserID{user})
	if err != nil {
		return err
	}
	for i := range ids {
		if ids[i].Key == string(id) {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "this device id is a cross-signing key of the user")
		}
	}
	return nil
}

// deviceAdded runs after a login; fresh says that the device is new.
func (s *homeserver) deviceAdded(tx *db.Tx, user quinta.UserID, id quinta.DeviceID, fresh bool) error {
	if !fresh {
		return nil
	}
	return s.deviceChanged(tx, user)
}

// deviceChanged runs when what others see of a user's devices and keys has
// changed: it notifies everyone who shares a room with the user.
func (s *homeserver) deviceChanged(tx *db.Tx, user quinta.UserID) error {
	if err := directory.Changed(tx, network, user); err != nil {
		return err
	}
	feed.Bump(tx, feed.User(network, user))
	rooms, err := room.RoomsWith(tx, user, room.Join)
	for i := range rooms {
		feed.Bump(tx, feed.Room(network, rooms[i].Room))
	}
	return err
}

// deviceChangedFor runs when only viewer sees that keys of user have changed.
func (s *homeserver) deviceChangedFor(tx *db.Tx, user, viewer quinta.UserID) error {
	feed.Bump(tx, feed.User(network, viewer))
	return directory.ChangedFor(tx, network, user, viewer)
}

// removeDevice removes a device with its tokens, keys and messages.
func (s *homeserver) removeDevice(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) error {
	there, err := device.Remove(tx, network, user, id)
	if err != nil || !there {
		return err
	}
	for _, remove := range []func(*db.Tx, quinta.NetworkName, quinta.UserID, quinta.DeviceID) error{
		directory.RemoveDevice, prekey.Remove, mailbox.Remove, vault.RemoveDehydrated,
	} {
		if err := remove(tx, network, user, id); err != nil {
			return err
		}
	}
	if err := push.RemoveDevice(tx, user, id); err != nil {
		return err
	}
	feed.Bump(tx, feed.Device(network, user, id))
	return s.deviceChanged(tx, user)
}
