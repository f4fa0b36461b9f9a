package caserver

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// maxTold bounds how many users hear at once that someone's keys changed; the
// others find out when they look up or send.
const maxTold = 1000

// tell says to the owner's other devices, and to all who share a conversation
// with them, that a key has changed. So owners hear of a key that they did not
// enrol, and senders do not keep using an old one.
func (s *caServer) tell(tx *db.Tx, k *key, change string) error {
	body, err := json.Marshal(wire.KeyChange{Username: k.User, Device: k.Device, KeyID: k.ID, Use: k.Usage, Profile: k.Profile, Change: change, Approved: k.Approver != nil})
	if err != nil {
		return err
	}
	peers, err := conversation.Peers(tx, network, k.User, maxTold)
	if err != nil {
		return err
	}
	users := append([]quinta.UserID{k.User}, peers...)
	ds, err := device.Of(tx, network, users)
	if err != nil {
		return err
	}
	var envs []quinta.Envelope
	for _, d := range ds {
		if d.User == k.User && d.ID == k.Device {
			continue
		}
		envs = append(envs, quinta.Envelope{From: k.User, To: d.User, Device: d.ID, Type: string(wire.KindKeys), Body: body})
		feed.Bump(tx, feed.Device(network, d.User, d.ID))
	}
	if len(envs) == 0 {
		return nil
	}
	return mailbox.Put(tx, network, 0, envs...)
}
