package matrixclient

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// states returns the state events among events. One that cannot be read is left
// out: it is not worth what came with it.
func states(events ...json.RawMessage) []wire.StrippedEvent {
	var out []wire.StrippedEvent
	for _, raw := range events {
		var e wire.StrippedEvent
		if json.Unmarshal(raw, &e) == nil && e.StateKey != nil {
			out = append(out, e)
		}
	}
	return out
}

// A machine is the encryption of the device and the list of its rooms: what a
// sync says to both is one commit.
type machine struct {
	*matrix.Machine
	self quinta.UserID
	// began is called at each step with whether what it brings is history, as
	// of a first sync.
	began func(first bool)
	// gapped is called when a sync left messages out.
	gapped func()
}

var _ e2ee.Machine[matrix.In, matrix.Req, matrix.Ans] = (*machine)(nil)

// Receive implements e2ee.Machine.
func (m *machine) Receive(tx e2ee.Tx, in matrix.In) ([]e2ee.Event, error) {
	first := in.Since == ""
	m.began(first)
	events, err := m.Machine.Receive(tx, in)
	if err != nil {
		return nil, err
	}
	for _, r := range in.Rooms {
		if err := m.takeRoom(tx, r, first); err != nil {
			return nil, err
		}
	}
	for _, raw := range in.AccountData {
		if err := m.takeAccountData(tx, raw); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// Done implements e2ee.Machine.
func (m *machine) Done(tx e2ee.Tx, req matrix.Req, ans matrix.Ans) ([]e2ee.Event, error) {
	m.began(false)
	return m.Machine.Done(tx, req, ans)
}
