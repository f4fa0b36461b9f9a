package matrixclient

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// An input is what one /sync brought: what the machine takes, and what only
// the list of rooms needs.
type input struct {
	matrix.In
	rooms map[quinta.RoomID]roomPart
	// direct maps users to their conversations of two; nil if not said.
	direct map[quinta.UserID][]quinta.RoomID
}

// A roomPart is the part of a room's sync that is not the machine's.
type roomPart struct {
	Timeline struct {
		Events  []stateEvent `json:"events"`
		Limited bool         `json:"limited"`
		Prev    string       `json:"prev_batch"`
	} `json:"timeline"`
	State         stateList  `json:"state"`
	After         *stateList `json:"state_after"`
	AfterUnstable *stateList `json:"org.matrix.msc4222.state_after"`
	Invite        stateList  `json:"invite_state"`
	Summary       struct {
		Heroes []quinta.UserID `json:"m.heroes"`
	} `json:"summary"`
}

type stateList struct {
	Events []stateEvent `json:"events"`
}

// A stateEvent is an event as far as the list of rooms reads it.
type stateEvent struct {
	Type    string          `json:"type"`
	Key     *string         `json:"state_key"`
	Sender  quinta.UserID   `json:"sender"`
	Content json.RawMessage `json:"content"`
}

// parseSync reads the answer of a /sync.
func parseSync(since string, body []byte) (input, error) {
	in, err := matrix.ParseSync(since, body)
	if err != nil {
		return input{}, err
	}
	var s struct {
		Rooms struct {
			Join   map[quinta.RoomID]roomPart `json:"join"`
			Invite map[quinta.RoomID]roomPart `json:"invite"`
			Leave  map[quinta.RoomID]roomPart `json:"leave"`
		} `json:"rooms"`
		AccountData struct {
			Events []stateEvent `json:"events"`
		} `json:"account_data"`
	}
	if err := json.Unmarshal(body, &s); err != nil {
		// A member of another type is not worth the messages that came with it.
		if _, shape := err.(*json.UnmarshalTypeError); !shape {
			return input{}, err
		}
	}
	out := input{In: in, rooms: map[quinta.RoomID]roomPart{}}
	for _, m := range []map[quinta.RoomID]roomPart{s.Rooms.Join, s.Rooms.Invite, s.Rooms.Leave} {
		for id, r := range m {
			out.rooms[id] = r
		}
	}
	for _, e := range s.AccountData.Events {
		if e.Type != "m.direct" {
			continue
		}
		direct := map[quinta.UserID][]quinta.RoomID{}
		if json.Unmarshal(e.Content, &direct) == nil {
			out.direct = direct
		}
	}
	return out, nil
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

var _ e2ee.Machine[input, matrix.Req, matrix.Ans] = (*machine)(nil)

// Receive implements e2ee.Machine.
func (m *machine) Receive(tx e2ee.Tx, in input) ([]e2ee.Event, error) {
	m.began(in.Since == "")
	events, err := m.Machine.Receive(tx, in.In)
	if err != nil {
		return nil, err
	}
	for _, r := range in.In.Rooms {
		part, ok := in.rooms[r.ID]
		if !ok {
			continue
		}
		if err := m.takeRoom(tx, r, part, in.Since == ""); err != nil {
			return nil, err
		}
	}
	if in.direct != nil {
		if err := m.takeDirect(tx, in.direct); err != nil {
			return nil, err
		}
	}
	if in.NextBatch == in.Since {
		return events, nil // nothing to write is nothing to wait for the disk for
	}
	return events, tx.Put(keySince, []byte(in.NextBatch))
}

// Done implements e2ee.Machine.
func (m *machine) Done(tx e2ee.Tx, req matrix.Req, ans matrix.Ans) ([]e2ee.Event, error) {
	m.began(false)
	return m.Machine.Done(tx, req, ans)
}
