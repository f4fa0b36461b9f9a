package matrixserver

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
)

func (s *homeserver) toDeviceCalls() {
	s.client(http.MethodPut, "/sendToDevice/{eventType}/{txnId}", endpoint{rate: rateWrite, body: 8 << 20, handle: (*call).putToDevice})
}

// The bounds of one request of to-device messages.
const (
	maxToDevice        = 5000      // messages, with "*" resolved
	maxToDeviceContent = 256 << 10 // bytes of one content
	maxToDeviceTotal   = 32 << 20  // bytes of all, with "*" resolved
)

// rateToDevice bounds the to-device messages of one user, rateToDeviceKB
// their size, in KiB.
var (
	rateToDevice   = server.Rate{Every: 2 * time.Millisecond, Burst: 20_000}
	rateToDeviceKB = server.Rate{Every: 5 * time.Millisecond, Burst: 256 << 10}
)

// allDevices stands for every device of a user.
const allDevices = "*"

// A recipient is what goes to the devices of one user.
type recipient struct {
	user    quinta.UserID
	devices []canonicaljson.Member // of the name of a device or allDevices, with the content
}

// putToDevice: "PUT /sendToDevice/{eventType}/{txnId}". The answer leaves
// when the messages are durable in all mailboxes.
func (c *call) putToDevice() (any, error) {
	typ, txn := c.path("eventType"), c.path("txnId")
	if typ == "" || txn == "" || len(typ) > wire.MaxID || len(txn) > wire.MaxID {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the event type and the transaction id have 1 to 255 bytes")
	}
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	to, named, err := c.recipients(body)
	if err != nil {
		return nil, err
	}
	if err := limited(c.Limits.Allow("to-device", server.ByUser(network, c.user), rateToDevice, named)); err != nil {
		return nil, err
	}
	if err := limited(c.Limits.Allow("to-device-bytes", server.ByUser(network, c.user), rateToDeviceKB, 1+len(body)>>10)); err != nil {
		return nil, err
	}
	users := []quinta.UserID{c.user}
	for i := range to {
		if to[i].user != c.user {
			users = append(users, to[i].user)
		}
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		sending, err := mailbox.Note(tx, network, c.user, c.device, quinta.TxnID(typ+"/"+txn))
		if err != nil {
			return err
		}
		full, err := mailbox.AskFull(tx, network, c.user)
		if err != nil {
			return err
		}
		there, err := device.Of(tx, network, users)
		if err != nil {
			return err
		}
		// Only a live device sends: it may have been removed a moment ago.
		if !slices.Contains(there, device.Label{User: c.user, ID: c.device}) {
			_, err := device.Get(tx, network, c.user, c.device)
			return err
		}
		if first, err := sending.First(); err != nil || !first {
			return err
		}
		envs, err := address(to, there, c.user, typ)
		if err != nil {
			return err
		}
		if crowded, err := full.Any(envs); err != nil || crowded {
			return errors.Join(err, limited(crowdEvery))
		}
		for i := range envs {
			feed.Bump(tx, feed.Device(network, envs[i].To, envs[i].Device))
		}
		return mailbox.Put(tx, network, 0, envs...)
	})
}

// recipients cuts the contents out of a body, and counts them.
func (c *call) recipients(body []byte) ([]recipient, int, error) {
	ms, err := members(body, "the body")
	if err != nil {
		return nil, 0, err
	}
	users, err := members(field(ms, "messages"), "messages")
	if err != nil {
		return nil, 0, err
	}
	var to []recipient
	named := 0
	for _, u := range users {
		devices, err := messagesOf(u.Value)
		if err != nil {
			return nil, 0, err
		}
		if named += len(devices); named > maxToDevice {
			return nil, 0, tooManyMessages()
		}
		if id := quinta.UserID(u.Name); c.accountOf(id) != "" {
			to = append(to, recipient{id, devices})
		}
	}
	return to, named, nil
}

// messagesOf checks the contents for the devices of one user.
func messagesOf(raw []byte) ([]canonicaljson.Member, error) {
	devices, err := members(raw, "messages: each user")
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if kind(d.Value) != '{' {
			return nil, badJSON("messages: each content must be a JSON object")
		}
		if len(d.Value) > maxToDeviceContent {
			return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "a content is too large")
		}
	}
	return devices, nil
}

func tooManyMessages() error {
	return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "too many messages for one request")
}

// address makes the envelopes for the devices that are there. What is sent to
// a device by name goes before what is sent to all.
func address(to []recipient, there []device.Label, sender quinta.UserID, typ string) ([]quinta.Envelope, error) {
	devices := make(map[quinta.UserID][]quinta.DeviceID, len(to))
	for _, d := range there {
		devices[d.User] = append(devices[d.User], d.ID)
	}
	var envs []quinta.Envelope
	total := 0
	for i := range to {
		contents := make(map[string][]byte, len(to[i].devices))
		for _, m := range to[i].devices {
			contents[m.Name] = m.Value
		}
		for _, id := range devices[to[i].user] {
			content := contents[string(id)]
			if content == nil {
				content = contents[allDevices]
			}
			if content == nil {
				continue
			}
			if total += len(content); total > maxToDeviceTotal || len(envs) >= maxToDevice {
				return nil, tooManyMessages()
			}
			envs = append(envs, quinta.Envelope{From: sender, To: to[i].user, Device: id, Type: typ, Body: content})
		}
	}
	return envs, nil
}
