package matrixclient

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// A roomRecord is what the list of rooms knows of one, beyond the machine.
type roomRecord struct {
	// Standing is this account's own membership: "join", "invite" or "leave".
	Standing string `json:"standing,omitempty"`

	Topic   string          `json:"topic,omitempty"`
	Alias   string          `json:"alias,omitempty"`
	Inviter quinta.UserID   `json:"inviter,omitempty"`
	Heroes  []quinta.UserID `json:"heroes,omitempty"`
	Direct  bool            `json:"direct,omitempty"`
	// Encrypted says that this device made the room encrypted, or was invited
	// to an encrypted room: a server that denies it later is not believed.
	Encrypted bool `json:"encrypted,omitempty"`
	// Gaps are the positions from which older messages are to be requested: the
	// last one is the newest gap, the first the beginning of what is known.
	Gaps []string `json:"gaps,omitempty"`
	// Begun says that nothing is older than what is known.
	Begun bool `json:"begun,omitempty"`
}

const (
	maxGaps   = 100
	maxHeroes = 5
)

func loadRoom(tx e2ee.Tx, id quinta.RoomID) (roomRecord, error) {
	var r roomRecord
	_, err := seat.Load(tx, keyRoom+string(id), &r)
	return r, err
}

// takeRoom takes what a sync says of a room.
func (m *machine) takeRoom(tx e2ee.Tx, room matrix.InRoom, first bool) error {
	id := room.ID
	r, err := loadRoom(tx, id)
	if err != nil {
		return err
	}
	r.Standing = "join"
	switch {
	case room.Invited:
		r.Standing = "invite"
	case room.Left:
		r.Standing = "leave"
	}
	state := room.StateAfter
	if !room.HasStateAfter {
		state = slices.Concat(room.State, room.Timeline)
	}
	for _, e := range states(state...) {
		m.takeState(&r, e)
	}
	if h := room.Heroes; h != nil {
		r.Heroes = h[:min(len(h), maxHeroes)]
	}
	if prev := room.Prev; prev != "" && len(prev) < 4096 && (room.Limited || first || len(r.Gaps) == 0 && !r.Begun) {
		if first {
			r.Gaps = nil // positions of before are of no use now
		}
		r.Gaps, r.Begun = append(r.Gaps, prev), false
		if len(r.Gaps) > 1 {
			m.gapped()
		}
		if len(r.Gaps) > maxGaps {
			r.Gaps = slices.Delete(r.Gaps, 1, 2)
		}
	}
	return seat.Store(tx, keyRoom+string(id), r)
}

// takeState takes one state event, of which nothing is believed that could do
// harm: these are words to be shown.
func (m *machine) takeState(r *roomRecord, e wire.StrippedEvent) {
	var c struct {
		Topic      string `json:"topic"`
		Alias      string `json:"alias"`
		Membership string `json:"membership"`
		Direct     bool   `json:"is_direct"`
	}
	if json.Unmarshal(e.Content, &c) != nil {
		return
	}
	switch {
	case e.Type == "m.room.topic" && *e.StateKey == "":
		r.Topic = printable.Line(c.Topic)
	case e.Type == "m.room.canonical_alias" && *e.StateKey == "":
		r.Alias = printable.Line(c.Alias)
	case e.Type == "m.room.encryption" && *e.StateKey == "":
		r.Encrypted = true
	case e.Type == "m.room.member" && quinta.UserID(*e.StateKey) == m.self:
		r.Inviter = ""
		if c.Membership == "invite" {
			r.Inviter, r.Direct = e.Sender, r.Direct || c.Direct
		}
	}
}

// takeAccountData takes an event of the user's own data: of m.direct, which
// conversations are those of two.
func (m *machine) takeAccountData(tx e2ee.Tx, raw json.RawMessage) error {
	var e wire.DataEvent
	if json.Unmarshal(raw, &e) != nil || e.Type != "m.direct" {
		return nil
	}
	direct := map[quinta.UserID][]quinta.RoomID{}
	if json.Unmarshal(e.Content, &direct) != nil {
		return nil
	}
	set := map[quinta.RoomID]bool{}
	for _, rooms := range direct {
		for _, id := range rooms {
			set[id] = true
		}
	}
	var ids []quinta.RoomID
	for e, err := range tx.All(keyRoom) {
		if err != nil {
			return err
		}
		ids = append(ids, quinta.RoomID(strings.TrimPrefix(e.Key, keyRoom)))
	}
	for _, id := range ids {
		r, err := loadRoom(tx, id)
		if err != nil {
			return err
		}
		if set[id] && !r.Direct {
			r.Direct = true
			if err := seat.Store(tx, keyRoom+string(id), r); err != nil {
				return err
			}
		}
	}
	return nil
}
